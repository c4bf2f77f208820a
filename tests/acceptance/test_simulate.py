"""`wardline simulate` as people and scripts run it, with `wardline send` and curl-like requests as its peers."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from engine.testing.charges import Deck
from engine.testing.ledger import read_ledger
from engine.testing.processes import SimulatorProcess, free_port

DECK = Deck("S")
COMMAND = [sys.executable, "-c", "from engine.cli import main; main()"]
Simulate = Callable[..., SimulatorProcess]


@pytest.fixture
def simulate() -> Iterator[Simulate]:
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(SimulatorProcess(*arguments))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    directory = tmp_path / "messages"
    directory.mkdir()
    for number in range(10):
        (directory / f"{number}.hl7").write_bytes(DECK.content(number)[1])
    return directory


def send(files: Path, to: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [*COMMAND, "send", str(files), "--to", f"mllp://{to}", "--json", *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def post(simulator: SimulatorProcess, *keys: str) -> list[tuple[int, str | None]]:
    """Status and Retry-After of a request for each key, all on one connection."""
    with closing(http.client.HTTPConnection(simulator.addresses["http"], timeout=10)) as connection:
        got = []
        for key in keys:
            connection.request("POST", "/charges", b'{"charge": 1}', {"Idempotency-Key": key})
            answer = connection.getresponse()
            answer.read()
            got.append((answer.status, answer.getheader("Retry-After")))
        return got


def test_what_it_took_is_in_its_ledger_and_in_its_summary(simulate: Simulate, files: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "taken.jsonl"
    simulator = simulate("--mllp", "127.0.0.1:0", "--ledger", str(ledger), "--fault", "ae:101/5")
    assert send(files, simulator.addresses["mllp"])["answers"] == {"AA": 8, "AE": 2}
    written = list(read_ledger(str(ledger)))
    expected = [DECK.content(number) for number in range(10)]
    assert [(entry["identity"], entry["sha256"]) for entry in written] == [
        (control.decode(), hashlib.sha256(content).hexdigest()) for control, content in expected
    ]
    assert b"Abernathy" not in ledger.read_bytes()
    summary = simulator.stop()["mllp"]
    assert (summary["received"], summary["distinct"], summary["repeated"]) == (10, 10, 0)
    assert summary["answers"] == {"AA": 8, "AE": 2}
    assert summary["faults"] == {"ae:101/5": 2}


def test_the_same_seed_gives_the_same_run(simulate: Simulate, files: Path) -> None:
    def run(seed: int) -> dict[str, int]:
        simulator = simulate("--mllp", "127.0.0.1:0", "--seed", str(seed), "--fault", "ae/~3", "--fault", "ar/~5")
        send(files, simulator.addresses["mllp"], "--count", "60")
        answers: dict[str, int] = simulator.stop()["mllp"]["answers"]
        return answers

    assert run(7) == run(7) != run(8)


def test_a_receiver_that_is_not_always_there(simulate: Simulate, files: Path) -> None:
    """Of any three messages, 200 ms apart, one finds it there and one does not."""
    simulator = simulate("--mllp", "127.0.0.1:0", "--fault", "down:300ms/600ms")
    report = send(files, simulator.addresses["mllp"], "--count", "9", "--rate", "5/s", "--timeout", "1")
    assert report["answers"].get("AA", 0) > 0
    assert report["no_answer"] + report["not_sent"] > 0


def test_http_requests_are_answered_with_their_faults(simulate: Simulate, tmp_path: Path) -> None:
    ledger = tmp_path / "taken.jsonl"
    simulator = simulate("--http", "127.0.0.1:0", "--fault", "status:500@2", "--fault", "busy:7s@3", "--ledger", str(ledger))
    got = post(simulator, "K1", "K2", "K2")
    assert got == [(200, None), (500, None), (503, "7")]
    assert [entry["identity"] for entry in read_ledger(str(ledger))] == ["K1", "K2", "K2"]
    assert simulator.stop()["http"]["repeated"] == 1


def test_both_at_once_count_for_themselves(simulate: Simulate, files: Path) -> None:
    simulator = simulate("--mllp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--fault", "ae@1", "--fault", "status:422@1")
    assert send(files, simulator.addresses["mllp"])["answers"] == {"AA": 9, "AE": 1}
    assert post(simulator, "K1") == [(422, None)]
    summary = simulator.stop()
    assert (summary["mllp"]["received"], summary["http"]["received"]) == (10, 1)


def test_in_a_terminal_there_is_a_table_and_ctrl_c_ends_it_with_0(files: Path) -> None:
    ours, theirs = pty.openpty()
    port = free_port()
    process = subprocess.Popen([*COMMAND, "simulate", "--mllp", f"127.0.0.1:{port}"], stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    with process, open(ours, "rb", buffering=0) as screen:
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"listening ")
        send(files, f"127.0.0.1:{port}")
        shown = b""
        while b"AA 10" not in shown:
            assert select.select([screen], [], [], 30)[0], shown
            shown += screen.read(4096)
        process.send_signal(signal.SIGINT)
        while process.poll() is None:
            if select.select([screen], [], [], 0.1)[0]:
                try:
                    screen.read(4096)
                except OSError:
                    break
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "say where to listen"),
        (["--mllp", "127.0.0.1"], "the port is missing"),
        (["--mllp", "127.0.0.1:0", "--fault", "dealy:3s"], "Did you mean 'delay'"),
        (["--mllp", "127.0.0.1:0", "--fault", "status:500"], "a fault of http"),
    ],
)
def test_wrong_usage_is_told_with_what_was_expected(arguments: list[str], text: str) -> None:
    done = subprocess.run([*COMMAND, "simulate", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert text in done.stderr


def test_an_address_in_use_is_told(simulate: Simulate) -> None:
    first = simulate("--mllp", "127.0.0.1:0")
    done = subprocess.run(
        [*COMMAND, "simulate", "--mllp", first.addresses["mllp"]], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "cannot listen" in done.stderr
