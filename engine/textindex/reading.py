"""Searching an index: from the newest volume back, until there is enough."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from engine.store.driver import Row
from engine.textindex import Interrupted, NoIndex, Phrase
from engine.textindex.source import kept, open_store_reader
from engine.textindex.tables import LAYOUT, MAKING, Volume
from engine.textindex.words import Wanted, wanted

SECONDS: Final = 10.0  # one search may take, and one read transaction with it
FURTHER: Final = 20  # ids that are asked for at once at the least: some of them may have been forgotten
_END: Final = (1 << 63) - 1


class Reading(ABC):
    """See `engine.textindex.TextIndex`."""

    def __init__(self, url: str) -> None:
        self.interrupted = False
        self._check()
        self._store = open_store_reader(url)

    def find(self, words: Sequence[Phrase], below: int, limit: int) -> list[int]:
        asked = wanted(words)
        self.interrupted = False
        try:
            return self._once(asked, below or _END, limit)
        except NoIndex:
            self._check()  # a volume may have been made anew just then
            return self._once(asked, below or _END, limit)

    def _once(self, asked: Sequence[Wanted], below: int, limit: int) -> list[int]:
        try:
            return self._find(asked, below, limit)
        except Exception as error:
            raise self.failed(error) from error
        finally:
            self.end()

    def _find(self, asked: Sequence[Wanted], below: int, limit: int) -> list[int]:
        found: list[int] = []
        until = time.monotonic() + SECONDS
        for volume in reversed(self.begin(until)):
            if volume.state == MAKING or volume.first >= below:
                continue
            while len(found) < limit:
                if self.interrupted or time.monotonic() > until:
                    raise self.stopped()
                more = max(limit - len(found), FURTHER)
                ids = self.search(volume.n, asked, below, more)
                if ids:
                    there = kept(self._store, ids)
                    found += [one for one in ids if one in there]
                    below = ids[-1]
                if len(ids) < more:
                    break
            if len(found) >= limit:
                break
        return found[:limit]

    def indexed_up_to(self) -> tuple[int, int]:
        try:
            ((_, _, _, newest, newest_at),) = self.where()
        except Exception as error:
            raise self.failed(error) from error
        return newest, newest_at

    def _check(self) -> None:
        try:
            found = self.where()
        except Exception as error:
            raise self.failed(error) from error
        if len(found) != 1 or found[0][0] != LAYOUT:
            raise self.missing("of another release")

    def interrupt(self) -> None:
        self.interrupted = True
        self.break_off()

    def close(self) -> None:
        self._store.close()

    def stopped(self) -> Interrupted:
        if self.interrupted:
            return Interrupted("the search was stopped")
        return Interrupted(f"the search took more than {SECONDS:.0f} seconds: add a rarer word, or write more of a beginning")

    @staticmethod
    def missing(why: str = "not there") -> NoIndex:
        return NoIndex(
            f"the index of texts is {why}: `wardline run` fills it beside the engine, `wardline index` without one. "
            "Keys and control ids are found without it"
        )

    # ── each database's own ────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def where(self) -> list[Row]: ...

    @abstractmethod
    def begin(self, until: float) -> list[Volume]:
        """The volumes as they are now; `until`: when the search ends at the latest, by the monotonic clock."""

    @abstractmethod
    def end(self) -> None:
        """Of a search. Never raises."""

    @abstractmethod
    def search(self, n: int, asked: Sequence[Wanted], below: int, limit: int) -> list[int]:
        """Ids of one volume's messages, newest first."""

    @abstractmethod
    def failed(self, error: Exception) -> Exception:
        """What is raised for it."""

    @abstractmethod
    def break_off(self) -> None:
        """From another thread."""
