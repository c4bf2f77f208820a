"""When something last happened, and what went wrong last: what counters do not tell. One look-up and one clock for an event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from engine import events


class Mishap(NamedTuple):
    at: int
    outcome: str
    reason: str


class Activity:
    """Listens to a `Bus`; `now` gives instants."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.received: dict[str, int] = {}  # by channel: when something was last stored as received
        self.delivered: dict[str, int] = {}  # by destination
        self.failed: dict[str, Mishap] = {}  # by destination: the last attempt that was not delivered
        self.handlers: Mapping[type, Callable[[Any], None]] = self._make_handlers(now)

    def _make_handlers(self, now: Callable[[], int]) -> dict[type, Callable[[Any], None]]:
        received, delivered, failed = self.received, self.delivered, self.failed

        def on_received(event: events.Received) -> None:
            received[event[0]] = now()

        def on_attempted(event: events.Attempted) -> None:
            destination, _, _, outcome, _, _, reason = event
            if outcome == "delivered":
                delivered[destination] = now()
            else:
                failed[destination] = Mishap(now(), outcome, reason)

        return {events.Received: on_received, events.Attempted: on_attempted}
