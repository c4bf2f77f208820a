"""The index of a PostgreSQL store: tables of its own in the same database, one a volume, of tsvectors that we make ourselves.

A stage is a weight: A came in, B canonical, C sent, D answered. PostgreSQL's own parser is not asked: it knows nothing of our
delimiters. The GIN index of a volume is built when the volume is full or the indexer has caught up, which is several times
quicker than word by word. The newest messages are looked through before a GIN index is asked, which would find all messages
with a common word before it could say which of them are the newest.

Its commits do not wait for the disk (`synchronous_commit = off`): after a crash the cursor is as old as the rows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import psycopg

from engine.errors import StoreError
from engine.store.driver import Row
from engine.store.postgres import connect
from engine.textindex import STAGES
from engine.textindex.reading import SECONDS, Reading
from engine.textindex.source import Document
from engine.textindex.tables import VOLUMES, WHERE, Fault, Volume, busy
from engine.textindex.words import Wanted, Words

LINGERING: Final = 1.0  # seconds that a dead indexer's session may still hold the lock
_LOCK: Final = 0x57415258  # the store's own is another
_WEIGHTS: Final = {"in": "A", "canonical": "B", "out": "BC", "answer": "D", "": ""}
_LETTERS: Final = ("A", "B", "C", "D")
_POSITIONS: Final = 255  # of one word in one tsvector
_ROOM: Final = 960_000  # bytes of words in one tsvector; it holds a megabyte with their positions
LOOKED_THROUGH: Final = 1000  # of the newest messages, before an index is asked
WORTH: Final = 10_000  # messages to look through, that are sooner looked through than found
_CREATE: Final = (
    "CREATE TABLE search_text_{n} (message BIGINT PRIMARY KEY, words TSVECTOR NOT NULL) "
    "WITH (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0.1)"
)
_INDEX: Final = (
    "CREATE INDEX IF NOT EXISTS search_words_{n} ON search_text_{n} USING gin (words) WITH (gin_pending_list_limit = 1024)"
)
_PUT: Final = (
    "INSERT INTO search_text_{n} (message, words) SELECT m, w::tsvector FROM unnest(?::bigint[], ?::text[]) AS t(m, w) "
    "ON CONFLICT (message) DO UPDATE SET words = excluded.words"
)
_LOOK: Final = "SELECT message, words @@ ?::tsquery FROM search_text_{n} WHERE message < ? ORDER BY message DESC LIMIT ?"
_FIND: Final = (  # `+ 0`: through the words, never backwards through all messages
    "SELECT message FROM search_text_{n} WHERE message + 0 < ? AND words @@ ?::tsquery ORDER BY message + 0 DESC LIMIT ?"
)


def _sql(text: str) -> bytes:
    return text.replace("%", "%%").replace("?", "%s").encode()


class PostgresDatabase:
    """The writer's side: see `tables.Database`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection[Row] | None = None

    @property
    def _session(self) -> psycopg.Connection[Row]:
        if self._connection is None:
            raise StoreError("the index is not open")
        return self._connection

    def open(self) -> None:
        self._connection = connection = connect(self._url)
        for setting in (
            *("synchronous_commit = off", "statement_timeout = '120s'", "lock_timeout = '5s'"),
            *("idle_in_transaction_session_timeout = '10s'", "maintenance_work_mem = '128MB'"),
        ):
            connection.execute(f"SET {setting}".encode())
        until = time.monotonic() + LINGERING
        while not self.rows(f"SELECT pg_try_advisory_lock({_LOCK}, hashtext(current_schema()))")[0][0]:
            if time.monotonic() > until:
                self.close()
                raise busy("this database")
            time.sleep(0.1)

    def wipe(self) -> None:
        found = self.rows(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND "
            "(tablename ~ '^search_text_[0-9]+$' OR tablename IN ('search_meta', 'search_volume', 'search_open'))"
        )
        for (name,) in found:
            self.run(f'DROP TABLE "{name}"')

    def exists(self) -> bool:
        return bool(self.rows("SELECT to_regclass('search_meta') IS NOT NULL")[0][0])

    def begin(self) -> None:
        self.run("BEGIN")

    def commit(self) -> None:
        if self._session.execute(b"COMMIT").statusmessage != "COMMIT":
            raise StoreError("the database has not committed")

    def rollback(self) -> None:
        with suppress(psycopg.Error, StoreError):
            self.run("ROLLBACK")

    def run(self, text: str, *values: Any) -> None:
        self._session.execute(_sql(text), values or None)

    def many(self, text: str, rows: Sequence[Row]) -> None:
        if rows:
            self._session.cursor().executemany(_sql(text), rows)

    def rows(self, text: str, *values: Any) -> list[Row]:
        return self._session.execute(_sql(text), values or None).fetchall()

    def create_volume(self, n: int) -> None:
        self.run(_CREATE.format(n=n))

    def drop_volume(self, n: int) -> None:
        self.run(f"DROP TABLE IF EXISTS search_text_{n}")

    def put(self, n: int, documents: Sequence[Document]) -> None:
        if documents:
            vectors = [vector(one.stages) for one in documents]
            self.run(_PUT.format(n=n), [one.message for one in documents], vectors)

    def index(self, n: int) -> None:
        self.run(_INDEX.format(n=n))

    def tidy(self, n: int) -> bool:
        self.index(n)
        self.rows("SELECT gin_clean_pending_list(?::regclass)", f"search_words_{n}")
        self.run(f"ANALYZE search_text_{n}")
        return False

    def room(self) -> str:
        """The server says so when there is none."""
        return ""

    def fault(self, error: BaseException) -> Fault:
        if not isinstance(error, psycopg.Error):
            return Fault.LOST if isinstance(error, StoreError) else Fault.OTHER
        state = error.sqlstate or ""
        if state == "53100":
            return Fault.FULL
        if self._connection is None or self._connection.closed or state.startswith(("08", "53", "57", "40", "55", "25P03")):
            return Fault.LOST
        return Fault.DAMAGED if state.startswith(("XX", "42P01", "42703")) else Fault.OTHER

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def vector(stages: Sequence[Words]) -> str:
    """The text of a tsvector: `'smith':3A,9C 'jane':4A`."""
    places: dict[str, list[str]] = {}
    position = size = 0
    for letter, (plain, joined) in zip(_LETTERS, stages, strict=True):
        for word in (*plain, *joined):
            position += 1
            if word not in places:
                size += len(word) * (1 if word.isascii() else 4) + 8
                if size > _ROOM:
                    continue
                places[word] = []
            places[word].append(f"{position}{letter}")
        position += 1  # no phrase reaches from one stage into the next
    return " ".join([f"'{word}':{','.join(at[:_POSITIONS])}" for word, at in places.items()])


class PostgresIndex(Reading):
    """The reader's side."""

    def __init__(self, url: str) -> None:
        self._connection = connect(url)
        self._looked = False
        try:
            for setting in (
                *("default_transaction_read_only = on", f"statement_timeout = '{SECONDS:.0f}s'"),
                *("enable_seqscan = off", "jit = off"),
            ):
                self._connection.execute(f"SET {setting}".encode())
            super().__init__(url)
        except BaseException:
            self._connection.close()
            raise

    def _rows(self, text: str, *values: Any) -> list[Row]:
        return self._connection.execute(_sql(text), values or None).fetchall()

    def begin(self, until: float) -> list[Volume]:
        self._looked = False
        return [Volume(*row) for row in self._rows(VOLUMES)]

    def end(self) -> None:
        """Each statement is a transaction of its own here."""

    def where(self) -> list[Row]:
        return self._rows(WHERE)

    def search(self, n: int, asked: Sequence[Wanted], below: int, limit: int) -> list[int]:
        query = _query(asked)
        found: list[int] = []
        if not self._looked:
            self._looked = True
            looked, rate = 0, 1.0
            while len(found) < limit and (limit - len(found)) / rate <= WORTH:
                rows = self._rows(_LOOK.format(n=n), query, below, LOOKED_THROUGH)
                found += [number for number, there in rows if there]
                if len(rows) < LOOKED_THROUGH:
                    return found[:limit]
                looked, below = looked + len(rows), rows[-1][0]
                rate = max(len(found) / looked, 1e-9)
        if len(found) < limit:
            found += [row[0] for row in self._rows(_FIND.format(n=n), below, query, limit - len(found))]
        return found[:limit]

    def failed(self, error: Exception) -> Exception:
        if isinstance(error, psycopg.errors.QueryCanceled):
            return self.stopped()
        if isinstance(error, psycopg.errors.UndefinedTable):
            return self.missing()
        if isinstance(error, psycopg.Error):
            return StoreError(f"the index cannot be read: {str(error).strip()}")
        return error

    def break_off(self) -> None:
        with suppress(psycopg.Error):
            self._connection.cancel()

    def close(self) -> None:
        super().close()
        self._connection.close()


def _query(asked: Sequence[Wanted]) -> str:
    """The text of a tsquery, of words that hold letters, digits and what joins them, and nothing else."""
    return " & ".join([f"({_phrase(one)})" for one in asked])


def _phrase(one: Wanted) -> str:
    weights = _WEIGHTS[one.stage]
    last = len(one.words) - 1
    return " <-> ".join(
        [f"'{word}':{'*' if one.prefix and n == last else ''}{weights}".rstrip(":") for n, word in enumerate(one.words)]
    )


assert tuple(_WEIGHTS)[:4] == STAGES
