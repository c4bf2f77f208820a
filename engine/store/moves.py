"""Deliveries that come back into their lanes at their old place, or leave them, on somebody's word.

A lane orders by id, so whoever comes back stands before all younger ones. Where the lane is idle it is put right at once.
Nobody steps in between what is under way: who comes back to such a lane is kept in `rejoin`, and takes its place when the
flight has ended or, after a crash, at opening.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import bindparam, func, select, text, update

from engine.store.driver import Row
from engine.store.lanes import FOLLOWERS
from engine.store.ledger import Ledger
from engine.store.queueing import INSERT_CROSSING, INSERT_LANE, INSERT_PLACE, LANE_BITS, LANES_LONGER, lanes_of
from engine.store.schema import crossing, delivery, lane, place, rejoin
from engine.store.statements import Delete, Insert, Statement, Update, among
from engine.store.words import LANE_BLOCKED, SENDING, WAITING

_d, _own = delivery.c, lane.alias("own")
INSERT_REJOIN = Insert(rejoin)
LEAVE_REJOIN = Delete(rejoin)
LEAVE_PLACE = Delete(place)
LEAVE_CROSSING = Delete(crossing)
ADVANCE_LANE = Update("advance_lane", lane, "state", "due", "head", "more", "begun", "id")
LANES_END = Statement("lanes_end", lane.delete().where(among(lane.c.id, "ids")), "ids")
LANES_NOW = Statement(
    "lanes_now", select(lane.c.id, lane.c.state, lane.c.head, lane.c.more).where(among(lane.c.id, "ids")), "ids"
)
LANES_SHORTER = Statement("lanes_shorter", update(lane).where(among(lane.c.id, "ids")).values(more=text("0")), "ids")
AWAY = Statement(
    "away",  # blocked lanes whose head is under way: from its own lane, which is another
    select(lane.c.id)
    .join(delivery, _d.id == lane.c.head)
    .join(_own, _own.c.id == _d.lane)
    .where(among(lane.c.id, "ids"), _own.c.state == text(str(SENDING)), _own.c.head == _d.id),
    "ids",
)
SPANS = Statement("spans", select(_d.id, _d.lane, _d.lanes).where(among(_d.id, "ids"), _d.lanes > text("1")), "ids")
HEADED = Statement(
    "headed",
    select(func.count())
    .select_from(crossing.join(lane, lane.c.id == crossing.c.lane))
    .where(crossing.c.delivery == bindparam("number"), lane.c.head == crossing.c.delivery),
    "number",
)
UNBLOCK = Statement(
    "unblock",
    update(lane)
    .where(lane.c.id == bindparam("number"), lane.c.state == text(str(LANE_BLOCKED)))
    .values(state=text(str(WAITING))),
    "number",
)
BLOCK = Statement(
    "block",
    update(lane)
    .where(lane.c.id == bindparam("number"), lane.c.head == bindparam("head"), lane.c.state == text(str(WAITING)))
    .values(state=text(str(LANE_BLOCKED))),
    *("number", "head"),
)
REJOINING = Statement(
    "rejoining",
    select(rejoin.c.lane, _d.id, _d.lane, _d.lanes, _d.order_keys, _d.destination, _d.channel)
    .join(delivery, _d.id == rejoin.c.delivery)
    .where(among(rejoin.c.lane, "ids")),
    "ids",
)


def unblock(ledger: Ledger, crossers: Iterable[Row]) -> None:
    """Heads that stand in several lanes (SPANS) may begin, each from its own lane, where they head them all."""
    driver = ledger.driver
    for number, own, lanes in crossers:
        if driver.rows(HEADED, number)[0][0] == lanes:
            driver.run(UNBLOCK, own)
            ledger.unblocked.add(own >> LANE_BITS)
            ledger.late.add(own >> LANE_BITS)  # it may have been blocked while it waited for a due time


class Moves:
    """Comings and goings, written together."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._driver = ledger.driver
        self._come: dict[int, set[int]] = {}  # by lane
        self._gone: dict[int, set[int]] = {}
        self._made_of: dict[int, tuple[int, int, str]] = {}  # destination, channel and order key of a lane
        self._heads: dict[int, tuple[int, int]] = {}  # lane: its new head, and whether there are more
        self._behind: list[int] = []  # heads before which somebody has come
        self._new: list[Row] = []
        self._over: list[int] = []
        self._longer: list[int] = []
        self._shorter: list[int] = []

    def come(self, number: int, stands: Mapping[int, str], destination: int, channel: int) -> None:
        """Delivery `number` stands in these lanes (id → order key) again."""
        for one, order_key in stands.items():
            self.stand(number, one, order_key, destination, channel)
        if len(stands) > 1:
            self._driver.many(INSERT_CROSSING, [(number, one) for one in stands])

    def stand(self, number: int, one: int, order_key: str, destination: int, channel: int) -> None:
        self._come.setdefault(one, set()).add(number)
        self._made_of[one] = destination, channel, order_key

    def go(self, number: int, stands: Collection[int]) -> None:
        """Delivery `number`, which is not under way, stands in these lanes no more."""
        for one in stands:
            self._gone.setdefault(one, set()).add(number)
        if len(stands) > 1:
            self._driver.many(LEAVE_CROSSING, [(number, one) for one in stands])

    def write(self) -> None:
        driver, come, gone = self._driver, self._come, self._gone
        lanes = come.keys() | gone.keys()
        if not lanes:
            return
        standing = _standing(self._ledger, lanes)
        busy = _busy(self._ledger, standing)
        left = [(one, number) for one, numbers in gone.items() for number in numbers]
        driver.many(LEAVE_PLACE, left)
        driver.many(LEAVE_REJOIN, left)
        driver.many(INSERT_PLACE, [(one, number) for one in come.keys() - busy for number in come[one]])
        if later := come.keys() & busy:
            driver.many(INSERT_REJOIN, [(one, number) for one in later for number in come[one]])
            self._ledger.after.append(lambda: self._ledger.rejoining.update(later))
        for one in sorted(lanes - busy):
            self._put_right(one, standing.get(one))
        self._write_lanes()

    def _put_right(self, one: int, was: Row | None) -> None:
        """The smallest that stands in an idle lane is its head; all others have places."""
        driver = self._driver
        first, *rest = [row[0] for row in driver.rows(FOLLOWERS, one, 2)] or [0]
        if was is not None and was[2] not in self._gone.get(one, ()):
            _, _, head, more = was
            if first and first < head:
                driver.many(LEAVE_PLACE, [(one, first)])
                driver.many(INSERT_PLACE, [(one, head)])
                self._heads[one] = first, 1
                self._behind.append(head)
            elif first and not more:
                self._longer.append(one)
            elif more and not first:
                self._shorter.append(one)
        elif first:
            driver.many(LEAVE_PLACE, [(one, first)])
            self._heads[one] = first, len(rest)
            if was is None:
                self._new.append((one, *self._made_of[one], WAITING, 0, first, len(rest), 0, 0, 0))
        else:
            self._over.append(one)

    def _write_lanes(self) -> None:
        driver = self._driver
        for statement, lanes in ((LANES_END, self._over), (LANES_LONGER, self._longer), (LANES_SHORTER, self._shorter)):
            if lanes:
                driver.run(statement, driver.numbers(lanes))
        driver.many(INSERT_LANE, self._new)
        heads = [head for head, _ in self._heads.values()]
        crossers = driver.rows(SPANS, driver.numbers(heads)) if heads else []
        cross = {row[0] for row in crossers}
        steps = [(LANE_BLOCKED if head in cross else WAITING, 0, head, more, 0, one) for one, (head, more) in self._heads.items()]
        driver.many(ADVANCE_LANE, steps)
        for number, own, _ in driver.rows(SPANS, driver.numbers(self._behind)) if self._behind else []:
            driver.run(BLOCK, own, number)
        unblock(self._ledger, crossers)


def _standing(ledger: Ledger, lanes: Collection[int]) -> dict[int, Row]:
    return {row[0]: row for row in ledger.driver.rows(LANES_NOW, ledger.driver.numbers(lanes))}


def _busy(ledger: Ledger, standing: Mapping[int, Row]) -> set[int]:
    """Lanes whose head is under way."""
    driver = ledger.driver
    blocked = [one for one, state, *_ in standing.values() if state == LANE_BLOCKED]
    away = {row[0] for row in driver.rows(AWAY, driver.numbers(blocked))} if blocked else set()
    return {one for one, state, *_ in standing.values() if state == SENDING} | away


def rejoin_lanes(ledger: Ledger) -> None:
    """Those that wait for the end of a flight take their places in the lanes where it has ended."""
    driver = ledger.driver
    idle = ledger.rejoining - _busy(ledger, _standing(ledger, ledger.rejoining))
    if not idle:
        return
    moves = Moves(ledger)
    rows = driver.rows(REJOINING, driver.numbers(idle))
    driver.many(LEAVE_REJOIN, [row[:2] for row in rows])
    for one, number, own, lanes, order_keys, destination, channel in rows:
        moves.stand(number, one, lanes_of(own, lanes, order_keys, destination, channel)[one], destination, channel)
    moves.write()
    ledger.after.append(lambda: ledger.rejoining.difference_update(idle))
