"""The API against its own description: `python -m tests.campaign.api --cases 50000`.

Requests that fit the description and requests that do not, from whoever may everything, from a viewer, and from nobody, against
the console in this process, on a store with messages in many states. No answer may be a server error or one that is not
described; nobody may reach what takes a token.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from engine.console import guard
from engine.console.doors import API
from engine.ids import format_id
from engine.model import Delivered, MessageState, Refused, Unknown
from engine.query import Search, find
from tests.console import SAMPLES, Opened, opened

WHO: Final = ("admin", "viewer", "nobody")
AWAY: Final = 503  # what needs the engine says so: none runs here, and this is the only server error that may be
REVOKING: Final = "/account/tokens/revoke"  # learnt from answers, the fuzzer's own token would be the first to go
LEAKS: Final = (b"Traceback", b"sqlite", b"SELECT ", b"/.wardline/", b'.py"')
HOSTILE: Final = (
    *("'\" OR 1=1 --", "%' ESCAPE '", "{{7*7}}", "${7*7}", "<script>alert(1)</script>", "../../etc/passwd", "..%2f..%2f", "\0"),
    *(
        "\ufeff",
        "\u202e",
        "\U000e0041",
        "=cmd()",
        "a" * 5000,
        "9" * 400,
        "-1",
        "1e400",
        "NaN",
        "null",
        "[]",
        "\r\nset-cookie: a=b",
    ),
)


@dataclass
class Tally:
    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)  # what failed → the first request that showed it
    errors: list[str] = field(default_factory=list)  # of the fuzzer itself
    operations: set[str] = field(default_factory=set)

    def add(self, other: Tally) -> None:
        self.cases += other.cases
        self.statuses += other.statuses
        self.failures = {**other.failures, **self.failures}
        self.errors += other.errors
        self.operations |= other.operations


@contextmanager
def filled(directory: Path) -> Iterator[Opened]:
    """A console whose store has something of everything."""
    with opened(directory) as console:
        for name in ("adt_a01_inpatient.hl7", "adt_a40_merge.hl7", "adt_a08_nulls.hl7"):
            console.sample("adt", name)
        for name in ("dft_p03_pharmacy.hl7", "dft_p03_unknown_department.hl7", "dft_p03_missing_department.hl7"):
            console.sample("charges", name)
        console.sample("charges", "dft_p03_pharmacy.hl7")  # a duplicate
        console.sample("results", "oru_r01_chemistry.hl7")
        odd = (SAMPLES / "adt_a01_inpatient.hl7").read_bytes().replace(b"|ADT^A01", b"|\xff\xfe^\x1b[31m", 1)
        console.send("adt", odd, state=MessageState.REJECTED, reason="=MSH-9.1 in ('ADT',) is not true")
        console.deliver("mpi", Delivered(b'{"ok": true}'), 1)
        console.deliver("mpi", Refused("422: no such patient", b"\xff\x00no"), 1)
        console.deliver("billing-api", Unknown("no answer within 30 s"))
        yield console


def fuzz(console: Opened, who: str, examples: int, seed: int, phases: tuple[str, ...] = ("coverage", "fuzzing")) -> Tally:
    """About as many requests of each operation as `examples`; the same for the same `seed`."""
    import schemathesis
    from schemathesis.config import SchemathesisConfig
    from schemathesis.engine import events, from_schema

    logging.getLogger("schemathesis").setLevel(logging.ERROR)
    config = SchemathesisConfig.from_dict(_settings(console, who, examples, seed, phases))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":  # it is begun and ended already by whoever opened the console
            for word in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{word}.complete"})
        else:
            await console.app(scope, receive, send)

    schema = schemathesis.openapi.from_asgi(f"{API}/openapi.json", app, config=config)
    found = Tally()
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            _count(found, event.recorder, who)
        elif isinstance(event, events.NonFatalError | events.FatalError):
            found.errors.append(str(getattr(event, "info", event))[:500])
    return found


def _settings(console: Opened, who: str, examples: int, seed: int, phases: tuple[str, ...]) -> dict[str, Any]:
    headers = {} if who == "nobody" else {"Authorization": console.token(who).headers["authorization"]}
    known = {
        "id": [format_id(row) for row in _messages(console)],
        "channel": ["adt", "charges", "results"],
        "destination": ["mpi", "billing-api"],
        "stage": ["in"],
        "table": ["departments"],
        "name": ["channels/adt.yaml", "mappings/dft-to-charge.yaml", "conf/engine.yaml"],
        "q": ["state:parked", "channel:charges", "is:duplicate -channel:adt", "since:1h", "error:department", "mrn:1,2"],
    }
    checks = {"positive_data_acceptance": {"enabled": False}}  # what there is not is 404, and what is not allowed 403
    if who != "admin":
        checks["negative_data_rejection"] = {"enabled": False}  # of nobody, nothing is read
    return {
        "seed": seed,
        "headers": headers,
        "generation": {
            "max-examples": examples,
            "deterministic": True,
            "database": "none",
            "no-shrink": True,
            "with-security-parameters": False,
            "dictionaries": {"string": {"dictionary": "hostile", "probability": 0.1}},
        },
        "dictionaries": {"hostile": {"values": list(HOSTILE)}} | {name: {"values": values} for name, values in known.items()},
        "parameters": {
            f"{place}.{name}": {"dictionary": name, "probability": 0.7}
            for name in known
            for place in (["query"] if name in ("q", "name") else ["path"])
        },
        "operations": [] if who == "nobody" else [{"include-path": f"{API}{REVOKING}", "enabled": False}],
        "phases": {name: {"enabled": name in phases} for name in ("examples", "coverage", "fuzzing", "stateful")},
        "checks": {"not_a_server_error": {"expected-statuses": ["2xx", "4xx", str(AWAY)]}, "ignored_auth": {"enabled": False}}
        | checks,
    }


def _messages(console: Opened) -> list[int]:
    with console.home.reading() as history:
        found = find(history, Search(), 50)
    return [row.id for row in found.rows]


def _count(found: Tally, recorder: Any, who: str) -> None:
    for number, node in recorder.cases.items():
        case = node.value
        interaction = recorder.interactions.get(number)
        if interaction is None or interaction.response is None:
            continue
        status = interaction.response.status_code
        found.cases += 1
        found.statuses[status] += 1
        found.operations.add(case.operation.label)
        what = f"{case.operation.label} as {who}"
        said = f"{interaction.request.method} {interaction.request.uri} {(interaction.request.body or b'')[:300]!r}"
        answer = bytes(interaction.response.content or b"")
        if status >= 400 and (leak := next((one for one in LEAKS if one in answer), None)):
            found.failures.setdefault(f"{what}: an error tells {leak!r}", said)
        if who != "nobody" and status == 401:
            found.failures.setdefault(f"{what}: nobody was known any more", said)
        if who == "nobody" and status < 300 and not case.operation.label.endswith("/health"):
            found.failures.setdefault(f"{what}: reached with {status}", said)
        for check in recorder.checks.get(number, []):
            if check.failure_info is not None:
                failure = check.failure_info.failure
                found.failures.setdefault(f"{what}: {check.name}: {failure.message or failure.title} [{status}]"[:600], said)


@contextmanager
def unhurried() -> Iterator[None]:
    """Without the limit on how often somebody may ask."""
    kept = guard.BURST
    guard.BURST = 1e12  # type: ignore[misc]
    try:
        yield
    finally:
        guard.BURST = kept  # type: ignore[misc]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=50_000, help="that are sent, of all three together")
    parser.add_argument("--minutes", type=float, default=600, help="after which no further round begins")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path)
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    tallies = {who: Tally() for who in WHO}
    began, rounds = time.monotonic(), 0
    with unhurried():
        while sum(one.cases for one in tallies.values()) < asked.cases and time.monotonic() - began < asked.minutes * 60:
            with tempfile.TemporaryDirectory() as directory, filled(Path(directory)) as console:
                for who in WHO:
                    phases = ("coverage", "fuzzing") if rounds == 0 else ("fuzzing",)
                    tallies[who].add(fuzz(console, who, 30, asked.seed + rounds, phases))
            rounds += 1
            sys.stdout.write(f"{sum(one.cases for one in tallies.values()):,} requests\n")
            sys.stdout.flush()
    text = report(tallies, rounds, time.monotonic() - began, asked.seed)
    sys.stdout.write(text)
    if asked.report:
        asked.report.write_text(text, "utf-8")
    sys.stdout.flush()
    return 1 if any(one.failures or one.errors for one in tallies.values()) else 0


def report(tallies: dict[str, Tally], rounds: int, seconds: float, seed: int) -> str:
    from importlib.metadata import version

    from engine import __version__
    from engine.testing.machine import machine

    total = Tally()
    for one in tallies.values():
        total.add(one)
    good = not total.failures and not total.errors
    lines = [
        "# Fuzzing the API\n",
        f"{'No' if good else 'SOME'} answer was a server error or one that the description does not have. "
        f"Version {__version__}; repeat it with `make campaign-api`.\n",
        f"schemathesis {version('schemathesis')} sent {total.cases:,} requests to {len(total.operations)} operations in "
        f"{seconds / 60:.0f} minutes, {rounds} rounds with the seeds {seed} to {seed + rounds - 1}, each on a fresh store with "
        "messages in many states.\n"
        "Some fit the description and some do not: other types, other bounds, what is missing, what is too much, hostile texts.\n"
        f"No engine runs there, so what acts on one answers {AWAY}, as described.\n",
        "| who | requests | " + " | ".join(map(str, sorted(total.statuses))) + " |",
        "|---|---" + "|---" * len(total.statuses) + "|",
    ]
    for who, one in tallies.items():
        counts = " | ".join(f"{one.statuses[status]:,}" for status in sorted(total.statuses))
        lines.append(f"| {who} | {one.cases:,} | {counts} |")
    lines += [f"\n- {what}: `{said}`" for what, said in sorted(total.failures.items())]
    lines += [f"\n- the fuzzer itself: {error}" for error in dict.fromkeys(total.errors)]
    facts = machine(Path.cwd())
    where = f"{facts['cores']} cores, {facts['processor']}, Python {facts['python']}; load average at the end {os.getloadavg()[0]:.2f}"
    return "\n".join([*lines, f"\nMachine: {where}."]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
