"""The audit trail: who did and saw what, as a chain of rows in which nothing can be changed unnoticed.

Each row holds the hash of the one before it and its own, SHA-256 over everything else in it, so a row that is changed, taken
out, put in or moved breaks the chain. What a chain alone cannot show, that rows are missing at its end or that its end was
made anew, the anchor shows: sequence and hash of the last row, in a file of its own that is replaced after every commit, and
said in the console's log every hour. Whoever can write both files can make a new history; the log, kept elsewhere, tells.

`write` returns when its row is on the disk. Whoever comes while a commit is under way is in the next one together with all
others who wait, so there is neither a timer nor a buffer that could be lost, and a page's row is durable before the page
leaves. A trail that cannot be written stops what was to be recorded: nobody sees or does anything unrecorded.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import Connection, insert, select

from engine.console.people import schema
from engine.console.people.anchor import Anchor, Mark
from engine.console.people.database import Database
from engine.errors import StoreError
from engine.escape import visible

GENESIS: Final = "0" * 64
LONGEST: Final = 256  # characters of a name or an object
DETAILS: Final = 8 << 10  # bytes


class Actor(NamedTuple):
    """Who does something, and through what: `session 3f2a…`, `token wl_…`, `local`; '' and an address while nobody knows who."""

    name: str
    via: str


class Entry(NamedTuple):
    """A row of the trail."""

    seq: int
    at: int
    who: str
    via: str
    what: str
    object: str
    outcome: str
    details: str  # JSON
    prev: str
    hash: str


def digest(entry: Entry) -> str:
    """SHA-256 over everything but the hash, as a JSON array: no two different rows give the same text."""
    return hashlib.sha256(orjson.dumps(entry[:-1])).hexdigest()


class Recording:
    """A transaction in which what is done and what is said of it are one."""

    def __init__(self, connection: Connection, anchor: Anchor, at: int) -> None:
        self.connection = connection
        self.at = at
        self._anchor = anchor
        self.head: Mark | None = None  # of what was added

    def note(self, by: Actor, what: str, object: str = "", outcome: str = "ok", details: Mapping[str, Any] | None = None) -> int:
        """One row more. Its sequence."""
        head = self.head or self._begin()
        self.head = self._add(head, *_clean(by, what, object, outcome, details))
        return self.head.seq

    def _begin(self) -> Mark:
        """Where the chain goes on. What the anchor and the trail do not agree on becomes a row, and stays to be seen."""
        last = head_of(self.connection)
        anchor = self._anchor.read()
        if anchor == last:
            return last
        at_anchor = hash_at(self.connection, anchor.seq) if anchor else None
        seen = {"trail": list(last), "anchor": list(anchor) if anchor else None}
        if anchor is not None and anchor.seq < last.seq and at_anchor == anchor.hash:
            # The machine died between a commit and its anchor; or somebody added rows, who knows?
            return self._add(last, *_clean(_TRAIL, "audit", "trail", "longer than its anchor", seen))
        told = "anchor is missing" if anchor is None else "end was taken away" if at_anchor is None else "end was replaced"
        # Continued from where it really ended: the chain stays broken at this place for ever.
        real = Mark(max(last.seq, anchor.seq), anchor.hash) if anchor else Mark(last.seq, GENESIS)
        return self._add(real, *_clean(_TRAIL, "audit", "trail", told, seen))

    def _add(self, head: Mark, by: Actor, what: str, object: str, outcome: str, details: str) -> Mark:
        entry = Entry(head.seq + 1, self.at, by.name, by.via, what, object, outcome, details, head.hash, "")
        entry = entry._replace(hash=digest(entry))
        self.connection.execute(insert(schema.audit).values(entry._asdict()))
        return Mark(entry.seq, entry.hash)


_TRAIL: Final = Actor("wardline", "local")


class _Waiting:
    """Somebody whose row is to be written. `turn`: it has ended, or they are to write what waits."""

    def __init__(self, *entry: Any) -> None:
        self.entry = entry
        self.turn = threading.Event()
        self.ended = False
        self.seq = 0
        self.failure: Exception | None = None

    def end(self, seq: int = 0, failure: Exception | None = None) -> None:
        self.seq, self.failure, self.ended = seq, failure, True
        self.turn.set()


class Audit:
    def __init__(self, database: Database, now: Callable[[], int]) -> None:
        self._database, self._now = database, now
        self._anchor = Anchor(database.directory)
        self._gate = threading.Lock()
        self._queue: list[_Waiting] = []
        self._writing = False  # somebody leads, or is about to
        with database.locked(), database.reading() as connection:
            if head_of(connection).seq == 0 and self._anchor.read() is None:
                self._anchor.write(Mark(0, GENESIS), now())

    @contextmanager
    def recording(self) -> Iterator[Recording]:
        """A transaction on the database of people, with rows of the trail in it. Raises as `Database.transaction`."""
        with self._database.locked(), self._transaction() as recording:
            yield recording

    def write(
        self, who: str, via: str, what: str, object: str = "", outcome: str = "ok", details: Mapping[str, Any] | None = None
    ) -> int:
        """One row; its sequence, when it is on the disk. `outcome`: ok, begun, denied, failed. `details` never hold a message's
        content.

        Raises StoreFull, StoreError: then nothing that the row was to tell of may happen.
        """
        mine = _Waiting(Actor(who, via), what, object, outcome, details)
        with self._gate:
            self._queue.append(mine)
            leads, self._writing = not self._writing, True
        if not leads:
            mine.turn.wait()
        if not mine.ended:
            self._lead()
        if mine.failure is not None:
            raise mine.failure
        return mine.seq

    def _lead(self) -> None:
        """Write what waits, and have the first of those who came meanwhile write the next."""
        waiting: list[_Waiting] = []
        try:
            with self._database.locked():
                with self._gate:
                    waiting, self._queue = self._queue, []
                with self._transaction() as recording:
                    written = [recording.note(*one.entry) for one in waiting]
            for one, seq in zip(waiting, written, strict=True):
                one.end(seq)
        except BaseException as error:
            with self._gate:
                if not waiting:
                    waiting, self._queue = self._queue, []
            failure = error if isinstance(error, Exception) else StoreError("the audit trail's writer was interrupted")
            for one in waiting:
                one.end(failure=failure)
            if failure is not error:
                raise
        finally:
            with self._gate:
                self._writing = bool(self._queue)
                if self._queue:
                    self._queue[0].turn.set()

    @contextmanager
    def _transaction(self) -> Iterator[Recording]:
        with self._database.transaction() as connection:
            recording = Recording(connection, self._anchor, self._now())
            yield recording
        if recording.head is not None:
            self._anchor.write(recording.head, recording.at)

    def head(self) -> Mark:
        """The last row: what the log says every hour, for `wardline audit verify --anchor`."""
        with self._database.reading() as connection:
            return head_of(connection)

    @property
    def anchor(self) -> Mark | None:
        return self._anchor.read()


def head_of(connection: Connection) -> Mark:
    last = connection.execute(
        select(schema.audit.c.seq, schema.audit.c.hash).order_by(schema.audit.c.seq.desc()).limit(1)
    ).first()
    return Mark(*last) if last else Mark(0, GENESIS)


def hash_at(connection: Connection, seq: int) -> str | None:
    """The hash of a row; of the row before the first one, too. None: there is no such row."""
    if seq == 0:
        return GENESIS
    return connection.execute(select(schema.audit.c.hash).where(schema.audit.c.seq == seq)).scalar()


def _clean(
    by: Actor, what: str, object: str, outcome: str, details: Mapping[str, Any] | None
) -> tuple[Actor, str, str, str, str]:
    """As it can be stored and hashed whatever it was: no control characters, no lone surrogates, nothing without end."""
    text = orjson.dumps(_plain(details or {}), option=orjson.OPT_SORT_KEYS).decode()
    if len(text) > DETAILS:
        text = orjson.dumps({"left out": f"{len(text)} bytes"}).decode()
    safe = [visible(part, LONGEST) for part in (by.name, by.via, what, object, outcome)]
    return Actor(safe[0], safe[1]), safe[2], safe[3], safe[4], text


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {visible(str(key), LONGEST): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 1 << 53):
        return value
    return visible(str(value), LONGEST)
