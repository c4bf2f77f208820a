"""Connections for searching: each statement is built for one question, runs alone and ends within seconds."""

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


class SelectReader(Protocol):
    dialect: str

    def select(self, statement: Select[Any]) -> list[Row]: ...

    def compiled(self, statement: Select[Any]) -> tuple[str, tuple[Any, ...]]: ...

    def close(self) -> None: ...


def _compile(statement: Select[Any], dialect: Any) -> tuple[str, tuple[Any, ...]]:
    compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    assert isinstance(compiled, SQLCompiler)
    return str(compiled), tuple(compiled.params[key] for key in compiled.positiontup or ())


class _Sqlite:
    dialect = "sqlite"

    def __init__(self, url: str) -> None:
        from engine.store.sqlite import open_reader

        self._connection = open_reader(url)
        self._until = 0.0
        self._connection.set_progress_handler(lambda: time.monotonic() > self._until, _STEPS)

    def compiled(self, statement: Select[Any]) -> tuple[str, tuple[Any, ...]]:
        return _compile(statement, sqlite.dialect())

    def select(self, statement: Select[Any]) -> list[Row]:
        self._until = time.monotonic() + SECONDS
        try:
            return self._connection.execute(*self.compiled(statement)).fetchall()
        except sqlite3.OperationalError as error:
            raise StoreError(_TOO_LONG if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT else str(error)) from error

    def close(self) -> None:
        self._connection.close()


class _Postgres:
    dialect = "postgresql"

    def __init__(self, url: str) -> None:
        from engine.store.postgres import connect

        self._connection = connect(url)
        self._connection.execute("SET default_transaction_read_only = on")
        self._connection.execute(f"SET statement_timeout = '{SECONDS:.0f}s'")

    def compiled(self, statement: Select[Any]) -> tuple[str, tuple[Any, ...]]:
        return _compile(statement, postgresql.dialect(paramstyle="format"))  # type: ignore[no-untyped-call]

    def select(self, statement: Select[Any]) -> list[Row]:
        import psycopg

        text, values = self.compiled(statement)
        try:
            return self._connection.execute(text.encode(), values).fetchall()
        except psycopg.errors.QueryCanceled as error:
            raise StoreError(_TOO_LONG) from error
        except psycopg.Error as error:
            raise StoreError(str(error).strip()) from error

    def close(self) -> None:
        self._connection.close()


def open_select_reader(url: str) -> SelectReader:
    return _Postgres(url) if url.startswith("postgres") else _Sqlite(url)
