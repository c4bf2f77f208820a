"""Who gets through which door: every door × every role × own and foreign channel. What is not declared is denied.

The table of rights is written out here once more, by hand: a change of `engine.console.rights` must be meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from engine.console import app as console_app
from engine.console import serving
from engine.console.answers import Done
from engine.console.doors import API, Door, Scope, doors
from engine.ids import format_id
from tests.console import Client, Opened, opened

MAY = {
    "viewer": {"see"},
    "analyst": {"see", "read", "try", "edit"},
    "operator": {"see", "read", "steer", "act", "edit"},
    "auditor": {"see", "audit"},
    "admin": {"see", "read", "try", "steer", "act", "edit", "audit", "people"},
}
OWN, FOREIGN = "adt", "charges"
OWN_DESTINATION, FOREIGN_DESTINATION = "mpi", "billing-api"
DOORS = doors()


class Reached(Exception):
    """The handler was called."""


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """The console with its real doors, whose handlers only say that they were reached, whatever the request says."""
    patch = pytest.MonkeyPatch()

    def reached(visit: Any, asked: Any) -> Done:
        return Done("/reached", status=299)

    bare = [replace(one, handler=reached, verb="") for one in DOORS]
    patch.setattr(console_app, "doors", lambda: bare)
    patch.setattr(console_app.openapi, "describe", lambda known: {})
    patch.setattr(serving, "asked", lambda *about: None)
    with opened(tmp_path_factory.mktemp("matrix")) as made:
        made.own = made.sample(OWN, "adt_a01_inpatient.hl7")  # type: ignore[attr-defined]
        made.foreign = made.sample(FOREIGN, "dft_p03_pharmacy.hl7")  # type: ignore[attr-defined]
        yield made
    patch.undo()


@pytest.fixture(scope="module")
def people(console: Opened) -> dict[str, tuple[Client, Client]]:
    """Of each role one on every channel, and one on the channel `adt` alone."""
    return {role: (console.as_(role), console.as_(role, channels=OWN)) for role in MAY}


def address(door: Door, console: Any, *, own: bool, api: bool) -> str:
    path = API + door.api if api else door.path
    values = {
        "id": format_id(console.own if own else console.foreign),
        "channel": OWN if own else FOREIGN,
        "destination": OWN_DESTINATION if own else FOREIGN_DESTINATION,
    }
    for name in door.parameters:
        for form in (f"{{{name}}}", f"{{{name}:path}}", f"{{{name}:int}}"):
            path = path.replace(form, values.get(name, "1"))
    return path


def through(client: Client, door: Door, path: str) -> bool:
    answer = client.get(path) if door.method == "GET" else client.post(path)
    if answer.headers.get("location") == "/reached":
        return True
    assert answer.status_code in (303, 403, 404), f"{door.method} {path}: {answer.status_code}"
    return False


def expected(door: Door, role: str, *, everywhere: bool, own: bool) -> bool:
    if door.scope in (Scope.PUBLIC, Scope.OWN):
        return True
    if str(door.right) not in MAY[role]:
        return False
    if door.scope is Scope.SITE:
        return everywhere
    return everywhere or own or door.scope is Scope.SOME


PAGES = [one for one in DOORS if one.path]


@pytest.mark.parametrize("door", PAGES, ids=lambda one: f"{one.method} {one.path}")
def test_a_door_opens_to_whom_its_declaration_says_and_to_nobody_else(
    door: Door, console: Opened, people: dict[str, tuple[Client, Client]]
) -> None:
    wrong = []
    for role, (all_channels, one_channel) in people.items():
        for client, everywhere in ((all_channels, True), (one_channel, False)):
            for own in (True, False):
                found = through(client, door, address(door, console, own=own, api=False))
                if found != expected(door, role, everywhere=everywhere, own=own):
                    wrong.append((role, "all" if everywhere else "one", "own" if own else "foreign", found))
    assert wrong == []


@pytest.mark.parametrize(
    "door", [one for one in DOORS if one.scope is not Scope.PUBLIC], ids=lambda one: f"{one.method} {one.path or one.api}"
)
def test_nobody_gets_through_without_logging_in(door: Door, console: Opened) -> None:
    client = console.nobody()
    if door.path:
        path = address(door, console, own=True, api=False)
        answer = client.request(door.method, path, headers={"origin": "https://testserver"})
        assert answer.headers.get("location", "").startswith("/login"), f"{path}: {answer.status_code}"
    if door.api:
        path = address(door, console, own=True, api=True)
        assert client.request(door.method, path).status_code == 401
        assert client.request(door.method, path, headers={"authorization": "Bearer wl_0_guess"}).status_code == 401


@pytest.mark.parametrize("door", [one for one in DOORS if one.method == "POST" and one.path], ids=lambda one: one.path)
def test_no_change_without_the_sessions_token_or_from_another_site(
    door: Door, console: Opened, people: dict[str, tuple[Client, Client]]
) -> None:
    admin = people["admin"][0]
    path = address(door, console, own=True, api=False)
    if door.scope is not Scope.PUBLIC:
        assert admin.http.post(path, data={"csrf": "guess"}, headers={"origin": "https://testserver"}).status_code == 403
    foreign = admin.http.post(path, data={"csrf": admin.csrf}, headers={"origin": "https://evil.example"})
    assert foreign.status_code == 403


def test_few_doors_are_public() -> None:
    public = {one.path for one in DOORS if one.scope is Scope.PUBLIC}
    assert public <= {"/health", "/first", "/invitation", "/login", "/login/code", "/login/oidc", "/login/oidc/back"}


def test_every_door_that_shows_or_changes_anything_is_audited() -> None:
    """Streams belong to a page that is; of what is a person's own, `people` notes what is changed."""
    unaudited = [one for one in DOORS if not one.verb and one.scope not in (Scope.PUBLIC, Scope.OWN)]
    assert [one.path for one in unaudited if not one.path.endswith(("/progress", "/live"))] == []


def test_no_get_takes_a_right_to_change() -> None:
    changing = [one.path for one in DOORS if one.method == "GET" and str(one.right) in ("steer",) and not one.page]
    assert changing == []
