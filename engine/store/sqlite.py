"""SQLite: WAL, `synchronous=FULL`, one writer that also checkpoints.

Writing from two connections at once can corrupt a WAL database in every release before 3.51.3; here only the writer
writes and checkpoints, and readers open read-only.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from engine.errors import StoreBusy, StoreError
from engine.store.driver import Fault, Row
from engine.store.lock import Lock
from engine.store.space import ballast_of
from engine.store.statements import Insert, Rows, Statement, Written, powers

FULLY_CHECKED: Final = 1 << 30  # bytes of a database that is checked with its indexes after the machine died
LOOKS: Final = 16  # commits between two looks at the log: a look lets go of the interpreter, and gets it back late
LOG_BYTES: Final = 16 << 20  # of log before it goes into the file: pages that are written again and again reach that once
RESERVED: Final = 16  # one page of so many may be free
PIECE_PAGES: Final = 256  # given back in one commit
AT_ONCE: Final = 16  # rows in one INSERT; each number of them is a statement of its own that the connection keeps
CACHE_KIB: Final = 12 << 10
BUSY_SECONDS: Final = 5.0
_FIXED_WAL: Final = (3, 51, 3)
_NETWORK: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "ncpfs"})

_FULL: Final = {sqlite3.SQLITE_FULL}
_NO_ROOM: Final = sqlite3.SQLITE_IOERR_SHMSIZE  # for the index of the log: the disk is full, whatever the code is called
_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DATA: Final = {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE}

# Of values that are no int, float, str or bytearray Python's sqlite3 asks each time whether and how they adapt themselves. To
# bytes and None, of which every message has a dozen, it is told the answer: the same as bytearray, and itself.
sqlite3.register_adapter(bytes, bytearray)
sqlite3.register_adapter(type(None), {}.get)  # type: ignore[arg-type]


def _originals(count: int) -> Written:
    marks = ", ".join("?" * count)
    return Written(
        f"originals_{count}",
        *("channel", *("key",) * count),
        sqlite=f"SELECT key, message_id FROM dedupe WHERE channel = ? AND key IN ({marks})",
        postgres="SELECT key, message_id FROM dedupe WHERE channel = ? AND key = ANY(?)",
    )


ORIGINALS: Final = {1 << n: _originals(1 << n) for n in range(7)}


def path_of(url: str) -> Path:
    """`sqlite:///site.db` is beside us, `sqlite:////var/lib/wardline/site.db` anywhere."""
    prefix = "sqlite:///"
    if not url.startswith(prefix) or not url[len(prefix) :]:
        raise StoreError(f"{url!r} is not a store: write sqlite:///path/to/file.db or postgresql://user@host/database")
    return Path(unquote(url[len(prefix) :]))


def filesystem(path: Path) -> str:
    """The type of the file system that holds `path`, or '' where the system does not tell."""
    try:
        mounts = Path("/proc/self/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    best = ("", "")
    for line in mounts:
        _, point, kind, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if path.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def flush(place: Path) -> None:
    """A file's content, or a directory's entries, to the disk."""
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_directory(directory: Path) -> None:
    """The store's directory, for its owner only; its entry in the parent is flushed like every other creation."""
    if directory.is_dir():
        return
    try:
        directory.mkdir(mode=0o700, parents=True)
        flush(directory.parent)
    except OSError as error:
        raise StoreError(f"{directory} cannot be made: {error.strerror}. Mend the store's URL in conf/engine.yaml") from error


def _damaged(path: Path, what: str) -> str:
    return (
        f"{path} is damaged and is not opened: {' '.join(what.split())[:300]}. Keep it and its -wal aside, then "
        "`wardline restore` the last backup; sqlite3's .recover may save what came after it"
    )


class SqliteDriver:
    """The writing connection."""

    _flushed = -1  # a descriptor of the file
    _commits = 0

    def __init__(self, url: str) -> None:
        self.url = url
        self.path = path_of(url).absolute()
        make_directory(self.path.parent)
        kind = filesystem(self.path.resolve())
        if kind in _NETWORK:
            raise StoreError(f"{self.path} is on a network file system ({kind}), where locks and flushes cannot be trusted")
        self._lock = Lock(self.path)
        try:
            self._connection = self._open()
            self._look()
            self._lock.hold()
        except BaseException as error:
            self._lock.release()
            if isinstance(error, OSError):
                raise StoreError(f"{self.path} cannot be opened: {error}") from error
            raise
        self._cursor = self._connection.cursor()
        self._execute = self._cursor.execute
        self._log = f"{self.path}-wal"

    def _open(self) -> sqlite3.Connection:
        new = not self.path.exists() or self.path.stat().st_size == 0
        if new:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            connection = sqlite3.connect(
                self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=512
            )
            if new:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            for pragma in (
                "journal_mode = WAL",
                "synchronous = FULL",
                "secure_delete = FAST",
                "temp_store = MEMORY",
                "foreign_keys = OFF",
                f"cache_size = -{CACHE_KIB}",
                "wal_autocheckpoint = 0",
                f"journal_size_limit = {LOG_BYTES}",
                "trusted_schema = OFF",
            ):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                raise StoreError(f"{self.path}: this file system does not allow a write-ahead log")
        except sqlite3.Error as error:
            damaged = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT
            told = _damaged(self.path, str(error)) if damaged else f"{self.path} cannot be opened: {error}"
            raise StoreError(told) from error
        return connection

    def _look(self) -> None:
        """After an engine that did not end well: whether the database is sound. Raises StoreError where it is not.

        Where only the process died the machine has kept all that was written, and a large database is not gone through.
        After a failed flush the machine may show what is not on disk: the log goes into the file, which writes and flushes
        all of it anew.
        """
        lock = self._lock
        small = self.path.stat().st_size < FULLY_CHECKED
        if not lock.ended_badly or (not small and lock.machine_lived and not lock.storage_failed):
            return
        ask = "integrity_check" if small else "quick_check"
        try:
            if lock.storage_failed and self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                raise StoreBusy(f"{self.path} is being read, and must be settled after its storage failed: try again")
            found = self._connection.execute(f"PRAGMA {ask}(3)").fetchall()
        except sqlite3.Error as error:
            raise StoreError(_damaged(self.path, str(error))) from error
        if found != [("ok",)]:
            raise StoreError(_damaged(self.path, "; ".join(str(row[0]) for row in found)))

    @property
    def connection(self) -> sqlite3.Connection:
        return self._connection

    def warnings(self) -> list[str]:
        if sqlite3.sqlite_version_info < _FIXED_WAL:
            version = sqlite3.sqlite_version
            return [f"SQLite {version} corrupts a database that two programs write at once: never write to {self.path} yourself"]
        return []

    def settle(self) -> None:
        """After creation: the file and its name in the directory survive a power loss."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        # Kept open as long as the connection: closing any descriptor of the file drops all locks that this process holds on
        # it (fcntl(2)), and another program that then comes and goes believes to be the last and removes the log.
        self._flushed = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        os.fsync(self._flushed)
        flush(self.path.parent)

    def begin(self) -> None:
        self._execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._execute("COMMIT")

    def rollback(self) -> None:
        try:
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
        except sqlite3.Error:
            self._connection.interrupt()

    def run(self, statement: Statement, *values: Any) -> None:
        self._execute(statement.sqlite, values)

    def changed(self, statement: Statement, *values: Any) -> int:
        return self._execute(statement.sqlite, values).rowcount

    def rows(self, statement: Statement, *values: Any) -> list[Row]:
        return self._execute(statement.sqlite, values).fetchall()

    def many(self, statement: Rows, rows: Sequence[Row], singly: bool = False) -> None:
        if len(rows) > 1 and isinstance(statement, Insert) and not singly:
            self._insert(statement, rows)
        elif len(rows) > 1:
            self._cursor.executemany(statement.sqlite, rows)
        elif rows:
            self._execute(statement.sqlite, rows[0])

    def _insert(self, statement: Insert, rows: Sequence[Row]) -> None:
        """Several rows with one statement: the interpreter is let go of and waited for once, and not for each of them."""
        at, left = 0, len(rows)
        while left:
            size = min(1 << left.bit_length() - 1, AT_ONCE)
            self._execute(statement.sqlite_for(size), [*chain.from_iterable(rows[at : at + size])])
            at += size
            left -= size

    def numbers(self, numbers: Collection[int]) -> str:
        return f"[{','.join(map(str, numbers))}]"

    def originals(self, channel: int, keys: Sequence[bytes]) -> list[Row]:
        found: list[Row] = []
        at = 0
        for size in powers(len(keys)):
            part = list(keys[at : at + size])
            part += part[-1:] * (size - len(part))
            found += self._execute(ORIGINALS[size].sqlite, (channel, *part)).fetchall()
            at += size
        return found

    def fault(self, error: BaseException) -> Fault:
        if isinstance(error, sqlite3.Error):
            code = getattr(error, "sqlite_errorcode", None)
            if code is None:  # raised by the adapter before SQLite saw it
                return Fault.DATA
            if code & 0xFF in _FULL or code == _NO_ROOM:
                return Fault.FULL
            if code & 0xFF in _BUSY:
                return Fault.BUSY
            return Fault.DATA if code & 0xFF in _DATA else Fault.BROKEN
        return Fault.BROKEN if isinstance(error, OSError | MemoryError) else Fault.DATA

    def recover(self) -> bool:
        raise StoreError("a SQLite store has no connection to lose")

    def tidy(self) -> None:
        """Move a long log into the file. Not left to SQLite, which would do it within a commit and tell nobody of a failure."""
        self._commits += 1
        if self._commits % LOOKS == 0 and os.stat(self._log).st_size > LOG_BYTES:
            self._execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def relieve(self) -> None:
        """With the reserve gone and the log in the file, there is all the room of the log again."""
        with suppress(OSError):
            os.unlink(ballast_of(self.path))
        try:
            self._execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            if self.fault(error) is Fault.BROKEN:
                raise

    def shrink(self, whole: bool) -> bool:
        """Some free pages stay: the next messages fill them sooner than they could be moved out."""
        ((free,),), ((pages,),) = (self._execute(f"PRAGMA {ask}").fetchall() for ask in ("freelist_count", "page_count"))
        spare = free if whole else free - pages // RESERVED
        if spare <= 0:
            return False
        self._execute(f"PRAGMA incremental_vacuum({min(spare, PIECE_PAGES)})").fetchall()
        return True

    def execute(self, text: str) -> None:
        self._execute(text)

    def exists(self) -> bool:
        return bool(self._execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchall())

    def opened(self) -> None:
        pass

    def close(self, well: bool = True) -> None:
        try:
            if well and not self._connection.in_transaction:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error:
            pass  # the log is complete without it
        finally:
            self._connection.close()
            if self._flushed >= 0:
                os.close(self._flushed)
                self._flushed = -1
            self._lock.release(well)


def file_of(url: str) -> int:
    """The number of the store's file: another one once a backup has been put in its place; 0: there is none."""
    try:
        return os.stat(path_of(url).absolute()).st_ino
    except FileNotFoundError:
        return 0


def open_reader(url: str) -> sqlite3.Connection:
    """A connection that never writes and never checkpoints."""
    path = path_of(url).absolute()
    if not path.exists():
        raise StoreError(f"there is no store at {path}")
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


class SqliteReader:
    """The same statements, on a connection that only reads."""

    def __init__(self, url: str) -> None:
        self._connection = open_reader(url)

    def rows(self, statement: Statement, *values: Any) -> list[Row]:
        return self._connection.execute(statement.sqlite, values).fetchall()

    def numbers(self, numbers: Collection[int]) -> str:
        return f"[{','.join(map(str, numbers))}]"

    def close(self) -> None:
        self._connection.close()
