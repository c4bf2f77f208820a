"""kill -9 at random instants under load: `python -m tests.campaign.kill --kills 30`.

A sender, the engine and a receiver run as separate processes; the first and the last write ledgers that are flushed to disk
before anything is sent or answered. The engine is killed again and again, some of the times while it is still recovering,
and started again on the same store. At the end everything is let to settle, and the checker compares.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from engine.testing.charges import Deck
from engine.testing.ledger import read_ledger
from engine.testing.processes import EngineProcess, ProcessFailed, SinkProcess, copy_site, free_port
from tests.campaign.checker import Verdict, check
from tests.campaign.outcome import ACCOUNTS, CONNECTIONS, IN_FLIGHT, Plan, Report, describe, page
from tests.campaign.stored import store_view
from tests.support import postgresql_database

STORES = ("sqlite", "postgresql")
SETTLE_WITHIN = 60.0
FLOWING = 50  # deliveries in the life of an engine before it may be killed
DURING_RECOVERY = 0.2  # share of kills that hit before the engine listens


def run(plan: Plan, directory: Path, say: Callable[[str], None] = lambda text: None) -> Report:
    """One campaign in `directory`. Raises ProcessFailed where a process gives up by itself."""
    chance = random.Random(plan.seed)
    began = time.monotonic()
    deck = Deck(f"K{plan.seed}S", ACCOUNTS)
    port = free_port()
    sent, got = directory / "sent.ledger", directory / "received.ledger"
    site = copy_site(directory / "site", store=plan.store)
    with ExitStack() as stack:
        sink = stack.enter_context(SinkProcess("--mllp", "127.0.0.1:0", "--ledger", str(got)))
        listen = {"CHARGES_LISTEN": f"127.0.0.1:{port}", "CHARGES_HTTP_LISTEN": "127.0.0.1:0"}
        environment = {**listen, "BILLING": sink.addresses["mllp"]}
        engine = stack.enter_context(EngineProcess(site, environment))
        report = Report(plan, Verdict())
        _start(engine, port, report)
        sender = stack.enter_context(_sender(port, sent, deck))
        stack.callback(sender.kill)  # where something fails before it is finished, it would go on without end
        while report.kills < plan.kills:
            _await_load(sink, engine)
            _kill_once(engine, port, chance, plan, report)
            received, up = sink.ask()["distinct"], report.to_listen[-1]
            say(f"kill {report.kills} of {plan.kills}: {received} received, up again after {up:.2f} s")
        _await_load(sink, engine)  # on the last life, too
        report.sender = _finish(sender, engine)
        _settle(sink, engine, sum(count for code, count in report.sender.items() if code == "AA"))
        report.exit_code = engine.stop()
    report.verdict = check(deck, read_ledger(str(sent)), read_ledger(str(got)), store_view(site, plan.store))
    report.seconds = time.monotonic() - began
    return report


def _start(engine: EngineProcess, port: int, report: Report) -> None:
    engine.start()
    engine.await_port(("127.0.0.1", port))
    report.to_listen.append(time.monotonic() - engine.started_at)


def _await_load(sink: SinkProcess, engine: EngineProcess) -> None:
    """Return when deliveries flow."""
    enough, end = sink.ask()["distinct"] + FLOWING, time.monotonic() + SETTLE_WITHIN
    while sink.ask()["distinct"] < enough:
        engine.check()
        if time.monotonic() > end:
            raise ProcessFailed(f"fewer than {FLOWING} deliveries in {SETTLE_WITHIN:g} s:\n{engine.tail()}")
        time.sleep(0.02)


def _kill_once(engine: EngineProcess, port: int, chance: random.Random, plan: Plan, report: Report) -> None:
    time.sleep(chance.uniform(plan.at_least, plan.at_most))
    engine.check()
    engine.kill()
    report.kills += 1
    while chance.random() < DURING_RECOVERY and report.kills < plan.kills:
        engine.start()
        time.sleep(chance.uniform(0.05, 0.5))
        engine.check()
        engine.kill()
        report.kills += 1
        report.during_recovery += 1
    _start(engine, port, report)


def _sender(port: int, ledger: Path, deck: Deck) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.campaign.sender", "--to", f"127.0.0.1:{port}", "--ledger", str(ledger),
         "--prefix", deck.prefix, "--accounts", str(ACCOUNTS), "--connections", str(CONNECTIONS), "--in-flight", str(IN_FLIGHT)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def _finish(sender: subprocess.Popen[str], engine: EngineProcess) -> dict[str, int]:
    try:
        output, _ = sender.communicate(timeout=SETTLE_WITHIN)
    except subprocess.TimeoutExpired:
        sender.kill()
        sender.wait()
        engine.check()
        raise ProcessFailed("the sender did not get its last answers") from None
    counts: dict[str, int] = json.loads(output)
    return counts


def _settle(sink: SinkProcess, engine: EngineProcess, expected: int) -> None:
    """Wait until the receiver has as many as were acknowledged, or nothing more comes. The checker says which."""
    end, last = time.monotonic() + SETTLE_WITHIN, -1
    while time.monotonic() < end:
        engine.check()
        received = sink.ask()["distinct"]
        if received >= expected:
            return
        if received != last:
            last, end = received, time.monotonic() + SETTLE_WITHIN
        time.sleep(0.05)


def campaigns(stores: tuple[str, ...], kills: int, seed: int, keep: str = "") -> list[Report]:
    """One campaign for each kind of store, with what it says on standard error."""
    reports = []
    for kind in stores:
        with ExitStack() as stack:
            place = keep and str(Path(keep) / kind)
            directory = Path(place or stack.enter_context(tempfile.TemporaryDirectory(prefix="wardline-kill-")))
            directory.mkdir(parents=True, exist_ok=True)
            store = stack.enter_context(postgresql_database()) if kind == "postgresql" else "sqlite:///data/wardline.db"
            reports.append(run(Plan(store, kills, seed), directory, lambda text: print(text, file=sys.stderr)))
    return reports


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.kill", description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--store", choices=(*STORES, "both"), default="both")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**4))
    parser.add_argument("--keep", default="", help="directory for ledgers, site and store (otherwise they go)")
    parser.add_argument("--json", action="store_true", help="the results as JSON on standard output")
    parser.add_argument("--report", type=Path, help="write them to this page as well")
    options = parser.parse_args(arguments)
    stores = STORES if options.store == "both" else (options.store,)
    reports = campaigns(stores, options.kills, options.seed, options.keep)
    if options.report:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        options.report.write_text(page(reports), encoding="utf-8")
    print(json.dumps([report.summary() for report in reports], indent=2) if options.json else "\n\n".join(map(describe, reports)))
    return 0 if all(report.good for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
