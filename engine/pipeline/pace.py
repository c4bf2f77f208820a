"""How fast a destination is sent to: its `rate`, and after a recovery a ramp, so that a backlog does not fell it again."""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from engine.contracts import Clock

RAMP_FROM: Final = 10.0  # a second, doubling each second
RAMP_FOR: Final = 10.0  # seconds; by then it allows more than an engine sends


class Pace:
    """Slots in time. `limits` is false while there is nothing to wait for."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self._rate, self._clock = rate, clock
        self.limits = rate > 0
        self._recovered: float | None = None  # when the ramp began
        self._next = 0.0  # the first slot that is free
        self._waiting: dict[Deferred[None], IDelayedCall] = {}

    def recovered(self) -> None:
        """Begin slowly."""
        self._recovered = self._clock.seconds()
        self.limits = True

    def speed(self) -> float:
        """Deliveries a second, now."""
        if self._recovered is not None:
            passed = self._clock.seconds() - self._recovered
            ramp = RAMP_FROM * 2.0 ** int(passed)
            if passed < RAMP_FOR and not 0 < self._rate <= ramp:
                return ramp
            self._recovered = None
            self.limits = self._rate > 0
        return self._rate or float("inf")

    def most(self) -> int:
        """How many are worth beginning now: what is begun and not sent would be in doubt after a crash."""
        return max(1, int(min(self.speed(), 1e6)))

    async def turn(self) -> None:
        """Wait for the next slot."""
        now = self._clock.seconds()
        slot = max(self._next, now)
        self._next = slot + 1 / self.speed()
        if slot > now:
            waiting: Deferred[None] = Deferred()
            self._waiting[waiting] = self._clock.callLater(slot - now, self._has_come, waiting)
            await waiting

    def let_go(self) -> None:
        """Nobody waits any longer: what they waited with is not sent, and their slots are free again."""
        waiting, self._waiting = self._waiting, {}
        self._next = min(self._next, self._clock.seconds() + 1 / self.speed())
        for one, timer in waiting.items():
            timer.cancel()  # type: ignore[misc]  # zope declares it without self
            one.callback(None)

    def _has_come(self, waiting: Deferred[None]) -> None:
        del self._waiting[waiting]
        waiting.callback(None)
