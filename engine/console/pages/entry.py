"""Coming in: the first of all, invitations, name and password, the second factor, a login provider; and going out."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ConfigDict

from engine.console.answers import Away, Conflict, Done, Invalid, Refusal, Shown, TooMuch
from engine.console.doors import Scope, door
from engine.console.models import Asked, Nothing, Problems, Told
from engine.console.people import LoggedIn, NotLetIn
from engine.console.visit import Visit

BACK = "/login/oidc/back"  # where a login provider sends the browser


# ── links ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class LinkAsked(Asked):
    token: str = ""


class Link(Told):
    token: str
    kind: str = ""  # `first`, `invite`, `reset`; '' while there is no good token
    name: str = ""
    display: str = ""
    empty: bool = False  # nobody may let others in yet
    problems: Problems = []


@door("GET", "/first", None, Scope.PUBLIC, "", page="first.html")
def first(visit: Visit, asked: LinkAsked) -> Any:
    """The page behind a link that lets somebody choose a password."""
    people = visit.home.people
    if not asked.token:
        return Link(token="", empty=True) if people.persons.headless else Done("/login")
    return _linked(visit, asked.token)


class ChooseAsked(Asked):
    token: str
    name: str = ""
    display: str = ""
    password: str = ""
    again: str = ""


@door("POST", "/first", None, Scope.PUBLIC, "choose password", page="first.html")
def choose(visit: Visit, asked: ChooseAsked) -> Any:
    """Choose a password by a link, and come in with it."""
    people = visit.home.people
    try:
        if asked.password != asked.again:
            raise Invalid(("again", "The second time it was another password."))
        name = people.persons.accept(asked.token, asked.password, visit.peer, asked.name, asked.display)
        visit.noted.written = True
        return _in(visit, people.login.password(name, asked.password, visit.peer, visit.agent), "")
    except (NotLetIn, Conflict, Invalid) as refusal:
        visit.noted.written = True  # nothing has changed
        return _linked(visit, asked.token, refusal, asked.name, asked.display)


def _linked(visit: Visit, token: str, refusal: Refusal | None = None, name: str = "", display: str = "") -> Shown:
    people = visit.home.people
    try:
        found = people.persons.welcome(token)
    except NotLetIn as gone:
        return Shown(Link(token="", empty=people.persons.headless, problems=[("", str(gone))]), "first.html", 403)
    model = Link(
        token=token,
        kind=found.kind,
        name=found.name or name,
        display=found.display or display,
        empty=people.persons.headless,
        problems=problems(refusal),
    )
    return Shown(model, "first.html", refusal.status if refusal else 200)


# ── name and password ──────────────────────────────────────────────────────────────────────────────────────────────


class LoginAsked(Asked):
    next: str = ""
    name: str = ""
    password: str = ""


class LoginPage(Told):
    next: str = ""
    name: str = ""
    ticket: str = ""  # of a login that waits for its code
    provider: str = ""  # what the button of the login provider says
    problems: Problems = []


@door("GET", "/login", None, Scope.PUBLIC, "", page="login.html")
def login_page(visit: Visit, asked: LoginAsked) -> Any:
    """Where people log in."""
    if visit.known:
        return Done(local(asked.next))
    if visit.home.people.empty:
        return Done("/first")
    return _page(visit, asked.next)


@door("POST", "/login", None, Scope.PUBLIC, "login", page="login.html")
def login(visit: Visit, asked: LoginAsked) -> Any:
    """Log in with name and password."""
    visit.noted.written = True  # the login itself, and what was wrong with it
    try:
        found = visit.home.people.login.password(asked.name, asked.password, visit.peer, visit.agent)
    except (NotLetIn, TooMuch) as refusal:
        return Shown(_page(visit, asked.next, asked.name, refusal), "", refusal.status)
    return _in(visit, found, asked.next)


class CodeAsked(Asked):
    ticket: str
    code: str = ""
    next: str = ""


@door("POST", "/login/code", None, Scope.PUBLIC, "login", page="login_code.html")
def code(visit: Visit, asked: CodeAsked) -> Any:
    """The second step: a code of the phone, or a recovery code."""
    visit.noted.written = True
    login = visit.home.people.login
    try:
        found = login.code(asked.ticket, asked.code, visit.peer, visit.agent)
    except (NotLetIn, TooMuch) as refusal:
        if not login.waits(asked.ticket):
            return Shown(_page(visit, asked.next, refusal=refusal), "login.html", refusal.status)
        page = LoginPage(next=asked.next, ticket=asked.ticket, problems=problems(refusal))
        return Shown(page, "", refusal.status)
    return _in(visit, found, asked.next)


@door("POST", "/logout", None, Scope.OWN, "logout")
def logout(visit: Visit, asked: Nothing) -> Done:
    """End this session."""
    if visit.who.via == "session":
        visit.home.people.sessions.logout(visit.who)
    visit.noted.written = True
    return Done("/login", session="")


# ── a login provider ───────────────────────────────────────────────────────────────────────────────────────────────


@door("GET", "/login/oidc", None, Scope.PUBLIC, "")
def to_provider(visit: Visit, asked: Nothing) -> Done:
    """Go to the login provider."""
    oidc = visit.home.people.oidc
    if visit.known or oidc is None:
        return Done("/")
    begun = oidc.begin(visit.origin + BACK)
    return Done(begun.url, session=begun.cookie)


class BackAsked(Asked):
    """What the provider sends the browser back with; providers add things of their own."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    code: str = ""
    state: str = ""
    iss: str = ""
    error: str = ""


class Returned(Told):
    code: str
    state: str
    iss: str
    error: str


@door("GET", BACK, None, Scope.PUBLIC, "", page="login_back.html")
def from_provider(visit: Visit, asked: BackAsked) -> Returned:
    """Back from the login provider. The page posts what it was given: only then does the browser show whose it is."""
    return Returned(code=asked.code, state=asked.state, iss=asked.iss, error=asked.error)


@door("POST", "/login/oidc", None, Scope.PUBLIC, "login", page="login.html")
def by_provider(visit: Visit, asked: BackAsked) -> Any:
    """Log in with what the provider said."""
    oidc = visit.home.people.oidc
    if oidc is None:
        return Done("/login")
    visit.noted.written = True
    answered = {name: value for name, value in asked.model_dump().items() if value}
    try:
        cookie = oidc.finish(answered, visit.cookie, visit.origin + BACK, visit.peer, visit.agent)
        _leave(visit)
    except (NotLetIn, Away) as refusal:
        return Shown(_page(visit, "", refusal=refusal), "", refusal.status)
    return Done("/", session=cookie)


# ── shared ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _in(visit: Visit, found: LoggedIn, next: str) -> Any:
    if found.cookie:
        _leave(visit)
        who = visit.home.people.session(found.cookie)
        return Done("/account" if who and who.due else local(next), session=found.cookie)
    return Shown(LoginPage(next=next, ticket=found.ticket, name=found.name), "login_code.html")


def _leave(visit: Visit) -> None:
    """The session that this browser had before is not left behind."""
    if visit.known and visit.who.via == "session":
        visit.home.people.sessions.logout(visit.who)


def _page(visit: Visit, next: str, name: str = "", refusal: Refusal | None = None) -> LoginPage:
    oidc = visit.home.people.oidc
    return LoginPage(next=next, name=name, provider=oidc.label if oidc else "", problems=problems(refusal))


def problems(refusal: Refusal | None) -> list[tuple[str, str]]:
    """For a form that is shown again."""
    if refusal is None:
        return []
    return list(refusal.problems) if isinstance(refusal, Invalid) else [("", str(refusal))]


def local(path: str) -> str:
    """A path of ours, whatever was asked for: nobody is led away from here."""
    return path if re.fullmatch(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*", path) and not path.startswith("/log") else "/"
