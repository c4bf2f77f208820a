"""What translating one message costs, stage by stage, in this process alone: `python tests/bench/translate_bench.py`.

CPU microseconds, the least of several repetitions. Compare two versions on the same machine in the same minute.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.config import load_site
from engine.contracts import Facts
from engine.model import Arrival, Message, Receipt, Verdict
from engine.pipeline.intake import Intake
from engine.pipeline.translate import translate
from engine.testing.charges import Deck
from engine.testing.processes import copy_site

REPEATS, ROUNDS = 9, 400


def cost(run: Callable[[int], object]) -> float:
    best = float("inf")
    for _ in range(REPEATS):
        began = time.process_time()
        for n in range(ROUNDS):
            run(n)
        best = min(best, (time.process_time() - began) / ROUNDS * 1e6)
    return best


def main() -> None:
    os.environ.setdefault("BILLING", "127.0.0.1:6671")
    with tempfile.TemporaryDirectory() as directory:
        site = load_site(copy_site(Path(directory) / "site"))
    deck = Deck("B", 1000)
    # Different messages, as in life: what is remembered between intake and translate must not help twice.
    contents = [max(deck.content(n), key=len) for n in range(1, ROUNDS + 1)]
    channels = {channel.name: channel for channel in site.channels}
    one = channels["charges"]
    form = one.format
    facts = Facts(channel="charges")

    class Runtime:
        now = staticmethod(lambda: 1)

    intake = Intake(one, facts, None, Runtime, None)  # type: ignore[arg-type]
    receipt = Receipt(Verdict.ACCEPTED, 281474976710656, 1_700_000_000_000_000)
    messages = [
        Message(281474976710656 + n, "charges", content, form.heading(content), "p", 1) for n, content in enumerate(contents)
    ]
    print(f"{len(contents[0])} bytes")
    for name, run in (
        ("heading", lambda n: form.heading(contents[n])),
        ("intake's judgement", lambda n: intake.judge(Arrival(contents[n], "p"))),
        ("acknowledgement", lambda n: form.acknowledge(contents[n], receipt)),
        ("translate: canonical JSON", lambda n: translate(channels["charges-http"], messages[n], facts, "v")),
        ("translate: canonical, then HL7", lambda n: translate(one, messages[n], facts, "v")),
    ):
        print(f"{cost(run):8.1f} µs  {name}")


if __name__ == "__main__":
    main()
