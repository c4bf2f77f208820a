"""What a store needs regularly: a look at its disk, and forgetting what has been kept long enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engine import events
from engine.contracts import Retention, Runtime, Site
from engine.model import SECOND, Pruned, Walk
from engine.store.space import Room
from engine.store.store import SqlStore

LOOK: Final = 5.0  # seconds between looks at the disk
PASS: Final = 3600.0  # between passes of pruning, and while room is short:
PASS_IN_NEED: Final = 60.0
WHOLE: Final = 24  # passes after which one begins at the oldest again: what was kept then may have ended since
ROWS: Final = 300  # looked at in one slice
SHARE: Final = 4  # times as long as a slice took, everybody else has the store


class Upkeep:
    """A worker's step. `site` gives the one that runs now: a reload may bring another retention."""

    def __init__(self, store: SqlStore, runtime: Runtime, site: Callable[[], Site]) -> None:
        self._store, self._runtime, self._site = store, runtime, site
        self._next_look = self._next_pass = 0.0
        self._passes = 0
        self._reached = dict.fromkeys(Walk, 0)
        self._walks: list[Walk] = []  # of the pass under way, the last first
        self._shrinking = False

    async def step(self) -> float:
        clock = self._runtime.clock
        if (space := self._store.space) is not None and clock.seconds() >= self._next_look:
            self._next_look = clock.seconds() + LOOK
            space.check()
        in_need = space is not None and space.room is not Room.AMPLE
        if in_need:
            self._next_pass = min(self._next_pass, clock.seconds() + PASS_IN_NEED)
        if not self._walks and not self._shrinking and clock.seconds() >= self._next_pass:
            self._begin()
        started = clock.seconds()
        if self._walks:
            await self._prune(self._walks[-1])
        elif self._shrinking:
            self._shrinking = await self._store.shrink(in_need)
        else:
            return LOOK
        return max((clock.seconds() - started) * SHARE, 0.001)

    def _begin(self) -> None:
        self._next_pass = self._runtime.clock.seconds() + PASS
        if self._passes % WHOLE == 0:
            self._reached = dict.fromkeys(Walk, 0)
        self._passes += 1
        self._walks = [Walk.EVERYTHING, Walk.CONTENT]

    async def _prune(self, walk: Walk) -> None:
        cutoffs = _cutoffs(self._site(), walk, self._runtime.now())
        pruned = Pruned()
        if any(cutoffs.values()):
            pruned = await self._store.prune(walk, cutoffs, self._reached[walk], ROWS)
        if any(pruned[:3]):
            self._runtime.emit(events.Pruned(*pruned[:3]))
        if pruned.reached:
            self._reached[walk] = pruned.reached
            return
        self._walks.pop()
        self._shrinking = not self._walks


def _cutoffs(site: Site, walk: Walk, now: int) -> dict[str, int]:
    """Instants by channel; '' for channels that the site has no more."""

    def cutoff(retention: Retention, known: float = 0.0) -> int:
        """`known`: how long a message that is sent again must be recognised, and so its first one be here."""
        kept = retention.content if walk is Walk.CONTENT else retention.everything
        return now - int(max(kept, known if walk is Walk.EVERYTHING else 0.0) * SECOND) if kept else 0

    channels = {one.name: cutoff(one.retention or site.retention, one.unique_within) for one in site.channels}
    return {"": cutoff(site.retention)} | channels
