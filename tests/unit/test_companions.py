"""A process beside the engine that cannot be started: the engine goes on, says so and tries again."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from engine.cli.companions import LONGEST, Companion
from engine.events import EngineChanged


class Crowded(Clock):
    """A machine that has no room for another process."""

    tries = 0

    def spawnProcess(self, *about: Any, **more: Any) -> Any:
        self.tries += 1
        raise BlockingIOError(11, "Resource temporarily unavailable")


async def test_one_that_cannot_be_started_costs_the_engine_nothing() -> None:
    crowded, told = Crowded(), list[Any]()
    companion = Companion(crowded, "console", [], told.append)
    companion.start()
    crowded.pump([LONGEST] * 3)
    assert crowded.tries == 4
    reasons = [event.reason for event in told if isinstance(event, EngineChanged)]
    assert reasons[0] == "the console cannot be started (Resource temporarily unavailable); it is started again in 2 s"
    await companion.stop()
    crowded.advance(LONGEST)
    assert crowded.tries == 4
