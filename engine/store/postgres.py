"""PostgreSQL through psycopg 3. The writer's session holds the store's lock: whoever loses the session has lost the lock.

Each commit writes its number into `meta`. When a connection is lost while a commit is under way, the number read back
through a new one says whether it happened; any other number says that the database is not the one we wrote to.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final

import psycopg
from psycopg import pq
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper
from sqlalchemy import bindparam, select, update

from engine.errors import StoreBusy, StoreError
from engine.store.driver import Fault, Row
from engine.store.schema import meta
from engine.store.sqlite import ORIGINALS
from engine.store.statements import Rows, Statement

PATIENCE: Final = 60.0  # seconds without a connection before the engine gives up and is started again
LINGERING: Final = 1.0  # seconds that a dead engine's session may still hold the lock
_CONNECT: Final = {"connect_timeout": "10", "keepalives_idle": "15", "tcp_user_timeout": "15000", "application_name": "wardline"}
_LOCK: Final = 0x57415244  # "WARD"

NUMBER_COMMIT = Statement("number_commit", update(meta).values(commits=bindparam("number")), "number")
WHERE_WE_ARE = Statement("where_we_are", select(meta.c.store, meta.c.epoch, meta.c.commits))

_LOST_STATES: Final = ("08", "57P")
_BROKEN_STATES: Final = ("58", "XX", "F0")


def connect(url: str) -> psycopg.Connection[Row]:
    try:
        connection = psycopg.connect(url, autocommit=True, prepare_threshold=1, **_CONNECT)  # type: ignore[arg-type]
    except psycopg.Error as error:
        raise StoreError(f"no connection to the database: {str(error).strip()}") from error
    connection.adapters.register_dumper(int, Int8Dumper)
    connection.adapters.register_dumper(int, Int8BinaryDumper)
    connection.prepared_max = 300
    return connection


def _one(connection: psycopg.Connection[Row], text: str) -> Any:
    row = connection.execute(text).fetchone()
    return row[0] if row else None


def _lock(connection: psycopg.Connection[Row]) -> bool:
    """Take the store's lock; the session of an engine that has just died may take a moment to end."""
    until = time.monotonic() + LINGERING
    while not _one(connection, f"SELECT pg_try_advisory_lock({_LOCK}, hashtext(current_schema()))"):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


class PostgresDriver:
    """The writing connection."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._closing = threading.Event()
        self._connection = self._session()
        self._leave = ExitStack()
        self._pipeline: psycopg.Pipeline | None = None
        self._identity: tuple[str, int] | None = None
        self._commits = 0
        self._committing = False

    def _session(self) -> psycopg.Connection[Row]:
        """A connection that holds the lock and can be trusted."""
        connection = connect(self.url)
        try:
            for setting, good in (("fsync", ("on",)), ("full_page_writes", ("on",))):
                if _one(connection, f"SHOW {setting}") not in good:
                    raise StoreError(f"the database runs with {setting} off: what it says is stored may be lost")
            commit = _one(connection, "SHOW synchronous_commit")
            if commit != "on" and not str(commit).startswith("remote_"):
                raise StoreError(f"the database runs with synchronous_commit = {commit}: it must be on, or remote_…")
            connection.execute("SET lock_timeout = '5s'")
            connection.execute("SET idle_in_transaction_session_timeout = '10s'")
            if not _lock(connection):
                raise StoreBusy("another engine holds this database: stop it first, or give this one its own store")
        except BaseException as error:
            connection.close()
            if isinstance(error, psycopg.Error):
                raise StoreError(f"the database refuses us: {str(error).strip()}") from error
            raise
        return connection

    def opened(self) -> None:
        store, epoch, self._commits = self.rows(WHERE_WE_ARE)[0]
        self._identity = store, epoch

    def warnings(self) -> list[str]:
        return []

    def settle(self) -> None:
        pass

    def tidy(self) -> None:
        pass

    def relieve(self) -> None:
        pass

    def shrink(self, whole: bool) -> bool:
        return False  # the server's autovacuum does it

    def exists(self) -> bool:
        return _one(self._connection, "SELECT to_regclass('meta')") is not None

    def execute(self, text: str) -> None:
        self._connection.execute(text.encode())

    def begin(self) -> None:
        self._committing = False
        self._leave = ExitStack()
        self._pipeline = self._leave.enter_context(self._connection.pipeline())
        self._connection.execute("BEGIN")

    def commit(self) -> None:
        assert self._pipeline is not None
        if self._identity:
            self._connection.execute(NUMBER_COMMIT.postgres.encode(), (self._commits + 1,))
        self._pipeline.sync()  # every statement has been done, or this raises what was wrong with one
        self._committing = True
        end = self._connection.execute("COMMIT")
        self._pipeline.sync()
        if end.statusmessage != "COMMIT":
            raise StoreError(f"the database answered COMMIT with {end.statusmessage}")
        self._pipeline = None
        self._leave.close()
        self._commits += 1

    def rollback(self) -> None:
        self._pipeline = None
        with suppress(psycopg.Error):
            self._leave.close()
        with suppress(psycopg.Error):
            if self._connection.info.transaction_status != pq.TransactionStatus.IDLE:
                self._connection.execute("ROLLBACK")

    def run(self, statement: Statement, *values: Any) -> None:
        self._connection.execute(statement.postgres.encode(), values)

    def changed(self, statement: Statement, *values: Any) -> int:
        cursor = self._connection.execute(statement.postgres.encode(), values)
        if self._pipeline is not None:
            self._pipeline.sync()
        return cursor.rowcount

    def rows(self, statement: Statement, *values: Any) -> list[Row]:
        return self._connection.execute(statement.postgres.encode(), values).fetchall()

    def many(self, statement: Rows, rows: Sequence[Row], singly: bool = False) -> None:
        if singly and len(rows) > 1:
            for row in rows:
                self.many(statement, [row])
        elif rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            self._connection.execute(statement.postgres.encode(), columns)

    def numbers(self, numbers: Collection[int]) -> list[int]:
        return list(numbers)

    def originals(self, channel: int, keys: Sequence[bytes]) -> list[Row]:
        return self._connection.execute(ORIGINALS[1].postgres.encode(), (channel, list(keys))).fetchall()

    def fault(self, error: BaseException) -> Fault:
        if not isinstance(error, psycopg.Error):
            return Fault.BROKEN if isinstance(error, OSError | MemoryError | StoreError) else Fault.DATA
        state = error.sqlstate or ""
        if self._connection.closed or state.startswith(_LOST_STATES):
            return Fault.LOST
        if state == "53100":
            return Fault.FULL
        if state.startswith(("53", "55P03", "25P03")):
            return Fault.BUSY
        if state.startswith("40"):
            return Fault.RETRY
        if state.startswith(_BROKEN_STATES) or (isinstance(error, psycopg.OperationalError) and not state):
            return Fault.BROKEN
        return Fault.DATA

    def recover(self) -> bool:
        committing, self._committing = self._committing, False
        self._pipeline = None
        with suppress(psycopg.Error):
            self._leave.close()
        with suppress(psycopg.Error):
            self._connection.close()
        self._reconnect()
        if self._identity is None:
            return False
        store, epoch, commits = self.rows(WHERE_WE_ARE)[0]
        if (store, epoch) != self._identity:
            raise StoreError("another engine has opened this store since: this one has no business here any more")
        if commits == self._commits + 1 and committing:
            self._commits = commits
            return True
        if commits != self._commits:
            raise StoreError(f"the database is not the one we wrote to: it stands at commit {commits}, not {self._commits}")
        return False

    def _reconnect(self) -> None:
        until = time.monotonic() + PATIENCE
        pause = 0.05
        while True:
            try:
                self._connection = self._session()
                return
            except (StoreError, StoreBusy):
                if time.monotonic() > until or self._closing.wait(pause):
                    raise
                pause = min(pause * 2, 1.0)

    def close(self, well: bool = True) -> None:
        self._closing.set()
        with suppress(psycopg.Error):
            self._connection.execute("SELECT pg_advisory_unlock_all()")
        self._connection.close()


class PostgresReader:
    """The same statements, on a connection that only reads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection = self._open()

    def _open(self) -> psycopg.Connection[Row]:
        connection = connect(self._url)
        connection.execute("SET default_transaction_read_only = on")
        connection.execute("SET statement_timeout = '10s'")
        return connection

    def rows(self, statement: Statement, *values: Any) -> list[Row]:
        try:
            return self._connection.execute(statement.postgres.encode(), values).fetchall()
        except psycopg.OperationalError:
            if not self._connection.closed:
                raise
            try:
                self._connection = self._open()
            except StoreError as error:  # only the writer, which goes on trying for a while, says that the store has failed
                raise StoreBusy(f"the database cannot be read now: {error}") from error
            return self._connection.execute(statement.postgres.encode(), values).fetchall()

    def numbers(self, numbers: Collection[int]) -> list[int]:
        return list(numbers)

    def close(self) -> None:
        self._connection.close()
