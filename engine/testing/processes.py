"""The engine, the receivers and the load generator as processes, for measuring and for killing.

These run real processes on real sockets. Everything here blocks; nothing of it belongs into the engine's own process.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

BENCH_SITE = Path(__file__).parent / "bench_site"
START_WITHIN = 30.0  # seconds from starting a process to its first answer
STOP_WITHIN = 30.0  # seconds from SIGTERM to the end: the engine's own limit and some more

_TICKS = os.sysconf("SC_CLK_TCK")
_COMMAND = (sys.executable, "-c", "from engine.cli import main; main()")


class ProcessFailed(Exception):
    """A process that should be working is not; the text has the end of what it wrote."""


class Usage(NamedTuple):
    """What a process and those it started have used."""

    cpu_seconds: float
    rss_mb: float
    peak_rss_mb: float


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on just now, outside the range that outgoing connections are given: there,
    someone who tries again and again while nobody listens would one day be connected to himself."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(min(12_000, lowest - 1000), lowest)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def copy_site(directory: Path, *, store: str = "sqlite:///data/wardline.db", monitor: str = "") -> Path:
    """A copy of the site that bench and campaigns run, with its own store, in `directory`."""
    shutil.copytree(BENCH_SITE, directory, dirs_exist_ok=True)
    settings = [
        "organization: General Hospital",
        "environment: bench",
        "timezone: America/New_York",
        f"store: {json.dumps(store)}",
    ]
    if monitor:
        settings.append(f"monitor: {{listen: {json.dumps(monitor)}}}")
    (directory / "conf" / "engine.yaml").write_text("\n".join(settings) + "\n")
    return directory


class EngineProcess:
    """`wardline run` on a site. Start it, kill it, start it again: its log goes on in the same file."""

    def __init__(self, site: Path, environment: Mapping[str, str]) -> None:
        self.site = site
        self.log = site / "engine.log"
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0

    def start(self) -> None:
        with open(self.log, "ab") as log:
            self.started_at = time.monotonic()
            self._process = subprocess.Popen(
                [*_COMMAND, "run", "--site", str(self.site)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def check(self) -> None:
        """Raises ProcessFailed where it has ended by itself."""
        if self._process is not None and (code := self._process.poll()) is not None:
            raise ProcessFailed(f"the engine ended with {code}:\n{self.tail()}")

    def await_port(self, address: tuple[str, int], limit: float = START_WITHIN) -> None:
        """Return when `address` accepts connections. Raises ProcessFailed."""
        end = time.monotonic() + limit
        while True:
            try:
                socket.create_connection(address, timeout=1).close()
            except OSError:
                self.check()
                if time.monotonic() > end:
                    raise ProcessFailed(f"the engine does not listen at {address} after {limit:g} s:\n{self.tail()}") from None
                time.sleep(0.005)
            else:
                return

    def kill(self) -> None:
        """SIGKILL, as a crash would: nothing of it runs on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def stop(self) -> int:
        """SIGTERM; the exit code. One that does not end in time is killed, and told as -9."""
        if self._process is None:
            return 0
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def ended(self, limit: float = STOP_WITHIN) -> int:
        """The exit code of one that ends by itself. Raises ProcessFailed where it does not."""
        assert self._process is not None
        try:
            code = self._process.wait(limit)
        except subprocess.TimeoutExpired:
            raise ProcessFailed(f"the engine still runs after {limit:g} s:\n{self.tail()}") from None
        self._process = None
        return code

    def usage(self) -> Usage:
        """Of the process and of every process below it."""
        return add_usage(self.pid)

    def tail(self, size: int = 4000) -> str:
        data = self.log.read_bytes() if self.log.exists() else b""
        return data[-size:].decode(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            self.stop()


def add_usage(pid: int) -> Usage:
    """proc(5): utime and stime of all threads (fields 14 and 15 of stat); memory as Pss, in which a page that processes share
    counts once; at its peak the process's own VmHWM with the Pss of those below it."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    cpu = (int(stat[11]) + int(stat[12])) / _TICKS
    peak = int(status["VmHWM"].split()[0]) / 1024
    shares = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    rss = next(int(line.split()[1]) for line in shares if line.startswith("Pss:")) / 1024
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            below = add_usage(int(child))
            cpu, rss, peak = cpu + below.cpu_seconds, rss + below.rss_mb, peak + below.rss_mb
    return Usage(cpu, rss, peak)


class SinkProcess:
    """`python -m engine.testing.sink`; `addresses` says where it listens, by protocol."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "engine.testing.sink", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.addresses: dict[str, str] = self._read()

    def ask(self, question: str = "stats") -> dict[str, Any]:
        """`stats`: what has arrived; `reset`: the same, and start afresh."""
        assert self._process.stdin is not None
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return self._read()

    def stop(self) -> None:
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        self._process.wait(STOP_WITHIN)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ProcessFailed(f"the receiver ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


class SimulatorProcess:
    """`wardline simulate`; `addresses` says where it listens, by protocol. `stop` gives its summary."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [*_COMMAND, "simulate", "--json", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.addresses: dict[str, str] = {}
        while len(self.addresses) < sum(argument in ("--mllp", "--http") for argument in arguments):
            assert self._process.stderr is not None
            line = self._process.stderr.readline()
            if not line.startswith("listening "):
                self._process.kill()
                raise ProcessFailed(f"the simulator does not listen:\n{line}{self._process.communicate()[1]}")
            protocol, _, address = line.removeprefix("listening ").strip().partition("://")
            self.addresses[protocol] = address

    def stop(self) -> dict[str, Any]:
        """SIGINT, as Ctrl-C is. Raises ProcessFailed where it does not end well."""
        self._process.send_signal(signal.SIGINT)
        output, said = self._process.communicate(timeout=STOP_WITHIN)
        if self._process.returncode != 0:
            raise ProcessFailed(f"the simulator ended with {self._process.returncode}:\n{said}")
        summary: dict[str, Any] = json.loads(output)
        return summary

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


def run_load(to: str, **options: float | str) -> dict[str, Any]:
    """`python -m engine.testing.load` to its end, and its report. `in_flight=10` is `--in-flight 10`."""
    arguments = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", f"{value}")]
    done = subprocess.run(
        [sys.executable, "-m", "engine.testing.load", to, *arguments], stdout=subprocess.PIPE, check=False, text=True
    )
    if done.returncode != 0:
        raise ProcessFailed(f"the load generator ended with {done.returncode}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report
