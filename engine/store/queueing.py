"""Lanes: deliveries take their places at the end of them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import orjson
from sqlalchemy import select, text, update

from engine.model import GATE
from engine.store.driver import Row
from engine.store.ledger import Ledger
from engine.store.schema import crossing, lane, place
from engine.store.statements import Insert, Statement, among
from engine.store.words import LANE_BLOCKED, WAITING

INSERT_LANE = Insert(lane)
INSERT_PLACE = Insert(place)
INSERT_CROSSING = Insert(crossing)
LANES_STANDING = Statement("lanes_standing", select(lane.c.id).where(among(lane.c.id, "ids")), "ids")
LANES_LONGER = Statement(
    "lanes_longer", update(lane).where(among(lane.c.id, "ids"), text("lane.more = 0")).values(more=text("1")), "ids"
)

LANE_BITS = 48
_LANES_KNOWN = 50_000
_lanes: dict[tuple[int, int, str], int] = {}


def lane_of(destination: int, channel: int, order_key: str) -> int:
    """A lane's id: the destination and a hash. Two order keys that share a hash stand in one lane, which delays and never
    disorders them; they always share their destination, so that nothing else mixes. A gate has none: deliveries to several
    destinations wait for one another in it, and nothing ever begins from it."""
    if order_key.startswith(GATE):
        destination = 0
    known = _lanes.get((destination, channel, order_key))
    if known is None:
        if len(_lanes) >= _LANES_KNOWN:
            _lanes.clear()
        digest = hashlib.blake2b(f"{channel} {order_key}".encode(), digest_size=LANE_BITS // 8).digest()
        known = destination << LANE_BITS | int.from_bytes(digest)
        _lanes[destination, channel, order_key] = known
    return known


def keys_text(stands: dict[int, str]) -> str | None:
    """How a delivery's row keeps the order keys of its lanes (id → order key, its own lane first)."""
    if len(stands) == 1:
        return next(iter(stands.values())) or None
    return orjson.dumps([*stands.values()]).decode()


def read_keys(text: str | None, lanes: int) -> list[str]:
    """The order keys that `keys_text` kept, its own lane's first; [''] where there are none."""
    if lanes == 1 or not text:
        return [text or ""]
    keys: list[str] = orjson.loads(text)
    return keys


def lanes_of(own: int, lanes: int, text: str | None, destination: int, channel: int) -> dict[int, str]:
    """The lanes a delivery stands in, or stood in before it ended. Of one that ended under schema 1 only its own is known."""
    if lanes == 1 or not text:
        return {own: text or ""}
    return {lane_of(destination, channel, key): key for key in read_keys(text, lanes)}


class Queueing:
    """The lanes that one transaction makes longer."""

    def __init__(self, ledger: Ledger, lanes: Collection[int]) -> None:
        self._ledger = ledger
        self._new: dict[int, list[int | str]] = {}
        self._places: list[Row] = []
        self._crossings: list[Row] = []
        self._longer: set[int] = set()
        driver = ledger.driver
        self._standing = {row[0] for row in driver.rows(LANES_STANDING, driver.numbers(lanes))} if lanes else set()

    def join(self, number: int, one: int, order_key: str, destination: int, channel: int) -> bool:
        """Delivery `number` stands in lane `one`, last. True where it heads it."""
        if one in self._standing:
            self._places.append((one, number))
            self._longer.add(one)
            return False
        self._standing.add(one)
        self._new[one] = [one, one >> LANE_BITS, channel, order_key, WAITING, 0, number, 0, 0, 0, 0]
        return True

    def cross(self, number: int, stands: dict[int, str], destination: int, channel: int) -> None:
        """Delivery `number` stands in several lanes (id → order key). The first is its own: from there it begins, once it
        heads them all; the others are blocked until it has ended."""
        heads = [one for one, key in stands.items() if self.join(number, one, key, destination, channel)]
        self._crossings.extend((number, one) for one in stands)
        own = next(iter(stands))
        for one in heads:
            if one != own or len(heads) < len(stands):
                self._new[one][4] = LANE_BLOCKED

    def write(self) -> None:
        driver = self._ledger.driver
        for one in self._longer & self._new.keys():
            self._new[one][7] = 1
        driver.many(INSERT_LANE, [tuple(row) for row in self._new.values()])
        driver.many(INSERT_PLACE, self._places)
        driver.many(INSERT_CROSSING, self._crossings)
        if old := self._longer - self._new.keys():
            driver.run(LANES_LONGER, driver.numbers(old))
            self._ledger.after.append(lambda: self._lengthen(old))

    def _lengthen(self, lanes: set[int]) -> None:
        for one in lanes:
            if flight := self._ledger.flights.get(one):
                flight.more = True
