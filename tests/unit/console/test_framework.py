"""The way of a request through guard and door, on doors made for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from engine.console import app as console_app
from engine.console import doors as console_doors
from engine.console.answers import Conflict, Done, Download, Invalid, Shown
from engine.console.doors import Door, Scope, door
from engine.console.guard import COOKIE
from engine.console.home import Home
from engine.console.models import Asked, Instant, MessageId, Nothing, Told
from engine.console.rights import Grant, Right, Role, Who
from engine.console.visit import Visit

ORIGIN = {"origin": "https://testserver"}


class Trail:
    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []

    def write(self, *row: Any) -> None:
        self.rows.append(row)


class Persons:
    """Three who are known by the secret of their session."""

    def __init__(self) -> None:
        self.audit = Trail()
        self.empty = False
        self.known = {
            "boss": Who("boss", "Boss", (Grant(Role.ADMIN),), "session", "s1", "csrf-of-boss"),
            "lab": Who("lab", "Lab", (Grant(Role.ANALYST, "lab*"),), "session", "s2", "csrf-of-lab"),
            "new": Who("new", "New", (Grant(Role.ADMIN),), "session", "s3", "csrf-of-new", due="totp"),
        }

    def session(self, secret: str, touch: bool = True) -> Who | None:
        return self.known.get(secret)

    def token(self, bearer: str) -> Who | None:
        found = self.known.get(bearer)
        return found and Who(found.name, found.display, found.grants, "token")

    def close(self) -> None:
        pass


class Thing(Asked):
    name: str
    number: int = 1


class Seen(Told):
    name: str
    at: Instant = 0
    message: MessageId = 0


class Steer(Asked):
    channel: str
    why: str = ""


@pytest.fixture
def people() -> Persons:
    return Persons()


@pytest.fixture
def client(people: Persons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(console_doors, "_DOORS", [])
    _declare()
    made: list[Door] = list(console_doors._DOORS)
    monkeypatch.setattr(console_app, "doors", lambda: made)
    home = Home(
        tmp_path, f"sqlite:///{tmp_path}/none.db", cast(Any, people), organization="General <Hospital>", environment="test",
        timezone="America/New_York",
    )  # fmt: skip
    view = SimpleNamespace(users={"erp": frozenset({"lab1", "adt"})}, names=("adt", "lab1"), channels={}, index=())
    monkeypatch.setattr(home, "site", lambda: view)
    with TestClient(
        console_app.make_app(home), "https://testserver", raise_server_exceptions=False, follow_redirects=False
    ) as one:
        yield one


def _declare() -> None:
    @door("GET", "/things/{name}", Right.SEE, Scope.SOME, "view thing", page="refusal.html", api="/things/{name}")
    def thing(visit: Visit, asked: Thing) -> Seen:
        """One thing."""
        if asked.name == "missing":
            raise Conflict("it <b>moved</b>")
        if asked.name == "fault":
            raise RuntimeError("secret of PATIENT^ZERO")
        return Seen(name=asked.name, at=1_000_000, message=1)

    @door(
        "POST", "/channels/{channel}/stop", Right.STEER, Scope.CHANNEL, "stop channel", api="/channels/{channel}/stop", body=200
    )
    def stop(visit: Visit, asked: Steer) -> Done:
        """Stop it."""
        if asked.why == "bad":
            raise Invalid(("why", "is no reason"))
        visit.note(asked.channel, why=asked.why)
        return Done("/", f"{asked.channel} stops", status=202)

    @door("POST", "/destinations/{destination}/pause", Right.STEER, Scope.DESTINATION, "pause")
    def pause(visit: Visit, asked: Paused) -> Done:
        """Pause it."""
        return Done("/")

    @door("GET", "/all", Right.PEOPLE, Scope.SITE, "view people", api="/all")
    def everything(visit: Visit, asked: Nothing) -> Seen:
        """All."""
        return Seen(name="all")

    @door("GET", "/mine", None, Scope.OWN, "", api="/mine")
    def mine(visit: Visit, asked: Nothing) -> Seen:
        """Mine."""
        return Seen(name=visit.who.name)

    @door("GET", "/file", Right.READ, Scope.SOME, "download")
    def file(visit: Visit, asked: Nothing) -> Download:
        """A file."""
        return Download('a"b/../c.hl7', "application/octet-stream", iter([b"MSH|", b"^~\\&"]))

    @door("GET", "/open", None, Scope.PUBLIC, "", api="/open")
    def open_(visit: Visit, asked: Nothing) -> Seen | Shown:
        """Open to all."""
        return Seen(name="open")


class Paused(Asked):
    destination: str


def cookie(name: str) -> dict[str, str]:
    return {"cookie": f"{COOKIE}={name}"}


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}"}


def test_what_a_door_answers_is_json_for_the_api_with_ids_and_instants_as_text(client: TestClient, people: Persons) -> None:
    found = client.get("/api/v1/things/one?number=7", headers=bearer("boss"))
    assert found.status_code == 200, found.text
    assert found.json() == {"name": "one", "at": "1970-01-01T00:00:01.000000Z", "message": "1"}
    assert people.audit.rows == [("boss", "token", "view thing", "one", "ok", {})]


def test_nobody_is_sent_to_the_login_page_and_programs_hear_401(client: TestClient, people: Persons) -> None:
    page = client.get("/things/one?number=2")
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=%2Fthings%2Fone%3Fnumber%3D2")
    answer = client.get("/api/v1/things/one")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    people.empty = True
    assert client.get("/things/one").headers["location"] == "/first"


def test_a_session_is_not_taken_for_a_token_nor_the_other_way_round(client: TestClient) -> None:
    assert client.get("/things/one", headers=bearer("boss")).status_code == 303
    assert client.get("/api/v1/things/one", headers={"authorization": "Basic boss"}).status_code == 401


def test_rights_are_asked_on_the_channel_of_the_path(client: TestClient, people: Persons) -> None:
    stop = "/api/v1/channels/{}/stop"
    assert client.post(stop.format("adt"), headers=bearer("boss")).status_code == 202
    assert client.post(stop.format("lab1"), headers=bearer("lab")).status_code == 403  # an analyst does not steer
    assert client.post(stop.format("adt"), headers=bearer("lab")).status_code == 404  # and does not know of others
    assert [row[4] for row in people.audit.rows] == ["begun", "ok", "denied", "denied"]
    assert people.audit.rows[2][5] == {"right": "steer", "channel": "lab1"}


def test_a_destination_is_steered_by_who_may_steer_all_that_deliver_to_it(client: TestClient, people: Persons) -> None:
    people.known["lab"] = Who("lab", "Lab", (Grant(Role.OPERATOR, "lab*"),), "session", "s2", "c")
    path, data = "/destinations/erp/pause", {"csrf": "c"}
    assert client.post(path, data=data, headers=cookie("lab") | ORIGIN).status_code == 404
    people.known["lab"] = Who("lab", "Lab", (Grant(Role.OPERATOR, "lab*"), Grant(Role.VIEWER)), "session", "s2", "c")
    assert client.post(path, data=data, headers=cookie("lab") | ORIGIN).status_code == 403
    people.known["lab"] = Who("lab", "Lab", (Grant(Role.OPERATOR),), "session", "s2", "c")
    assert client.post(path, data=data, headers=cookie("lab") | ORIGIN).status_code == 303


def test_whole_site_doors_want_the_right_on_all_channels(client: TestClient) -> None:
    assert client.get("/api/v1/all", headers=bearer("boss")).status_code == 200
    assert client.get("/api/v1/all", headers=bearer("lab")).status_code == 403


def test_who_has_something_to_do_first_reaches_only_what_is_their_own(client: TestClient) -> None:
    assert client.get("/things/one", headers=cookie("new")).status_code == 403
    assert client.get("/mine", headers=cookie("new")).status_code != 403


@pytest.mark.parametrize(
    ("data", "headers", "status"),
    [
        ({"csrf": "csrf-of-boss"}, ORIGIN, 303),
        ({"csrf": "csrf-of-boss"}, {}, 303),  # no browser: there is no origin to forge
        ({}, ORIGIN | {"x-csrf": "csrf-of-boss"}, 303),
        ({}, ORIGIN, 403),
        ({"csrf": "csrf-of-lab"}, ORIGIN, 403),
        ({"csrf": "csrf-of-boss"}, {"origin": "https://evil.example"}, 403),
        ({"csrf": "csrf-of-boss"}, {"origin": "null"}, 403),
        ({"csrf": "csrf-of-boss"}, {"sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_a_change_shows_its_sessions_token_and_comes_from_our_own_page(
    client: TestClient, data: dict[str, str], headers: dict[str, str], status: int
) -> None:
    answer = client.post("/channels/adt/stop", data=data, headers=cookie("boss") | headers)
    assert answer.status_code == status


def test_what_was_done_is_said_once_on_the_next_page(client: TestClient) -> None:
    client.post("/channels/adt/stop", data={"csrf": "csrf-of-boss"}, headers=cookie("boss") | ORIGIN)
    denied = client.get("/nothing", headers=cookie("boss"))
    assert denied.status_code == 404
    page = client.get("/things/missing", headers=cookie("boss"))
    assert "adt stops" in page.text
    assert "it &lt;b&gt;moved&lt;/b&gt;" in page.text
    assert "adt stops" not in client.get("/things/missing", headers=cookie("boss")).text


def test_a_body_is_read_within_its_limit_and_not_before_the_right_is_known(client: TestClient) -> None:
    path = "/api/v1/channels/adt/stop"
    assert client.post(path, json={"why": "x" * 300}, headers=bearer("boss")).status_code == 413
    assert client.post(path, content=b"{" * 150, headers=bearer("lab")).status_code == 404
    broken = client.post(path, content=b"{", headers=bearer("boss") | {"content-type": "application/json"})
    assert broken.status_code == 422

    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield b"a" * 100

    assert client.post(path, content=endless(), headers=bearer("boss")).status_code == 413


def test_what_cannot_be_understood_is_told_field_by_field(client: TestClient) -> None:
    answer = client.get("/api/v1/things/one?number=seven&nonsense=1", headers=bearer("boss"))
    assert answer.status_code == 422
    assert {one["field"] for one in answer.json()["problems"]} == {"number", "nonsense"}
    answer = client.post("/api/v1/channels/adt/stop", json={"why": "bad"}, headers=bearer("boss"))
    assert answer.json()["problems"] == [{"field": "why", "problem": "is no reason"}]


def test_a_fault_of_ours_tells_nothing_of_its_text(client: TestClient, people: Persons) -> None:
    for path, headers in (("/things/fault", cookie("boss")), ("/api/v1/things/fault", bearer("boss"))):
        answer = client.get(path, headers=headers)
        assert answer.status_code == 500
        assert "PATIENT" not in answer.text
        assert "RuntimeError" not in answer.text
    assert people.audit.rows[-1][4] == "failed"


def test_a_download_is_never_shown_and_has_a_harmless_name(client: TestClient) -> None:
    answer = client.get("/file", headers=cookie("boss"))
    assert answer.content == b"MSH|^~\\&"
    assert answer.headers["content-disposition"] == 'attachment; filename="a_b_.._c.hl7"'


def test_every_answer_has_the_headers_that_browsers_must_know(client: TestClient) -> None:
    answers = [
        client.get(path, headers=cookie("boss")) for path in ("/things/one", "/no", "/file", "/open", "/static/console.css")
    ]
    answers += [client.post("/no"), client.get("/api/v1/no"), client.put("/things/one")]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["cache-control"]
        assert "server" not in answer.headers


def test_one_person_does_not_take_every_thread(client: TestClient, people: Persons, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.console import guard

    monkeypatch.setattr(guard, "IN_FLIGHT", 2)
    inside, go = threading.Semaphore(0), threading.Event()
    slow = people.session

    def session(secret: str, touch: bool = True) -> Who | None:
        return slow(secret)

    monkeypatch.setattr(people, "session", session)
    write = people.audit.write

    def waiting(*row: Any) -> None:
        inside.release()
        go.wait(20)
        write(*row)

    monkeypatch.setattr(people.audit, "write", waiting)
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(client.get("/api/v1/things/one", headers=bearer("boss")).status_code))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert inside.acquire(timeout=20)
    monkeypatch.setattr(people.audit, "write", write)
    late = client.get("/api/v1/things/one", headers=bearer("boss"))
    other = client.get("/api/v1/mine", headers=bearer("lab"))
    go.set()
    for thread in threads:
        thread.join(20)
    assert (late.status_code, other.status_code, found) == (429, 200, [200, 200])
    assert late.headers["retry-after"]


def test_the_api_describes_itself(client: TestClient) -> None:
    described = client.get("/api/v1/openapi.json").json()
    assert described["paths"]["/api/v1/channels/{channel}/stop"]["post"]["x-right"] == "steer"
    assert described["paths"]["/api/v1/open"]["get"]["security"] == []


def test_a_door_without_a_right_cannot_be_declared() -> None:
    with pytest.raises(ValueError, match="a door has a right"):
        door("GET", "/x", None, Scope.SOME, "x")
    with pytest.raises(ValueError, match="GET or POST"):
        door("DELETE", "/x", Right.SEE, Scope.SOME, "x")
