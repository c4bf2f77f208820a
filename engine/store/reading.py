"""Connections for searching: each statement is built for one question, runs alone and ends within seconds.

A search may be called off from another thread: `interrupt` ends the statement under way, and every later one at once, so
that it does not matter when it comes. Such a reader is closed; another costs a millisecond.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any, Final, Protocol

from sqlalchemy import Select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.compiler import SQLCompiler

from engine.errors import StoreError
from engine.store.driver import Row

SECONDS: Final = 10.0  # a read transaction keeps old pages alive: none may stay longer
_STEPS: Final = 20_000  # instructions of SQLite's machine between looks at the clock
_TOO_LONG: Final = f"the search took more than {SECONDS:.0f} seconds: narrow it by channel, time, control id or business key"


_SETTINGS: Final = (
    "default_transaction_read_only = on",
    "plan_cache_mode = force_custom_plan",  # one key and a thousand want different plans
    "random_page_cost = 1.1",  # the pages that searches need stay in memory, or on a disk that turns no more
    "jit = off",  # takes longer than what it speeds up
)


class TookTooLong(StoreError):
    """A statement was ended because its time was up."""


class SearchStopped(StoreError):
    """Somebody called the search off."""

    def __init__(self) -> None:
        super().__init__("the search was called off")


class SelectReader(Protocol):
    dialect: str

    def select(self, statement: Select[Any], seconds: float = SECONDS) -> list[Row]:
        """Raises TookTooLong after `seconds`, SearchStopped once it was interrupted, and StoreError."""

    def interrupt(self) -> None:
        """From any thread: the statement under way and all later ones end. Never raises."""

    def replaced(self) -> bool:
        """Whether the store is another one since this was opened: a backup was restored."""

    def compiled(self, statement: Select[Any]) -> tuple[str, tuple[Any, ...]]: ...

    def close(self) -> None: ...


def _compile(statement: Select[Any], dialect: Any) -> tuple[str, tuple[Any, ...]]:
    compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    assert isinstance(compiled, SQLCompiler)
    return str(compiled), tuple(compiled.params[key] for key in compiled.positiontup or ())


class _Sqlite:
    dialect = "sqlite"

    def __init__(self, url: str) -> None:
        from engine.store.sqlite import file_of, open_reader

        self._url, self._file = url, file_of(url)
        self._connection = open_reader(url)
        self._until = 0.0
        self._stopped = False
        # Not `Connection.interrupt()`: it is forgotten where no statement is under way just then.
        self._connection.set_progress_handler(lambda: self._stopped or time.monotonic() > self._until, _STEPS)

    def replaced(self) -> bool:
        from engine.store.sqlite import file_of

        return file_of(self._url) != self._file

    def compiled(self, statement: Select[Any]) -> tuple[str, tuple[Any, ...]]:
        return _compile(statement, sqlite.dialect())

    def select(self, statement: Select[Any], seconds: float = SECONDS) -> list[Row]:
        self._until = time.monotonic() + min(seconds, SECONDS)
        if self._stopped:
            raise SearchStopped
        try:
            return self._connection.execute(*self.compiled(statement)).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise StoreError(str(error)) from error
            raise (SearchStopped() if self._stopped else TookTooLong(_TOO_LONG)) from error

    def interrupt(self) -> None:
        self._stopped = True

    def close(self) -> None:
        self._connection.close()


class _Postgres:
    dialect = "postgresql"

    def __init__(self, url: str) -> None:
        from engine.store.postgres import connect

        self._connection = connect(url)
        for setting in _SETTINGS:
            self._connection.execute(f"SET {setting}".encode())
        self._timeout = 0
        self._stopped = False

    def replaced(self) -> bool:
        return False

    def compiled(self, statement: Select[Any]) -> tuple[str, tuple[Any, ...]]:
        return _compile(statement, postgresql.dialect(paramstyle="format"))  # type: ignore[no-untyped-call]

    def select(self, statement: Select[Any], seconds: float = SECONDS) -> list[Row]:
        import psycopg

        text, values = self.compiled(statement)
        timeout = max(1, round(min(seconds, SECONDS) * 1000))
        try:
            if timeout != self._timeout:
                self._connection.execute(f"SET statement_timeout = {timeout}".encode())
                self._timeout = timeout
            if self._stopped:
                raise SearchStopped
            return self._connection.execute(text.encode(), values).fetchall()
        except psycopg.errors.QueryCanceled as error:
            raise (SearchStopped() if self._stopped else TookTooLong(_TOO_LONG)) from error
        except psycopg.Error as error:
            raise StoreError(str(error).strip()) from error

    def interrupt(self) -> None:
        import psycopg

        self._stopped = True
        try:
            self._connection.cancel_safe(timeout=SECONDS)
        except psycopg.Error:
            return  # the server's own limit ends it

    def close(self) -> None:
        self._connection.close()


def open_select_reader(url: str) -> SelectReader:
    return _Postgres(url) if url.startswith("postgres") else _Sqlite(url)
