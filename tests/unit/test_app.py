"""The order of stop has a limit that holds whatever does not end."""

from __future__ import annotations

from twisted.internet.defer import Deferred, ensureDeferred

from engine.app import Engine
from engine.contracts import Site
from engine.pipeline.keeper import SiteWork
from engine.pipeline.translators import Inline
from engine.running import LEAST, STOP_WITHIN
from engine.testing.world import World

SITE = Site("/nowhere", "General", "test", "UTC", "sqlite:///never.db", "", (), (), "v1")


async def never() -> None:
    await Deferred[None]()


async def at_once() -> None: ...


def engine(world: World) -> Engine:
    return Engine(SITE, world.runtime, Inline(SiteWork(SITE)), world.events.append)  # type: ignore[arg-type]


def test_what_does_not_end_is_left_after_the_limit() -> None:
    world = World()
    stopping = ensureDeferred(engine(world).at.together([never(), at_once(), never()]))
    world.clock.advance(STOP_WITHIN - 0.1)
    assert not stopping.called
    world.clock.advance(0.2)
    assert stopping.called


def test_what_ends_is_not_waited_for_any_longer() -> None:
    world = World()
    assert ensureDeferred(engine(world).at.together([at_once(), at_once()])).called
    assert world.clock.getDelayedCalls() == []


def test_stopping_what_never_started_ends() -> None:
    world = World()
    made = engine(world)
    assert ensureDeferred(made.stop()).called
    assert made.state()[0] is False


def test_one_limit_is_for_all_of_a_stop() -> None:
    world = World()
    made = engine(world)
    stopping = ensureDeferred(made.stop())
    assert stopping.called
    made.at.stop_at = world.clock.seconds() + STOP_WITHIN
    first = ensureDeferred(made.at.together([never()]))
    world.clock.advance(STOP_WITHIN + 0.1)
    assert first.called
    second = ensureDeferred(made.at.together([never()]))
    world.clock.advance(LEAST + 0.1)
    assert second.called
