"""What translating one message costs, stage by stage, in one process alone: `python tests/bench/translate_bench.py`.

CPU microseconds, the least of several repetitions. `… translate_bench.py OTHER` compares with the checkout in the directory
OTHER (`git worktree add OTHER COMMIT`): both take turns, each in a process of its own, so that a busy machine is busy for both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, os.environ.get("CHECKOUT") or str(Path(__file__).resolve().parents[2]))

from engine.config import load_site
from engine.contracts import Facts
from engine.model import Arrival, Message, Receipt, Verdict
from engine.pipeline.intake import Intake
from engine.pipeline.translate import translate
from engine.testing.charges import Deck
from engine.testing.processes import copy_site

HERE = str(Path(__file__).resolve().parents[2])
REPEATS, ROUNDS, TURNS = 9, 400, 7


def cost(run: Callable[[int], object]) -> float:
    best = float("inf")
    for _ in range(REPEATS):
        began = time.process_time()
        for n in range(ROUNDS):
            run(n)
        best = min(best, (time.process_time() - began) / ROUNDS * 1e6)
    return best


def costs() -> dict[str, float]:
    """By stage."""
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
    return {
        "heading": cost(lambda n: form.heading(contents[n])),
        "intake's judgement": cost(lambda n: intake.judge(Arrival(contents[n], "p"))),
        "acknowledgement": cost(lambda n: form.acknowledge(contents[n], receipt)),
        "translate: canonical JSON": cost(lambda n: translate(channels["charges-http"], messages[n], facts, "v")),
        "translate: canonical, then HL7": cost(lambda n: translate(one, messages[n], facts, "v")),
    }


def of_checkout(directory: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__], env={**os.environ, "CHECKOUT": directory, "AS_JSON": "1"}, check=True, stdout=subprocess.PIPE
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def compare(other: str) -> None:
    sides: tuple[dict[str, float], dict[str, float]] = ({}, {})
    for _ in range(TURNS):
        for directory, best in zip((HERE, other), sides, strict=True):
            for name, figure in of_checkout(directory).items():
                best[name] = min(figure, best.get(name, figure))
    for name, figure in sides[0].items():
        print(f"{figure:8.1f} µs  against {sides[1][name]:8.1f} µs: {figure / sides[1][name]:.2f}  {name}")


def main() -> None:
    if len(sys.argv) > 1:
        compare(sys.argv[1])
        return
    found = costs()
    if "AS_JSON" in os.environ:
        print(json.dumps(found))
        return
    for name, figure in found.items():
        print(f"{figure:8.1f} µs  {name}")


if __name__ == "__main__":
    main()
