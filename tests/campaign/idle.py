"""Ten thousand connections that say nothing: `python -m tests.campaign.idle --connections 10000`.

Hospitals have more interfaces that are open than interfaces that speak. What they cost in memory and in time to those that
do is measured against the same engine without them; then some of them say something, and all of them go.
"""

from __future__ import annotations

import argparse
import json
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.connectors.mllp.framing import END, frame
from engine.testing.charges import Deck
from engine.testing.machine import machine
from engine.testing.processes import EngineProcess, SinkProcess, copy_site, free_port, run_load

SPARE = 512  # file descriptors that are needed besides
MEASURED = 4  # connections that speak
MESSAGES = 4000  # they send, at each of
RUNS = 3  # of which the best counts: what else the machine does is not what is asked
PATIENT = 5.0  # seconds over which the processor is looked at while nobody speaks
MOST_KB = 40.0  # a connection may cost
SLOWER = 2.0  # times as long may an acknowledgement take (I8)


@dataclass
class Report:
    wanted: int
    connections: int = 0
    seconds: float = 0.0  # to open them all
    rss_before_mb: float = 0.0
    rss_with_mb: float = 0.0
    rss_after_mb: float = 0.0
    idle_cpu: float = 0.0  # of one core, while nobody speaks
    before: dict[str, Any] = field(default_factory=dict)
    beside: dict[str, Any] = field(default_factory=dict)
    woken: int = 0
    answered: int = 0
    exit_code: int = 0

    @property
    def kb_each(self) -> float:
        return (self.rss_with_mb - self.rss_before_mb) * 1024 / max(self.connections, 1)

    @property
    def good(self) -> bool:
        in_time = self.beside["ack_ms"]["p99"] <= max(SLOWER * self.before["ack_ms"]["p99"], 50)
        whole = self.connections > 0 and self.answered == self.woken and self.exit_code == 0
        return whole and in_time and self.kb_each <= MOST_KB and self.beside["acked"] == MESSAGES

    def summary(self) -> dict[str, Any]:
        return {"good": self.good, "kb_each": round(self.kb_each, 2), **asdict(self)}


def run(wanted: int, directory: Path, say: Callable[[str], None]) -> Report:
    report = Report(wanted)
    room = _descriptors(wanted)
    port = free_port()
    site = copy_site(directory / "site")
    channel = site / "channels" / "charges.yaml"
    text = channel.read_text().replace('127.0.0.1:6661}"}', f'127.0.0.1:6661}}", max_connections: {room + SPARE}}}')
    channel.write_text(text)
    with ExitStack() as stack:
        sink = stack.enter_context(SinkProcess("--mllp", "127.0.0.1:0"))
        listen = {"CHARGES_LISTEN": f"127.0.0.1:{port}", "CHARGES_HTTP_LISTEN": "127.0.0.1:0"}
        engine = stack.enter_context(EngineProcess(site, {**listen, "BILLING": sink.addresses["mllp"]}))
        engine.start()
        engine.await_port(("127.0.0.1", port))
        _load(port, "W")  # what is made once is made
        report.before = _load(port, "P")
        report.rss_before_mb = engine.usage().rss_mb
        began = time.monotonic()
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30)) for _ in range(room)]
        report.seconds, report.connections = time.monotonic() - began, len(idle)
        say(f"{len(idle):,} connections in {report.seconds:.1f} s")
        cpu = engine.usage().cpu_seconds
        time.sleep(PATIENT)
        used = engine.usage()
        report.idle_cpu, report.rss_with_mb = (used.cpu_seconds - cpu) / PATIENT, used.rss_mb
        report.beside = _load(port, "Q")
        _wake(idle[::100], report)
        for connection in idle:
            connection.close()
        _load(port, "R")  # they have been seen to go
        report.rss_after_mb = engine.usage().rss_mb
        report.exit_code = engine.stop()
    return report


def _descriptors(wanted: int) -> int:
    """How many connections this machine lets us have: the same limit holds for us and for the engine."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return min(wanted, most - SPARE)


def _load(port: int, prefix: str) -> dict[str, Any]:
    """The best of a few runs."""
    runs = [run_load(f"127.0.0.1:{port}", connections=MEASURED, count=MESSAGES, prefix=f"{prefix}{n}R") for n in range(RUNS)]
    return min(runs, key=lambda run: float(run["ack_ms"]["p99"]))


def _wake(some: list[socket.socket], report: Report) -> None:
    """They have been silent for a while, and are as good as new."""
    deck = Deck("Z")
    report.woken = len(some)
    for number, connection in enumerate(some):
        control, content = deck.content(number)
        connection.sendall(frame(content))
        answer = b""
        while not answer.endswith(END):
            answer += connection.recv(4096) or END
        report.answered += b"MSA|AA|" + control in answer


def page(report: Report) -> str:
    """docs/reports/idle-connections.md"""
    facts = machine(Path())

    def times(measured: dict[str, Any]) -> str:
        took = measured["ack_ms"]
        return f"{measured['acked_per_second']:,.0f}/s, p50 {took['p50']:.2f}, p99 {took['p99']:.2f}"

    rows = [
        ("connections that say nothing", f"{report.connections:,}"),
        ("to open them all, s", f"{report.seconds:.1f}"),
        ("memory before, MB", f"{report.rss_before_mb:.0f}"),
        ("memory with them, MB", f"{report.rss_with_mb:.0f}"),
        ("**memory of one**, KB", f"{report.kb_each:.1f}"),
        ("memory after they have gone, MB", f"{report.rss_after_mb:.0f}"),
        ("of one core, while nobody speaks", f"{report.idle_cpu * 100:.1f} %"),
        (f"{MEASURED} others, without them, ACK in ms", times(report.before)),
        (f"**{MEASURED} others, beside them**, ACK in ms", times(report.beside)),
        ("every hundredth speaks after all: answered AA", f"{report.answered} of {report.woken}"),
        ("exit code after SIGTERM", report.exit_code),
    ]
    fewer = (
        f" Wanted were {report.wanted:,}; this machine allows no more open files." if report.connections < report.wanted else ""
    )
    result = "Those that speak do not notice those that do not." if report.good else "FAILED."
    return (
        "# Idle connections\n\n"
        f"{result}{fewer} Version {facts['wardline']}; repeat it with `make campaign-idle`.\n\n"
        f"The channel of `wardline bench` with `max_connections` raised. {MEASURED} connections send {MESSAGES:,} charges, one in flight on each, {RUNS} times before and {RUNS} times beside the silent ones; the best of each counts.\n"
        "Memory is that of the engine and its translators (Pss); the kernel's own buffers are not in it.\n\n"
        "| | |\n|---|---|\n"
        + "\n".join(f"| {title} | {value} |" for title, value in rows)
        + f"\n\nMachine: {facts['cores']} cores, {facts['processor']}, {facts['system']}, {facts['file_system']}; Python {facts['python']}; "
        f"load average at the end {facts['load_average']}: other work ran beside this.\n"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.idle", description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--report", type=Path, help="write the page to this file")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="wardline-idle-") as directory:
        report = run(options.connections, Path(directory), lambda text: print(text, file=sys.stderr))
    print(json.dumps(report.summary(), indent=2))
    if options.report:
        options.report.write_text(page(report), encoding="utf-8")
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
