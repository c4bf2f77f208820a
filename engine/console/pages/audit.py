"""The audit trail: who did and saw what, whether it is whole, and taking it elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from pydantic import Field

from engine.console.answers import Download, Invalid
from engine.console.doors import Scope, door
from engine.console.models import LARGEST, Asked, Instant, Nothing, Told, iso
from engine.console.people.audit import Entry
from engine.console.people.trail import Wanted, all_entries, entries, verify, words
from engine.console.rights import Right
from engine.console.visit import Visit

ROWS = 60  # of a page, so that it stays light


class AuditAsked(Asked):
    who: str = ""
    what: str = ""
    object: str = ""
    outcome: str = ""
    since: str = ""  # 2026-11-21 or 2026-11-21T10:30, in the site's time zone; an age like 2h
    until: str = ""
    before: int = Field(0, ge=0, le=LARGEST, description="Older than this row.")
    limit: int = Field(ROWS, ge=1, le=1000)


class Row(Told):
    seq: int
    at: Instant
    who: str
    via: str
    what: str
    object: str
    outcome: str
    details: dict[str, Any]
    hash: str


class Trail(Told):
    rows: list[Row]
    older: int  # `before` of the next page; 0: these are all
    whats: list[str]
    asked: AuditAsked


class Verified(Told):
    sound: bool
    text: str
    rows: int
    broken: int
    head: str
    anchor: str
    remarks: list[int]


@door("GET", "/audit", Right.AUDIT, Scope.SITE, "view audit", page="audit.html", api="/audit")
def audit(visit: Visit, asked: AuditAsked) -> Trail:
    """What was done and seen, newest first."""
    database, wanted = visit.home.people.database, _wanted(visit, asked)
    found = entries(database, wanted, before=asked.before, limit=asked.limit)
    visit.note(**{name: value for name, value in _conditions(asked).items() if value})
    older = found[-1].seq if len(found) == asked.limit else 0
    return Trail(rows=[_row(entry) for entry in found], older=older, whats=words(database), asked=asked)


@door("GET", "/audit/verify", Right.AUDIT, Scope.SITE, "verify audit", page="audit_verified.html", api="/audit/verify")
def verified(visit: Visit, asked: Nothing) -> Verified:
    """Whether nobody has changed, taken out, put in or cut off anything."""
    found = verify(visit.home.people.database)
    visit.note("trail", whole=found.sound, broken=found.broken)
    return Verified(
        sound=found.sound,
        text=found.text,
        rows=found.rows,
        broken=found.broken,
        head=str(found.head),
        anchor=str(found.anchor or ""),
        remarks=list(found.remarks),
    )


@door("GET", "/audit/export", Right.AUDIT, Scope.SITE, "export audit", api="/audit/export")
def export(visit: Visit, asked: AuditAsked) -> Download:
    """Every row that matches, oldest first, as JSON lines; with hashes, so that the chain can be verified elsewhere."""
    wanted, database = _wanted(visit, asked), visit.home.people.database
    visit.note(**{name: value for name, value in _conditions(asked).items() if value})

    def lines() -> Iterator[bytes]:
        for entry in all_entries(database, wanted):
            yield orjson.dumps(entry._asdict() | {"time": iso(entry.at)}, option=orjson.OPT_APPEND_NEWLINE)

    return Download("audit.jsonl", "application/jsonl", lines())


def _conditions(asked: AuditAsked) -> dict[str, str]:
    names = ("who", "what", "object", "outcome", "since", "until")
    return {name: getattr(asked, name) for name in names}


def _wanted(visit: Visit, asked: AuditAsked) -> Wanted:
    """Raises Invalid."""
    since, until = (_instant(visit, name, getattr(asked, name)) for name in ("since", "until"))
    return Wanted(asked.who, asked.what, asked.object, asked.outcome, since, until)


def _instant(visit: Visit, key: str, text: str) -> int:
    from engine.query import QueryError, parse

    if not text:
        return 0
    try:
        search = parse(f"{key}:{text}", visit.now, visit.home.timezone)
    except QueryError as error:
        raise Invalid((key, str(error))) from error
    return search.since if key == "since" else search.until


def _row(entry: Entry) -> Row:
    try:
        details = orjson.loads(entry.details)
    except ValueError:  # somebody has been at it: it is shown all the same
        details = {"unreadable": entry.details}
    return Row(
        seq=entry.seq,
        at=entry.at if isinstance(entry.at, int) else 0,
        who=str(entry.who),
        via=str(entry.via),
        what=str(entry.what),
        object=str(entry.object),
        outcome=str(entry.outcome),
        details=details if isinstance(details, dict) else {"value": details},
        hash=str(entry.hash),
    )
