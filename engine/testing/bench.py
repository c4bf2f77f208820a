"""Measuring the engine: real processes, real sockets, everything durable; `wardline bench` shows the result.

Each row sends for a while, waits until all that was acknowledged has arrived, and takes rates over the whole of it: a rate
of deliveries that leaves a backlog behind would say nothing.
"""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from engine.testing.charges import Deck
from engine.testing.load import address_of
from engine.testing.machine import machine, measure_disk
from engine.testing.processes import EngineProcess, ProcessFailed, SinkProcess, copy_site, free_port, run_load

WARM_UP = 2.0  # seconds on each channel, not counted
DRAIN_WITHIN = 30.0  # seconds without another delivery until a row is given up

Progress = Callable[[str], None]
"""Told before each step what it is."""


class Row(NamedTuple):
    name: str
    connections: int
    in_flight: int = 1
    accounts: int = 1000
    over: str = "mllp"  # what it is delivered over


ROWS = {
    row.name: row
    for row in (
        Row("1", 1),
        Row("4", 4),
        Row("16", 16),
        Row("64", 64),
        Row("16x10", 16, 10),
        Row("lane", 16, accounts=1),
        Row("http", 16, over="http"),
    )
}
"""By the names that `--rows` takes."""


class Aim(NamedTuple):
    """What the engine is meant to reach on two cores, with generator and receivers on the same two."""

    text: str
    row: str
    path: tuple[str, ...]
    at_least: float = 0.0
    at_most: float = float("inf")


AIMS = (
    Aim("delivered/s at 16 connections ≥ 4,000", "16", ("delivered_per_second",), at_least=4000),
    Aim("ACK p99 at 16 connections ≤ 15 ms", "16", ("ack_ms", "p99"), at_most=15),
    Aim("delivered/s saturated ≥ 6,500", "16x10", ("delivered_per_second",), at_least=6500),
    Aim("CPU saturated ≤ 150 µs a message", "16x10", ("cpu_us_per_message",), at_most=150),
    Aim("RSS < 150 MB", "16x10", ("peak_rss_mb",), at_most=150),
)


def measure(
    rows: Sequence[Row], seconds: float, directory: Path | None = None, say: Progress = lambda step: None
) -> dict[str, Any]:
    """The whole report, JSON-ready. `directory`: where the store is made (the disk that counts); it is left as it was.

    Raises ProcessFailed where a process ends by itself.
    """
    with ExitStack() as stack:
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wardline-bench-", dir=directory)))
        report: dict[str, Any] = {"machine": machine(place), "seconds_each": seconds}
        say("the disk")
        report["disk"] = measure_disk(place)
        sink = stack.enter_context(SinkProcess("--mllp", "127.0.0.1:0", "--http", "127.0.0.1:0"))
        say("a bare acknowledger")
        report["echo"] = _echo(sink, min(seconds, 3.0))
        run = stack.enter_context(_Run(place / "site", sink))
        say("starting")
        report["start"] = run.start()
        say("warming up")
        run.warm_up({row.over for row in rows}, min(seconds, WARM_UP))
        report["rows"] = []
        for row in rows:
            say(f"row {row.name}")
            report["rows"].append(run.row(row, seconds))
        report["exit_code"] = run.engine.stop()
    report["aims"] = aims(report)
    report["good"] = report["exit_code"] == 0 and not any(row["problems"] for row in report["rows"])
    return report


def aims(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Which aims this run reached; only those whose row was measured."""
    rows = {row["name"]: row for row in report["rows"]}
    found = []
    for aim in AIMS:
        if aim.row in rows:
            value: Any = rows[aim.row]
            for name in aim.path:
                value = value[name]
            found.append({"aim": aim.text, "value": value, "reached": aim.at_least <= value <= aim.at_most})
    first = report["start"]["first_ack_seconds"]
    return [*found, {"aim": "start to first ACK < 2 s", "value": first, "reached": first < 2}]


def _echo(sink: SinkProcess, seconds: float) -> dict[str, Any]:
    """The generator against the receiver itself: what the wire and the two of them cost without an engine between."""
    before = sink.ask("reset")["cpu_seconds"]
    load = run_load(sink.addresses["mllp"], connections=16, seconds=seconds, prefix="E")
    after = sink.ask("reset")
    return {
        "acked_per_second": load["acked_per_second"],
        "ack_ms": load["ack_ms"],
        "generator_us_per_message": load["cpu_us_per_message"],
        "acknowledger_us_per_message": (after["cpu_seconds"] - before) / max(after["received"], 1) * 1e6,
    }


class _Run:
    """One engine on one site, from start to stop."""

    def __init__(self, site: Path, sink: SinkProcess) -> None:
        self.sink = sink
        self.listen = {over: f"127.0.0.1:{free_port()}" for over in ("mllp", "http")}
        environment = {
            "CHARGES_LISTEN": self.listen["mllp"],
            "CHARGES_HTTP_LISTEN": self.listen["http"],
            "BILLING": sink.addresses["mllp"],
            "BILLING_HTTP": f"http://{sink.addresses['http']}/charges",
        }
        self.engine = EngineProcess(copy_site(site), environment)
        self._turn = 0

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, *error: object) -> None:
        self.engine.stop()

    def start(self) -> dict[str, float]:
        """The first start makes the store; the second finds it, as every later one does."""
        made = self._start("F1")
        code = self.engine.stop()
        if code != 0:
            raise ProcessFailed(f"the engine ended with {code} after SIGTERM:\n{self.engine.tail()}")
        return {"first_ack_seconds": self._start("F2"), "first_ack_of_a_new_store_seconds": made}

    def _start(self, prefix: str) -> float:
        self.sink.ask("reset")
        self.engine.start()
        address = address_of(self.listen["mllp"])
        self.engine.await_port(address)
        control, content = Deck(prefix, 1).content(0)
        with socket.create_connection(address, timeout=30) as connection:
            connection.sendall(b"\x0b" + content + b"\x1c\r")
            reply = connection.recv(65536)
        if b"\rMSA|AA|" + control not in reply:
            raise ProcessFailed(f"the first message was answered {reply!r}")
        first = time.monotonic() - self.engine.started_at
        self._drain(1)
        return first

    def warm_up(self, over: set[str], seconds: float) -> None:
        for name in sorted(over):
            self.row(Row("warm-up", 16, over=name), seconds)

    def row(self, row: Row, seconds: float) -> dict[str, Any]:
        self.sink.ask("reset")
        self._turn += 1
        before = self.engine.usage()
        load = run_load(
            self.listen[row.over], connections=row.connections, in_flight=row.in_flight, accounts=row.accounts,
            seconds=seconds, prefix=f"B{self._turn}R",
        )  # fmt: skip
        arrived = self._drain(load["acked"])
        used = self.engine.usage()
        return {
            **row._asdict(),
            "acked_per_second": load["acked_per_second"],
            "delivered_per_second": arrived["distinct"] / max(arrived["last_at"] - load["started_at"], 1e-9),
            "ack_ms": load["ack_ms"],
            "cpu_us_per_message": (used.cpu_seconds - before.cpu_seconds) / max(arrived["distinct"], 1) * 1e6,
            "rss_mb": used.rss_mb,
            "peak_rss_mb": used.peak_rss_mb,
            "acked": load["acked"],
            "delivered": arrived["distinct"],
            "drain_seconds": max(arrived["last_at"] - load["ended_at"], 0.0),
            "generator_us_per_message": load["cpu_us_per_message"],
            "problems": _problems(load, arrived),
        }

    def _drain(self, expected: int) -> dict[str, Any]:
        arrived = self.sink.ask()
        end = time.monotonic() + DRAIN_WITHIN
        while arrived["distinct"] < expected and time.monotonic() < end:
            self.engine.check()
            time.sleep(0.02)
            before, arrived = arrived["received"], self.sink.ask()
            if arrived["received"] != before:
                end = time.monotonic() + DRAIN_WITHIN
        return arrived


def _problems(load: dict[str, Any], arrived: dict[str, Any]) -> list[str]:
    """Why the row does not count; empty where it does."""
    found = [
        f"{load[name]} {words}"
        for name, words in (
            ("refused", "were refused"),
            ("uncorrelated", "were answered for another message"),
            ("unanswered", "were not answered"),
            ("broken_connections", "connections broke"),
        )
        if load[name]
    ]
    if arrived["distinct"] != load["acked"]:
        found.append(f"{load['acked']} were acknowledged, {arrived['distinct']} were delivered")
    if arrived["duplicates"]:
        found.append(f"{arrived['duplicates']} were delivered more than once")
    return found + [f"e.g. {example}" for example in load["examples"][:2]]
