"""What a part under test runs in: time that stands still until a test moves it, and a network in memory or a real one."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from engine import reactor as engine_reactor
from engine.contracts import Network, Runtime
from engine.events import Event
from engine.model import Delivery
from engine.testing.memory_network import MemoryNetwork

NOW = 1_790_000_000_000_000  # a wall clock for tests: in September 2026

LIMIT = 20.0  # seconds of real time that `until` waits


def _in_memory() -> MemoryNetwork:
    return MemoryNetwork(engine_reactor.install())


@dataclass
class World:
    """`clock` runs the time-outs and moves only by `clock.advance(seconds)`; bytes move by themselves, as in the real world.

    `events` is everything that was emitted.
    """

    network: Any = field(default_factory=_in_memory)
    clock: Clock = field(default_factory=Clock)
    events: list[Event] = field(default_factory=list)

    @property
    def runtime(self) -> Runtime:
        network: Network = self.network
        return Runtime(self.clock, network, self.events.append, lambda: NOW, random.Random(1))

    def told(self, kind: type) -> list[Any]:
        """The events of one type, in order."""
        return [event for event in self.events if type(event) is kind]


async def turn() -> None:
    """Let the reactor do what is due."""
    passed: Deferred[None] = Deferred()
    engine_reactor.install().callLater(0, passed.callback, None)
    await passed


async def until(what: str, happened: Callable[[], Any]) -> None:
    """Let the reactor run until something has happened; raises AssertionError naming `what` when it does not."""
    reactor = engine_reactor.install()
    limit = reactor.seconds() + LIMIT
    while not happened():
        if reactor.seconds() > limit:
            raise AssertionError(f"waited in vain: {what}")
        await turn()


def delivery(content: bytes, number: int = 1, content_type: str = "application/hl7-v2") -> Delivery:
    """The `number`-th delivery of a test, with an identity of its own."""
    identity = f"8000000000-{number}"
    return Delivery(
        number, 1 << 48, "charges", "billing", "billing-api", content, content_type, identity, "", number, 1, NOW, False
    )
