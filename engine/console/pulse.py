"""How everything stands now: one look at the engine and at what waits in the store, for everybody who watches.

The engine answers from memory and is asked every two seconds. What waits is counted in the store, and the more that costs,
the less often it is done: the picture says of what moment its figures are. Nobody is asked while nobody watches.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from engine.console.answers import Away
from engine.console.home import Home
from engine.console.live import Feed
from engine.errors import StoreError
from engine.store.figures import Backlog, Held, Queue, Stands

EVERY: Final = 2.0  # seconds between two looks
SHARE: Final = 20  # times as long as counting took, nobody counts again
WINDOW: Final = 60.0  # seconds over which rates are taken
LEAST: Final = 4.0  # seconds below which there is no rate yet

Rates = Mapping[tuple[str, str], float]
"""Per minute, by (`channel` or `destination`, name)."""


@dataclass(frozen=True)
class Figures:
    """What the store says, and when it was asked."""

    at: int
    queues: dict[str, Queue]
    backlog: dict[str, Backlog]
    held: Held
    channels: dict[str, Stands]
    destinations: dict[str, Stands]


NONE: Final = Figures(0, {}, {}, Held({}, {}, 0), {}, {})


@dataclass(frozen=True)
class Picture:
    at: int
    engine: dict[str, Any] | None  # what it says of itself; None: it is away
    away: str  # why, where it is
    figures: Figures
    blind: str  # why these are not newer, where the store could not be read
    rates: Rates
    made: dict[Any, Any] = field(default_factory=dict)  # what was made of this picture, for all who watch


class Pulse:
    """`feed` is for those who watch; `picture` for those who look once."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._figures, self._next_figures, self._blind = NONE, 0.0, ""
        self._samples: deque[tuple[float, int, dict[tuple[str, str], int]]] = deque()
        self._picture: Picture | None = None
        self._looked = 0.0
        self.feed = Feed(self.look, EVERY)

    def look(self) -> Picture:
        with self._lock:
            self._looked = time.monotonic()
            self._picture = self._look()
            return self._picture

    def picture(self) -> Picture:
        """One that is not older than two seconds."""
        with self._lock:
            if self._picture is None or time.monotonic() - self._looked > EVERY:
                self._looked = time.monotonic()
                self._picture = self._look()
            return self._picture

    def hurry(self) -> None:
        """Something was done just now: whoever looks next sees it."""
        self._looked = self._next_figures = 0.0

    def close(self) -> None:
        self.feed.end()

    def _look(self) -> Picture:
        away = ""
        try:
            engine = self._home.call("status")
        except Away as error:
            engine, away = None, str(error)
        if time.monotonic() >= self._next_figures:
            self._blind = self._count()
        return Picture(self._home.now(), engine, away, self._figures, self._blind, self._rates(engine))

    def _count(self) -> str:
        """Why it could not be done, where that is so: then the figures are those of before."""
        begun = time.monotonic()
        problem = ""
        try:
            with self._home.reading() as history:
                queues, backlog, held = history.queues(), history.backlog(), history.parked()
                self._figures = Figures(self._home.now(), queues, backlog, held, *history.standings())
        except (Away, StoreError) as error:
            problem = str(error)
        ended = time.monotonic()
        self._next_figures = ended + (ended - begun) * SHARE
        return problem

    def _rates(self, engine: dict[str, Any] | None) -> Rates:
        """From what the engine has counted since it started: of about the last minute."""
        samples, now = self._samples, time.monotonic()
        if engine is None:
            samples.clear()
            return {}
        if samples and samples[-1][1] != engine["started_at"]:
            samples.clear()  # another engine, which began at nothing
        samples.append((now, engine["started_at"], _totals(engine)))
        while len(samples) > 2 and now - samples[1][0] >= WINDOW:
            samples.popleft()
        then, _, before = samples[0]
        if now - then < LEAST:
            return {}
        per = 60.0 / (now - then)
        return {key: (total - before.get(key, 0)) * per for key, total in samples[-1][2].items()}


def pulse(home: Home) -> Pulse:
    """The one of this console."""
    found = home.parts.get("pulse")
    if found is None:
        found = home.parts.setdefault("pulse", Pulse(home))
    made: Pulse = found
    return made


def _totals(engine: dict[str, Any]) -> dict[tuple[str, str], int]:
    totals = {("channel", name): sum(_taken(row["counts"])) for name, row in engine["channels"].items()}
    return totals | {("destination", name): row["ended"].get("delivered", 0) for name, row in engine["destinations"].items()}


def _taken(counts: dict[str, int]) -> list[int]:
    """Everything that came and was a message."""
    return [counts.get(what, 0) for what in ("received", "duplicate", "filtered", "rejected")]
