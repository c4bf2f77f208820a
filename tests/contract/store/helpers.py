"""Short words for the store's tests: synthetic admissions, translations and settlements, and a store that is reopened."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from twisted.internet.task import Clock

from engine import reactor as engine_reactor
from engine.contracts import Runtime
from engine.events import Event
from engine.model import (
    Acted,
    Action,
    Admission,
    Close,
    Delivered,
    Delivery,
    DeliveryState,
    Heading,
    Message,
    MessageState,
    Opened,
    Outgoing,
    Refused,
    Retry,
    Settlement,
    Taken,
    Translation,
    Unknown,
    Verb,
    Withdrawn,
)
from engine.store import open_store
from engine.store.history import DeliveryRow, History
from engine.store.store import SqlStore

START = 1_767_000_000_000_000  # a wall clock that only the tests move


class Site:
    """One store's URL, opened as often as a test wants. `now` is its wall clock."""

    def __init__(self, url: str, threaded: bool) -> None:
        self.url, self.threaded = url, threaded
        self.now = START
        self.clock = Clock()
        self.failures: list[Exception] = []
        self.events: list[Event] = []
        self.store: SqlStore
        self.found: Opened
        self._open: list[SqlStore] = []
        self._actions = 0

    def open(self) -> SqlStore:
        clock: Any = engine_reactor.install() if self.threaded else self.clock
        runtime = Runtime(clock, None, self.events.append, lambda: self.now, random.Random(1))  # type: ignore[arg-type]
        self.store, self.found = open_store(self.url, runtime, self.failures.append, threaded=self.threaded)
        self._open.append(self.store)
        return self.store

    async def close(self) -> None:
        """What was begun stays begun: for the tables, closing and being killed are the same."""
        while self._open:
            await self._open.pop().close()

    async def reopen(self) -> SqlStore:
        await self.close()
        return self.open()

    # ── verbs, with the tests' defaults ────────────────────────────────────────────────────────────────────────────

    async def take(self, content: bytes = b"MSH|1", key: bytes = b"", **other: Any) -> Taken:
        return await self.store.take(admission(content, key, received_at=self.now, **other))

    async def record(self, *outgoings: Outgoing, content: bytes = b"MSH|1", channel: str = "adt", **other: Any) -> Taken:
        """One message, taken and translated."""
        taken = await self.take(content, channel=channel)
        await self.store.translated([translation(taken.message_id, *outgoings, channel=channel, **other)])
        return taken

    async def due(self, destination: str = "erp", room: int = 100, window: int = 16) -> list[Delivery]:
        return await self.store.take_due(destination, room, window)

    async def settle(self, *settlements: Settlement) -> None:
        await self.store.attempted(settlements)

    async def deliver(self, delivery: Delivery, reply: bytes = b"AA") -> None:
        await self.settle(delivered(delivery, reply, self.now))

    async def act(
        self, verb: Verb, *, messages: Sequence[int] = (), deliveries: Sequence[int] = (), token: str = "", why: str = ""
    ) -> Acted:
        self._actions += 1
        action = Action(token or f"token {self._actions}", verb, "ann", why, tuple(messages), tuple(deliveries))
        return await self.store.act(action)

    async def park(self, delivery: Delivery, reason: str = "AE") -> None:
        await self.settle(parked(delivery, reason))

    def deliveries(self, message_id: int) -> list[DeliveryRow]:
        with History(self.url) as history:
            return history.deliveries(message_id)

    async def drain(self, destination: str = "erp") -> list[bytes]:
        """Deliver everything that waits, in the order it comes."""
        seen = []
        while begun := await self.due(destination):
            for delivery in begun:
                seen.append(delivery.content)
                await self.deliver(delivery)
        return seen


def admission(
    content: bytes = b"MSH|1", key: bytes = b"", channel: str = "adt", control_id: str = "C1", **other: Any
) -> Admission:
    heading = other.pop("heading", Heading("ADT^A01", control_id, "ADT|HOSPITAL", "2.5.1", "P"))
    received_at = other.pop("received_at", START)
    digest = hashlib.sha256(content).digest()
    return Admission(channel, content, "10.0.0.1:50000", heading, received_at, digest, dedupe_key=dedupe(key), **other)


def dedupe(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=16).digest() if key else b""


def outgoing(content: bytes | str = b"product", *lanes: str, destination: str = "erp", **other: Any) -> Outgoing:
    body = content.encode() if isinstance(content, str) else content
    identity = other.pop("identity", "ID-1")
    return Outgoing("route", destination, body, "application/json", identity, lanes or ("",), **other)


def translation(message_id: int, *outgoings: Outgoing, channel: str = "adt", **other: Any) -> Translation:
    state = other.pop("state", MessageState.TRANSLATED)
    return Translation(message_id, channel, state, outgoings=outgoings, config=other.pop("config", "v1"), **other)


def delivered(delivery: Delivery, reply: bytes = b"AA", at: int = START) -> Settlement:
    return Settlement(delivery, Delivered(reply), Close(DeliveryState.DELIVERED), at, at + 1000)


def retried(delivery: Delivery, at: int, outcome: Any = Unknown("no answer")) -> Settlement:  # noqa: B008
    return Settlement(delivery, outcome, Retry(at), START, START + 1000)


def parked(delivery: Delivery, reason: str = "AE") -> Settlement:
    return Settlement(delivery, Refused(reason), Close(DeliveryState.PARKED, reason), START, START + 1000)


def withdrawn(delivery: Delivery) -> Settlement:
    return Settlement(delivery, Withdrawn(), Retry(0), START, START)


def contents(deliveries: Sequence[Delivery]) -> list[bytes]:
    return [one.content for one in deliveries]


def ids(messages: Sequence[Message]) -> list[int]:
    return [one.id for one in messages]


async def failing(answer: Any, kind: type[Exception]) -> Exception:
    """The error of a Deferred that must fail."""
    try:
        result = await answer
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}, but {result!r}")


def number(site: Site, question: str) -> int:
    """What a statement counts."""
    with History(site.url) as history:
        count: int = history._reader.select(text(question))[0][0]  # type: ignore[arg-type]
        return count
