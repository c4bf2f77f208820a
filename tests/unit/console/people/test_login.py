"""Logging in, sessions, throttling, the second factor."""

from __future__ import annotations

import re
import threading
from collections import Counter
from contextlib import suppress

import pyotp
import pytest

from engine.console.answers import Conflict, Invalid, NotFound, TooMuch
from engine.console.people import LoggedIn, NotLetIn, actor
from engine.console.people.passwords import Passwords
from engine.console.people.throttle import Throttle
from engine.console.rights import Grant, Right, Role
from tests.unit.console.people.conftest import HOUR, MINUTE, PASSWORD, ROOT, SECOND, World

HERE = "10.0.0.1"


@pytest.fixture
def ann(world: World) -> str:
    world.add("ann")
    return world.enter("ann")


# ── sessions ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_s08_a_session_is_long_random_and_new_at_each_login(world: World, ann: str) -> None:
    again = world.enter("ann")
    assert again != ann
    assert min(len(ann), len(again)) >= 43  # 256 bits
    assert world.who(ann).id != world.who(again).id
    assert world.who(ann).csrf != world.who(again).csrf
    assert world.who(ann).csrf == world.who(ann).csrf


@pytest.mark.parametrize("cookie", ["", "x", "x" * 10_000, "\ud800", "'; DROP TABLE session; --"])
def test_what_is_no_session_is_nobody(world: World, ann: str, cookie: str) -> None:
    assert world.people.session(cookie) is None


def test_s08_a_session_ends_after_15_idle_minutes(world: World, ann: str) -> None:
    for _ in range(3):
        world.later(14 * MINUTE)
        assert world.people.session(ann)
    world.later(15 * MINUTE + 1)
    assert world.people.session(ann) is None


def test_a_page_that_refreshes_itself_keeps_nobody_logged_in(world: World, ann: str) -> None:
    for _ in range(3):
        world.later(5 * MINUTE)
        assert world.people.session(ann, touch=False)
    world.later(1)
    assert world.people.session(ann, touch=False) is None


def test_s08_a_session_ends_after_12_hours(world: World, ann: str) -> None:
    for _ in range(72):
        world.later(10 * MINUTE)
        assert world.people.session(ann)
    world.later(1)
    assert world.people.session(ann) is None


def test_s08_logging_out_ends_it_here_and_elsewhere(world: World, ann: str) -> None:
    other, third = world.enter("ann"), world.enter("ann")
    assert len(world.people.sessions.of("ann")) == 3
    world.people.sessions.logout(world.who(ann))
    assert world.people.session(ann) is None
    who = world.who(other)
    assert world.people.sessions.end_all(actor(who), "ann", but=who.id) == 1
    assert world.people.session(third) is None
    world.people.sessions.end(ROOT, "ann", who.id)
    assert world.people.session(other) is None
    with pytest.raises(NotFound):
        world.people.sessions.end(ROOT, "ann", who.id)


def test_nobody_ends_a_session_in_the_name_of_another(world: World, ann: str) -> None:
    world.add("bob")
    with pytest.raises(NotFound):
        world.people.sessions.end(ROOT, "bob", world.who(ann).id)
    assert world.people.session(ann)


def test_sessions_of_one_person_have_a_bound(world: World, ann: str) -> None:
    for _ in range(25):
        world.later(MINUTE // 2)
        newest = world.enter("ann")
    assert len(world.people.sessions.of("ann")) == 20
    assert world.people.session(newest)
    assert world.people.session(ann) is None


# ── passwords ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_has_the_wrong_password_is_not_let_in_and_it_is_noted(world: World, ann: str) -> None:
    with pytest.raises(NotLetIn):
        world.people.login.password("ann", "wrong", HERE, "")
    last = world.trail()[-1]
    assert (last.who, last.via, last.what, last.outcome) == ("ann", HERE, "login", "denied")


class Counting(Passwords):
    """Says how often and how hard it worked."""

    def __init__(self) -> None:
        super().__init__(1, 8)
        self.compared: list[bool] = []

    def right(self, kept: str | None, password: str) -> bool:
        found = super().right(kept, password)
        self.compared.append(found)
        return found


def test_s09_whether_a_name_is_known_cannot_be_told(world: World) -> None:
    world.passwords = Counting()
    world.people = world.open()
    world.add("ann")
    world.add("dan")
    world.people.persons.disable(ROOT, "dan")
    world.people.persons.add(ROOT, "new", "", (Grant(Role.VIEWER),))
    texts = set()
    for name, password in (("ann", "wrong"), ("nobody", "wrong"), ("dan", PASSWORD), ("new", ""), ("new", "wrong")):
        with pytest.raises(NotLetIn) as refused:
            world.people.login.password(name, password, HERE, "")
        texts.add((str(refused.value), refused.value.status))
    assert len(texts) == 1
    assert world.passwords.compared == [False] * 5  # one real comparison each


def test_what_was_typed_as_a_name_is_not_noted_where_nobody_has_it(world: World) -> None:
    with pytest.raises(NotLetIn):
        world.people.login.password("hunter2 hunter2 oops", "x", HERE, "")
    assert b"hunter2" not in world.files()
    assert world.trail()[-1].object == "unknown name"


def test_a_hash_is_renewed_when_parameters_change(world: World, ann: str) -> None:
    world.passwords = Passwords(2, 16)
    world.people = world.open()
    before = world.files()
    world.enter("ann")
    assert b"m=16,t=2,p=1" in world.files()
    assert b"m=16,t=2,p=1" not in before
    world.enter("ann")


def test_changing_the_password_takes_the_old_one_and_ends_other_sessions(world: World, ann: str) -> None:
    other, who = world.enter("ann"), world.who(ann)
    with pytest.raises(Invalid, match="not your password"):
        world.people.login.change_password(who, "wrong", "another quartz bagpipe river", HERE)
    with pytest.raises(Invalid, match="needs 15"):
        world.people.login.change_password(who, PASSWORD, "short", HERE)
    renewed = world.people.login.change_password(who, PASSWORD, "another quartz bagpipe river", HERE)
    assert world.people.session(ann) is None
    assert world.people.session(other) is None
    assert world.who(renewed).id == who.id
    assert world.who(renewed).csrf != who.csrf
    with pytest.raises(NotLetIn):
        world.enter("ann")


# ── how often ──────────────────────────────────────────────────────────────────────────────────────────────────────


def tries(world: World, name: str, peer: str = HERE) -> str:
    try:
        world.people.login.password(name, "wrong", peer, "")
    except NotLetIn:
        return "no"
    except TooMuch as much:
        return "wait" if much.after > 0 else "yes"
    return "yes"


@pytest.mark.parametrize("name", ["ann", "nobody"])
def test_s09_five_a_minute_for_a_name_whoever_tries(world: World, name: str) -> None:
    world.add("ann")
    assert Counter(tries(world, name, f"10.0.1.{n}") for n in range(100)) == {"no": 5, "wait": 95}
    world.later(MINUTE)
    assert Counter(tries(world, name, f"10.0.2.{n}") for n in range(20)) == {"no": 5, "wait": 15}


def test_s09_an_address_that_goes_on_failing_waits_ever_longer(world: World) -> None:
    outcomes = []
    for number in range(10_000):
        outcomes.append(tries(world, f"name{number}"))
        world.later(SECOND // 10)
    assert outcomes.count("no") <= 20
    world.add("ann")
    assert tries(world, "ann") == "wait"
    assert tries(world, "ann", "10.0.0.2") == "no"
    assert len(world.trail("login")) < 50


def test_behind_a_proxy_nobody_keeps_the_others_out(world: World) -> None:
    world.add("ann")
    assert Counter(tries(world, f"name{n}", "127.0.0.1") for n in range(50)) == {"no": 50}
    assert world.people.login.password("ann", PASSWORD, "127.0.0.1", "").cookie


def test_hammering_on_one_name_does_not_fill_the_trail(world: World) -> None:
    world.add("ann")
    for number in range(500):
        tries(world, "ann", f"10.0.{number // 250}.{number % 250}")
    assert len(world.trail("login")) == 6


def test_s09_many_at_once_are_no_way_around_it(world: World) -> None:
    world.add("ann")
    seen: list[str] = []
    threads = [threading.Thread(target=lambda n=n: seen.append(tries(world, "ann", f"10.0.3.{n}"))) for n in range(40)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert Counter(seen) == {"no": 5, "wait": 35}


def test_who_comes_in_forgets_what_went_wrong(world: World) -> None:
    world.add("ann")
    for _ in range(8):
        for _ in range(3):
            assert tries(world, "ann") == "no"
        world.enter("ann")


def test_what_is_remembered_has_a_bound() -> None:
    throttle = Throttle(lambda: 0, kept=100)
    for number in range(1000):
        throttle.attempt(f"name {number}", f"peer {number}")
    assert max(map(len, (throttle._recent, throttle._failed, throttle._waiting))) <= 100


def test_a_clock_that_goes_back_locks_nobody_out() -> None:
    now = [10 * HOUR]
    throttle = Throttle(lambda: now[0])
    for _ in range(30):
        throttle.attempt("name", "peer")
    now[0] = 0
    wait, _ = throttle.attempt("name", "peer")
    assert wait <= 15 * 60


# ── the second factor ──────────────────────────────────────────────────────────────────────────────────────────────


def code_of(world: World, secret: str, steps: int = 0) -> str:
    return pyotp.TOTP(secret).at(world.now // SECOND + 30 * steps)


def enrol(world: World, cookie: str) -> tuple[str, list[str], str]:
    """The secret, the recovery codes, and the session's new cookie."""
    who = world.who(cookie)
    offer = world.people.totp.offer(who)
    codes, renewed = world.people.totp.confirm(who, code_of(world, offer.secret))
    world.later(MINUTE)
    return offer.secret, codes, renewed


def second(world: World, code: str) -> LoggedIn:
    first = world.people.login.password("ann", PASSWORD, HERE, "")
    assert (first.cookie, bool(first.ticket)) == ("", True)
    return world.people.login.code(first.ticket, code, HERE, "")


def test_s11_a_second_factor_is_offered_confirmed_and_then_asked_for(world: World, ann: str) -> None:
    other, who = world.enter("ann"), world.who(ann)
    offer = world.people.totp.offer(who)
    assert pyotp.parse_uri(offer.uri).secret == offer.secret  # type: ignore[union-attr]
    assert world.people.totp.offered(who) == offer
    assert re.fullmatch(r"(M\d+ \d+h\d+v1h-\d+z)+", offer.picture)
    with pytest.raises(Invalid):
        world.people.totp.confirm(who, "000000" if code_of(world, offer.secret) != "000000" else "000001")
    assert world.enter("ann")  # it does not count before it is confirmed
    codes, renewed = world.people.totp.confirm(who, code_of(world, offer.secret))
    assert len(set(codes)) == 10
    assert world.people.session(ann) is None
    assert world.people.session(other) is None
    assert world.people.session(renewed)
    world.later(MINUTE)
    assert world.people.session(second(world, code_of(world, offer.secret)).cookie)


def test_s11_a_code_is_good_once(world: World, ann: str) -> None:
    secret, _, _ = enrol(world, ann)
    code = code_of(world, secret)
    assert second(world, code).cookie
    with pytest.raises(NotLetIn):
        second(world, code)
    with pytest.raises(NotLetIn):
        second(world, code_of(world, secret, -1))  # nor one before it
    world.later(30 * SECOND)
    assert second(world, code_of(world, secret)).cookie


def test_s11_the_code_that_confirmed_does_not_log_in(world: World, ann: str) -> None:
    who = world.who(ann)
    secret = world.people.totp.offer(who).secret
    code = code_of(world, secret)
    world.people.totp.confirm(who, code)
    with pytest.raises(NotLetIn):
        second(world, code)


@pytest.mark.parametrize(("steps", "good"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_clocks_may_differ_by_half_a_minute(world: World, ann: str, steps: int, good: bool) -> None:
    secret, _, _ = enrol(world, ann)
    if good:
        assert second(world, f" {code_of(world, secret, steps)[:3]} {code_of(world, secret, steps)[3:]} ").cookie
    else:
        with pytest.raises(NotLetIn):
            second(world, code_of(world, secret, steps))


def test_s11_of_many_with_the_same_code_one_comes_in(world: World, ann: str) -> None:
    secret, _, _ = enrol(world, ann)
    tickets = [world.people.login.password("ann", PASSWORD, HERE, "").ticket for _ in range(5)]
    code, came = code_of(world, secret), []

    def come(ticket: str) -> None:
        with suppress(NotLetIn, TooMuch):
            came.append(world.people.login.code(ticket, code, HERE, ""))

    threads = [threading.Thread(target=come, args=(ticket,)) for ticket in tickets]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(came) == 1


def test_s11_recovery_codes_are_good_once_each(world: World, ann: str) -> None:
    _, codes, _ = enrol(world, ann)
    assert world.people.totp.left("ann") == 10
    assert second(world, codes[0].lower()).cookie
    with pytest.raises(NotLetIn):
        second(world, codes[0])
    assert world.people.totp.left("ann") == 9
    new = world.people.totp.new_codes(world.who(second(world, codes[1]).cookie))
    with pytest.raises(NotLetIn):
        second(world, codes[2])
    assert second(world, new[0]).cookie
    assert all(code.replace("-", "").encode() not in world.files() for code in [*codes, *new])


def test_a_ticket_is_good_once_for_five_minutes_and_not_without_its_person(world: World, ann: str) -> None:
    secret, _, _ = enrol(world, ann)
    ticket = world.people.login.password("ann", PASSWORD, HERE, "").ticket
    assert world.people.login.waits(ticket)
    assert world.people.session(ticket) is None
    assert world.people.login.code(ticket, code_of(world, secret), HERE, "").cookie
    world.later(MINUTE)
    with pytest.raises(NotLetIn, match="begin again"):
        world.people.login.code(ticket, code_of(world, secret), HERE, "")
    ticket = world.people.login.password("ann", PASSWORD, HERE, "").ticket
    world.later(5 * MINUTE)
    with pytest.raises(NotLetIn, match="begin again"):
        world.people.login.code(ticket, code_of(world, secret), HERE, "")


def test_codes_cannot_be_guessed_one_after_the_other(world: World, ann: str) -> None:
    enrol(world, ann)
    asked = 0
    for _ in range(500):
        ticket = world.people.login.password("ann", PASSWORD, HERE, "").ticket
        try:
            world.people.login.code(ticket, "123456", f"10.9.{asked}.1", "")
        except NotLetIn:
            asked += 1
        except TooMuch:
            pass
        world.later(40 * SECOND)
    assert asked < 60  # in five and a half hours


def test_who_must_have_one_can_do_nothing_else_first(world: World) -> None:
    world.add("ann")
    link = world.people.persons.add(ROOT, "bob", "", (Grant(Role.OPERATOR),), totp_required=True)
    world.people.persons.accept(link, PASSWORD, HERE)
    cookie = world.enter("bob")
    assert world.who(cookie).due == "totp"
    _, _, renewed = enrol(world, cookie)
    assert world.who(renewed).due == ""


def test_a_lost_phone_is_forgotten_by_an_admin(world: World, ann: str) -> None:
    enrol(world, ann)
    link = world.people.persons.reset(ROOT, "ann", totp=True)
    assert world.people.totp.left("ann") == 0
    world.people.persons.accept(link, PASSWORD, HERE)
    assert world.enter("ann")
    with pytest.raises(Conflict):
        world.people.totp.forget(ROOT, "ann")


def test_nothing_is_confirmed_that_was_not_offered(world: World, ann: str) -> None:
    with pytest.raises(Conflict):
        world.people.totp.confirm(world.who(ann), "123456")
    _, _, renewed = enrol(world, ann)
    with pytest.raises(Conflict):
        world.people.totp.offer(world.who(renewed))


# ── tokens ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_s13_a_token_may_what_it_says_and_never_more_than_its_person(world: World) -> None:
    world.add("ann")
    world.add("bob", Grant(Role.OPERATOR, "lab*"))
    secret, token = world.people.tokens.make(ROOT, "dashboard", frozenset({Right.SEE, Right.TRY}), "lab-*", 30, "bob")
    assert secret.startswith(f"{token.prefix}_")
    who = world.people.token(secret)
    assert who is not None
    assert (who.name, who.via, who.id) == ("bob", "token", token.prefix)
    may = {(right, channel) for right in Right for channel in ("lab-a", "labx", "charges") if who.may(right, channel, world.now)}
    assert may == {(Right.SEE, "lab-a")}
    world.people.persons.change(ROOT, "bob", "", (Grant(Role.ANALYST, "*"),), False)
    who = world.people.token(secret)
    assert who is not None
    assert who.may(Right.TRY, "lab-a", world.now)
    assert not who.may(Right.SEE, "charges", world.now)


def test_a_token_of_a_service_is_nobodys(world: World) -> None:
    secret, _ = world.people.tokens.make(ROOT, "monitoring", frozenset({Right.SEE}), "*", 365)
    who = world.people.token(secret)
    assert who is not None
    assert who.name == "service monitoring"
    assert [right for right in Right if who.everywhere(right)] == [Right.SEE]


@pytest.mark.parametrize(
    ("label", "rights", "channels", "days"),
    [("", {Right.SEE}, "*", 1), ("x", set(), "*", 1), ("x", {Right.PEOPLE}, "*", 1), ("x", {Right.SEE}, "a b", 1), ("x", {Right.SEE}, "*", 366), ("x", {Right.SEE}, "*", 0)],
)  # fmt: skip
def test_tokens_that_are_too_much_are_refused(world: World, label: str, rights: set[Right], channels: str, days: int) -> None:
    with pytest.raises(Invalid):
        world.people.tokens.make(ROOT, label, frozenset(rights), channels, days)


def test_s13_tokens_end_and_are_revoked(world: World) -> None:
    world.add("ann")
    secret, token = world.people.tokens.make(ROOT, "nightly", frozenset({Right.SEE}), "*", 1, "ann")
    assert world.people.tokens.all("ann")[0].used_at == 0
    world.later(HOUR)
    assert world.people.token(secret)
    assert world.people.tokens.all()[0].used_at == world.now
    world.later(23 * HOUR)
    assert world.people.token(secret) is None
    secret, token = world.people.tokens.make(ROOT, "nightly", frozenset({Right.SEE}), "*", 1, "ann")
    with pytest.raises(Exception, match="not yours"):
        world.people.tokens.revoke(ROOT, token.prefix, own=True)
    world.people.tokens.revoke(ROOT, token.prefix)
    assert world.people.token(secret) is None
    with pytest.raises(NotFound):
        world.people.tokens.revoke(ROOT, token.prefix)


@pytest.mark.parametrize("bearer", ["", "x", "wl_00000000_" + "A" * 43, "wl_' OR 1=1", "\ud800" * 55])
def test_what_is_no_token_is_nobody(world: World, bearer: str) -> None:
    assert world.people.token(bearer) is None


# ── broken glass ───────────────────────────────────────────────────────────────────────────────────────────────────

REASON = "Patient in the emergency room, potassium is missing"


def test_s48_broken_glass_shows_bodies_of_one_channel_for_an_hour(world: World) -> None:
    world.add("ann")
    world.add("vic", Grant(Role.VIEWER, "lab*"))
    cookie = world.enter("vic")
    renewed = world.people.glass(world.who(cookie), "lab-results", REASON)
    assert world.people.session(cookie) is None  # the session goes on under another cookie
    who = world.who(renewed)
    assert who.may(Right.READ, "lab-results", world.now)
    assert not who.may(Right.READ, "lab-orders", world.now)
    assert not who.may(Right.ACT, "lab-results", world.now)
    [broken] = world.people.glass.open()
    assert (broken.person, broken.channel, broken.reason) == ("vic", "lab-results", REASON)
    assert world.told == [("glass.broken", {"who": "vic", "channel": "lab-results", "until": world.now + HOUR})]
    assert world.trail("break glass")[0].details == f'{{"minutes":60,"reason":"{REASON}"}}'
    for _ in range(6):
        world.later(10 * MINUTE)
        who = world.who(renewed)
    assert not who.may(Right.READ, "lab-results", world.now)
    assert world.people.glass.open() == []
    assert len(world.people.glass.all()) == 1


def test_s48_glass_is_mended_before_its_hour_is_over(world: World) -> None:
    world.add("ann")
    world.add("vic", Grant(Role.VIEWER))
    renewed = world.people.glass(world.who(world.enter("vic")), "charges", REASON)
    number = world.people.glass.open()[0].id
    with pytest.raises(Exception, match="Somebody else"):
        world.people.glass.end(ROOT, number, own=True)
    world.people.glass.end(ROOT, number)
    assert not world.who(renewed).may(Right.READ, "charges", world.now)
    assert world.people.glass.all()[0].revoked_by == "root"
    with pytest.raises(NotFound):
        world.people.glass.end(ROOT, number)


@pytest.mark.parametrize(
    ("channel", "reason"),
    [
        ("charges", "too short"),
        ("charges", " " * 50),
        ("charges", "x" * 201),
        ("*", REASON),
        ("char*", REASON),
        ("adt", REASON),
        ("'", REASON),
    ],
)
def test_s48_glass_is_not_broken_without_a_reason_or_elsewhere(world: World, channel: str, reason: str) -> None:
    world.add("vic", Grant(Role.VIEWER, "char*"))
    with pytest.raises(Exception, match=r"Say why|one channel|Channels are"):
        world.people.glass(world.who(world.enter("vic")), channel, reason)
    assert world.people.glass.all() == []
    assert world.told == []


def test_who_may_read_breaks_no_glass_and_tokens_do_not_either(world: World) -> None:
    world.add("ann")
    world.add("vic", Grant(Role.VIEWER))
    with pytest.raises(Invalid, match="already"):
        world.people.glass(world.who(world.enter("ann")), "charges", REASON)
    secret, _ = world.people.tokens.make(ROOT, "x", frozenset(Right) - {Right.PEOPLE}, "*", 1, "vic")
    who = world.people.token(secret)
    assert who is not None
    with pytest.raises(Exception, match="Only a person"):
        world.people.glass(who, "charges", REASON)
