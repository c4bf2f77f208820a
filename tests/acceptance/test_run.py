"""`wardline run` as an operator meets it: it accepts, delivers, ends well, and refuses to start with a clear word."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.testing.processes import ProcessFailed
from tests.acceptance.place import MESSAGE, Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    with made.engine:
        yield made


def run(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from engine.cli import main; main()", "run", "--site", str(directory)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_what_arrives_is_acknowledged_and_delivered_and_the_end_is_clean(place: Place) -> None:
    place.start()
    answers = place.exchange(*(MESSAGE % b"M%d" % n for n in range(5)))
    assert [b"MSA|AA|M%d" % n in answer for n, answer in enumerate(answers)] == [True] * 5
    assert sorted(place.delivered(5)) == sorted(MESSAGE % b"M%d" % n for n in range(5))
    assert (place.asks("/live"), place.asks("/ready"), place.asks("/metrics")) == (200, 200, 200)
    assert place.engine.stop() == 0


def test_what_the_channel_does_not_accept_is_refused_and_named(place: Place) -> None:
    place.start()
    refused, garbage = place.exchange(MESSAGE.replace(b"ADT^A01^ADT_A01", b"ORU^R01") % b"R1", b"no message at all")
    assert b"MSA|AR|R1" in refused
    assert b"MSH-9" in refused
    assert b"MSA|AE" in garbage


def test_a_duplicate_gets_the_same_bytes_and_is_delivered_once(place: Place) -> None:
    place.start()
    first, again = place.exchange(MESSAGE % b"D1", MESSAGE % b"D1")
    assert first == again
    place.exchange(MESSAGE % b"D2")
    assert len(place.delivered(2)) == 2


def test_what_was_acknowledged_before_a_kill_is_delivered_after_it(place: Place) -> None:
    place.start()
    (place.directory / "out").write_text("in the way: nothing can be delivered yet")
    place.exchange(*(MESSAGE % b"K%d" % n for n in range(20)))
    place.engine.kill()
    (place.directory / "out").unlink()
    place.start()
    assert sorted(place.delivered(20)) == sorted(MESSAGE % b"K%d" % n for n in range(20))


def test_a_second_engine_on_the_same_store_is_told_to_wait(place: Place) -> None:
    place.start()
    second = run(place.directory)
    assert second.returncode == 75
    assert "another engine" in (second.stderr + second.stdout).lower()


def test_a_wrong_configuration_names_every_error_and_ends_with_78(place: Place) -> None:
    channel = place.directory / "channels" / "adt.yaml"
    channel.write_text(channel.read_text().replace("to: drop", "to: dorp").replace("format: hl7v2", "formt: hl7v2"))
    told = run(place.directory)
    assert told.returncode == 78
    assert "channels/adt.yaml:" in told.stderr
    assert "formt" in told.stderr
    assert "drop" in told.stderr


def test_an_address_in_use_is_named(place: Place) -> None:
    with socket.create_server(("127.0.0.1", place.port)):
        told = run(place.directory)
    assert told.returncode == 1
    assert str(place.port) in told.stderr


def test_metrics_and_logs_name_no_patient(place: Place) -> None:
    place.start()
    place.exchange(MESSAGE % b"P1")
    place.delivered(1)
    with urllib.request.urlopen(f"http://127.0.0.1:{place.monitor}/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    assert 'wardline_messages_received_total{channel="adt"} 1' in metrics
    for secret in ("TESTER", "4711"):
        assert secret not in metrics
        assert secret not in place.engine.tail(100_000)


def test_without_its_translators_the_engine_says_why_and_ends_and_a_start_repeats_their_work(place: Place) -> None:
    place.start()
    place.exchange(MESSAGE % b"T1")
    place.delivered(1)
    pid = place.engine.pid
    keepers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for keeper in keepers:
        os.kill(int(keeper), signal.SIGKILL)
    with pytest.raises(ProcessFailed, match="the engine ended with 1:"):
        place.lives_for(30)
    assert "a keeper of translators is gone" in place.engine.tail()
    place.start()
    place.exchange(MESSAGE % b"T2")
    place.delivered(2)
