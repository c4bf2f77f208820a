"""The order of stop has a limit that holds whatever does not end."""

from __future__ import annotations

from twisted.internet.defer import Deferred, ensureDeferred

from engine.app import STOP_WITHIN, Engine
from engine.contracts import Site
from engine.pipeline.translators import Inline, work_of
from engine.testing.world import World

SITE = Site("/nowhere", "General", "test", "UTC", "sqlite:///never.db", "", (), (), "v1")


async def never() -> None:
    await Deferred[None]()


async def at_once() -> None: ...


def engine(world: World) -> Engine:
    return Engine(SITE, world.runtime, Inline(work_of(SITE)), world.events.append)  # type: ignore[arg-type]


def test_what_does_not_end_is_left_after_the_limit() -> None:
    world = World()
    stopping = ensureDeferred(engine(world)._together([never(), at_once(), never()]))
    world.clock.advance(STOP_WITHIN - 0.1)
    assert not stopping.called
    world.clock.advance(0.2)
    assert stopping.called


def test_what_ends_is_not_waited_for_any_longer() -> None:
    world = World()
    assert ensureDeferred(engine(world)._together([at_once(), at_once()])).called
    assert world.clock.getDelayedCalls() == []


def test_stopping_what_never_started_ends() -> None:
    world = World()
    made = engine(world)
    assert ensureDeferred(made.stop()).called
    assert made.state()[0] is False
