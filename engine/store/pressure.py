"""Back-pressure: who sends faster than messages are translated is answered as fast as they are.

Taking a message costs less than translating it. Senders that never pause would be answered twice as fast as their messages
go on; these would leave the tail and have to be read back from the tables, and everything would be slower for it. So while
much of a channel waits to be translated, its arrivals wait too, in their order, until some of it has been or PATIENCE is
over: a mapping that hangs slows its senders down, and never keeps a message from being stored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from engine.contracts import Clock
from engine.store.commit import Job
from engine.store.tail import ROOM, Tail

MUCH: Final = ROOM // 4  # bytes of one channel that are not yet translated
PATIENCE: Final = 0.1  # seconds


class Pressure:
    """Holds back TAKE jobs; `submit` gives one to the writer. Lives in the reactor's thread."""

    def __init__(self, tail: Tail, clock: Clock, submit: Callable[[Job], None]) -> None:
        self._tail, self._clock, self._submit = tail, clock, submit
        self._waiting: dict[str, deque[tuple[float, Job]]] = {}  # by channel: until when at most, and what
        self._timer: Any = None

    def take(self, job: Job) -> None:
        channel = job.load.channel
        waiting = self._waiting.get(channel)
        if waiting is None:
            if self._tail.size(channel) < MUCH:
                self._submit(job)
                return
            waiting = self._waiting[channel] = deque()
        waiting.append((self._clock.seconds() + PATIENCE, job))
        if self._timer is None:
            self._timer = self._clock.callLater(PATIENCE, self._over)

    def ease(self) -> None:
        """Some messages have been taken, or translated: as many bytes go on as there is room for now."""
        for channel in list(self._waiting):
            room = MUCH - self._tail.size(channel)
            while room > 0 and (job := self._next(channel)) is not None:
                room -= job.size
                self._submit(job)

    def let_go(self) -> list[Job]:
        """All that wait; none does any more."""
        waiting, self._waiting = self._waiting, {}
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return [job for jobs in waiting.values() for _, job in jobs]

    def _next(self, channel: str, until: float = float("inf")) -> Job | None:
        """The one that has waited longest, if not beyond `until`."""
        waiting = self._waiting.get(channel)
        if waiting is None or waiting[0][0] > until:
            return None
        _, job = waiting.popleft()
        if not waiting:
            del self._waiting[channel]
        return job

    def _over(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        for channel in list(self._waiting):
            while (job := self._next(channel, now)) is not None:
                self._submit(job)
        if self._waiting:
            first = min(waiting[0][0] for waiting in self._waiting.values())
            self._timer = self._clock.callLater(max(first - now, 0.001), self._over)
