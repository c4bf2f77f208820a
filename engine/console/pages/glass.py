"""Breaking the glass, and what is broken."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from engine.console.answers import Done, Invalid, Refusal, Shown
from engine.console.doors import Scope, door
from engine.console.models import LARGEST, Asked, Instant, Problems, Told
from engine.console.pages.account import in_session
from engine.console.pages.entry import local, problems
from engine.console.people import Broken, actor
from engine.console.people.glass import SHORTEST
from engine.console.rights import Right
from engine.console.visit import Visit


class GlassAsked(Asked):
    channels: str = ""  # proposed
    next: str = ""


class BrokenLine(Told):
    id: int
    person: str
    channel: str
    reason: str
    at: Instant
    until: Instant
    revoked_by: str
    open: bool
    mine: bool


class GlassPage(Told):
    channel: str
    next: str
    reason: str
    shortest: int
    choices: list[str]  # channels that they may see and not read
    broken: list[BrokenLine]
    everybodys: bool  # whether the list is of everybody
    problems: Problems = []


@door("GET", "/glass", Right.SEE, Scope.SOME, "view broken glass", page="glass.html", api="/glass")
def glass(visit: Visit, asked: GlassAsked) -> GlassPage:
    """Break the glass, and see what was broken: your own, and everybody's where you may see the audit trail."""
    return _page(visit, asked.channels, asked.next)


def _page(visit: Visit, channel: str, next: str, reason: str = "", refusal: Refusal | None = None) -> GlassPage:
    who, found = visit.who, visit.home.people.glass.all()
    everybodys = who.everywhere(Right.AUDIT) or who.everywhere(Right.PEOPLE)
    return GlassPage(
        channel=channel,
        next=local(next) if next else "",
        reason=reason,
        shortest=SHORTEST,
        choices=[name for name in visit.home.seen(visit.history)[0] if _closed(visit, name)],
        broken=[_line(one, visit) for one in found if everybodys or one.person == who.name],
        everybodys=everybodys,
        problems=problems(refusal),
    )


def _closed(visit: Visit, channel: str) -> bool:
    return visit.may(Right.SEE, channel) and not visit.may(Right.READ, channel)


def _line(one: Broken, visit: Visit) -> BrokenLine:
    return BrokenLine(
        id=one.id,
        person=one.person,
        channel=one.channel,
        reason=one.reason,
        at=one.at,
        until=one.until,
        revoked_by=one.revoked_by,
        open=one.until > visit.now,
        mine=one.person == visit.who.name,
    )


class BreakAsked(Asked):
    channel: str = ""
    reason: str = ""
    next: str = ""


@door("POST", "/glass", Right.SEE, Scope.SOME, "break glass", page="glass.html")
def break_glass(visit: Visit, asked: BreakAsked) -> Any:
    """Read the bodies of one channel for an hour. It is noted and told."""
    visit.note(asked.channel)
    try:
        cookie = visit.home.people.glass(visit.who, asked.channel, asked.reason)
    except Invalid as refusal:
        visit.noted.written = True  # nothing was broken
        return Shown(_page(visit, asked.channel, asked.next, asked.reason, refusal), "", refusal.status)
    visit.noted.written = True
    return Done(local(asked.next) if asked.next else "/glass", session=cookie)


class MendAsked(Asked):
    id: int = Field(ge=0, le=LARGEST)


@door("POST", "/glass/end", Right.SEE, Scope.SOME, "mend glass")
def mend(visit: Visit, asked: MendAsked) -> Done:
    """End it before its hour is over: your own, or anybody's where you may let people in."""
    in_session(visit)
    own = not visit.who.everywhere(Right.PEOPLE)
    visit.home.people.glass.end(actor(visit.who), asked.id, own=own)
    visit.noted.written = True
    return Done("/glass", "Bodies are closed again.")
