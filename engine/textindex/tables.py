"""The index's own tables, once for both databases: where the indexer stands, its volumes, and what may still change.

The text itself lies in *volumes*, a table each, of some ten thousand messages with successive ids. That keeps everything
small: a search goes from the newest volume back and ends when it has enough; a volume is merged once and then left alone; and
what retention has forgotten is got rid of by making its volume anew, for neither database takes single texts out well.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol

from engine.errors import StoreBusy
from engine.store.driver import Row
from engine.textindex.source import Document, Open

LAYOUT: Final = 1  # raised with every change of tables or words: an index of another layout is made anew
FILLING, FULL, TIDY, MAKING = "filling", "full", "tidy", "making"

SCHEMA: Final = (
    "CREATE TABLE search_meta (one INTEGER PRIMARY KEY, layout INTEGER NOT NULL, store TEXT NOT NULL, reached BIGINT NOT NULL, "
    "newest BIGINT NOT NULL, newest_at BIGINT NOT NULL)",
    "CREATE TABLE search_volume (n BIGINT PRIMARY KEY, first BIGINT NOT NULL, last BIGINT NOT NULL, state TEXT NOT NULL, "
    "messages BIGINT NOT NULL, reached BIGINT NOT NULL, made_at BIGINT NOT NULL)",
    "CREATE TABLE search_open (delivery BIGINT PRIMARY KEY, message BIGINT NOT NULL, state INTEGER NOT NULL, "
    "attempts BIGINT NOT NULL)",
)
VOLUMES: Final = "SELECT n, first, last, state, messages, reached, made_at FROM search_volume ORDER BY first, n"
WHERE: Final = "SELECT layout, store, reached, newest, newest_at FROM search_meta"


class Fault(Enum):
    """What an exception of the database means for the indexer."""

    FULL = "full"  # no room: again when there is some
    LOST = "lost"  # busy, or the connection went: again in a while
    DAMAGED = "damaged"  # the index is made anew
    OTHER = "other"


class Volume(NamedTuple):
    n: int
    first: int  # ids of messages
    last: int  # 0: whatever comes
    state: str
    messages: int
    reached: int  # while it is made: the id up to which it has everything
    made_at: int  # when it was seen to hold nothing forgotten, microseconds since 1970

    def holds(self, message: int) -> bool:
        last = self.reached if self.state == MAKING else self.last
        return self.first <= message and (not last or message <= last) and (self.state != MAKING or message <= self.reached)


class Place(NamedTuple):
    """How far the index is."""

    reached: int  # everything up to this id of the store's sequence was looked at
    newest: int  # the last message among it
    newest_at: int  # when that was received


class Database(Protocol):
    """The index's own connection, the only one that writes it. `?` marks a parameter in every text."""

    def open(self) -> None:
        """Raises StoreBusy where another indexer is at work."""

    def wipe(self) -> None:
        """Forget everything, down to tables that cannot be read. Nothing is under way."""

    def exists(self) -> bool: ...

    def begin(self) -> None: ...

    def commit(self) -> None: ...

    def rollback(self) -> None:
        """Never raises."""

    def run(self, text: str, *values: Any) -> None: ...

    def many(self, text: str, rows: Sequence[Row]) -> None: ...

    def rows(self, text: str, *values: Any) -> list[Row]: ...

    def create_volume(self, n: int) -> None: ...

    def drop_volume(self, n: int) -> None: ...

    def put(self, n: int, documents: Sequence[Document]) -> None:
        """A message that is there already gets its new words."""

    def index(self, n: int) -> None:
        """See to it that a volume is found in quickly, now that it is not filled in one go any more."""

    def tidy(self, n: int) -> bool:
        """A piece of the work on a volume that is full; False: there is no more. Outside of transactions."""

    def room(self) -> str:
        """Why nothing may be written now, or ''."""

    def fault(self, error: BaseException) -> Fault: ...

    def close(self) -> None: ...


class Tables:
    """Where the indexer stands. Everything but `open` and `wipe` runs in a transaction of the caller's."""

    def __init__(self, database: Database, store: str) -> None:
        self.database, self._store = database, store

    def open(self, now: int) -> str:
        """Make the tables where there are none; why they had to be made anew, or ''."""
        database = self.database
        database.open()
        why = ""
        if database.exists():
            found = database.rows(WHERE)
            if len(found) == 1 and found[0][:2] == (LAYOUT, self._store):
                return why
            why = "it is of another release" if found and found[0][0] != LAYOUT else "it is of another store"
        self.make_anew(now)
        return why

    def make_anew(self, now: int) -> None:
        database = self.database
        database.wipe()
        database.begin()
        for text in SCHEMA:
            database.run(text)
        database.run("INSERT INTO search_meta VALUES (1, ?, ?, 0, 0, 0)", LAYOUT, self._store)
        self.new_volume(1, now)
        database.commit()

    # ── where it stands ────────────────────────────────────────────────────────────────────────────────────────────

    def place(self) -> Place:
        return Place(*self.database.rows(WHERE)[0][2:])

    def move(self, place: Place) -> None:
        self.database.run("UPDATE search_meta SET reached = ?, newest = ?, newest_at = ?", *place)

    # ── volumes ────────────────────────────────────────────────────────────────────────────────────────────────────

    def volumes(self) -> list[Volume]:
        """By the ids in them; one that is being made after the one that it will replace."""
        return [Volume(*row) for row in self.database.rows(VOLUMES)]

    def new_volume(self, first: int, now: int, last: int = 0, state: str = FILLING) -> int:
        n = int(self.database.rows("SELECT coalesce(max(n), 0) + 1 FROM search_volume")[0][0])
        self.database.run("INSERT INTO search_volume VALUES (?, ?, ?, ?, 0, ?, ?)", n, first, last, state, first - 1, now)
        self.database.create_volume(n)
        return n

    def change_volume(self, volume: Volume) -> None:
        self.database.run(
            "UPDATE search_volume SET last = ?, state = ?, messages = ?, reached = ?, made_at = ? WHERE n = ?",
            *(volume.last, volume.state, volume.messages, volume.reached, volume.made_at, volume.n),
        )

    def drop_volume(self, n: int) -> None:
        self.database.run("DELETE FROM search_volume WHERE n = ?", n)
        self.database.drop_volume(n)

    # ── what may still change ──────────────────────────────────────────────────────────────────────────────────────

    def watch(self, documents: Sequence[Document], again: bool) -> None:
        """From now on their open deliveries are watched. `again`: others of theirs may have been until now."""
        if again:
            self.unwatch([delivery for one in documents for delivery in one.ended])
        rows = [tuple(each) for one in documents for each in one.open]
        self.database.many(
            "INSERT INTO search_open (delivery, message, state, attempts) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (delivery) DO UPDATE SET state = excluded.state, attempts = excluded.attempts",
            rows,
        )

    def watched(self, after: int, limit: int) -> list[Open]:
        text = "SELECT delivery, message, state, attempts FROM search_open WHERE delivery > ? ORDER BY delivery LIMIT ?"
        return [Open(*row) for row in self.database.rows(text, after, limit)]

    def unwatch(self, deliveries: Sequence[int]) -> None:
        self.database.many("DELETE FROM search_open WHERE delivery = ?", [(one,) for one in deliveries])


def busy(what: str) -> StoreBusy:
    return StoreBusy(f"another indexer is at work on {what}: one is enough, and `wardline run` starts its own")
