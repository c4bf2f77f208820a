"""`wardline send` as people and scripts run it, against real receivers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.testing.charges import Deck
from engine.testing.processes import SinkProcess, free_port

DECK = Deck("S")


def send(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from engine.cli import main; main()", "send", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def send_json(*arguments: object) -> tuple[int, dict[str, Any]]:
    done = send(*arguments, "--json")
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def receiver() -> Iterator[SinkProcess]:
    with SinkProcess("--mllp", "127.0.0.1:0") as sink:
        yield sink


@pytest.fixture
def to(receiver: SinkProcess) -> str:
    receiver.ask("reset")
    return f"mllp://{receiver.addresses['mllp']}"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Seven messages in three files, and two files that are none."""
    (tmp_path / "one.hl7").write_bytes(DECK.content(0)[1])
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "many.txt").write_bytes(b"\n".join(DECK.content(number)[1] for number in range(1, 6)))
    (tmp_path / "lines.hl7").write_bytes(DECK.content(6)[1].replace(b"\r", b"\r\n"))
    (tmp_path / "notes.md").write_text("# no message")
    (tmp_path / "empty.hl7").write_bytes(b"")
    return tmp_path


def test_every_message_is_sent_and_answered(files: Path, to: str, receiver: SinkProcess) -> None:
    done = send(files, "--to", to)
    assert done.returncode == 0, done.stderr
    assert "AA" in done.stdout
    assert "7 messages" in done.stdout
    assert "notes.md: no HL7 v2" in done.stderr
    assert "empty.hl7: empty" in done.stderr
    assert receiver.ask()["distinct"] == 7


def test_json_for_scripts(files: Path, to: str) -> None:
    code, report = send_json(files, "--to", to, "--connections", 3)
    assert code == 0
    assert report["good"] is True
    assert (report["messages"], report["answers"], report["no_answer"]) == (7, {"AA": 7}, 0)
    assert 0 < report["ms"]["p50"] <= report["ms"]["p99"]
    assert [Path(skipped["source"]).name for skipped in report["skipped"]] == ["empty.hl7", "notes.md"]


def test_a_count_goes_round_again(files: Path, to: str, receiver: SinkProcess) -> None:
    code, report = send_json(files / "below", "--to", to, "--count", 12, "--rate", "1000/s")
    assert (code, report["answers"]) == (0, {"AA": 12})
    arrived = receiver.ask()
    assert (arrived["received"], arrived["distinct"]) == (12, 5)


def test_refusals_are_shown_and_end_with_1(tmp_path: Path, to: str) -> None:
    (tmp_path / "wrong.hl7").write_bytes(b"PID|1||4711\r")
    (tmp_path / "right.hl7").write_bytes(DECK.content(0)[1])
    done = send(tmp_path, "--to", to)
    assert done.returncode == 1
    assert "wrong.hl7  AR: no reason given" in done.stdout
    assert send(tmp_path, "--to", to, "--allow-refusals").returncode == 0


def test_quiet_says_nothing_where_all_is_well(files: Path, to: str) -> None:
    done = send(files, "--to", to, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_nobody_listening_ends_with_1_and_says_so(files: Path) -> None:
    done = send(files, "--to", f"mllp://127.0.0.1:{free_port()}", "--allow-refusals")
    assert done.returncode == 1
    assert "gave up" in done.stderr
    assert "not connected" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--to", "http://127.0.0.1:80"], "write mllp://host:port"),
        (["--to", "mllp://127.0.0.1"], "the port is missing"),
        (["--to", "mllp://127.0.0.1:6661", "--rate", "20"], "20/s"),
        ([], "--to"),
    ],
)
def test_wrong_usage_is_told_with_what_was_expected(files: Path, arguments: list[str], text: str) -> None:
    done = send(files, *arguments)
    assert done.returncode == 2
    assert text in done.stderr


def test_nothing_to_send_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# no message")
    done = send(tmp_path, "--to", "mllp://127.0.0.1:1")
    assert done.returncode == 2
    assert "there is no HL7 v2 message" in done.stderr
