"""Where messages come from, and where deliveries go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from engine.model import (
    Arrival,
    Delivery,
    Outcome,
    Receipt,
)

Reply = Callable[[Receipt], Awaitable[bool]]
"""Called exactly once per arrival, after the commit. True: handed to the peer's transport. False: the peer had gone."""


class Intake(Protocol):
    """What a source hands its arrivals to."""

    def __call__(self, arrival: Arrival, reply: Reply) -> Awaitable[None]:
        """Never raises: whatever goes wrong becomes a Receipt. The awaitable ends when the reply has been given."""

    def refused(self, peer: str, reason: str, size: int, content: bytes = b"") -> None:
        """Bytes that are no message, too large, too slow: told, and their beginning (at most 64 KiB) kept in the ring of
        refused frames. `reason` is one of the connector's words; without content only told."""


class Source(Protocol):
    """Where messages come from. Built once per channel as `Class(options, runtime, name)`; `name` is the channel's.

    A source turns bytes into `Arrival`s and hands each, with a way to answer, to `intake`. It owns framing, limits and
    back-pressure: it stops reading a connection whose arrivals are unanswered beyond its own bound.
    It never decides about order of commit and answer: it does not own it.
    """

    async def start(self, intake: Intake) -> None:
        """Open for business. Raises OSError where the address cannot be had."""

    async def stop(self) -> None:
        """Accept nothing new, finish what is in hand (its replies are given), then return with everything closed."""


class Destination(Protocol):
    """A system we deliver to. Built once per destination as `Class(options, runtime, name)`.

    `send` is called for one delivery of a lane at a time, and for up to `concurrency` lanes at once.
    """

    concurrency: int

    async def send(self, delivery: Delivery) -> Outcome:
        """One attempt, ending within the connector's own time-outs. Never raises for what a peer or a network does:
        that is an Outcome. Only an answer that is well-formed, positive and names what was sent is `Delivered`;
        whatever cannot be known is `Unknown`. After a time-out the connection is closed, so that a late answer cannot
        be credited to the next delivery."""

    async def check(self) -> str:
        """Try the endpoint without delivering anything; '' or what is wrong. For `wardline check --connect`."""

    async def stop(self) -> None:
        """Close connections. Called when nothing is in flight."""
