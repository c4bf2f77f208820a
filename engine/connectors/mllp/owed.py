"""The replies that a connection owes its peer."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from engine.model import Receipt

if TYPE_CHECKING:
    from engine.connectors.mllp.connection import Inbound


class Known:
    """An awaitable that is ready: cheaper than a Deferred that has fired."""

    def __init__(self, value: bool) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, None, bool]:
        return self._value
        yield


HEARD, GONE = Known(True), Known(False)


class Owed:
    """A reply we owe, and the `contracts.Reply` that settles it."""

    __slots__ = ("_connection", "done", "reply", "size", "waiting")

    def __init__(self, connection: Inbound, size: int) -> None:
        self._connection = connection
        self.size = size  # of the message
        self.done = False
        self.reply: bytes | None = None
        self.waiting: Deferred[bool] | None = None

    def __call__(self, receipt: Receipt) -> Known | Deferred[bool]:
        return self._connection.answer(self, receipt.reply)
