"""Searches that people keep, for themselves or for everybody: a small file of the site, `.wardline/searches.json`."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from engine.operations import whole

FILE: Final = ".wardline/searches.json"
MOST: Final = 100  # of one person; the oldest go
LONGEST_NAME: Final = 80


class Saved(NamedTuple):
    key: str
    name: str
    query: str
    owner: str
    shared: bool
    made_at: int


class Searches:
    """`now` is the wall clock. What several consoles of one site keep is the same file."""

    def __init__(self, site: Path, now: Callable[[], int]) -> None:
        self._path, self._now = site / FILE, now

    def of(self, who: str) -> list[Saved]:
        """Their own and what others share, in the order of names."""
        mine = (one for one in self._all() if one.shared or one.owner == who)
        return sorted(mine, key=lambda one: (one.name.casefold(), one.key))

    def keep(self, who: str, name: str, query: str, shared: bool) -> Saved:
        """One of the same name by the same person is replaced."""
        with whole.locked(self._path.parent):
            others = [one for one in self._all() if (one.owner, one.name) != (who, name)]
            mine = [one for one in others if one.owner == who]
            gone = {one.key for one in sorted(mine, key=lambda one: one.made_at)[: max(0, len(mine) - MOST + 1)]}
            made = Saved(secrets.token_hex(6), name, query, who, shared, self._now())
            self._write([*(one for one in others if one.key not in gone), made])
        return made

    def forget(self, who: str, key: str, *, anybody: bool = False) -> bool:
        """Their own; `anybody`: whoever shared it. Whether there was one."""
        with whole.locked(self._path.parent):
            found = self._all()
            kept = [one for one in found if one.key != key or not (one.owner == who or (anybody and one.shared))]
            if len(kept) < len(found):
                self._write(kept)
        return len(kept) < len(found)

    def _all(self) -> list[Saved]:
        """A file that cannot be read counts as none: a new search makes it anew."""
        try:
            return [Saved(*facts) for facts in orjson.loads(self._path.read_bytes())]
        except (OSError, ValueError, TypeError):
            return []

    def _write(self, searches: list[Saved]) -> None:
        whole.replace(self._path, orjson.dumps([tuple(one) for one in searches]))
