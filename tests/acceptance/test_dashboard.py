"""The dashboard beside a real engine: what it shows is so, and what is done there is done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lxml import html
from starlette.testclient import TestClient

from engine.config import load_site
from engine.console.app import make_app
from engine.console.home import Home
from engine.console.people import Actor, People
from engine.console.people.passwords import Passwords
from engine.console.people.trail import entries
from engine.console.pulse import pulse
from engine.console.rights import Grant, Role
from tests.acceptance.place import MESSAGE, Place
from tests.acceptance.test_reload import accepts, place, until
from tests.console import PASSWORD, Client

__all__ = ["place"]  # the fixture


class Desk:
    """A console on a place, and people at it."""

    def __init__(self, place: Place) -> None:
        site = load_site(place.directory)
        self.people = People(place.directory, lambda: time.time_ns() // 1000, passwords=Passwords(1, 8))
        store = f"sqlite:///{place.directory}/data/wardline.db"
        about = {"organization": site.organization, "environment": site.environment, "timezone": site.timezone}
        self.home = Home(place.directory, store, self.people, **about)
        self.app = make_app(self.home)

    def as_(self, role: str) -> Client:
        invitation = self.people.persons.add(Actor("tests", "local"), role, role, (Grant(Role(role), "*"),))
        self.people.persons.accept(invitation, PASSWORD, "127.0.0.1")
        return Client(self.app, self.people, self.people.login.password(role, PASSWORD, "127.0.0.1", "tests").cookie)


@pytest.fixture
def desk(place: Place) -> Iterator[Desk]:
    made = Desk(place)
    with TestClient(made.app):
        yield made


def line(client: Client, kind: str, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = client.get(f"/api/v1/{kind}").json()
    return next(one for one in found if one["name"] == name)


def test_what_runs_is_shown_and_one_channel_is_stopped_and_started_there(place: Place, desk: Desk) -> None:
    operator = desk.as_("operator")
    place.exchange(*(MESSAGE % b"M%d" % n for n in range(5)), MESSAGE % b"M0")
    place.delivered(5)
    pulse(desk.home).hurry()
    shown = line(operator, "channels", "adt")
    assert (shown["state"], shown["received"], shown["duplicate"], shown["connections"]) == ("running", 5, 1, 0)
    assert shown["address"].endswith(f":{place.port}")
    assert shown["last_received_at"]
    assert line(operator, "destinations", "drop")["delivered"] == 5
    answer = operator.post("/channels/adt/stop", {"why": "new sender"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert not accepts(place.port)
    page = html.fromstring(operator.get("/").text)
    assert "adt is stopped" in page.xpath("string(//p[@class='note'])")
    row = page.get_element_by_id("channels-adt").text_content()
    assert "stopped" in row
    assert "stopped by operator: new sender" in row
    assert operator.post("/channels/adt/start", {"why": "it is here"}).status_code == 303
    assert accepts(place.port)
    trail = [entry for entry in entries(desk.people.database) if entry.what in ("stop channel", "start channel")]
    assert [(entry.what, entry.who, entry.object, entry.outcome) for entry in trail] == [
        ("start channel", "operator", "adt", "ok"),
        ("start channel", "operator", "adt", "begun"),
        ("stop channel", "operator", "adt", "ok"),
        ("stop channel", "operator", "adt", "begun"),
    ]


def test_a_destination_is_paused_and_what_waits_is_counted(place: Place, desk: Desk) -> None:
    operator = desk.as_("operator")
    assert operator.post("/destinations/drop/pause", {"why": "moving"}).status_code == 303
    place.exchange(*(MESSAGE % b"M%d" % n for n in range(7)))

    def waits() -> bool:
        pulse(desk.home).hurry()
        return line(operator, "destinations", "drop")["waiting"] == 7

    until(waits, "they do not wait")
    shown = line(operator, "destinations", "drop")
    assert (shown["state"], shown["why"]) == ("paused", "paused by operator: moving")
    assert operator.post("/destinations/drop/resume", {"why": "moved"}).status_code == 303
    assert len(place.delivered(7)) == 7


def test_draining_is_shown_until_all_is_delivered(place: Place, desk: Desk) -> None:
    operator = desk.as_("operator")
    operator.post("/destinations/drop/pause", {"why": "so that something waits"})
    place.exchange(MESSAGE % b"A")
    operator.post("/channels/adt/drain", {"why": "moving"})
    pulse(desk.home).hurry()
    assert line(operator, "channels", "adt")["state"] == "draining"
    operator.post("/destinations/drop/resume", {"why": "go on"})

    def stopped() -> bool:
        pulse(desk.home).hurry()
        return line(operator, "channels", "adt")["state"] == "stopped"

    until(stopped, "it does not drain")


def test_an_engine_that_is_killed_is_away(place: Place, desk: Desk, tmp_path: Path) -> None:
    operator = desk.as_("operator")
    assert line(operator, "channels", "adt")["state"] == "running"
    place.engine.kill()
    pulse(desk.home).hurry()
    assert line(operator, "channels", "adt")["state"] == "away"
    assert operator.get("/").status_code == 200
