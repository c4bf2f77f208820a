"""Looking through a store from the newest message back, a stretch at a time, until enough is found or time is up.

The stretches are those of the index of keys (`run`), and they grow while they are quick: what is near is found at once, no
statement is long, and one that takes too long ends with what was found and how far it had come. What an index leads to is
found in one statement; a long list of keys is looked up in the runs of each stretch only, as there are a thousand of them
for every million messages.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from engine.store import search
from engine.store.driver import Row
from engine.store.reading import SelectReader, TookTooLong
from engine.store.search import Bounds, Names, Query

FIRST: Final = 16  # runs in the first stretch, a thousand messages each
QUICK: Final = 0.2  # seconds; after a stretch that took less, the next is four times as long


class Walk:
    """From `before` (0: the newest) backwards, or from `after` forwards; neither is included."""

    def __init__(self, reader: SelectReader, query: Query, names: Names, bounds: Bounds, before: int, after: int) -> None:
        self._reader, self._query, self._names, self._bounds = reader, query, names, bounds
        self._after = after
        self._before = min(before or bounds.highest + 1, bounds.highest + 1) if bounds.highest else before
        self._list = Query() if after else query.list_of_keys()
        self._listed: set[int] = set()  # ids that its keys have led to
        self._edge = self._instant = self._run = 0  # where the last stretch ended

    def collect(self, limit: int, seconds: float) -> tuple[list[Row], int, int]:
        """Rows of `search.messages`, newest first; and where time was up, the id and the instant it had come to.

        Raises TookTooLong where it has come nowhere.
        """
        until = time.monotonic() + seconds
        whole = self._query.gathered and self._list == Query()
        runs, rows = FIRST * (16 if self._query.together else 1), list[Row]()
        while True:
            began = time.monotonic()
            stretch = None if whole else self._stretch(runs)
            try:
                rows += self._find(limit - len(rows), *(stretch[::2] if stretch else (0, 0)), until)
            except TookTooLong:
                if not self._edge:
                    raise
                break
            if stretch is None or len(rows) == limit or self._outside(stretch[0]):
                return self._newest_first(rows), 0, 0
            self._edge, self._instant, self._run = stretch
            if time.monotonic() > until:
                break
            if time.monotonic() - began < QUICK:
                runs *= 4
        return self._newest_first(rows), self._edge, self._instant

    def _stretch(self, runs: int) -> tuple[int, int, int] | None:
        """(id, instant, run) of the end of the next stretch; None where the rest is one."""
        if self._after:
            rows = self._reader.select(search.stretch_above(self._edge or self._after, runs))
        else:
            rows = self._reader.select(search.stretch_below(self._edge or self._before, runs))
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    def _find(self, limit: int, edge: int, run: int, until: float) -> list[Row]:
        query, bounds = self._query, self._bounds
        before, after = (0, self._edge or self._after) if self._after else (self._edge or self._before, 0)
        if self._after:
            bounds = Bounds(bounds.lowest, min(edge, bounds.highest) if edge and bounds.highest else edge or bounds.highest)
        else:
            bounds = Bounds(max(edge, bounds.lowest), bounds.highest)
        if self._list != Query():
            statement = search.listed(self._list, self._names, run, self._run)
            self._listed.update(row[0] for row in self._reader.select(statement, _left(until)))
            within = tuple(sorted(number for number in self._listed if edge <= number and (not before or number < before)))
            if not within:
                return []
            query = replace(query, message_id=within, control_id="", keys=())
        return self._reader.select(search.find(query, self._names, bounds, limit, before, after), _left(until))

    def _outside(self, edge: int) -> bool:
        """Beyond this edge nothing is looked for."""
        bounds = self._bounds
        return bool(bounds.highest and edge >= bounds.highest) if self._after else edge <= bounds.lowest

    def _newest_first(self, rows: list[Row]) -> list[Row]:
        return rows[::-1] if self._after else rows


def _left(until: float) -> float:
    return max(until - time.monotonic(), 0.001)
