"""What a kill campaign was to do, what came of it, and how that is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

from engine.testing.machine import machine
from tests.campaign import points
from tests.campaign.checker import Verdict
from tests.campaign.lives import RANDOM, RELOADING, STARTING, Life
from tests.campaign.points import POINTS

CONNECTIONS = 4
IN_FLIGHT = 8  # on each of them
ACCOUNTS = 12


@dataclass
class Plan:
    """What is done; the same seed gives the same instants (what they hit, chance decides)."""

    store: str  # URL
    lives: tuple[Life, ...]  # each ends with a kill; one more follows, which ends well
    seed: int = 1
    load: tuple[float, float] = (0.1, 0.8)  # seconds of it before a kill at random
    bug: str = ""  # of tests.campaign.bugs
    lies: bool = False  # the receiver is that of tests.campaign.liar


@dataclass
class Report:
    plan: Plan
    verdict: Verdict = field(default_factory=Verdict)
    ends: Counter[str] = field(default_factory=Counter)  # kills, by what a life was to end with
    seconds: float = 0.0
    to_listen: list[float] = field(default_factory=list)  # seconds from each start to accepting connections
    sender: dict[str, int] = field(default_factory=dict)
    exit_code: int = 0
    stores: int = 1

    def add(self, other: Report) -> Self:
        """What came of a further round."""
        self.verdict.add(other.verdict)
        self.ends += other.ends
        self.seconds += other.seconds
        self.to_listen += other.to_listen
        self.sender = dict(Counter(self.sender) + Counter(other.sender))
        self.exit_code = self.exit_code or other.exit_code
        self.stores += other.stores
        return self

    @property
    def kills(self) -> int:
        return self.ends.total()

    @property
    def store(self) -> str:
        return "PostgreSQL" if self.plan.store.startswith("postgresql") else "SQLite"

    @property
    def good(self) -> bool:
        return self.verdict.good and self.exit_code == 0 and self.verdict.unanswered == 0

    def summary(self) -> dict[str, Any]:
        return {
            "good": self.good,
            "plan": {**asdict(self.plan), "store": self.store, "lives": len(self.plan.lives)},
            "stores": self.stores,
            "kills": self.kills,
            "ends": dict(self.ends),
            "seconds": round(self.seconds, 1),
            "to_listen_seconds": {"median": median(self.to_listen), "max": max(self.to_listen, default=0.0)},
            "sender": self.sender,
            "exit_code": self.exit_code,
            **self.verdict.summary(),
        }


def describe(report: Report) -> str:
    """The result in words."""
    verdict, times = report.verdict, report.to_listen
    lines = [
        f"{report.kills} kills in {report.seconds:.0f} s on {report.store}; listening after {median(times):.2f} s, "
        f"at the slowest after {max(times, default=0.0):.2f} s",
        f"{verdict.attempted:,} sent on {CONNECTIONS} connections, {verdict.acknowledged:,} acknowledged, {verdict.refused} refused, "
        f"{verdict.unanswered} unanswered",
        f"{verdict.received:,} received, {verdict.repeated} of them repeats, explained by {verdict.in_doubt} doubtful attempts",
    ]
    for name in verdict.FAULTS:
        cases = getattr(verdict, name)
        lines.append(f"{len(cases)} {name.replace('_', ' ')}" + (f": {'; '.join(cases[:3])}" if cases else ""))
    return "\n".join(lines)


# ── the page ───────────────────────────────────────────────────────────────────────────────────────────────────────

_ROWS: list[tuple[str, Callable[[Report], object]]] = [
    ("kills", lambda r: r.kills),
    ("stores they fell on", lambda r: r.stores),
    ("messages sent", lambda r: r.verdict.attempted),
    ("acknowledged", lambda r: r.verdict.acknowledged),
    ("asked to send again (AR 207)", lambda r: r.verdict.refused),
    ("**lost**: acknowledged and never received, or not in the store", lambda r: len(r.verdict.lost)),
    ("**reordered** within an account", lambda r: len(r.verdict.reordered)),
    ("**altered**: other facts, other stored bytes, another text when repeated", lambda r: len(r.verdict.altered)),
    ("**ghosts**: received or stored, never sent", lambda r: len(r.verdict.ghosts)),
    ("**false success**: delivered for the store, unknown to the receiver", lambda r: len(r.verdict.false_success)),
    ("**stuck**: not at an end after the drain", lambda r: len(r.verdict.stuck)),
    ("repeats at the receiver", lambda r: r.verdict.repeated),
    ("**unexplained** repeats: without a doubtful attempt in the store", lambda r: len(r.verdict.unexplained)),
    ("**doubled** at a receiver that drops repeats of an MSH-10", lambda r: len(r.verdict.doubled)),
    ("doubtful attempts in the store", lambda r: r.verdict.in_doubt),
    ("listening again after a start, median and slowest, s", lambda r: f"{median(r.to_listen):.2f}, {max(r.to_listen):.2f}"),
    ("exit code after the last SIGTERM", lambda r: r.exit_code),
]


def _table(reports: list[Report], title: str, rows: list[tuple[str, Callable[[Report], object]]]) -> str:
    head = [f"| {title} | " + " | ".join(report.store for report in reports) + " |", "|---" * (len(reports) + 1) + "|"]
    return "\n".join(head + [f"| {name} | " + " | ".join(str(value(one)) for one in reports) + " |" for name, value in rows])


def _ends() -> list[tuple[str, Callable[[Report], object]]]:
    texts = {text: text for text in (RANDOM, STARTING, RELOADING)}
    texts |= {name: f"{POINTS[name].when}: {POINTS[name].about}" for name in points.of(*points.WHENS)}

    def of(end: str) -> Callable[[Report], object]:
        return lambda report: report.ends[end]

    return [(text, of(end)) for end, text in texts.items()]


def page(reports: list[Report], seed: int) -> str:
    """The report as it is committed: docs/reports/kill-campaign.md."""
    facts = machine(Path())
    good = "Nothing was lost, reordered, altered, delivered twice or repeated without reason."
    result = good if all(report.good for report in reports) else "FAILED."
    return (
        "# kill -9\n\n"
        f"{result}\nVersion {facts['wardline']}, seed {seed}; repeat it with `make campaign-kill`.\n\n"
        f"A sender with {CONNECTIONS} connections and {IN_FLIGHT} messages in flight on each, the engine and a receiver are separate processes.\n"
        "The sender writes each message to a ledger that is flushed to disk before its first byte leaves, and each answer when it has read it.\n"
        "The receiver writes what arrived, flushed, before it answers.\n"
        "The engine is killed with SIGKILL and started again on the same store; the sender sends again, the same bytes, whatever was not answered.\n"
        f"Charges of {ACCOUNTS} accounts are mapped and delivered in the order of each account.\n"
        "At the end of each round everything settles, and the two ledgers and the store are compared.\n\n"
        + _table(reports, "", _ROWS)
        + "\n\n## Where it was killed\n\n"
        "At random instants, and at named points: there the process sends itself SIGKILL when it comes to that line for the n-th time, n drawn by the seed.\n"
        "The points are patched into the process from outside (`tests/campaign/points.py`); the engine knows nothing of them.\n"
        "A reload exchanges a listener and a destination while messages flow, a stop is a SIGTERM.\n"
        "An upgrade begins with a store of schema 1 that was killed under load, and is killed at one statement after the other.\n\n"
        + _table(reports, "kills", _ends())
        + "\n\n## What the checker catches\n\n"
        "Each of these faults, seeded into the engine, fails a run of a few kills (`tests/campaign/test_kill_campaign.py`): an ACK before the commit,\n"
        "no dedupe, the newest first, doubt that is not marked, MSA-2 unchecked, no fencing, a new MSH-10 on retry.\n"
        "[Power cuts](power-cut.md) has two more: `synchronous = NORMAL`, and a directory that is not flushed.\n\n"
        f"Machine: {facts['cores']} cores, {facts['processor']}, {facts['system']}, {facts['file_system']}; Python {facts['python']}, "
        f"SQLite {facts['sqlite']}.\n"
        "A kill ends the process, not the machine: what the operating system had taken it still writes, so this says nothing about power loss.\n"
    )
