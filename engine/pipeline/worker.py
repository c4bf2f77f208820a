"""The one loop that every stage runs: work until there is none, then rest until woken or until something falls due."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred, ensureDeferred

from engine.contracts import Clock
from engine.errors import StoreError

UNTIL_WOKEN = -1.0
AFTER_A_FAULT = 1.0  # seconds: a step that raises is our own fault; it is told and tried again, never in a tight loop

Step = Callable[[], Awaitable[float]]
"""Does one round of work. Returns how long to rest in seconds: 0 for not at all, UNTIL_WOKEN for as long as nobody wakes."""


class Wake:
    """A bell: it says that there may be work, never what. Ringing is cheap, and harmless when there is none."""

    def __init__(self) -> None:
        self._rung = False
        self._sleeper: Deferred[None] | None = None

    def ring(self) -> None:
        self._rung = True
        if self._sleeper is not None:
            sleeper, self._sleeper = self._sleeper, None
            sleeper.callback(None)

    def hush(self) -> None:
        """Forget what has rung so far: the round that begins now will see its work."""
        self._rung = False

    async def heard(self, clock: Clock, within: float) -> None:
        """Returns when rung since the last `hush`, or after `within` seconds if that is positive."""
        if self._rung:
            return
        self._sleeper = sleeper = Deferred[None]()
        timer = clock.callLater(within, self.ring) if within > 0 else None
        await sleeper
        if timer is not None and timer.active():  # type: ignore[misc]  # zope declares it without self
            timer.cancel()  # type: ignore[misc]


class Worker:
    """Runs `step` again and again on the reactor, until told to stop."""

    def __init__(self, step: Step, wake: Wake, clock: Clock, on_fault: Callable[[Exception], None]) -> None:
        self._step = step
        self._wake = wake
        self._clock = clock
        self._on_fault = on_fault
        self._stopping = False
        self._done: Deferred[None] | None = None

    def start(self) -> None:
        self._done = ensureDeferred(self._run())

    async def stop(self) -> None:
        """Let the step under way end, and start no other."""
        self._stopping = True
        self._wake.ring()
        if self._done is not None:
            await self._done

    async def _run(self) -> None:
        while not self._stopping:
            self._wake.hush()
            try:
                rest = await self._step()
            except StoreError:
                return  # the store has told the engine, which is stopping; nothing here may go on
            except Exception as fault:
                self._on_fault(fault)
                rest = AFTER_A_FAULT
            if rest and not self._stopping:
                await self._wake.heard(self._clock, rest)
