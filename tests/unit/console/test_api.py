"""The API: complete, described as it is, and never a server error, whoever asks whatever."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from engine.console import openapi
from engine.console.doors import API, doors
from engine.console.rights import Right
from engine.ids import format_id
from tests.campaign.api import REVOKING, WHO, _messages, filled, fuzz, unhurried
from tests.console import Client, Opened

DOORS = doors()
PAGES_ALONE = {
    # coming in and going out, and what lets people in: it takes a person in a session
    *("GET /first", "POST /first", "GET /login", "POST /login", "POST /login/code", "POST /logout"),
    *("GET /login/oidc", "GET /login/oidc/back", "POST /login/oidc"),
    *("POST /account/password", "POST /account/totp/begin", "GET /account/totp", "POST /account/totp"),
    *("POST /account/totp/codes", "POST /account/totp/forget", "POST /account/sessions/end"),
    *("POST /account/sessions/end-others", "POST /account/theme", "POST /account/tokens", "POST /glass", "POST /glass/end"),
    # parts and streams of pages that are in the API
    *("GET /jobs/progress", "GET /jobs/{job}/progress", "GET /worklists/codes/{table}/progress", "GET /dashboard/live"),
    # what helps to write a query, and gives what was given
    *("GET /messages/form", "POST /messages/list", "POST /workbench/text"),
}
SHARED = {"GET /messages": "GET /messages", "GET /": "GET /dashboard"}  # pages whose API is another door


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with filled(tmp_path_factory.mktemp("api")) as made, unhurried():
        yield made


@pytest.fixture(scope="module")
def described(console: Opened) -> dict[str, Any]:
    found: dict[str, Any] = console.nobody().get(f"{API}/openapi.json").json()
    return found


def operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in described["paths"].items():
        for method, one in methods.items():
            yield path, method, one


# ── complete, and described ────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_page_does_a_program_can_do() -> None:
    known = {f"{one.method} {one.api}" for one in DOORS if one.api}
    without = {f"{one.method} {one.path}" for one in DOORS if one.path and not one.api}
    assert without - PAGES_ALONE == {page for page in SHARED if page in without and SHARED[page] in known}
    assert PAGES_ALONE - without == set()


def test_every_operation_says_its_right_and_has_a_name_of_its_own(described: dict[str, Any]) -> None:
    names = [one["operationId"] for _, _, one in operations(described)]
    assert len(names) == len(set(names)) == len([one for one in DOORS if one.api])
    for door in DOORS:
        if door.api:
            one = described["paths"][API + door.api][door.method.lower()]
            assert (one["x-right"], one["x-scope"]) == (str(door.right or ""), str(door.scope))
            assert one["summary"], door.api
            assert {name["name"] for name in one["parameters"] if name["in"] == "path"} == set(re.findall(r"{(\w+)}", door.api))


def test_every_reference_leads_somewhere_and_every_answer_is_described(described: dict[str, Any]) -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from [value["$ref"]] if "$ref" in value else []
            for one in value.values():
                yield from references(one)
        elif isinstance(value, list):
            for one in value:
                yield from references(one)

    for reference in set(references(described)):
        found: Any = described
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    for path, method, one in operations(described):
        good = [answer for status, answer in one["responses"].items() if status.startswith("2")]
        assert len(good) == 1, path
        (content,) = good[0]["content"].values()
        assert content["schema"], f"{method} {path} answers anything"
        assert {"422", "429", "503"} <= one["responses"].keys()
        if "security" not in one:
            assert {"401", "403"} <= one["responses"].keys(), path


def test_no_number_leaks_where_an_instant_or_an_id_belongs(described: dict[str, Any]) -> None:
    wrong = []
    for name, schema in described["components"]["schemas"].items():
        for field, about in schema.get("properties", {}).items():
            instant = field.endswith("_at") or field in ("at", "since", "until", "oldest", "newest", "due")
            identity = field in ("id", "message", "original", "newer", "first", "example", "delivery", "replay_of", "part_of")
            if about.get("type") == "integer" and (instant or identity):
                wrong.append(f"{name}.{field}")
    # of a step the time since the one before; of broken glass its number
    assert sorted(wrong) == ["BrokenLine.id", "TimelineStep.since"]


def test_the_description_says_nothing_of_this_site_nor_of_the_release(console: Opened, described: dict[str, Any]) -> None:
    from engine import __version__

    text = str(described)
    assert __version__ not in text
    assert console.site.organization not in text
    assert str(console.directory) not in text


# ── what is answered ───────────────────────────────────────────────────────────────────────────────────────────────


def test_json_has_the_types_of_json(console: Opened) -> None:
    program = console.token("admin")
    answer = program.post(f"{API}/plans/0123456789abcdef", json={"sure": "yes", "why": 7})
    assert answer.status_code == 422
    assert {one["field"] for one in answer.json()["problems"]} == {"sure", "why"}
    assert program.get(f"{API}/messages", params={"limit": ""}).status_code == 422
    assert console.as_("admin").get("/messages", params={"limit": ""}).status_code == 200  # an empty field of a form


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"[" * 100_000, "application/json"),
        (b'{"why": ' * 2000, "application/json"),
        (b'{"why": "\\ud800"}', "application/json"),
        (b'{"why": 1' + b"0" * 5000 + b"}", "application/json"),
        (b'{"why": "a", "why": ["b"]}', "application/json"),
        (b"\xff\xfe{}", "application/json"),
        (b"null", "application/json"),
        (b"why=%ff%fe&why=%00", "application/x-www-form-urlencoded"),
        (b"&".join([b"why=a"] * 5000), "application/x-www-form-urlencoded"),
        (b"why=a", "text/plain"),
        (b"why=a", ""),
        (b"--x\r\ncontent-disposition: form-data; name=why\r\n\r\na\r\n--x--", "multipart/form-data; boundary=x"),
    ],
)
def test_what_cannot_be_read_is_said(console: Opened, content: bytes, kind: str) -> None:
    answer = console.token("admin").post(f"{API}/channels/adt/stop", content=content, headers={"content-type": kind})
    assert answer.status_code in (413, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["problems"] if answer.status_code == 422 else True


def test_a_query_has_a_bound(console: Opened) -> None:
    program = console.token("admin")
    assert program.get(f"{API}/messages?" + "&".join(["q=a"] * 3000)).status_code == 422
    assert program.get(f"{API}/messages", params={"q": "x " * 31_000}).status_code == 422


def test_an_address_holds_no_nul(console: Opened) -> None:
    program = console.token("admin")
    for path in ("codes/a%00b", "channels/adt%00", "messages/%00", "jobs/%00", "trends?name=%00", "site/file?name=%00"):
        assert program.get(f"{API}/{path}").status_code in (404, 422), path


def test_what_needs_the_engine_says_that_none_runs(console: Opened) -> None:
    answer = console.token("admin").post(f"{API}/channels/adt/stop", json={"why": "maintenance"})
    assert answer.status_code == 503
    assert "wardline run" in answer.json()["detail"]


def test_whoever_asks_otherwise_is_told_how(console: Opened) -> None:
    program = console.token("admin")
    answer = program.delete(f"{API}/messages/saved")
    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, {"GET", "HEAD", "POST"})
    assert answer.headers["content-type"] == "application/problem+json"
    head = console.as_("viewer").http.head(f"{API}/channels")
    assert (head.status_code, head.content) == (200, b"")


def test_a_form_with_its_problems_is_a_problem_for_programs(console: Opened) -> None:
    admin = console.as_("admin")
    headers = {"origin": "https://testserver", "x-csrf": admin.csrf}
    answer = admin.http.post(f"{API}/people", json={"name": "9", "role": ["viewer"], "channels": ["*"]}, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert [one["field"] for one in answer.json()["problems"]] == ["name"]
    good = {"name": "nina", "role": ["viewer"], "channels": ["*"]}
    assert admin.http.post(f"{API}/people", json=good, headers=headers).status_code == 201
    again = admin.http.post(f"{API}/people", json=good, headers=headers)
    assert (again.status_code, again.json()["title"]) == (409, "This has changed meanwhile")


def test_s05_the_api_too_wants_a_sessions_token(console: Opened) -> None:
    admin: Client = console.as_("admin")
    values = {"id": format_id(_messages(console)[0]), "channel": "adt", "destination": "mpi"}
    for door in DOORS:
        if door.api and door.method == "POST":
            path = API + re.sub(r"{(\w+)}", lambda found: values.get(found[1], "1"), door.api)
            for headers in ({}, {"x-csrf": "guess"}, {"x-csrf": admin.csrf, "origin": "https://evil.example"}):
                assert admin.http.post(path, json={}, headers=headers).status_code == 403, path


def test_a_plan_from_making_it_to_its_job(console: Opened) -> None:
    program = console.token("operator")
    plan = program.get(f"{API}/plans/new", params={"verb": "cancel", "q": "state:parked channel:charges"}).json()
    assert plan["messages"] + plan["deliveries"] > 0
    assert plan["planned_at"].endswith("Z")
    same = program.get(f"{API}/plans/{plan['name']}").json()
    assert (same["messages"], same["state"]) == (plan["messages"], "planned")
    answers = [program.post(f"{API}/plans/{plan['name']}", json={"why": "they are old", "sure": True}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["result"]["name"] == answers[1].json()["result"]["name"] == plan["name"]
    (job,) = [one for one in program.get(f"{API}/jobs").json()["jobs"] if one["name"] == plan["name"]]
    assert job["why"] == "they are old"


def test_a_copy_is_edited_and_planned(console: Opened) -> None:
    program = console.token("operator")
    number = console.sample("adt", "adt_a01_inpatient.hl7")
    path = f"{API}/messages/{format_id(number)}/copies"
    text = program.get(f"{path}/new").json()["text"]
    assert program.post(path, json={"text": text}).status_code == 422  # nothing was changed
    answer = program.post(path, json={"text": text.replace("MSH|^~\\&|", "MSH|^~\\&|COPY")})
    assert answer.status_code == 201, answer.text
    plan = program.get(f"{API}/plans/{answer.json()['result']['plan']}").json()
    assert plan["copied"]["original"] == format_id(number)


@pytest.mark.parametrize("prefix", ["", "wl_00000000", "a" * 5000, "\0", "wl_%", "\ud7ff", 7, None, ["wl_00000000"]])
def test_a_token_that_is_not_ones_own_is_not_revoked(console: Opened, prefix: object) -> None:
    answer = console.token("viewer").post(API + REVOKING, json={"prefix": prefix})
    assert answer.status_code in (404, 422)


def test_rights_of_the_api_are_those_of_its_doors() -> None:
    changing = [one.api for one in DOORS if one.api and one.method == "GET" and one.right in (Right.STEER, Right.PEOPLE)]
    assert changing == ["/people", "/people/{name}", "/tokens"]
    assert openapi.told(next(one for one in DOORS if one.api == "/channels")) is not None


# ── schemathesis ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("who", WHO)
def test_no_request_is_a_server_error_and_every_answer_is_as_described(console: Opened, who: str) -> None:
    """A few requests of each operation; `make campaign-api` sends fifty thousand."""
    found = fuzz(console, who, 3 if who == "admin" else 1, seed=4, phases=("fuzzing",))
    assert found.failures == {}
    assert found.errors == []
    assert len(found.operations) == len([one for one in DOORS if one.api and (who == "nobody" or one.api != REVOKING)])
    if who == "nobody":
        assert set(found.statuses) <= {200, 401}
