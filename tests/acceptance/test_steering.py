"""Stopping, draining and starting one channel of a real engine, from the command line."""

from __future__ import annotations

import json
import socket
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from engine.operations.control import Caller
from engine.store.figures import Tallied
from engine.store.history import History
from engine.testing.processes import free_port
from tests.acceptance.place import MESSAGE, Place
from tests.acceptance.test_reload import accepts, channel, place, refused, until, wardline

__all__ = ["place"]  # the fixture


def state(place: Place, name: str) -> dict[str, Any]:
    with Caller(place.directory) as caller:
        found: dict[str, Any] = caller("status")["channels"][name]
    return found


def test_one_channel_is_stopped_and_the_other_never_notices(place: Place) -> None:
    other = free_port()
    channel(place, "lab", other)
    assert wardline(place, "reload").exit_code == 0
    with socket.create_connection(("127.0.0.1", other), timeout=20) as steady:
        assert (
            wardline(place, "stop", "adt", "--why", "new sender").output
            == "adt is stopped: it takes nothing, and translates nothing\n"
        )
        assert not accepts(place.port)
        assert accepts(other)
        assert steady.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    said = json.loads(wardline(place, "status", "--json").output)["channels"]
    assert said["adt"]["state"] == "stopped"
    assert said["adt"]["why"].endswith(": new sender")
    assert said["lab"]["state"] == "running"
    wardline(place, "reload")
    assert not accepts(place.port)
    place.engine.kill()
    place.engine.start()
    place.engine.await_port(("127.0.0.1", other))
    assert not accepts(place.port)
    assert state(place, "adt")["state"] == "stopped"
    assert wardline(place, "start", "adt").output == "adt runs\n"
    assert b"MSA|AA|A" in place.exchange(MESSAGE % b"A")[0]
    assert "Did you mean 'adt'" in str(refused(place, "stop", "adtt"))


def test_a_channel_drains_and_what_cannot_be_opened_says_why(place: Place) -> None:
    place.exchange(*(MESSAGE % b"M%d" % n for n in range(50)))
    assert wardline(place, "drain", "adt").output.startswith("adt is draining")
    until(lambda: state(place, "adt")["state"] == "stopped", "it does not drain")
    assert len(place.delivered(50)) == 50
    with socket.create_server(("127.0.0.1", place.port)):
        assert "address already in use" in str(refused(place, "start", "adt"))
        assert state(place, "adt")["state"] == "failed"
    assert wardline(place, "start", "adt").output == "adt runs\n"
    assert accepts(place.port)


def test_without_an_engine_it_is_noted_for_the_next_start(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (tmp_path / "data").mkdir()
    assert wardline(place, "stop", "adt").output == "no engine runs here: adt will be stopped at its next start\n"
    assert "there is no channel" in str(refused(place, "stop", "lab"))
    with place.engine:
        place.engine.start()
        until((tmp_path / ".wardline" / "control.sock").exists, "it does not start")
        until(lambda: state(place, "adt")["state"] == "stopped", "it is not stopped")
        assert not accepts(place.port)


def test_what_is_submitted_by_hand_is_answered_and_delivered(place: Place) -> None:
    place.exchange(MESSAGE % b"A")
    place.delivered(1)
    with Caller(place.directory) as caller:
        said = caller("submit", channel="adt", content=b64encode(MESSAGE % b"B").decode(), who="ann", why="corrected")
        again = caller("submit", channel="adt", content=b64encode(MESSAGE % b"B").decode(), who="ann")
    assert said["verdict"] == "accepted"
    assert again["message"] == said["message"], "a double Enter"
    assert again["reply"] == said["reply"]
    assert len(place.delivered(2)) == 2
    assert "corrected" in place.engine.tail()


def test_what_came_and_went_is_in_the_store_after_a_stop(place: Place) -> None:
    place.exchange(*(MESSAGE % b"M%d" % n for n in range(20)))
    place.delivered(20)
    place.engine.stop()
    with History(f"sqlite:///{place.directory}/data/wardline.db") as history:
        found = history.tallies("channel", "adt", 3600, 0, 0)
        assert found == []
        now = history.find()[0].received_at
        found = history.tallies("channel", "adt", 3600, now - 2 * 3_600_000_000, now + 3_600_000_000)
        counted: dict[str, int] = {}
        for one in found:
            assert isinstance(one, Tallied)
            counted[one.what] = counted.get(one.what, 0) + one.amount
        assert (counted["received"], counted["acknowledged"]) == (20, 20)
        assert counted["acknowledgement time"] > 0


@pytest.mark.parametrize("verb", ["stop", "drain", "start"])
def test_every_word_is_explained(place: Place, verb: str) -> None:
    assert "CHANNEL" in wardline(place, verb, "--help").output
