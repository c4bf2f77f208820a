"""kill -9, again and again: `python -m tests.campaign.kill --kills 300`.

A sender, the engine and a receiver run as separate processes; the first and the last write ledgers that are flushed to disk
before anything is sent or answered. The engine is killed at random instants and at named points (`tests.campaign.points`):
under load, while it recovers, while it reloads and while it upgrades an older store; and is started again on the same
store. At the end everything is let to settle, and the checker compares.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

from engine.testing.charges import Deck
from engine.testing.ledger import read_ledger
from engine.testing.processes import ProcessFailed, SinkProcess, copy_site, free_port
from tests.campaign import points
from tests.campaign.checker import check
from tests.campaign.liar import LiarProcess
from tests.campaign.lives import RELOADING, STARTING, Life, rounds
from tests.campaign.older import schema_of, take_back
from tests.campaign.outcome import ACCOUNTS, CONNECTIONS, IN_FLIGHT, Plan, Report, describe, page
from tests.campaign.points import POINTS
from tests.campaign.rigged import RiggedEngine
from tests.campaign.stored import store_view, unfinished
from tests.support import postgresql_database

KILLS = {"sqlite": 300, "postgresql": 100}
SETTLE_WITHIN = 60.0
FLOWING = 50  # deliveries in the life of an engine before it may be killed at random
SQLITE = "sqlite:///data/wardline.db"

_VARIANTS = (  # of the site's files: a reload exchanges a listener and a destination
    ("channels/charges.yaml", '-127.0.0.1:6661}"}', '-127.0.0.1:6661}", max_connections: 150}'),
    ("conf/destinations.yaml", "connections: 16", "connections: 12"),
)


class Campaign:
    """One round: all lives of `plan` on one store in `directory`. Raises ProcessFailed where a process gives up by itself,
    or never comes to the point at which it was to die."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self.plan = plan
        self.report = Report(plan)
        self._chance = random.Random(plan.seed)
        self._deck = Deck(f"K{plan.seed}S", ACCOUNTS)
        self._port = free_port()
        self._sent, self._got = directory / "sent.ledger", directory / "received.ledger"
        self._site = copy_site(directory / "site", store=plan.store)
        self._variant = False
        self._sink: SinkProcess
        self._engine: RiggedEngine

    @property
    def _url(self) -> str:
        """Of the store, from any directory."""
        path = self.plan.store.removeprefix("sqlite:///")
        return self.plan.store if path == self.plan.store else f"sqlite:///{self._site / path}"

    def run(self, say: Callable[[str], None]) -> Report:
        report, began = self.report, time.monotonic()
        with ExitStack() as stack:
            receiver = LiarProcess if self.plan.lies else SinkProcess
            self._sink = stack.enter_context(receiver("--mllp", "127.0.0.1:0", "--ledger", str(self._got)))
            listen = {"CHARGES_LISTEN": f"127.0.0.1:{self._port}", "CHARGES_HTTP_LISTEN": "127.0.0.1:0"}
            environment = {**listen, "BILLING": self._sink.addresses["mllp"]}
            self._engine = stack.enter_context(RiggedEngine(self._site, environment))
            self._engine.bug = self.plan.bug
            sender = stack.enter_context(_sender(self._port, self._sent, self._deck))
            stack.callback(sender.kill)  # where something fails before it is finished, it would go on without end
            for life in self.plan.lives:
                self._live(life)
                report.ends[life.end] += 1
                say(f"kill {report.kills} of {len(self.plan.lives)}, {life.end} {life.n}")
            self._start()
            self._await_load()
            report.sender = _finish(sender, self._engine)
            self._settle()
            report.exit_code = self._engine.stop()
        report.verdict = check(
            self._deck, read_ledger(str(self._sent)), read_ledger(str(self._got)), store_view(self._site, self.plan.store)
        )
        report.seconds = time.monotonic() - began
        return report

    # ── one life ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _live(self, life: Life) -> None:
        point = life.end if life.end in POINTS else ""
        if life.when == points.UPGRADE and schema_of(self._url) != 1:
            take_back(self._url)
        if life.end == STARTING or (point and life.when not in (points.RELOAD, points.STOP)):
            self._engine.start(point, life.n)
        else:
            self._start(point, life.n)
            self._await_load()
        if life.when == points.RELOAD:
            self._reload()
        elif life.when == points.STOP:
            os.kill(self._engine.pid, signal.SIGTERM)
        if point:
            self._await_end(life)
        else:
            time.sleep(self._chance.uniform(*self._instants(life.end)))
            self._engine.check()
            self._engine.kill()

    def _instants(self, end: str) -> tuple[float, float]:
        """Between which seconds a life is ended at random."""
        if end == STARTING:
            return 0.05, median(self.report.to_listen or [0.6])
        return (0, 0.3) if end == RELOADING else self.plan.load

    def _start(self, point: str = "", n: int = 1) -> None:
        self._engine.start(point, n)
        self._engine.await_port(("127.0.0.1", self._port))
        self.report.to_listen.append(time.monotonic() - self._engine.started_at)

    def _await_end(self, life: Life) -> None:
        code = self._engine.ended()
        if code != -signal.SIGKILL:
            raise ProcessFailed(f"the engine ended with {code} on its way to {life.end}:{life.n}:\n{self._engine.tail()}")

    def _await_load(self) -> None:
        """Return when deliveries flow."""
        enough, end = self._sink.ask()["distinct"] + FLOWING, time.monotonic() + SETTLE_WITHIN
        while self._sink.ask()["distinct"] < enough:
            self._engine.check()
            if time.monotonic() > end:
                raise ProcessFailed(f"fewer than {FLOWING} deliveries in {SETTLE_WITHIN:g} s:\n{self._engine.tail()}")
            time.sleep(0.02)

    def _reload(self) -> None:
        """Change the files of the site, and have the engine take them up."""
        for name, one, other in _VARIANTS:
            path = self._site / name
            before, after = (other, one) if self._variant else (one, other)
            text = path.read_text()
            if before not in text:
                raise ProcessFailed(f"{name} is not as it was left: it lacks {before!r}")
            path.write_text(text.replace(before, after))
        self._variant = not self._variant
        os.kill(self._engine.pid, signal.SIGHUP)

    def _settle(self) -> None:
        """Wait until the store has nothing left to do, or gets no further. The checker says what that came to."""
        end, last = time.monotonic() + SETTLE_WITHIN, -1
        while (left := unfinished(self._site, self.plan.store)) and time.monotonic() < end:
            self._engine.check()
            if left != last:
                last, end = left, time.monotonic() + SETTLE_WITHIN
            time.sleep(0.1)


def _sender(port: int, ledger: Path, deck: Deck) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.campaign.sender", "--to", f"127.0.0.1:{port}", "--ledger", str(ledger),
         "--prefix", deck.prefix, "--accounts", str(ACCOUNTS), "--connections", str(CONNECTIONS), "--in-flight", str(IN_FLIGHT)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def _finish(sender: subprocess.Popen[str], engine: RiggedEngine) -> dict[str, int]:
    try:
        output, _ = sender.communicate(timeout=SETTLE_WITHIN)
    except subprocess.TimeoutExpired:
        sender.kill()
        sender.wait()
        engine.check()
        raise ProcessFailed("the sender did not get its last answers") from None
    counts: dict[str, int] = json.loads(output)
    return counts


def run(plan: Plan, directory: Path, say: Callable[[str], None] = lambda text: None) -> Report:
    return Campaign(plan, directory).run(say)


def campaign(kind: str, kills: int, seed: int, keep: str = "") -> Report:
    """All rounds on one kind of store, each on a store of its own; what it does is told on standard error."""
    whole: Report | None = None
    for number, lives in enumerate(rounds(kills, random.Random(seed)), 1):
        with ExitStack() as stack:
            place = keep and str(Path(keep) / f"{kind}-{number}")
            directory = Path(place or stack.enter_context(tempfile.TemporaryDirectory(prefix="wardline-kill-")))
            directory.mkdir(parents=True, exist_ok=True)
            store = stack.enter_context(postgresql_database()) if kind == "postgresql" else SQLITE
            plan = Plan(store, tuple(lives), seed + number)
            report = run(plan, directory, partial(print, kind, number, file=sys.stderr))
        whole = report if whole is None else whole.add(report)
        print(f"{kind} {number}: {'good' if report.good else json.dumps(report.summary(), indent=2)}", file=sys.stderr)
    assert whole is not None
    return whole


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.kill", description=__doc__)
    parser.add_argument("--kills", type=int, help="on each store; without it, 300 on SQLite and 100 on PostgreSQL")
    parser.add_argument("--store", choices=(*KILLS, "both"), default="both")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**4))
    parser.add_argument("--keep", default="", help="directory for ledgers, sites and stores (otherwise they go)")
    parser.add_argument("--json", action="store_true", help="the results as JSON on standard output")
    parser.add_argument("--report", type=Path, help="write them to this page as well")
    options = parser.parse_args(arguments)
    kinds = tuple(KILLS) if options.store == "both" else (options.store,)
    reports = [campaign(kind, options.kills or KILLS[kind], options.seed, options.keep) for kind in kinds]
    if options.report:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        options.report.write_text(page(reports, options.seed), encoding="utf-8")
    print(json.dumps([report.summary() for report in reports], indent=2) if options.json else "\n\n".join(map(describe, reports)))
    return 0 if all(report.good for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
