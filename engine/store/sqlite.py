"""SQLite: WAL, `synchronous=FULL`, one writer that also checkpoints.

Writing from two connections at once can corrupt a WAL database in every release before 3.51.3; here only the writer
writes and checkpoints, and readers open read-only.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from engine.errors import StoreBusy, StoreError
from engine.store.driver import Fault, Row
from engine.store.statements import Rows, Statement, Written, powers

CHECKPOINT_PAGES: Final = 4000  # 16 MiB of log: pages that are written again and again reach the file once
CACHE_KIB: Final = 16 << 10
BUSY_SECONDS: Final = 5.0
_FIXED_WAL: Final = (3, 51, 3)
_NETWORK: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "ncpfs"})

_FULL: Final = {sqlite3.SQLITE_FULL}
_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DATA: Final = {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE}


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


class Lock:
    """One engine a store: an exclusive lock beside the database, held while this lives."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise StoreBusy(f"another engine holds {path}: stop it first, or give this one its own store") from error

    def release(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _flush(place: Path) -> None:
    """A file's content, or a directory's entries, to the disk."""
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _make_directory(directory: Path) -> None:
    """The store's directory, for its owner only; its entry in the parent is flushed like every other creation."""
    if directory.is_dir():
        return
    try:
        directory.mkdir(mode=0o700, parents=True)
        _flush(directory.parent)
    except OSError as error:
        raise StoreError(f"{directory} cannot be made: {error.strerror}. Mend the store's URL in conf/engine.yaml") from error


class SqliteDriver:
    """The writing connection."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.path = path_of(url).absolute()
        _make_directory(self.path.parent)
        kind = filesystem(self.path.resolve())
        if kind in _NETWORK:
            raise StoreError(f"{self.path} is on a network file system ({kind}), where locks and flushes cannot be trusted")
        self._lock = Lock(self.path)
        try:
            self._connection = self._open()
        except BaseException:
            self._lock.release()
            raise
        self._cursor = self._connection.cursor()
        self._execute = self._cursor.execute

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
                f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
                "trusted_schema = OFF",
            ):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                raise StoreError(f"{self.path}: this file system does not allow a write-ahead log")
        except sqlite3.Error as error:
            raise StoreError(f"{self.path} cannot be opened: {error}") from error
        return connection

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
        for place in (self.path, self.path.parent):
            _flush(place)

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

    def many(self, statement: Rows, rows: Sequence[Row]) -> None:
        if len(rows) > 1:
            self._cursor.executemany(statement.sqlite, rows)
        elif rows:
            self._execute(statement.sqlite, rows[0])

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
            if code & 0xFF in _FULL:
                return Fault.FULL
            if code & 0xFF in _BUSY:
                return Fault.BUSY
            return Fault.DATA if code & 0xFF in _DATA else Fault.BROKEN
        return Fault.BROKEN if isinstance(error, OSError | MemoryError) else Fault.DATA

    def recover(self) -> bool:
        raise StoreError("a SQLite store has no connection to lose")

    def execute(self, text: str) -> None:
        self._execute(text)

    def exists(self) -> bool:
        return bool(self._execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchall())

    def opened(self) -> None:
        pass

    def close(self) -> None:
        try:
            if not self._connection.in_transaction:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error:
            pass  # the log is complete without it
        finally:
            self._connection.close()
            self._lock.release()


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
