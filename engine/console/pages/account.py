"""Everybody's own account: password, second factor, sessions, tokens, theme."""

from __future__ import annotations

import re
from typing import Any

from engine.console.answers import Conflict, Denied, Done, Invalid, Refusal, Shown, TooMuch
from engine.console.doors import Scope, door
from engine.console.models import Asked, Instant, Nothing, Problems, Told
from engine.console.pages.entry import problems
from engine.console.people import Token, actor
from engine.console.people.persons import spoken
from engine.console.people.tokens import NEVER
from engine.console.rights import Right
from engine.console.visit import Visit

DAYS = 90  # of a token, as proposed
BROWSERS = {
    "Edg": "Edge",
    "OPR": "Opera",
    "Firefox": "Firefox",
    "HeadlessChrome": "Chrome",
    "Chrome": "Chrome",
    "Version": "Safari",
}
SYSTEMS = {"iPhone": "iPhone", "iPad": "iPad", "Android": "Android", "Windows": "Windows", "Mac OS": "macOS", "Linux": "Linux"}


class SessionLine(Told):
    id: str
    made_at: Instant
    seen_at: Instant
    peer: str
    agent: str  # what the browser calls itself
    browser: str  # what people call it
    this: bool


class TokenLine(Told):
    prefix: str
    label: str
    person: str
    rights: list[Right]
    channels: str
    made_at: Instant
    made_by: str
    until: Instant
    used_at: Instant
    revoked_at: Instant
    good: bool


class Account(Told):
    name: str
    display: str
    may: list[str]
    provider: str  # where they log in, '' for here
    second_factor: bool
    second_factor_due: bool
    recovery_codes: int
    theme: str
    sessions: list[SessionLine]
    tokens: list[TokenLine]
    rights: list[Right]  # that a token of theirs could have
    problems: Problems = []


@door("GET", "/account", None, Scope.OWN, "", page="account.html", api="/account")
def account(visit: Visit, asked: Nothing) -> Account:
    """Who you are here, what you may, and what lets you in."""
    return _account(visit)


def _account(visit: Visit, refusal: Refusal | None = None) -> Account:
    people, who = visit.home.people, visit.who
    service = who.via == "token" and who.name.startswith("service ")
    person = None if service else people.persons.one(who.name)
    return Account(
        name=who.name,
        display=who.display,
        may=spoken(who.grants),
        provider=person.issuer if person else "",
        second_factor=bool(person and person.totp),
        second_factor_due=who.due == "totp",
        recovery_codes=people.totp.left(who.name) if person else 0,
        theme=who.theme,
        sessions=session_lines(visit, who.name) if person else [],
        tokens=[token_line(one, visit.now) for one in (people.tokens.all(who.name) if person else [])],
        rights=[right for right in Right if who.somewhere(right) and right not in NEVER],
        problems=problems(refusal),
    )


def session_lines(visit: Visit, name: str) -> list[SessionLine]:
    return [
        SessionLine(
            id=one.id,
            made_at=one.made_at,
            seen_at=one.seen_at,
            peer=one.peer,
            agent=one.agent,
            browser=browser(one.agent),
            this=one.id == visit.who.id,
        )
        for one in visit.home.people.sessions.of(name)
    ]


def browser(agent: str) -> str:
    """`Firefox 140 on Linux`, of what a browser calls itself; most claim to be several others, too."""
    named = next((found for found in (re.search(rf"{name}/(\d+)", agent) for name in BROWSERS) if found), None)
    if named is None:
        return agent[:40]
    system = next((system for system in SYSTEMS if system in agent), "")
    name = named[0].partition("/")[0]
    return f"{BROWSERS[name]} {named[1]}" + (f" on {SYSTEMS[system]}" if system else "")


def token_line(one: Token, now: int) -> TokenLine:
    return TokenLine(
        prefix=one.prefix,
        label=one.label,
        person=one.person,
        rights=sorted(one.rights),
        channels=one.channels,
        made_at=one.made_at,
        made_by=one.made_by,
        until=one.until,
        used_at=one.used_at,
        revoked_at=one.revoked_at,
        good=not one.revoked_at and one.until > now,
    )


def in_session(visit: Visit) -> None:
    """Raises Denied for tokens: what lets people in is changed by people."""
    if visit.who.via != "session":
        raise Denied("This takes a person in a session, not a token.")


def confirmed(visit: Visit, password: str) -> None:
    """The password again, of those who have one here. Raises Invalid, TooMuch, Denied."""
    in_session(visit)
    if visit.home.people.persons.one(visit.who.name).password:
        visit.home.people.login.check(visit.who, password, visit.peer)


def _again(visit: Visit, refusal: Refusal) -> Shown:
    visit.noted.written = True  # nothing has changed
    return Shown(_account(visit, refusal), "account.html", refusal.status)


# ── password ───────────────────────────────────────────────────────────────────────────────────────────────────────


class PasswordAsked(Asked):
    password: str = ""
    new: str = ""
    again: str = ""


@door("POST", "/account/password", None, Scope.OWN, "choose password", page="account.html")
def password(visit: Visit, asked: PasswordAsked) -> Any:
    """Choose another password; all your other sessions end."""
    in_session(visit)
    try:
        if asked.new != asked.again:
            raise Invalid(("again", "The second time it was another password."))
        cookie = visit.home.people.login.change_password(visit.who, asked.password, asked.new, visit.peer)
    except (Invalid, TooMuch) as refusal:
        return _again(visit, refusal)
    visit.noted.written = True
    return Done("/account", "Your password is another one now, and your other sessions have ended.", session=cookie)


# ── second factor ──────────────────────────────────────────────────────────────────────────────────────────────────


class ConfirmAsked(Asked):
    password: str = ""


class Offered(Told):
    secret: str
    picture: str  # path data of the QR code
    side: int  # of the picture, in its own units
    problems: Problems = []


class Codes(Told):
    codes: list[str]


@door("POST", "/account/totp/begin", None, Scope.OWN, "", page="account.html")
def begin_totp(visit: Visit, asked: ConfirmAsked) -> Any:
    """Begin to set up a second factor."""
    try:
        confirmed(visit, asked.password)
        visit.home.people.totp.offer(visit.who)
    except (Invalid, TooMuch, Conflict) as refusal:
        return _again(visit, refusal)
    return Done("/account/totp")


@door("GET", "/account/totp", None, Scope.OWN, "", page="totp.html")
def offered_totp(visit: Visit, asked: Nothing) -> Any:
    """The secret to take into your phone, until a code of it was shown."""
    in_session(visit)
    try:
        return _offered(visit)
    except Conflict:
        return Done("/account")


def _offered(visit: Visit, refusal: Refusal | None = None) -> Offered:
    offer = visit.home.people.totp.offered(visit.who)
    return Offered(secret=offer.secret, picture=offer.picture, side=offer.side, problems=problems(refusal))


class TotpAsked(Asked):
    code: str = ""


@door("POST", "/account/totp", None, Scope.OWN, "set up second factor", page="codes_shown.html")
def confirm_totp(visit: Visit, asked: TotpAsked) -> Any:
    """Show a code of the new secret: from now on one is asked for."""
    in_session(visit)
    visit.noted.written = True
    try:
        codes, cookie = visit.home.people.totp.confirm(visit.who, asked.code)
    except Invalid as refusal:
        return Shown(_offered(visit, refusal), "totp.html", refusal.status)
    return Shown(Codes(codes=codes), session=cookie)


@door("POST", "/account/totp/codes", None, Scope.OWN, "new recovery codes", page="codes_shown.html")
def new_codes(visit: Visit, asked: ConfirmAsked) -> Any:
    """Other recovery codes; those before are no good any more."""
    try:
        confirmed(visit, asked.password)
        codes = visit.home.people.totp.new_codes(visit.who)
    except (Invalid, TooMuch, Conflict) as refusal:
        return _again(visit, refusal)
    visit.noted.written = True
    return Codes(codes=codes)


@door("POST", "/account/totp/forget", None, Scope.OWN, "forget second factor", page="account.html")
def forget_totp(visit: Visit, asked: ConfirmAsked) -> Any:
    """Log in by password alone again."""
    try:
        confirmed(visit, asked.password)
        visit.home.people.totp.forget(actor(visit.who), visit.who.name)
    except (Invalid, TooMuch, Conflict) as refusal:
        return _again(visit, refusal)
    visit.noted.written = True
    return Done("/account", "Your second factor is forgotten.")


# ── sessions, theme ────────────────────────────────────────────────────────────────────────────────────────────────


class SessionAsked(Asked):
    id: str


@door("POST", "/account/sessions/end", None, Scope.OWN, "logout")
def end_session(visit: Visit, asked: SessionAsked) -> Done:
    """End one of your sessions."""
    in_session(visit)
    visit.home.people.sessions.end(actor(visit.who), visit.who.name, asked.id)
    visit.noted.written = True
    return Done("/account", "That session has ended.")


@door("POST", "/account/sessions/end-others", None, Scope.OWN, "logout everywhere")
def end_others(visit: Visit, asked: Nothing) -> Done:
    """End all your sessions but this one."""
    in_session(visit)
    ended = visit.home.people.sessions.end_all(actor(visit.who), visit.who.name, but=visit.who.id)
    visit.noted.written = True
    return Done("/account", f"Sessions ended: {ended}.")


class ThemeAsked(Asked):
    theme: str = ""


@door("POST", "/account/theme", None, Scope.OWN, "")
def theme(visit: Visit, asked: ThemeAsked) -> Done:
    """Light, dark, or as the system says."""
    in_session(visit)
    visit.home.people.persons.theme(actor(visit.who), asked.theme)
    return Done("/account")


# ── tokens ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class TokenAsked(Asked):
    label: str = ""
    rights: list[Right] = []
    channels: str = "*"
    days: int = DAYS
    password: str = ""


class Made(Told):
    """A token, for the only time."""

    secret: str
    token: TokenLine


@door("POST", "/account/tokens", None, Scope.OWN, "make token", page="token_made.html")
def make_token(visit: Visit, asked: TokenAsked) -> Any:
    """Make an API token for yourself."""
    try:
        confirmed(visit, asked.password)
        who = visit.who
        made = visit.home.people.tokens.make(
            actor(who), asked.label, frozenset(asked.rights), asked.channels, asked.days, who.name
        )
    except (Invalid, TooMuch) as refusal:
        return _again(visit, refusal)
    visit.noted.written = True
    return Made(secret=made[0], token=token_line(made[1], visit.now))


class RevokeAsked(Asked):
    prefix: str


@door("POST", "/account/tokens/revoke", None, Scope.OWN, "revoke token", api="/account/tokens/revoke")
def revoke_token(visit: Visit, asked: RevokeAsked) -> Done:
    """Make one of your API tokens good for nothing."""
    visit.home.people.tokens.revoke(actor(visit.who), asked.prefix, own=True)
    visit.noted.written = True
    return Done("/account", "That token is good for nothing any more.")
