"""What a running engine says of itself: how channels and destinations stand, and what they have done since it started.

Everything is in memory already; nothing is asked of the store, so that it may be asked every second. Counts that are 0 and
instants that never were are left out.
"""

from __future__ import annotations

import os
from collections import defaultdict
from typing import Any

from engine import __version__
from engine.app import Engine
from engine.observe import Metrics
from engine.observe.activity import Activity
from engine.observe.tally import CHANNEL, Tally
from engine.running import RunningChannel, RunningDestination, place_of

Counts = dict[str, dict[str, int]]


class Status:
    """The verb `status`. Durations are in seconds, instants in microseconds since 1970."""

    def __init__(self, engine: Engine, metrics: Metrics, activity: Activity, tally: Tally) -> None:
        self._engine, self._metrics, self._activity, self._tally = engine, metrics, activity, tally
        self._started = engine.runtime.now()

    async def __call__(self) -> dict[str, Any]:
        at = self._engine.at
        received = self._by_channel()
        attempts, ended = self._by_two("wardline_attempts"), self._by_two("wardline_deliveries_ended")
        return {
            **self._engine.state()[1],
            "accepting": self._engine.accepting,
            "pid": os.getpid(),
            "release": __version__,
            "organization": at.site.organization,
            "environment": at.site.environment,
            "started_at": self._started,
            "now": self._engine.runtime.now(),
            "disk": self._disk(),
            "channels": {name: self._channel(name, one, received.get(name, {})) for name, one in at.channels.items()},
            "destinations": {
                name: self._destination(name, one, attempts.get(name, {}), ended.get(name, {}))
                for name, one in at.destinations.items()
            },
        }

    def _channel(self, name: str, running: RunningChannel, counts: dict[str, int]) -> dict[str, Any]:
        state, why, since = running.standing
        listener = self._engine.at.listeners.get(place_of(running.channel))
        source = listener.source if listener is not None else None
        connections = getattr(source, "connections", None)  # where the connector knows
        return {
            "state": state.value,
            "why": why,
            "since": since,
            "version": running.site.version,
            "address": getattr(source, "address", ""),
            "connections": None if connections is None else len(connections),
            "last_received_at": self._activity.received.get(name, 0),
            "acknowledgement": _quantiles(self._tally.late("wardline_acknowledgement_seconds", name, 0.5, 0.99)),
            "counts": counts,
        }

    def _destination(
        self, name: str, running: RunningDestination, attempts: dict[str, int], ended: dict[str, int]
    ) -> dict[str, Any]:
        state, why = running.deliver.state
        failed = self._activity.failed.get(name)
        return {
            "state": state.value,
            "why": why,
            "since": running.deliver.since,
            "in_hand": running.deliver.in_hand,
            "last_delivered_at": self._activity.delivered.get(name, 0),
            "last_error": f"{failed.outcome}: {failed.reason}" if failed else "",
            "last_error_at": failed.at if failed else 0,
            "attempt": _quantiles(self._tally.late("wardline_attempt_seconds", name, 0.5, 0.99)),
            "delivery": _quantiles(self._tally.late("wardline_delivery_seconds", name, 0.5, 0.99)),
            "attempts": attempts,
            "ended": ended,
        }

    def _disk(self) -> str:
        """`ample`, `low` or `full`; '' where the database's own server sees to it."""
        space = getattr(self._engine.at.store, "space", None)
        return space.room.value if space is not None else ""

    def _by_channel(self) -> Counts:
        found: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for counter, what in (*CHANNEL.items(), ("wardline_messages_translated", "translated")):
            for label, count in self._metrics.counter(counter).items():
                counts = found[label if isinstance(label, str) else label[0]]
                counts[what] = counts.get(what, 0) + int(count)
        return found

    def _by_two(self, counter: str) -> Counts:
        found: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for (name, what), count in self._metrics.counter(counter).items():
            found[name][what] = int(count)
        return found


def _quantiles(found: tuple[float, ...]) -> list[float]:
    """The median and the 99th percentile of the last minute or two; none where nothing was timed."""
    return [round(seconds, 6) for seconds in found]
