"""The index of a SQLite store: a file of its own beside it, one FTS5 table a volume.

FTS5 keeps the positions of words (`detail=full`), for phrases are what people look for, and no text: contentless. It keeps no
list of word beginnings: with a volume's few ten thousand messages there is no need, and it would more than double the file.
A message that gets more words is inserted once more under its id. Its newer entries then stand before the older ones, in
searches and in merges; and since words are only ever added, nothing of the older ones is wrong.

The writer does not wait for the disk. After a power cut the newest may be missing: then the cursor is as old, and it is
indexed again.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from engine.contracts import DiskPolicy
from engine.errors import StoreError
from engine.store.driver import Row
from engine.store.space import limits
from engine.store.sqlite import BUSY_SECONDS, make_directory, path_of
from engine.textindex.reading import SECONDS, Reading
from engine.textindex.source import Document
from engine.textindex.tables import VOLUMES, WHERE, Fault, Volume, busy
from engine.textindex.words import Wanted, Words

LOG_PAGES: Final = 4000  # of 4 KiB: of the log before they go into the file
CACHE_KIB: Final = 16 << 10
MERGE_PAGES: Final = 300  # merged at a time
SPARE: Final = 16  # one page of so many may be free: the next volume takes them
_STEPS: Final = 20_000  # instructions of SQLite's machine between looks at the clock
_FTS: Final = (
    'CREATE VIRTUAL TABLE search_text_{n} USING fts5("in", canonical, "out", answer, content=\'\', columnsize=0, '
    "detail=full, tokenize=\"ascii tokenchars '-./_@'\")"
)
_COLUMNS: Final = {"in": '"in"', "canonical": "canonical", "out": 'canonical "out"', "answer": "answer"}


def index_path(url: str) -> Path:
    """`site.db` has its index in `site.db.search.db`."""
    path = path_of(url).absolute()
    return path.with_name(path.name + ".search.db")


class SqliteDatabase:
    """The writer's side: see `tables.Database`."""

    def __init__(self, url: str, disk: DiskPolicy | None = None, statvfs: Callable[[Path], Any] = os.statvfs) -> None:
        self.path = index_path(url)
        self._disk, self._statvfs = disk or DiskPolicy(), statvfs
        self._lock = -1
        self._connection: sqlite3.Connection

    def open(self) -> None:
        make_directory(self.path.parent)
        self._lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._release()
            raise busy(str(self.path)) from None
        try:
            self._connect()
        except BaseException:
            self._release()
            raise

    def _connect(self) -> None:
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            for pragma in (
                *("auto_vacuum = INCREMENTAL", "journal_mode = WAL", "synchronous = NORMAL", "secure_delete = FAST"),
                *("temp_store = MEMORY", f"cache_size = -{CACHE_KIB}", f"wal_autocheckpoint = {LOG_PAGES}"),
                *(f"journal_size_limit = {LOG_PAGES * 4096}", "trusted_schema = OFF"),
            ):
                self._connection.execute(f"PRAGMA {pragma}").fetchall()
        except sqlite3.DatabaseError as error:
            if self.fault(error) is not Fault.DAMAGED:
                raise
            self.wipe()

    def wipe(self) -> None:
        """A new file: whoever reads the old one sees that it has gone."""
        with suppress(sqlite3.Error):
            self._connection.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        self._connect()

    def exists(self) -> bool:
        try:
            return bool(self.rows("SELECT 1 FROM sqlite_master WHERE name = 'search_meta'"))
        except sqlite3.DatabaseError as error:
            if self.fault(error) is Fault.DAMAGED:
                return False
            raise

    def begin(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def run(self, text: str, *values: Any) -> None:
        self._connection.execute(text, values)

    def many(self, text: str, rows: Sequence[Row]) -> None:
        self._connection.executemany(text, rows)

    def rows(self, text: str, *values: Any) -> list[Row]:
        return self._connection.execute(text, values).fetchall()

    def create_volume(self, n: int) -> None:
        self.run(_FTS.format(n=n))

    def drop_volume(self, n: int) -> None:
        self.run(f"DROP TABLE IF EXISTS search_text_{n}")

    def put(self, n: int, documents: Sequence[Document]) -> None:
        text = f'INSERT INTO search_text_{n} (rowid, "in", canonical, "out", answer) VALUES (?, ?, ?, ?, ?)'
        self.many(text, [(one.message, *map(_text, one.stages)) for one in documents])

    def index(self, n: int) -> None:
        """It always is."""

    def tidy(self, n: int) -> bool:
        """Merge it into one piece, then give what is free back to the disk."""
        connection = self._connection
        for pages in (-MERGE_PAGES, MERGE_PAGES):  # the first begins, or does nothing
            before = connection.total_changes
            connection.execute(f"INSERT INTO search_text_{n} (search_text_{n}, rank) VALUES ('merge', ?)", (pages,))
            if connection.total_changes - before >= 2:
                return True
        ((free,),), ((all_of_them,),) = (self.rows(f"PRAGMA {ask}") for ask in ("freelist_count", "page_count"))
        spare = free - all_of_them // SPARE
        if spare <= 0:
            return False
        connection.execute(f"PRAGMA incremental_vacuum({min(spare, MERGE_PAGES)})").fetchall()
        return True

    def room(self) -> str:
        """The index stops at twice what the store needs to go on."""
        facts = self._statvfs(self.path.parent)
        total, free = facts.f_blocks * facts.f_frsize, facts.f_bavail * facts.f_frsize
        bounds = limits(self._disk, total, 0)
        least = min(2 * bounds.stop, bounds.warn)
        return "" if free >= least else f"less than {least >> 20:,} MiB are free in {self.path.parent}"

    def fault(self, error: BaseException) -> Fault:
        if not isinstance(error, sqlite3.Error):
            return Fault.FULL if isinstance(error, OSError) and error.errno == 28 else Fault.OTHER
        code = getattr(error, "sqlite_errorcode", 0) or 0
        if code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE:
            return Fault.FULL
        if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return Fault.LOST
        return Fault.DAMAGED if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) else Fault.OTHER

    def close(self) -> None:
        if self._lock < 0:
            return
        with suppress(sqlite3.Error):
            self._connection.close()
        self._release()

    def _release(self) -> None:
        os.close(self._lock)
        self._lock = -1


def _text(words: Words) -> str:
    return " ".join(words.plain + words.joined)


class SqliteIndex(Reading):
    """The reader's side."""

    def __init__(self, url: str) -> None:
        self._path = index_path(url)
        self._connection, self._file = self._open()
        self._until = 0.0
        try:
            super().__init__(url)
        except BaseException:
            self._connection.close()
            raise

    def _open(self) -> tuple[sqlite3.Connection, int]:
        try:
            file = os.stat(self._path).st_ino
        except FileNotFoundError:
            raise self.missing() from None
        connection = sqlite3.connect(
            f"file:{quote(str(self._path))}?mode=ro",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA query_only = ON")
        connection.set_progress_handler(self._ends, _STEPS)
        return connection, file

    def _ends(self) -> bool:
        return self.interrupted or time.monotonic() > self._until

    def begin(self, until: float) -> list[Volume]:
        """One moment of the index, until `end`. One that was made anew is opened anew."""
        self._until = until
        try:
            if os.stat(self._path).st_ino != self._file:
                self._connection.close()
                self._connection, self._file = self._open()
        except FileNotFoundError:
            raise self.missing() from None
        self._connection.execute("BEGIN")
        return [Volume(*row) for row in self._connection.execute(VOLUMES)]

    def end(self) -> None:
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def where(self) -> list[Row]:
        self._until = time.monotonic() + SECONDS
        return self._connection.execute(WHERE).fetchall()

    def search(self, n: int, asked: Sequence[Wanted], below: int, limit: int) -> list[int]:
        """Beginnings of words cost most, and the rest often says already that there is nothing."""
        whole = [one for one in asked if not one.prefix]
        text = f"SELECT rowid FROM search_text_{n} WHERE search_text_{n} MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT ?"
        if whole and len(whole) < len(asked) and not self._connection.execute(text, (_match(whole), below, 1)).fetchall():
            return []
        return [row[0] for row in self._connection.execute(text, (_match(asked), below, limit))]

    def failed(self, error: Exception) -> Exception:
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return self.stopped()
        if isinstance(error, sqlite3.Error):
            if "no such table" in str(error):
                return self.missing()
            return StoreError(f"{self._path} cannot be read ({error}): `wardline index --rebuild` makes it anew")
        return error

    def break_off(self) -> None:
        """The progress handler sees it."""

    def close(self) -> None:
        super().close()
        self._connection.close()


def _match(asked: Sequence[Wanted]) -> str:
    """FTS5's query language, of words that hold letters, digits and what joins them, and nothing else."""
    return " AND ".join(
        f"{{{_COLUMNS[one.stage]}}} : {_phrase(one)}" if one.stage else _phrase(one)
        for one in sorted(asked, key=lambda one: one.prefix)
    )


def _phrase(one: Wanted) -> str:
    quoted = " ".join(one.words).replace('"', "")
    return f'"{quoted}"' + (" *" if one.prefix else "")
