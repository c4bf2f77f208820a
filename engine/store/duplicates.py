"""Which arrivals we have already: the dedupe keys of the newest messages in memory, of the older ones in `dedupe`.

A dedupe key is a hash, so that every insert falls on another page of its index and costs that page in the log. So keys
first wait in memory (their messages carry them too: opening reads back what the index lacks), and when enough have
gathered they go into the index in its own order, a slice after each commit, several to a page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from sqlalchemy import bindparam, literal_column, select, update

from engine.store.driver import Driver, Row
from engine.store.schema import dedupe, message, meta
from engine.store.statements import Insert, Statement, among
from engine.store.words import DUPLICATE, REJECTED

GATHER: Final = 1 << 14  # keys in memory before they go to the index
SLICE: Final = 512

_m = message.c
_FACTS = (_m.id, _m.digest, _m.received_at, _m.admitted, _m.reason)
INSERT_DEDUPE = Insert(dedupe, replacing=True)  # again after a crash in the middle of it
ORIGINALS = Statement("originals", select(*_FACTS).where(among(_m.id, "ids")), "ids")
RECENT = Statement(
    "recent",
    select(*_FACTS, _m.channel, _m.dedupe_key)
    .where(_m.id > bindparam("deduped"), _m.dedupe_key.is_not(None))
    .where(_m.state.not_in((literal_column(str(REJECTED)), literal_column(str(DUPLICATE)))))
    .order_by(_m.id),
    "deduped",
)
DEDUPED = Statement("deduped", select(meta.c.deduped))
SET_DEDUPED = Statement("set_deduped", update(meta).values(deduped=bindparam("last")), "last")

Key = tuple[int, bytes]  # channel, dedupe key


class Original(NamedTuple):
    id: int
    digest: bytes
    received_at: int
    admitted: int
    reason: str


def original_of(row: Sequence[object]) -> Original:
    number, digest, received_at, admitted, reason = row
    return Original._make((number, bytes(digest), received_at, admitted, reason or ""))  # type: ignore[call-overload]


class Duplicates:
    def __init__(self) -> None:
        self._recent: dict[Key, list[Original]] = {}
        self._leaving: dict[Key, list[Original]] = {}  # on their way to the index
        self._rows: list[Row] = []  # of those, what is not in it yet, last first

    def load(self, driver: Driver) -> None:
        """At opening: the keys that are not in the index yet."""
        for *facts, channel, key in driver.rows(RECENT, driver.rows(DEDUPED)[0][0]):
            self.add((channel, bytes(key)), original_of(facts))

    def add(self, key: Key, original: Original) -> None:
        """After the commit that stored it."""
        held = self._recent.get(key)
        if held is None:
            self._recent[key] = [original]
        else:
            held.append(original)

    def known(self, driver: Driver, wanted: Iterable[Key]) -> dict[Key, list[Original]]:
        """What the store holds under these keys, oldest first."""
        by_channel: dict[int, list[bytes]] = {}
        known: dict[Key, list[Original]] = {}
        for one in wanted:
            by_channel.setdefault(one[0], []).append(one[1])
            if one in self._leaving:
                known[one] = list(self._leaving[one])
            if one in self._recent:
                known.setdefault(one, []).extend(self._recent[one])
        held = {
            number: (channel, bytes(key))
            for channel, keys in by_channel.items()
            for key, number in driver.originals(channel, keys)
        }
        if held:
            for row in driver.rows(ORIGINALS, driver.numbers(held)):
                known.setdefault(held[row[0]], []).append(original_of(row))
            for originals in known.values():
                originals.sort()
        return known

    @property
    def moving(self) -> bool:
        """Some are on their way to the index."""
        return bool(self._rows)

    def forget(self, held: Iterable[tuple[int, bytes, int]]) -> None:
        """(channel, dedupe key, message id) of messages that are in the store no more."""
        for channel, key, number in held:
            if left := [one for one in self._recent.pop((channel, key), ()) if one.id != number]:
                self._recent[channel, key] = left

    def due(self) -> bool:
        return bool(self._rows) or len(self._recent) >= GATHER

    def gather(self, driver: Driver) -> Callable[[], None]:
        """Move a slice, in the transaction under way; what is to be done when it is on disk."""
        if not self._rows:
            self._leaving, self._recent = self._recent, {}
            self._rows = [(*key, one.id) for key, held in self._leaving.items() for one in held]
            self._rows.sort(reverse=True)
        driver.many(INSERT_DEDUPE, self._rows[: -SLICE - 1 : -1])
        if len(self._rows) <= SLICE:
            driver.run(SET_DEDUPED, max(one.id for held in self._leaving.values() for one in held))
        return self._moved

    def _moved(self) -> None:
        del self._rows[-SLICE:]
        if not self._rows:
            self._leaving = {}
