"""What the lives of an engine are to end with, and in what order: chosen by a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from tests.campaign import points
from tests.campaign.points import POINTS

RANDOM = "at a random instant under load"
STARTING = "at a random instant of a start"
RELOADING = "at a random instant of a reload"
ROUND = 60  # kills on one store


class Life(NamedTuple):
    """How one life ends: at the n-th passing of a point, or at one of the random instants above."""

    end: str
    n: int = 1

    @property
    def when(self) -> str:
        if self.end in POINTS:
            return POINTS[self.end].when
        return {STARTING: points.START, RELOADING: points.RELOAD}.get(self.end, points.LOAD)


def at(point: str, chance: random.Random) -> Life:
    return Life(point, chance.randint(POINTS[point].least, POINTS[point].most))


def lives_of(names: Sequence[str], chance: random.Random) -> list[Life]:
    """One life for each point, in this order, with what it needs before it: load, so that there is something to recover or
    to upgrade; and before a late word about attempts, attempts that were begun and never sent."""
    lives: list[Life] = []
    for name in names:
        if name == "stale":
            lives.append(at("begun", chance))
        elif POINTS[name].when in (points.START, points.UPGRADE) and (not lives or lives[-1].when in (points.START, points.STOP)):
            lives.append(Life(RANDOM))
        lives.append(at(name, chance))
    return lives


def rounds(kills: int, chance: random.Random) -> list[list[Life]]:
    """`kills` lives, on as few stores as ROUND allows. Each round has every point once or more, the upgrade first, while the
    store is small, and random instants for the rest."""
    count = -(-kills // ROUND)
    return [_round(kills // count + (number < kills % count), chance) for number in range(count)]


def _round(kills: int, chance: random.Random) -> list[Life]:
    upgrade = ["migrating", "migrating", "migrating", "migrated"]
    others = [name for name in POINTS if POINTS[name].when != points.UPGRADE]
    chance.shuffle(others)
    lives = lives_of([*upgrade, *others], chance)
    kinds = [RANDOM, RANDOM, STARTING, RELOADING]
    while len(lives) < kills:
        lives.append(Life(kinds[len(lives) % len(kinds)]))
    return lives[:kills]
