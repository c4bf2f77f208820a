"""When the disk is looked at and when something is forgotten: driven by hand."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.task import Clock

from engine import events
from engine.contracts import Retention, Runtime
from engine.model import Pruned, Walk
from engine.store import upkeep
from engine.store.space import Room
from engine.store.upkeep import LOOK, PASS, PASS_IN_NEED, WHOLE, Upkeep

DAY = 86_400_000_000
NOW = 1_767_000_000_000_000


class World:
    """A store that tells what it was asked; `answers` are given to prune one after another, then nothing is left."""

    def __init__(self, **channels: Retention) -> None:
        self.clock, self.told, self.asked = Clock(), [], []  # type: ignore[var-annotated]
        self.answers: list[Pruned] = []
        self.shrinks = 0
        self.looks = 0
        self.space: Any = SimpleNamespace(room=Room.AMPLE, check=self._look)
        self.retention = Retention(content=30 * 86_400.0, everything=400 * 86_400.0)
        listed = [SimpleNamespace(name=name, retention=retention, unique_within=0.0) for name, retention in channels.items()]
        runtime = Runtime(self.clock, None, self.told.append, lambda: NOW, random.Random(1))  # type: ignore[arg-type]
        site: Any = SimpleNamespace(channels=listed, retention=self.retention)
        store: Any = SimpleNamespace(space=self.space, prune=self._prune, shrink=self._shrink)
        self.upkeep = Upkeep(store, runtime, lambda: site)

    def _look(self) -> None:
        self.looks += 1

    def _prune(self, walk: Walk, cutoffs: dict[str, int], after: int, limit: int) -> Deferred[Pruned]:
        self.asked.append((walk, cutoffs, after))
        return succeed(self.answers.pop(0) if self.answers else Pruned())

    def _shrink(self, whole: bool) -> Deferred[bool]:
        self.asked.append(whole)
        self.shrinks -= 1
        return succeed(self.shrinks > 0)

    def step(self) -> float:
        rests: list[float] = []
        ensureDeferred(self.upkeep.step()).addCallback(rests.append)
        return rests[0]

    def until_rest(self) -> None:
        while self.step() != LOOK:
            pass


def test_a_pass_forgets_content_then_the_rest_then_gives_back_room() -> None:
    world = World(own=Retention(everything=7 * 86_400.0))
    world.answers = [Pruned(contents=3, reached=70), Pruned(contents=1), Pruned(messages=2, deliveries=4)]
    world.shrinks = 2
    world.until_rest()
    content = {"": NOW - 30 * DAY, "own": 0}
    everything = {"": NOW - 400 * DAY, "own": NOW - 7 * DAY}
    assert world.asked == [
        (Walk.CONTENT, content, 0),
        (Walk.CONTENT, content, 70),
        (Walk.EVERYTHING, everything, 0),
        False,
        False,
    ]
    assert world.told == [events.Pruned(0, 0, 3), events.Pruned(0, 0, 1), events.Pruned(2, 4, 0)]


def test_the_next_pass_goes_on_where_the_last_one_came_to_and_once_a_day_at_the_beginning() -> None:
    world = World()
    world.answers = [Pruned(contents=1, reached=70)]
    begins = []
    for _ in range(WHOLE + 1):
        world.until_rest()
        begins.append(next(one[2] for one in world.asked if one[0] is Walk.CONTENT))
        world.asked.clear()
        world.clock.advance(PASS)
    assert begins == [0, *[70] * (WHOLE - 1), 0]


def test_between_passes_only_the_disk_is_looked_at_and_more_often_forgotten_when_it_is_short() -> None:
    world = World()
    world.until_rest()
    asked = len(world.asked)
    world.clock.advance(LOOK)
    assert world.step() == LOOK
    assert (world.looks, len(world.asked)) == (2, asked)
    world.space.room = Room.LOW
    world.asked.clear()
    for _ in range(3):
        world.clock.advance(LOOK)
        assert world.step() == LOOK
    assert world.asked == []
    for _ in range(2):
        world.clock.advance(PASS_IN_NEED)
        world.until_rest()
        assert world.asked.pop() is True  # every free page is given back


def test_the_store_is_left_to_the_others_for_a_multiple_of_the_time_a_slice_took() -> None:
    world = World()

    def slow(walk: Walk, cutoffs: dict[str, int], after: int, limit: int) -> Deferred[Pruned]:
        world.clock.advance(0.5)
        return succeed(Pruned(reached=1))

    world.upkeep._store.prune = slow  # type: ignore[assignment,method-assign]
    assert world.step() == 0.5 * upkeep.SHARE


def test_without_retention_nothing_is_asked() -> None:
    world = World()
    world.retention = Retention()
    world.upkeep._site = lambda: SimpleNamespace(channels=[], retention=Retention())  # type: ignore[assignment,return-value]
    world.until_rest()
    assert [one for one in world.asked if isinstance(one, tuple)] == []
