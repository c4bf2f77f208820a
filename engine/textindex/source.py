"""What there is to index: the store, read in short transactions, each over a bounded stretch of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from operator import itemgetter
from typing import Final, NamedTuple

from sqlalchemy import bindparam, func, literal_column, select, text

from engine.errors import StoreError, WardlineError
from engine.store.driver import Reader, Row
from engine.store.schema import attempt, content, delivery, further, message, meta, translation
from engine.store.sqlite import file_of
from engine.store.statements import Statement, among
from engine.store.words import DUPLICATE, PARKED, WAITING
from engine.textindex.texts import MOST_BYTES, text_of
from engine.textindex.words import Words, words

MOST_WORDS: Final = {"in": 8000, "canonical": 3000, "out": 3000, "answer": 2000}
"""Of a message, by stage; all of them together are as many as a tsvector has positions."""

STRETCH: Final = 500  # messages read at a time
STRETCH_BYTES: Final = 4 << 20  # of content, counting MOST_BYTES of each at most
DELIVERIES: Final = 2000  # new ones, read at a time
NEWEST: Final = 100  # deliveries of one message whose texts are read
ANSWERS: Final = 16  # attempts of one delivery whose answers are read, the newest
ANSWER_BYTES: Final = 16 << 10
_ENTITY = re.compile(r"[\w-]+/v\d+")  # the kind of a canonical payload: `charge/v1`

_m, _d, _t, _a = message.c, delivery.c, translation.c, attempt.c


IDENTITY = Statement("indexed_store", select(meta.c.store).where(meta.c.one == literal_column("1")))
NEWEST_IDS = Statement("newest_ids", select(select(func.max(_m.id)).scalar_subquery(), select(func.max(_d.id)).scalar_subquery()))
NEW_MESSAGES = Statement(
    "new_messages",
    select(_m.id, _m.received_at, _m.state, _m.size)
    .where(_m.id > bindparam("after"), _m.id <= bindparam("upto"))
    .order_by(_m.id)
    .limit(bindparam("limit"))
    .offset(literal_column("0")),
    *("after", "upto", "limit"),
)
NEW_DELIVERIES = Statement(
    "new_deliveries",
    select(_d.id, _d.message_id)
    .where(_d.id > bindparam("after"), _d.id <= bindparam("upto"))
    .order_by(_d.id)
    .limit(bindparam("limit"))
    .offset(literal_column("0")),
    *("after", "upto", "limit"),
)
_FACTS = (_d.message_id, _d.id, _d.state, _d.attempts, _d.content, _d.size, _d.kind)
ITS_DELIVERIES = Statement(
    "its_deliveries",
    select(*_FACTS)
    .select_from(translation.join(delivery, _d.id.between(_t.first_delivery, _t.first_delivery + _t.deliveries - text("1"))))
    .where(among(_t.message_id, "ids")),
    "ids",
)
ITS_FURTHER = Statement(
    "its_further",
    select(*_FACTS).select_from(further.join(delivery, _d.id == further.c.id)).where(among(further.c.message_id, "ids")),
    "ids",
)
ITS_ANSWERS = Statement(
    "its_answers",
    select(_a.delivery, _a.n, func.substr(_a.reply, literal_column("1"), literal_column(str(ANSWER_BYTES))))
    .select_from(attempt.join(delivery, _d.id == _a.delivery))
    .where(among(_a.delivery, "ids"), _a.reply.is_not(None), _a.n > _d.attempts - literal_column(str(ANSWERS))),
    "ids",
)
BEGINNINGS = Statement(
    "beginnings",
    select(content.c.owner, func.substr(content.c.content, literal_column("1"), literal_column(str(MOST_BYTES)))).where(
        among(content.c.owner, "ids")
    ),
    "ids",
)
STATES_NOW = Statement("states_now", select(_d.id, _d.message_id, _d.state, _d.attempts).where(among(_d.id, "ids")), "ids")
REMAINING = Statement(
    "remaining",
    select(func.count())
    .select_from(message.join(content, content.c.owner == _m.id))
    .where(_m.id.between(bindparam("first"), bindparam("last")), _m.state != literal_column(str(DUPLICATE))),
    *("first", "last"),
)
SIZES = Statement("sizes", select(_m.id, _m.size).where(among(_m.id, "ids"), _m.state != literal_column(str(DUPLICATE))), "ids")
AHEAD = Statement("ahead", select(func.count()).select_from(message).where(_m.id > bindparam("after")), "after")
KEPT = Statement("kept", select(content.c.owner).where(among(content.c.owner, "ids")), "ids")


class Stretch(NamedTuple):
    """A part of the store's one sequence of ids: what came into it up to `upto`."""

    upto: int
    messages: list[int]
    received_at: int  # of the last of them; 0 where there is none
    deliveries: dict[int, int]  # the newest delivery of each message that got some


class Open(NamedTuple):
    """A delivery that may still change, as it was when its message was indexed."""

    delivery: int
    message: int
    state: int
    attempts: int


class Document(NamedTuple):
    """The words of one message, as much as it has now."""

    message: int
    stages: tuple[Words, ...]  # in the sequence of STAGES
    open: tuple[Open, ...]
    ended: tuple[int, ...]  # its other deliveries
    newest: int  # its newest delivery, or 0


def open_store_reader(url: str) -> Reader:
    """Raises StoreError."""
    if url.startswith("postgres"):
        from engine.store.postgres import PostgresReader

        return PostgresReader(url)
    from engine.store.sqlite import SqliteReader

    return SqliteReader(url)


class Source:
    """The store's side of the indexer. Raises StoreError."""

    def __init__(self, url: str) -> None:
        self._url = "" if url.startswith("postgres") else url
        self._file = file_of(url) if self._url else 0
        self._reader = open_store_reader(url)

    def close(self) -> None:
        self._reader.close()

    def _rows(self, statement: Statement, *values: object) -> list[Row]:
        try:
            return self._reader.rows(statement, *values)
        except Exception as error:
            why = str(error) if isinstance(error, WardlineError) else type(error).__name__
            raise StoreError(f"the store cannot be read: {why}") from error

    def replaced(self) -> bool:
        """Whether another file has the store's name since: a backup was restored."""
        return bool(self._url) and file_of(self._url) != self._file

    def identity(self) -> str:
        """The store's own name."""
        return str(self._rows(IDENTITY)[0][0])

    def newest(self) -> int:
        """The largest id of all; 0 in an empty store."""
        return max(one or 0 for one in self._rows(NEWEST_IDS)[0])

    def stretch(self, after: int, upto: int) -> Stretch:
        rows = self._rows(NEW_MESSAGES, after, upto, STRETCH)
        if len(rows) == STRETCH:
            upto = rows[-1][0]
        total = 0
        for n, row in enumerate(rows):
            total += min(row[3], MOST_BYTES)
            if n and total > STRETCH_BYTES:
                rows, upto = rows[:n], rows[n - 1][0]
                break
        new = self._rows(NEW_DELIVERIES, after, upto, DELIVERIES)
        if len(new) == DELIVERIES:
            upto = new[-1][0]
            rows = [row for row in rows if row[0] <= upto]
        messages = [number for number, _, state, _ in rows if state != DUPLICATE]
        return Stretch(upto, messages, rows[-1][1] if rows else 0, {message_id: number for number, message_id in new})

    def documents(self, ids: Collection[int]) -> Iterator[Document]:
        """Those of `ids` whose content is still there. What they are is read before what was answered, so that whoever is
        read as ended has been answered all he ever will be."""
        if not ids:
            return
        numbers = self._reader.numbers(sorted(ids))
        rows = {row[1]: row for statement in (ITS_DELIVERIES, ITS_FURTHER) for row in self._rows(statement, numbers)}
        by_message: dict[int, list[Row]] = {}
        for number in sorted(rows):
            by_message.setdefault(rows[number][0], []).append(rows[number])
        read = {number: its[-NEWEST:] for number, its in by_message.items()}
        answers: dict[int, list[Words]] = {}
        replies = self._rows(ITS_ANSWERS, self._reader.numbers([row[1] for its in read.values() for row in its]))
        for owner, _, reply in sorted(replies, key=itemgetter(0, 1)):
            answers.setdefault(owner, []).append(words(text_of(bytes(reply or b"")), MOST_WORDS["answer"]))
        sizes = {number: min(size, MOST_BYTES) for number, size in self._rows(SIZES, numbers)}
        sizes |= {row[4]: min(row[5], MOST_BYTES) for its in read.values() for row in its}
        bodies = dict(self._bodies(sizes))
        for number in sorted(ids):
            if number in bodies:
                its = by_message.get(number, [])
                still = tuple(Open(row[1], number, row[2], row[3]) for row in its if not is_final(row[2]))
                stages = _stages(bodies, answers, number, read.get(number, []))
                ended = tuple(row[1] for row in its if is_final(row[2]))
                yield Document(number, stages, still, ended, its[-1][1] if its else 0)

    def _bodies(self, sizes: dict[int, int]) -> Iterator[tuple[int, Words]]:
        """The words of contents, by owner; a few megabytes at a time."""
        most = MOST_WORDS["in"]
        for owners in _slices(sizes):
            for owner, body in self._rows(BEGINNINGS, self._reader.numbers(owners)):
                yield owner, words(text_of(bytes(body or b"")), most)

    def states(self, ids: Collection[int]) -> dict[int, Open]:
        """Deliveries as they are now; those that are gone are missing."""
        rows = self._rows(STATES_NOW, self._reader.numbers(ids))
        return {row[0]: Open(*row) for row in rows}

    def ahead(self, after: int) -> int:
        """How many messages came after this id."""
        return int(self._rows(AHEAD, after)[0][0])

    def remaining(self, first: int, last: int) -> int:
        """How many messages of these ids have content."""
        return int(self._rows(REMAINING, first, last)[0][0])


def kept(reader: Reader, ids: Collection[int]) -> set[int]:
    """Those of `ids` whose content is still there."""
    return {row[0] for row in reader.rows(KEPT, reader.numbers(ids))}


def is_final(state: int) -> bool:
    return state not in (WAITING, PARKED)


def _slices(sizes: dict[int, int]) -> Iterator[list[int]]:
    owners: list[int] = []
    total = 0
    for owner in sorted(sizes):
        total += sizes[owner]
        if owners and total > STRETCH_BYTES:
            yield owners
            owners, total = [], sizes[owner]
        owners.append(owner)
    if owners:
        yield owners


def _stages(bodies: dict[int, Words], answers: dict[int, list[Words]], number: int, its: list[Row]) -> tuple[Words, ...]:
    newest = its[::-1]  # where not everything has room
    canonical, sent = ([row[4] for row in newest if bool(_ENTITY.fullmatch(row[6])) is entity] for entity in (True, False))
    return (
        bodies[number],
        _together([bodies[owner] for owner in canonical if owner in bodies], MOST_WORDS["canonical"]),
        _together([bodies[owner] for owner in dict.fromkeys(sent) if owner in bodies], MOST_WORDS["out"]),
        _together([one for row in newest for one in reversed(answers.get(row[1], ()))], MOST_WORDS["answer"]),
    )


def _together(parts: Iterable[Words], most: int) -> Words:
    parts = list(parts)
    if not parts:
        return Words([], [])
    if len(parts) == 1 and len(parts[0].plain) <= most:
        return parts[0]
    plain = [word for one in parts for word in one.plain][:most]
    return Words(plain, list(dict.fromkeys([word for one in parts for word in one.joined])))
