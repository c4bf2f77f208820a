"""Letting people in, and saying what they may."""

from __future__ import annotations

from engine.console.answers import Conflict, Done, Invalid, Refusal, Shown
from engine.console.doors import Scope, door
from engine.console.models import Asked, Instant, Nothing, Problems, Told
from engine.console.pages.account import DAYS, Made, SessionLine, TokenLine, in_session, session_lines, token_line
from engine.console.pages.entry import problems
from engine.console.people import Person, actor
from engine.console.people.tokens import NEVER
from engine.console.rights import RIGHTS, Grant, Right, Role
from engine.console.visit import Visit

BLANK = 2  # empty lines for grants in a form


class NameAsked(Asked):
    name: str


class GrantLine(Told):
    role: str
    channels: str


class PersonLine(Told):
    name: str
    display: str
    grants: list[GrantLine]
    state: str  # `may log in`, `invited`, `disabled`
    provider: str
    second_factor: bool
    second_factor_required: bool
    made_at: Instant
    made_by: str
    seen_at: Instant


class RoleLine(Told):
    role: str
    rights: list[Right]


class PeoplePage(Told):
    people: list[PersonLine]
    roles: list[RoleLine]
    form: PersonLine  # for somebody new
    problems: Problems = []


class PersonPage(Told):
    person: PersonLine
    sessions: list[SessionLine]
    tokens: list[TokenLine]
    roles: list[RoleLine]
    self: bool  # whether it is whoever looks
    problems: Problems = []


ROLES = [RoleLine(role=role, rights=[right for right in Right if right in rights]) for role, rights in RIGHTS.items()]


@door("GET", "/people", Right.PEOPLE, Scope.SITE, "view people", page="people.html", api="/people")
def people(visit: Visit, asked: Nothing) -> PeoplePage:
    """Everybody, and what they may."""
    return _people(visit, _blank("", "", (Grant(Role.VIEWER),), False))


def _people(visit: Visit, form: PersonLine, refusal: Refusal | None = None) -> PeoplePage:
    found = visit.home.people.persons.all()
    return PeoplePage(people=[_line(one) for one in found], roles=ROLES, form=form, problems=problems(refusal))


@door("GET", "/people/{name}", Right.PEOPLE, Scope.SITE, "view person", page="person.html", api="/people/{name}")
def person(visit: Visit, asked: NameAsked) -> PersonPage:
    """One person: what they may, and what lets them in."""
    visit.note(asked.name)
    return _person(visit, asked.name)


def _person(visit: Visit, name: str, refusal: Refusal | None = None) -> PersonPage:
    found = visit.home.people
    return PersonPage(
        person=_line(found.persons.one(name)),
        sessions=session_lines(visit, name),
        tokens=[token_line(one, visit.now) for one in found.tokens.all(name)],
        roles=ROLES,
        self=name == visit.who.name,
        problems=problems(refusal),
    )


def _line(one: Person) -> PersonLine:
    return PersonLine(
        name=one.name,
        display=one.display,
        grants=[GrantLine(role=grant.role, channels=grant.channels) for grant in one.grants],
        state="disabled" if one.disabled else "may log in" if one.password or one.issuer else "invited",
        provider=one.issuer,
        second_factor=one.totp,
        second_factor_required=one.totp_required,
        made_at=one.made_at,
        made_by=one.made_by,
        seen_at=one.seen_at,
    )


def _blank(name: str, display: str, grants: tuple[Grant, ...], totp: bool) -> PersonLine:
    return PersonLine(
        name=name,
        display=display,
        grants=[GrantLine(role=grant.role, channels=grant.channels) for grant in grants],
        state="",
        provider="",
        second_factor=False,
        second_factor_required=totp,
        made_at=0,
        made_by="",
        seen_at=0,
    )


# ── letting in ─────────────────────────────────────────────────────────────────────────────────────────────────────


class AddAsked(Asked):
    name: str = ""
    display: str = ""
    role: list[str] = []  # one for each of `channels`; what has no role is left out
    channels: list[str] = []
    totp: bool = False


class LinkShown(Told):
    """A link, for the only time."""

    person: str
    link: str
    why: str  # `invite` or `reset`


@door("POST", "/people", Right.PEOPLE, Scope.SITE, "add person", page="link_shown.html", api="/people", status=201)
def add(visit: Visit, asked: AddAsked) -> LinkShown | Shown:
    """Add somebody: the answer is the link by which they choose a password."""
    in_session(visit)
    visit.note(asked.name)
    visit.noted.written = True
    grants: tuple[Grant, ...] = ()
    try:
        grants = _grants(asked.role, asked.channels)
        token = visit.home.people.persons.add(actor(visit.who), asked.name, asked.display, grants, asked.totp)
    except (Invalid, Conflict) as refusal:
        form = _blank(asked.name, asked.display, grants, asked.totp)
        return Shown(_people(visit, form, refusal), "people.html", refusal.status)
    return LinkShown(person=asked.name, link=f"{visit.origin}/first?token={token}", why="invite")


def _grants(roles: list[str], channels: list[str]) -> tuple[Grant, ...]:
    """Raises Invalid."""
    if len(roles) != len(channels):
        raise Invalid(("grants", "Each role goes with its channels."))
    pairs = [(role, pattern.strip() or "*") for role, pattern in zip(roles, channels, strict=True) if role]
    if unknown := [role for role, _ in pairs if role not in set(Role)]:
        raise Invalid(("grants", f"There is no role '{unknown[0][:40]}'."))
    return tuple(dict.fromkeys(Grant(Role(role), pattern) for role, pattern in pairs))


class ChangeAsked(Asked):
    name: str
    display: str = ""
    role: list[str] = []
    channels: list[str] = []
    totp: bool = False


@door("POST", "/people/{name}", Right.PEOPLE, Scope.SITE, "change person", page="person.html", api="/people/{name}")
def change(visit: Visit, asked: ChangeAsked) -> Done | Shown:
    """What somebody is called, and what they may. Their sessions end where that is something else than before."""
    in_session(visit)
    visit.note(asked.name)
    visit.noted.written = True
    try:
        grants = _grants(asked.role, asked.channels)
        visit.home.people.persons.change(actor(visit.who), asked.name, asked.display, grants, asked.totp)
    except (Invalid, Conflict) as refusal:
        return Shown(_person(visit, asked.name, refusal), "", refusal.status)
    return Done(f"/people/{asked.name}", "Kept.")


class ResetAsked(Asked):
    name: str
    totp: bool = False


@door(
    "POST", "/people/{name}/reset", Right.PEOPLE, Scope.SITE, "reset person", page="link_shown.html", api="/people/{name}/reset"
)
def reset(visit: Visit, asked: ResetAsked) -> LinkShown:
    """The link by which somebody chooses a new password."""
    in_session(visit)
    visit.note(asked.name)
    token = visit.home.people.persons.reset(actor(visit.who), asked.name, totp=asked.totp)
    visit.noted.written = True
    return LinkShown(person=asked.name, link=f"{visit.origin}/first?token={token}", why="reset")


@door("POST", "/people/{name}/disable", Right.PEOPLE, Scope.SITE, "disable person", api="/people/{name}/disable")
def disable(visit: Visit, asked: NameAsked) -> Done:
    """Let somebody in no more; whatever they have open ends at once."""
    in_session(visit)
    visit.note(asked.name)
    visit.home.people.persons.disable(actor(visit.who), asked.name)
    visit.noted.written = True
    return Done(f"/people/{asked.name}", f"{asked.name} is not let in any more.")


@door("POST", "/people/{name}/enable", Right.PEOPLE, Scope.SITE, "enable person", api="/people/{name}/enable")
def enable(visit: Visit, asked: NameAsked) -> Done:
    """Let somebody in again."""
    in_session(visit)
    visit.note(asked.name)
    visit.home.people.persons.disable(actor(visit.who), asked.name, False)
    visit.noted.written = True
    return Done(f"/people/{asked.name}", f"{asked.name} may log in again.")


@door("POST", "/people/{name}/logout", Right.PEOPLE, Scope.SITE, "logout everywhere", api="/people/{name}/logout")
def log_out(visit: Visit, asked: NameAsked) -> Done:
    """End all of somebody's sessions."""
    in_session(visit)
    visit.note(asked.name)
    ended = visit.home.people.sessions.end_all(actor(visit.who), asked.name)
    visit.noted.written = True
    return Done(f"/people/{asked.name}", f"Sessions ended: {ended}.")


@door("POST", "/people/{name}/totp/forget", Right.PEOPLE, Scope.SITE, "forget second factor", api="/people/{name}/totp/forget")
def forget(visit: Visit, asked: NameAsked) -> Done:
    """Forget somebody's second factor: their phone is lost."""
    in_session(visit)
    visit.note(asked.name)
    visit.home.people.totp.forget(actor(visit.who), asked.name)
    visit.noted.written = True
    return Done(f"/people/{asked.name}", f"{asked.name} logs in by password alone until they set up another.")


# ── tokens of everybody and of services ────────────────────────────────────────────────────────────────────────────


class TokensPage(Told):
    tokens: list[TokenLine]
    rights: list[Right]
    problems: Problems = []


class ServiceAsked(Asked):
    label: str = ""
    rights: list[Right] = []
    channels: str = "*"
    days: int = DAYS


class TokenRevoked(Asked):
    prefix: str


@door("GET", "/tokens", Right.PEOPLE, Scope.SITE, "view tokens", page="tokens.html", api="/tokens")
def tokens(visit: Visit, asked: Nothing) -> TokensPage:
    """API tokens of everybody and of services."""
    return _tokens(visit)


def _tokens(visit: Visit, refusal: Refusal | None = None) -> TokensPage:
    found = [token_line(one, visit.now) for one in visit.home.people.tokens.all()]
    return TokensPage(tokens=found, rights=[right for right in Right if right not in NEVER], problems=problems(refusal))


@door("POST", "/tokens", Right.PEOPLE, Scope.SITE, "make token", page="token_made.html", api="/tokens", status=201)
def make_service_token(visit: Visit, asked: ServiceAsked) -> Made | Shown:
    """Make an API token for a service."""
    in_session(visit)
    visit.noted.written = True
    try:
        made = visit.home.people.tokens.make(actor(visit.who), asked.label, frozenset(asked.rights), asked.channels, asked.days)
    except Invalid as refusal:
        return Shown(_tokens(visit, refusal), "tokens.html", refusal.status)
    return Made(secret=made[0], token=token_line(made[1], visit.now))


@door("POST", "/tokens/revoke", Right.PEOPLE, Scope.SITE, "revoke token", api="/tokens/revoke")
def revoke(visit: Visit, asked: TokenRevoked) -> Done:
    """Make anybody's API token good for nothing."""
    in_session(visit)
    visit.home.people.tokens.revoke(actor(visit.who), asked.prefix)
    visit.noted.written = True
    return Done("/tokens", "That token is good for nothing any more.")
