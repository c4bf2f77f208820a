"""Reading the audit trail: searching it, and verifying that nobody has touched it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Select, select

from engine.console.people import schema
from engine.console.people.anchor import Anchor, Mark
from engine.console.people.audit import GENESIS, Entry, digest
from engine.console.people.database import Database

CHUNK: Final = 2_000  # rows read at once
MOST: Final = 10_000
_FIRST: Final = -(1 << 62)  # whatever somebody has put before the first row is looked at, too


class Wanted(NamedTuple):
    """Which rows; '' and 0 are no condition. A text that ends in `*` is the beginning of what is looked for."""

    who: str = ""
    what: str = ""
    object: str = ""
    outcome: str = ""
    since: int = 0  # microseconds since 1970
    until: int = 0


EVERYTHING: Final = Wanted()
NOTHING: Final = Mark(0, GENESIS)


@dataclass(frozen=True, slots=True)
class Verdict:
    sound: bool
    text: str  # what was found, for people
    rows: int  # that were looked at and are sound
    broken: int = 0  # sequence of the first row that is not; 0: none
    head: Mark = NOTHING
    anchor: Mark | None = None
    remarks: tuple[int, ...] = ()  # rows in which the trail speaks of itself: a person should read them


def entries(database: Database, wanted: Wanted = EVERYTHING, *, before: int = 0, limit: int = 100) -> list[Entry]:
    """Rows that match, newest first, older than the sequence `before` where that is given."""
    table = schema.audit
    query = _conditions(select(table), wanted)
    if before:
        query = query.where(table.c.seq < before)
    with database.reading() as connection:
        found = connection.execute(query.order_by(table.c.seq.desc()).limit(min(limit, MOST))).all()
    return [Entry._make(row) for row in found]


def all_entries(database: Database, wanted: Wanted = EVERYTHING, since: int = 0) -> Iterator[Entry]:
    """Rows that match, oldest first, with a sequence of at least `since`; any number, since they are read in pieces."""
    table = schema.audit
    while True:
        query = _conditions(select(table), wanted).where(table.c.seq >= since).order_by(table.c.seq).limit(CHUNK)
        with database.reading() as connection:
            found = [Entry._make(row) for row in connection.execute(query)]
        yield from found
        if len(found) < CHUNK:
            return
        since = found[-1].seq + 1


def words(database: Database) -> list[str]:
    """Every `what` that the trail has."""
    with database.reading() as connection:
        return sorted(connection.execute(select(schema.audit.c.what).distinct()).scalars())


def verify(database: Database, *, first: int = 1, told: Mark | None = None) -> Verdict:
    """Every row from `first` on (after a break that is known) against its hash and the row before it; the last against the
    anchor; and where an anchor of an earlier time is `told` (from the log), the row of that time against it."""
    with database.locked():  # trail and anchor of the same moment
        anchor = Anchor(database.directory).read()
        with database.reading() as connection:
            table = schema.audit
            last = connection.execute(select(table.c.seq).order_by(table.c.seq.desc()).limit(1)).scalar() or 0
    before: Entry | None = None
    rows = 0
    remarks: list[int] = []
    for entry in all_entries(database, since=first if first > 1 else _FIRST):
        if entry.seq > last:  # written since
            break
        if problem := _problem(entry, before, first):
            return Verdict(False, f"row {entry.seq} {problem}", rows, entry.seq, Mark(last, ""), anchor, tuple(remarks))
        if told and entry.seq == told.seq and entry.hash != told.hash:
            text = f"row {entry.seq} is not the one that the given anchor speaks of: the trail was made anew since"
            return Verdict(False, text, rows, entry.seq, Mark(last, ""), anchor, tuple(remarks))
        if entry.who == "wardline" and entry.what == "audit":
            remarks.append(entry.seq)
        before, rows = entry, rows + 1
    head = Mark(before.seq, before.hash) if before else NOTHING
    text, broken = _end(head, anchor, told)
    return Verdict(not text, text or _sound(rows, remarks), rows, broken, head, anchor, tuple(remarks))


def _problem(entry: Entry, before: Entry | None, first: int) -> str:
    """What is wrong with a row, after the one before it."""
    if before is None:
        expected, prev = first, GENESIS if first == 1 else entry.prev
    else:
        expected, prev = before.seq + 1, before.hash
    if entry.seq != expected:
        return f"follows row {expected - 1}: what was between them is gone"
    try:
        if digest(entry) != entry.hash:
            return "was changed: its hash is not that of its content"
    except (TypeError, ValueError):
        return "was changed: it holds what was never written"
    return "" if entry.prev == prev else "does not follow the row before it: a row was taken out, put in, or made anew"


def _end(head: Mark, anchor: Mark | None, told: Mark | None) -> tuple[str, int]:
    """What is wrong at the end of a chain that is sound, and the row it begins with."""
    if told and head.seq < told.seq:
        return f"the trail ends with row {head.seq}, and had a row {told.seq} once: its end was taken away", head.seq + 1
    if anchor is None:
        return (
            "the anchor (.wardline/audit-anchor) is missing or unreadable: whether the end is whole cannot be told",
            head.seq + 1,
        )
    if head == anchor:
        return "", 0
    if head.seq < anchor.seq:
        return f"the trail ends with row {head.seq}, its anchor is row {anchor.seq}: its end was taken away", head.seq + 1
    if head.seq == anchor.seq:
        return f"row {head.seq} is not the one that was anchored: the end was made anew", head.seq
    return (
        f"the anchor is row {anchor.seq}, rows follow up to {head.seq}: the machine died between the two, or somebody added them",
        anchor.seq + 1,
    )


def _sound(rows: int, remarks: list[int]) -> str:
    said = f"{rows:,} rows, an unbroken chain, and the last is the anchored one"
    listed = ", ".join(map(str, remarks[:10]))
    return f"{said}. Read what the trail says of itself in row {listed}" if remarks else said


def _conditions(query: Select[Any], wanted: Wanted) -> Select[Any]:
    table = schema.audit
    for column, value in (
        (table.c.who, wanted.who),
        (table.c.what, wanted.what),
        (table.c.object, wanted.object),
        (table.c.outcome, wanted.outcome),
    ):
        if value.endswith("*"):
            query = query.where(column.startswith(value[:-1], autoescape=True))
        elif value:
            query = query.where(column == value)
    if wanted.since:
        query = query.where(table.c.at >= wanted.since)
    if wanted.until:
        query = query.where(table.c.at < wanted.until)
    return query
