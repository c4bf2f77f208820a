"""What came and went since the last time somebody looked, taken from the metrics: counting it costs the messages nothing.

It is added to the store once a minute and when the engine stops; an engine that is killed loses at most the last minute. What
the store could not take is still there the next time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from engine.contracts import Counted, Runtime, Store
from engine.errors import StoreBusy, StoreFull
from engine.model import SECOND
from engine.observe.metrics import Metrics

MINUTE: Final = 60 * SECOND
ROWS: Final = 500  # of one verb: the messages are not to wait for more

CHANNEL: Final = {
    "wardline_messages_received": "received",
    "wardline_messages_duplicate": "duplicate",
    "wardline_messages_filtered": "filtered",
    "wardline_messages_rejected": "rejected",
    "wardline_messages_unavailable": "unavailable",
    "wardline_messages_parked": "parked",
    "wardline_frames_refused": "refused",
}
"""Counters by channel, and what they count is called here."""
ATTEMPTS: Final = {
    "refused": "refused",
    "unreached": "retried",
    "unknown": "retried",
    "busy": "retried",
    "misconfigured": "retried",
}
ENDS: Final = ("delivered", "parked", "expired")
TIMES: Final = (
    ("channel", "wardline_acknowledgement_seconds", "acknowledged", "acknowledgement time"),
    ("destination", "wardline_attempt_seconds", "attempted", "attempt time"),
    ("destination", "wardline_delivery_seconds", "ended", "delivery time"),
)
"""Of these how many, and how long they took in all, in microseconds."""
TIMED: Final = frozenset(time for _, _, _, time in TIMES)

Key = tuple[str, str, str]


class Tally:
    """`counted` says what is new since the last `keep`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._kept: dict[Key, int] = {}  # as far as the store has it
        self._rows: dict[str, dict[str, list[float]]] = {name: {} for _, name, _, _ in TIMES}  # a minute ago
        self._older = self._rows

    def counted(self) -> dict[Key, int]:
        """Everything since the start: by noun, name and what."""
        sums: dict[Key, int] = {}

        def add(noun: str, label: Any, what: str, count: float) -> None:
            name = label if isinstance(label, str) else label[0]
            sums[noun, name, what] = sums.get((noun, name, what), 0) + round(count)

        metrics = self._metrics
        for counter, what in CHANNEL.items():
            for label, count in metrics.counter(counter).items():
                add("channel", label, what, count)
        for label, count in metrics.counter("wardline_attempts").items():
            if label[1] in ATTEMPTS:
                add("destination", label, ATTEMPTS[label[1]], count)
        for label, count in metrics.counter("wardline_deliveries_ended").items():
            if label[1] in ENDS:
                add("destination", label, label[1], count)
        for noun, histogram, what, time in TIMES:
            for label, row in metrics.histogram(histogram).rows.items():
                add(noun, label, what, sum(row[:-1]))
                add(noun, label, time, row[-1] * SECOND)
        return sums

    def fresh(self, now: dict[Key, int]) -> list[Counted]:
        """What `now` has more than the store."""
        return [Counted(*key, count - self._kept.get(key, 0)) for key, count in now.items() if count > self._kept.get(key, 0)]

    def keep(self, stored: Sequence[Counted]) -> None:
        """The store has these, too."""
        for noun, name, what, count in stored:
            key = noun, name, what
            self._kept[key] = self._kept.get(key, 0) + count

    def turn(self) -> None:
        """A minute is over: `late` forgets the one before."""
        self._older, self._rows = self._rows, {
            name: {label: list(row) for label, row in self._metrics.histogram(name).rows.items()} for name in self._rows
        }  # fmt: skip

    def late(self, histogram: str, label: str, *fractions: float) -> tuple[float, ...]:
        """Quantiles of the last one or two minutes, in seconds; none where nothing was timed."""
        all_time = self._metrics.histogram(histogram)
        row = all_time.rows.get(label)
        if row is None:
            return ()
        before = self._older[histogram].get(label) or [0.0] * len(row)
        recent = [one - other for one, other in zip(row, before, strict=True)]
        if not any(recent[:-1]):
            return ()
        return tuple(all_time.quantile(recent, q) for q in fractions)


class Tallying:
    """A worker's step: writes the tally when a minute of the wall clock is over."""

    def __init__(self, tally: Tally, store: Store, runtime: Runtime) -> None:
        self._tally, self._store, self._runtime = tally, store, runtime
        self._since = runtime.now()  # of what is counted next

    async def step(self) -> float:
        now = self._runtime.now()
        if now // MINUTE != self._since // MINUTE:
            self._tally.turn()
            await self.write()
        return (MINUTE - self._runtime.now() % MINUTE) / SECOND

    async def write(self) -> None:
        """Everything up to now, in the minute in which it began to be counted. Where the store has no room, or is held by
        someone else, it is written with the next minute's."""
        began, now = self._since, self._runtime.now()
        try:
            for part in _parts(self._tally.fresh(self._tally.counted())):
                await self._store.tally(began, part)
                self._tally.keep(part)
        except (StoreFull, StoreBusy):
            return
        self._since = now


def _parts(counted: Sequence[Counted]) -> Iterator[Sequence[Counted]]:
    for at in range(0, len(counted), ROWS):
        yield counted[at : at + ROWS]
