"""The asker's end of `engine.store.requests`: a connection of its own, for one thread, to a PostgreSQL store."""

from __future__ import annotations

import time
from typing import Any, Final

import psycopg

from engine.errors import StoreError
from engine.store.driver import Row
from engine.store.postgres import connect
from engine.store.requests import ASK_REQUEST, LOOK_AT_REQUEST, WITHDRAW_REQUEST
from engine.store.statements import Statement

RECONNECT: Final = 1.0  # seconds between two tries


class Asker:
    """Everything is done once more through a new connection where this one was lost, for at most `patience` seconds: asking
    again and withdrawing again change nothing. Raises StoreError."""

    def __init__(self, url: str, patience: float) -> None:
        self._url, self._patience = url, patience
        self._connection = connect(url)

    def ask(self, token: str, who: str, verb: str, arguments: str) -> None:
        self._run(ASK_REQUEST, token, who, verb, arguments)

    def look(self, token: str) -> tuple[str, int] | None:
        """The answer, '' while there is none, and the epoch of the engine that has taken it, 0 while none has; None where it
        is not there any more."""
        rows = self._run(LOOK_AT_REQUEST, token)
        return (rows[0][0], rows[0][1]) if rows else None

    def withdraw(self, token: str) -> bool:
        """False where an engine was faster."""
        return bool(self._run(WITHDRAW_REQUEST, token))

    def close(self) -> None:
        self._connection.close()

    def _run(self, statement: Statement, *values: Any) -> list[Row]:
        until = time.monotonic() + self._patience
        while True:
            try:
                cursor = self._connection.execute(statement.postgres.encode(), values)
                return cursor.fetchall() if cursor.description else []
            except psycopg.Error as error:
                if not self._connection.closed or time.monotonic() > until:
                    raise StoreError(type(error).__name__) from error
            time.sleep(RECONNECT)
            self._reconnect()

    def _reconnect(self) -> None:
        try:
            self._connection = connect(self._url)
        except StoreError:
            return  # the old one is closed: it is tried again
