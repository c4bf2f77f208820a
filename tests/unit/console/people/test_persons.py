"""Letting people in: the first one, invitations, and what they may."""

from __future__ import annotations

import stat
import threading
from contextlib import suppress

import pytest

from engine.console.answers import Conflict, Invalid, NotFound
from engine.console.people import NotLetIn
from engine.console.people.passwords import unfit
from engine.console.rights import Grant, Right, Role
from engine.errors import StoreTooNew
from tests.unit.console.people.conftest import HOUR, PASSWORD, ROOT, World

LAB = Grant(Role.OPERATOR, "lab*")


# ── the first ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_s10_nobody_can_log_in_on_a_fresh_install(world: World) -> None:
    assert world.people.empty
    for name in ("admin", "root", "wardline"):
        with pytest.raises(NotLetIn):
            world.people.login.password(name, name, "10.0.0.1", "")


def test_s10_the_first_comes_in_by_a_token_that_is_good_once(world: World) -> None:
    token = world.people.start()
    file = world.site / ".wardline" / "first-token"
    assert file.read_text() == f"{token}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(token) >= 21  # 128 bits
    assert world.people.persons.welcome(token).kind == "first"
    assert world.people.persons.accept(token, PASSWORD, "10.0.0.1", "Anna", "Anna Bell") == "anna"
    assert not file.exists()
    assert not world.people.empty
    who = world.who(world.enter("anna"))
    assert who.everywhere(Right.PEOPLE)
    with pytest.raises(NotLetIn):
        world.people.persons.accept(token, PASSWORD, "10.0.0.1", "eve", "")
    assert world.people.start() == ""


def test_the_first_token_is_made_anew_at_each_start_and_ends_after_a_day(world: World) -> None:
    old = world.people.start()
    token = world.people.start()
    with pytest.raises(NotLetIn):
        world.people.persons.welcome(old)
    world.later(24 * HOUR)
    with pytest.raises(NotLetIn, match="for a day"):
        world.people.persons.accept(token, PASSWORD, "10.0.0.1", "anna", "")
    assert world.people.empty


def test_s62_of_many_who_come_at_once_one_is_the_first(world: World) -> None:
    token = world.people.start()
    made: list[str] = []

    def come(name: str) -> None:
        with suppress(NotLetIn):
            made.append(world.people.persons.accept(token, PASSWORD, "10.0.0.1", name))

    threads = [threading.Thread(target=come, args=(f"p{n}",)) for n in range(20)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert [person.name for person in world.people.persons.all()] == made
    assert len(made) == 1


def test_the_first_is_who_may_let_others_in(world: World) -> None:
    world.add("vic", Grant(Role.VIEWER))
    assert world.people.persons.headless
    token = world.people.start()
    with pytest.raises(Conflict, match="another name"):
        world.people.persons.accept(token, PASSWORD, "10.0.0.1", "vic")
    world.people.persons.disable(ROOT, "vic")
    assert world.people.persons.accept(token, PASSWORD, "10.0.0.1", "ann") == "ann"
    assert not world.people.persons.headless


def test_a_password_that_is_refused_leaves_the_link_good(world: World) -> None:
    token = world.people.start()
    with pytest.raises(Invalid, match="needs 15"):
        world.people.persons.accept(token, "twelve chars", "10.0.0.1", "anna")
    assert world.people.persons.accept(token, PASSWORD, "10.0.0.1", "anna") == "anna"


# ── others ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_is_added_chooses_a_password_by_a_link(world: World) -> None:
    link = world.people.persons.add(ROOT, "Bob", "Bob  Lane", (LAB,))
    offered = world.people.persons.welcome(link)
    assert (offered.kind, offered.name, offered.display) == ("invite", "bob", "Bob Lane")
    assert not world.people.persons.one("bob").password
    world.people.persons.accept(link, PASSWORD, "10.0.0.1", name="eve")  # the name is the link's
    with pytest.raises(NotLetIn):
        world.people.persons.accept(link, PASSWORD, "10.0.0.1")
    who = world.who(world.enter("BOB"))
    assert (who.name, who.display, who.grants, who.via) == ("bob", "Bob Lane", (LAB,), "session")
    assert who.may(Right.STEER, "lab-results", world.now)
    assert not who.may(Right.SEE, "charges", world.now)


@pytest.mark.parametrize(
    ("name", "grants"),
    [("", (LAB,)), ("a b", (LAB,)), ("1a", (LAB,)), ("a@b", (LAB,)), ("ann", ()), ("ann", (Grant(Role.VIEWER, "'--"),))],
)
def test_what_does_not_fit_is_said(world: World, name: str, grants: tuple[Grant, ...]) -> None:
    with pytest.raises(Invalid):
        world.people.persons.add(ROOT, name, "", grants)
    assert world.people.empty


def test_names_are_unique_whatever_their_case(world: World) -> None:
    world.add("ann")
    with pytest.raises(Conflict):
        world.people.persons.add(ROOT, "ANN", "", (LAB,))


def test_a_reset_is_a_link_and_never_a_password(world: World) -> None:
    world.add("ann")
    cookie = world.enter("ann")
    old = world.people.persons.reset(ROOT, "ann")
    link = world.people.persons.reset(ROOT, "ann")
    with pytest.raises(NotLetIn):
        world.people.persons.welcome(old)
    assert world.people.session(cookie)  # whoever asked for it may not be ann
    world.people.persons.accept(link, "another quartz bagpipe river", "10.0.0.1")
    assert world.people.session(cookie) is None
    with pytest.raises(NotLetIn):
        world.enter("ann")
    world.people.login.password("ann", "another quartz bagpipe river", "10.0.0.1", "")


def test_changed_rights_end_sessions(world: World) -> None:
    world.add("ann")
    world.add("bob", Grant(Role.VIEWER))
    cookie = world.enter("bob")
    world.people.persons.change(ROOT, "bob", "Robert", (Grant(Role.VIEWER),), False)
    assert world.who(cookie).display == "Robert"
    world.people.persons.change(ROOT, "bob", "Robert", (LAB,), False)
    assert world.people.session(cookie) is None
    assert world.who(world.enter("bob")).grants == (LAB,)


def test_who_is_disabled_is_out_at_once_and_by_every_way(world: World) -> None:
    world.add("ann")
    world.add("bob")
    cookie, link = world.enter("bob"), world.people.persons.reset(ROOT, "bob")
    bearer, _ = world.people.tokens.make(ROOT, "nightly", frozenset({Right.SEE}), "*", 1, "bob")
    world.people.persons.disable(ROOT, "bob")
    assert world.people.session(cookie) is None
    assert world.people.token(bearer) is None
    with pytest.raises(NotLetIn):
        world.people.persons.welcome(link)
    with pytest.raises(NotLetIn):
        world.enter("bob")
    world.people.persons.disable(ROOT, "bob", False)
    assert world.who(world.enter("bob"))


def test_somebody_is_always_left_who_may_let_people_in(world: World) -> None:
    world.add("ann")
    world.add("bob", Grant(Role.ADMIN, "lab*"))
    with pytest.raises(Conflict, match="Somebody must be left"):
        world.people.persons.disable(ROOT, "ann")
    with pytest.raises(Conflict, match="Somebody must be left"):
        world.people.persons.change(ROOT, "ann", "", (LAB,), False)
    assert world.people.persons.one("ann").grants == (Grant(Role.ADMIN),)
    world.add("cat")
    world.people.persons.disable(ROOT, "ann")


def test_who_is_not_there_cannot_be_changed(world: World) -> None:
    for act in (
        lambda: world.people.persons.reset(ROOT, "eve"),
        lambda: world.people.persons.disable(ROOT, "eve"),
        lambda: world.people.persons.one("eve"),
    ):
        with pytest.raises(NotFound):
            act()


def test_everything_that_is_done_is_in_the_trail(world: World) -> None:
    world.people.persons.accept(world.people.start(), PASSWORD, "10.0.0.1", "ann")
    world.people.persons.add(ROOT, "bob", "", (LAB,))
    world.people.persons.change(ROOT, "bob", "", (Grant(Role.VIEWER),), True)
    world.people.persons.reset(ROOT, "bob", totp=True)
    world.people.persons.disable(ROOT, "bob")
    told = [(entry.who, entry.what, entry.object) for entry in world.trail()]
    assert told == [
        ("wardline", "offer first login", ""),
        ("ann", "first login", "ann"),
        ("root", "add person", "bob"),
        ("root", "change person", "bob"),
        ("root", "reset person", "bob"),
        ("root", "disable person", "bob"),
    ]
    assert world.trail()[3].details == '{"before":["operator of lab*"],"grants":["viewer of *"],"second factor required":true}'


def test_nothing_that_lets_somebody_in_is_on_the_disk(world: World) -> None:
    link = world.people.persons.add(ROOT, "ann", "", (LAB,))
    world.people.persons.accept(link, PASSWORD, "10.0.0.1")
    cookie = world.enter("ann")
    bearer, _ = world.people.tokens.make(ROOT, "nightly", frozenset({Right.SEE}), "*", 1, "ann")
    csrf = world.who(cookie).csrf
    kept = world.files()
    for secret in (link, PASSWORD, cookie, bearer, bearer[12:], csrf):
        assert secret.encode() not in kept


def test_files_are_their_owners_alone(world: World) -> None:
    world.add("ann")
    directory = world.site / ".wardline"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == dict.fromkeys(
        ("console.db", "console.db-wal", "console.db-shm", "console.lock", "audit-anchor"), 0o600
    )


def test_where_the_trail_ends_is_told_from_the_start(world: World) -> None:
    people = world.open()
    people.start()
    people.close()
    world.opened.remove(people)
    anchors = [facts["anchor"] for name, facts in world.told if name == "audit.anchor"]
    assert anchors == [str(world.people.audit.head())]


def test_a_database_of_a_later_release_is_left_alone(world: World) -> None:
    with world.people.database.locked(), world.people.database.transaction() as connection:
        connection.exec_driver_sql("PRAGMA user_version = 99")
    with pytest.raises(StoreTooNew, match="install that release"):
        world.open()


# ── passwords ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "password",
    ["", "twelve chars", "fourteen chars", "passwordpassword", "Password123456789", "aaaaaaaaaaaaaaaaaaaa", "ab" * 10, "anna anna anna anna",
     "qwertyuiop1234567890", "Hospital-2026-Hospital", "Welcome to Wardline!", "anna.bell.anna.bell", "x" * 257],
)  # fmt: skip
def test_weak_passwords_are_refused_with_a_reason(password: str) -> None:
    assert unfit(password, "anna", "Anna Bell")


@pytest.mark.parametrize("password", [PASSWORD, "correct battery lantern fjord", "Бородино зима река поле", "q7#Vd92!mzP0xLw"])
def test_others_are_taken(password: str) -> None:
    assert unfit(password, "anna", "Anna Bell") == ""


def test_the_same_text_is_the_same_password_from_every_keyboard(world: World) -> None:
    kept = world.passwords.hash("café au lait éclair")
    assert world.passwords.right(kept, "café au lait éclair")


def test_the_usual_parameters_are_those_that_are_recommended() -> None:
    from engine.console.people.passwords import Passwords

    assert Passwords().hash("x").startswith("$argon2id$v=19$m=19456,t=2,p=1$")
