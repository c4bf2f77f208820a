"""`.wardline/console.db`: SQLite in WAL with `synchronous=FULL`, written by one at a time, whoever it is.

The console and `wardline people` may both be at work. SQLite before 3.51.3 can corrupt a write-ahead log that two connections
write or checkpoint at the same instant, so a lock on a file of its own goes before every write, between threads and between
processes alike.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from engine.console.people import schema
from engine.errors import StoreBusy, StoreError, StoreFull, StoreTooNew

DIRECTORY: Final = ".wardline"
FILE: Final = "console.db"
LOCK: Final = "console.lock"
BUSY_SECONDS: Final = 10.0
READERS: Final = 8  # connections kept


class Database:
    """Made where it is missing, brought up to this release where it is older.

    Raises StoreTooNew, StoreFull, or StoreError where it cannot be used; so do its transactions.
    """

    def __init__(self, site: Path) -> None:
        self.directory = site / DIRECTORY
        self.path = self.directory / FILE
        self._mine = threading.Lock()
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            self._lock = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StoreError(f"{self.path} cannot be made: {error.strerror}") from error
        self._engine = create_engine(
            "sqlite://", creator=self._connect, poolclass=QueuePool, pool_size=READERS, max_overflow=-1, pool_reset_on_return=None
        )
        try:
            with self.locked(), self.transaction() as connection:
                _prepare(connection, self.path)
        except BaseException:
            self.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "secure_delete = ON",
            "foreign_keys = ON",
            "temp_store = MEMORY",
            "trusted_schema = OFF",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        return connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read with; each statement sees what is committed when it begins."""
        with _faults(self.path), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else writes, in any thread or process. Not to be entered twice."""
        with self._mine:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """To be used while `locked`. On the disk when the context ends, and nothing of it when it ends with an exception."""
        with _faults(self.path), self._engine.connect() as connection:
            connection.execute(text("BEGIN IMMEDIATE"))
            try:
                yield connection
                connection.commit()
            except BaseException:
                connection.rollback()
                raise

    def close(self) -> None:
        with self.locked():  # the last connection that closes moves the log into the file
            self._engine.dispose()
        os.close(self._lock)


def _prepare(connection: Connection, path: Path) -> None:
    version = connection.execute(text("PRAGMA user_version")).scalar_one()
    if version > schema.SCHEMA:
        raise StoreTooNew(
            f"{path} was written by a later release (schema {version}, this one knows {schema.SCHEMA}): "
            "install that release again"
        )
    if version == schema.SCHEMA:
        return
    if version == 0:
        schema.metadata.create_all(connection)
    for step in range(version, schema.SCHEMA) if version else ():
        for statement in schema.STEPS[step]:
            connection.execute(text(statement))
    connection.execute(text(f"PRAGMA user_version = {schema.SCHEMA:d}"))


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        code = getattr(cause, "sqlite_errorcode", 0) or 0
        if code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE:
            raise StoreFull(f"there is no room to write {path}: nothing is done that could not be recorded. Make room") from None
        if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreBusy(f"{path} is held by another program: try again") from None
        # Values of the statement never get into the text.
        raise StoreError(f"{path} cannot be used: {cause if code else type(cause).__name__}") from None
