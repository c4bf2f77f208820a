"""What a kill campaign was to do, what came of it, and how that is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.testing.machine import machine
from tests.campaign.checker import Verdict

CONNECTIONS = 4
IN_FLIGHT = 8  # on each of them
ACCOUNTS = 12


@dataclass
class Plan:
    """What is done; the same seed gives the same instants (what they hit, chance decides)."""

    store: str  # URL
    kills: int = 30
    seed: int = 1
    at_least: float = 0.2  # seconds of load before a kill
    at_most: float = 1.5


@dataclass
class Report:
    plan: Plan
    verdict: Verdict
    kills: int = 0
    during_recovery: int = 0
    seconds: float = 0.0
    to_listen: list[float] = field(default_factory=list)  # seconds from each start to accepting connections
    sender: dict[str, int] = field(default_factory=dict)
    exit_code: int = 0

    @property
    def store(self) -> str:
        return "PostgreSQL" if self.plan.store.startswith("postgresql") else "SQLite"

    @property
    def good(self) -> bool:
        return self.verdict.good and self.exit_code == 0 and self.verdict.unanswered == 0

    def summary(self) -> dict[str, Any]:
        return {
            "good": self.good,
            "plan": {**asdict(self.plan), "store": self.store},
            "kills": self.kills,
            "during_recovery": self.during_recovery,
            "seconds": round(self.seconds, 1),
            "to_listen_seconds": {"median": _median(self.to_listen), "max": max(self.to_listen, default=0.0)},
            "sender": self.sender,
            "exit_code": self.exit_code,
            **self.verdict.summary(),
        }


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0


def describe(report: Report) -> str:
    """The result in words."""
    verdict, times = report.verdict, report.to_listen
    lines = [
        f"{report.kills} kills in {report.seconds:.0f} s on {report.store}, {report.during_recovery} of them before it listened again; "
        f"listening after {_median(times):.2f} s, at the slowest after {max(times, default=0.0):.2f} s",
        f"{verdict.attempted:,} sent on {CONNECTIONS} connections, {verdict.acknowledged:,} acknowledged, {verdict.refused} refused, "
        f"{verdict.unanswered} unanswered",
        f"{verdict.received:,} received, {verdict.repeated} of them repeats, explained by {verdict.in_doubt} doubtful attempts",
    ]
    for name in verdict.FAULTS:
        cases = getattr(verdict, name)
        lines.append(f"{len(cases)} {name.replace('_', ' ')}" + (f": {'; '.join(cases[:3])}" if cases else ""))
    return "\n".join(lines)


def page(reports: list[Report]) -> str:
    """The report as it is committed: docs/reports/kill-campaign.md."""
    facts = machine(Path())
    rows: list[tuple[str, Callable[[Report], object]]] = [
        ("kills", lambda r: r.kills),
        ("of them before it listened again", lambda r: r.during_recovery),
        ("messages sent", lambda r: r.verdict.attempted),
        ("acknowledged", lambda r: r.verdict.acknowledged),
        ("**lost**: acknowledged and never received, or not in the store", lambda r: len(r.verdict.lost)),
        ("**reordered** within an account", lambda r: len(r.verdict.reordered)),
        ("**altered**: other facts, other stored bytes, another text when repeated", lambda r: len(r.verdict.altered)),
        ("**ghosts**: received or stored, never sent", lambda r: len(r.verdict.ghosts)),
        ("**false success**: delivered for the store, unknown to the receiver", lambda r: len(r.verdict.false_success)),
        ("**stuck**: not at an end after the drain", lambda r: len(r.verdict.stuck)),
        ("repeats at the receiver", lambda r: r.verdict.repeated),
        ("**unexplained** repeats: without a doubtful attempt in the store", lambda r: len(r.verdict.unexplained)),
        ("doubtful attempts in the store", lambda r: r.verdict.in_doubt),
        ("listening again after a kill, median and slowest, s", lambda r: f"{_median(r.to_listen):.2f}, {max(r.to_listen):.2f}"),
        ("exit code after the last SIGTERM", lambda r: r.exit_code),
    ]
    table = ["| | " + " | ".join(report.store for report in reports) + " |", "|---" * (len(reports) + 1) + "|"]
    table += [f"| {title} | " + " | ".join(str(value(report)) for report in reports) + " |" for title, value in rows]
    result = "Nothing was lost, reordered, altered or repeated without reason." if all(r.good for r in reports) else "FAILED."
    return (
        "# kill -9 under load\n\n"
        f"{result} Version {facts['wardline']}, seed {reports[0].plan.seed}; repeat it with `make campaign-kill`.\n\n"
        f"A sender with {CONNECTIONS} connections and {IN_FLIGHT} messages in flight on each, the engine and a receiver are separate processes. The sender writes each message to a\n"
        "ledger that is flushed to disk before its first byte leaves, and each answer when it has read it; the receiver writes what\n"
        "arrived, flushed, before it answers. The engine is killed with SIGKILL at random instants under load, some of the times while\n"
        "it is still recovering, and started again on the same store; the sender sends again, the same bytes, whatever was not\n"
        f"answered. Charges of {ACCOUNTS} accounts are mapped and delivered in the order of each account. At the end everything settles,\n"
        "and the two ledgers and the store are compared.\n\n"
        + "\n".join(table)
        + f"\n\nMachine: {facts['cores']} cores, {facts['processor']}, {facts['system']}, {facts['file_system']}; Python "
        f"{facts['python']}, SQLite {facts['sqlite']}. A kill ends the process, not the machine: what the operating system had\n"
        "taken it still writes, so this says nothing about power loss.\n"
    )
