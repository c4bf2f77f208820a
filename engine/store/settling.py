"""The ends of attempts, and how lanes go on after them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, select, text, update

from engine.model import (
    Busy,
    ChannelState,
    Close,
    Delivered,
    DestinationState,
    Hold,
    Misconfigured,
    Refused,
    Retry,
    Settlement,
    Unknown,
    Unreached,
    Withdrawn,
)
from engine.store.driver import Row
from engine.store.lanes import FOLLOWERS
from engine.store.ledger import Flight, Ledger
from engine.store.moves import ADVANCE_LANE, LANES_END, LEAVE_CROSSING, LEAVE_PLACE, SPANS, rejoin_lanes, unblock
from engine.store.queueing import LANE_BITS
from engine.store.schema import attempt, channel, crossing, delivery, destination, lane
from engine.store.schema import undelivered as undelivered_
from engine.store.statements import Insert, Statement, Update
from engine.store.texts import storable
from engine.store.words import CODES, DELIVERED, LANE_BLOCKED, SENDING, UNKNOWN, WAITING

REPLY: Final = 256 << 10  # bytes of a reply that are kept

INSERT_ATTEMPT = Insert(attempt)
INSERT_UNDELIVERED = Insert(undelivered_)
SETTLE_DELIVERY = Update("settle_delivery", delivery, "state", "attempts", "changed_at", "in_doubt", "reason", "id")
SETTLE_DESTINATION = Update("settle_destination", destination, "state", "reason", "since", "id")
SETTLE_CHANNEL = Update("settle_channel", channel, "state", "reason", "since", "id")
CROSSED = Statement("crossed", select(crossing.c.lane).where(crossing.c.delivery == bindparam("number")), "number")

_OUTCOMES: Final[dict[type, int]] = {
    kind: CODES[kind.__name__.lower()] for kind in (Delivered, Refused, Unreached, Unknown, Busy, Misconfigured)
}


def attempted(ledger: Ledger, settlements: Sequence[Settlement]) -> None:
    ended: dict[int, Settlement] = {}
    lanes: dict[int, None] = {}
    for one in settlements:
        number = one.delivery.id
        mark = ledger.begun.get(number)
        if mark is not None and mark.n == one.delivery.attempts and number not in ended:
            ended[number] = one
            lanes[mark.lane] = None
    if not ended:
        return
    _record(ledger, ended)
    going = _Going(ledger, ended)
    for one_lane in lanes:
        going.on(one_lane)
    going.write()

    def remember() -> None:
        for number in ended:
            del ledger.begun[number]
        for one_lane, flight in going.flights.items():
            if flight is None:
                del ledger.flights[one_lane]
            else:
                ledger.flights[one_lane] = flight

    ledger.after.append(remember)


def _record(ledger: Ledger, ended: dict[int, Settlement]) -> None:
    """Attempt rows, the deliveries' states, and destinations that stand still from now on."""
    attempts: list[Row] = []
    deliveries: list[Row] = []
    undelivered: list[Row] = []
    holds: dict[str, Settlement] = {}
    epoch = ledger.epoch
    for number, (_, outcome, decision, started_at, ended_at) in ended.items():
        if isinstance(outcome, Withdrawn):
            continue
        if isinstance(decision, Hold):
            holds[ended[number].delivery.destination] = ended[number]
        mark = ledger.begun[number]
        code = _OUTCOMES[type(outcome)]
        doubt = 1 if code == UNKNOWN else 0
        reason = None if isinstance(outcome, Delivered) else outcome.reason
        reply = None if isinstance(outcome, Unreached) else outcome.reply[:REPLY]
        attempts.append((number, mark.n, epoch, started_at, ended_at, code, doubt, reason, reply))
        state, why = WAITING, reason
        if isinstance(decision, Close):
            state, why = CODES[decision.state], decision.reason or reason
            if state != DELIVERED:
                undelivered.append((state, number))
        deliveries.append((state, mark.n, ended_at, 1 if doubt or mark.in_doubt else 0, why, number))
    attempts.sort()
    ledger.driver.many(INSERT_ATTEMPT, attempts)
    ledger.driver.many(SETTLE_DELIVERY, deliveries)
    ledger.driver.many(INSERT_UNDELIVERED, undelivered)
    for name, one in holds.items():
        assert isinstance(one.decision, Hold)
        steer(ledger, name, DestinationState.HELD, one.decision.reason, one.ended_at)


DUE_NOW = Statement(
    "due_now",
    update(lane)
    .where(lane.c.destination == bindparam("number"), lane.c.state == text(str(WAITING)), lane.c.due > text("0"))
    .values(due=text("0")),
    "number",
)


def steer(ledger: Ledger, name: str, state: DestinationState, reason: str, since: int) -> None:
    """Set a destination's state: only a running one gives deliveries. Once it runs, nobody waits out a time any more."""
    number = ledger.destinations(name)
    ledger.destinations.write(ledger.driver, ledger.now)
    ledger.driver.many(SETTLE_DESTINATION, [(CODES[state], reason, since, number)])
    if state == DestinationState.RUNNING:
        ledger.driver.run(DUE_NOW, number)
        ledger.after.append(lambda: ledger.standing.discard(number))
    else:
        ledger.stopping.add(number)
        ledger.after.append(lambda: ledger.standing.add(number))


def steer_channel(ledger: Ledger, name: str, state: ChannelState, reason: str) -> None:
    """Note a channel's state for the next start; the engine sees to it that it is in it."""
    number = ledger.channels(name)
    ledger.channels.write(ledger.driver, ledger.now)
    ledger.driver.many(SETTLE_CHANNEL, [(CODES[state], storable(reason), ledger.now(), number)])


class _Going:
    """How the lanes of ended attempts go on."""

    def __init__(self, ledger: Ledger, ended: dict[int, Settlement]) -> None:
        self.ledger, self.ended = ledger, ended
        self.flights: dict[int, Flight | None] = {}
        self.over: list[int] = []  # lanes in which nobody stands any more
        self.open: list[int] = []  # lanes whose next head is not known yet
        self.steps: list[Row] = []  # rows of ADVANCE_LANE
        self.left: list[Row] = []  # places that were left
        self.crossers: list[tuple[int, int]] = []  # deliveries that ended and stood in several lanes, with their own one

    def closes(self, number: int) -> bool:
        settlement = self.ended[number]
        return isinstance(settlement.decision, Close) and not isinstance(settlement.outcome, Withdrawn)

    def on(self, one: int) -> None:
        flight = self.ledger.flights[one]
        ids, ended = flight.ids, self.ended
        if len(ids) == 1 and not flight.more and not flight.kept and self.closes(ids[0]) and self.ledger.begun[ids[0]].lanes == 1:
            self.flights[one] = None  # the usual end: nobody else stands here
            self.over.append(one)
            return
        first = min(ids[0], *flight.kept) if flight.kept else ids[0]
        gone = [number for number in ids if number in ended and self.closes(number)]
        remaining = [number for number in ids if number not in ended]
        kept = flight.kept | {number: self._due(number) for number in ids if number in ended and number not in gone}
        self.flights[one] = Flight(remaining, flight.more, kept) if remaining else None
        self.left.extend((one, number) for number in gone if number != first)
        self.crossers.extend((number, one) for number in gone if self.ledger.begun[number].lanes > 1)
        standing = sorted([*remaining, *kept])
        if not standing:
            (self.open if flight.more else self.over).append(one)
            return
        head = standing[0]
        if head != first:
            self.left.append((one, head))
        due = kept.get(head, 0)
        if due:
            self.ledger.late.add(one >> LANE_BITS)
        more = 1 if len(standing) > 1 or flight.more else 0
        self.steps.append((SENDING, due, head, more, remaining[-1], one) if remaining else (WAITING, due, head, more, 0, one))

    def _due(self, number: int) -> int:
        settlement = self.ended[number]
        if isinstance(settlement.outcome, Withdrawn) or not isinstance(settlement.decision, Retry):
            return 0
        return settlement.decision.at

    def write(self) -> None:
        driver = self.ledger.driver
        driver.many(LEAVE_PLACE, self.left)
        for number, own in self.crossers:
            crossed = [row[0] for row in driver.rows(CROSSED, number)]
            driver.many(LEAVE_CROSSING, [(number, one) for one in crossed])
            self.open.extend(one for one in crossed if one != own)
        heads = [head for one in self.open if (head := self._next(one)) and self.ledger.shelf.get(head) is None]
        if self.over:
            driver.run(LANES_END, driver.numbers(self.over))
        crossing_heads = driver.rows(SPANS, driver.numbers(heads)) if heads else []
        if crossing_heads:
            blocked = {row[0] for row in crossing_heads}
            self.steps = [(LANE_BLOCKED, *step[1:]) if step[2] in blocked else step for step in self.steps]
        driver.many(ADVANCE_LANE, self.steps)
        unblock(self.ledger, crossing_heads)
        if self.ledger.rejoining:
            rejoin_lanes(self.ledger)

    def _next(self, one: int) -> int:
        """The new head of a lane whose old one has ended, or 0 where nobody waits."""
        driver = self.ledger.driver
        waiting = [row[0] for row in driver.rows(FOLLOWERS, one, 2)]
        if not waiting:
            self.over.append(one)
            return 0
        head: int = waiting[0]
        driver.many(LEAVE_PLACE, [(one, head)])
        self.steps.append((WAITING, 0, head, 1 if len(waiting) > 1 else 0, 0, one))
        return head
