"""Single channels are stopped, started and drained, and the others never notice.

What is decided is on disk before it is done, so that it stands when the engine is started again. A source closes when no
channel of its address accepts any more; where others go on there, what the stopped one would take is answered as
unavailable: its sender keeps it and sends it again.
"""

from __future__ import annotations

from twisted.internet.defer import DeferredLock

from engine.errors import StoreBusy, StoreFull, WardlineError
from engine.model import ChannelState
from engine.pipeline.worker import UNTIL_WOKEN, Wake
from engine.running import AtWork, place_of

LOOK = 1.0  # seconds between two looks at whether a channel has drained
SHARE = 20  # times as long as a look took, nobody looks again


class NotOpened(WardlineError):
    """A channel's source could not be opened: it has failed, and says why."""


class Steering:
    """Whoever calls `stop`, `drain` or `start` has the `turn`. `step` is a worker's: it ends the draining."""

    def __init__(self, at: AtWork, turn: DeferredLock) -> None:
        self._at, self._turn = at, turn
        self.wake = Wake()
        self._dry: set[str] = set()  # nothing waited at the last look: what was being taken then is seen by the next

    async def stop(self, name: str, reason: str) -> None:
        """Nothing is taken and nothing translated; what has been translated is delivered. Raises StoreFull and StoreBusy, and
        then nothing has changed."""
        await self._at.store.steer_channel(name, ChannelState.STOPPED, reason)
        await self._stopped(name, reason)

    async def drain(self, name: str, reason: str) -> None:
        """Nothing more is taken; once all it has is translated and delivered, or parked, it is stopped."""
        await self._at.store.steer_channel(name, ChannelState.DRAINING, reason)
        self._at.stand(name, ChannelState.DRAINING, reason)
        self._at.channels[name].start()
        await self._close(name)
        self._dry.discard(name)
        self.wake.ring()

    async def start(self, name: str, reason: str) -> None:
        """It accepts again. Raises NotOpened, and then it has failed: what it has is translated all the same."""
        at = self._at
        running = at.channels[name]
        await at.store.steer_channel(name, ChannelState.RUNNING, reason)
        try:
            await self._open(place_of(running.channel))
        except OSError as problem:
            why = f"{problem}; {reason}"
            at.stand(name, ChannelState.FAILED, why)
            running.start()
            await at.store.steer_channel(name, ChannelState.FAILED, why)
            raise NotOpened(f"{name} does not accept anything, its address cannot be had: {problem}") from problem
        at.stand(name, ChannelState.RUNNING, reason)
        running.start()

    async def open(self, place: str) -> None:
        """At the start: its source, where a channel there is to accept. Raises OSError, but not for those that had failed
        before: they stay as they are."""
        sitting = [one.standing for one in self._at.sitting(place)]
        try:
            if any(standing.open for standing in sitting):
                await self._open(place)
        except OSError:
            if any(standing.state is ChannelState.RUNNING for standing in sitting):
                raise

    async def _stopped(self, name: str, reason: str) -> None:
        self._at.stand(name, ChannelState.STOPPED, reason)
        await self._close(name)
        if running := self._at.channels.get(name) or self._at.leaving.get(name):
            await running.stop()

    async def _close(self, name: str) -> None:
        """Its source, where no other channel has it open."""
        at = self._at
        place = place_of(at.channels[name].channel) if name in at.channels else ""
        if place in at.listeners and not any(one.standing.open for one in at.sitting(place)):
            await at.together([at.listeners.pop(place).close()])

    async def _open(self, place: str) -> None:
        """Raises OSError. With it, those that had failed at the same address accept again."""
        if place not in self._at.listeners:
            await self._at.listen(place)
        await self._at.recovered()

    # ── the end of draining ────────────────────────────────────────────────────────────────────────────────────────

    async def step(self) -> float:
        at, seconds = self._at, self._at.runtime.clock.seconds
        draining = [name for name, standing in at.standing.items() if standing.state is ChannelState.DRAINING]
        if not draining:
            return UNTIL_WOKEN
        started = seconds()
        for name in draining:
            if not await at.store.settled(name):
                self._dry.discard(name)
            elif name not in self._dry:
                self._dry.add(name)
            elif not self._turn.locked:  # else somebody changes just now what is at work: the next look does it
                await self._drained(name)
        return max(LOOK, (seconds() - started) * SHARE)

    async def _drained(self, name: str) -> None:
        await self._turn.acquire()
        try:
            standing = self._at.standing[name]
            if standing.state is ChannelState.DRAINING:
                reason, store = f"drained; {standing.reason}", self._at.store
                await store.steer_channel(name, ChannelState.STOPPED, reason)
                if await store.settled(name):  # what was still being taken was written before that note
                    await self._stopped(name, reason)
                else:
                    await store.steer_channel(name, standing.state, standing.reason)
        except (StoreFull, StoreBusy):
            return  # it has drained all the same: the next look says so
        finally:
            self._turn.release()
