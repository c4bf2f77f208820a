"""How much waits, and what came and went: what a dashboard asks again and again.

What each question costs grows with what waits, never with what the store holds. With a million deliveries that wait,
`queues` takes 0.05 s where ten lanes hold them, 0.2 s where two hundred thousand do and 0.7 s where each has a lane of its
own; `backlog` takes 0.1 s and `parked` 0.5 s for a million of what they count. Who asks regularly asks less often when
answers take longer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Select, and_, cast, exists, func, literal_column, select, text

from engine.model import SECOND
from engine.store.asking import Asking
from engine.store.queueing import LANE_BITS
from engine.store.schema import (
    UNUSUAL_MESSAGE,
    channel,
    crossing,
    delivery,
    destination,
    lane,
    message,
    name,
    place,
    tally,
    undelivered,
    unknown_code,
    waits_for,
)
from engine.store.tally import bucket
from engine.store.words import LANE_BLOCKED, PARKED, RECEIVED

_GATES: Final = 1 << LANE_BITS  # lanes below are gates, from which nothing is ever delivered
_MOST_HEADS: Final = 500  # in one statement


class Queue(NamedTuple):
    """What waits for a destination. What is under way still waits."""

    waiting: int
    lanes: int
    blocked: int  # lanes whose head waits for its turn in another one
    oldest: dict[str, int]  # by channel: when its oldest waiting delivery was recorded


class Backlog(NamedTuple):
    """What a channel has received and not yet translated."""

    messages: int
    oldest: int  # when it was received; 0: none


class Held(NamedTuple):
    """What waits for people."""

    messages: dict[str, int]  # parked, by channel
    deliveries: dict[str, int]  # parked, by destination
    codes: int  # that no table has, and messages wait for


class Stands(NamedTuple):
    """How a channel or a destination stands by the store: for the next start, where no engine runs."""

    state: str
    reason: str
    since: int


class Tallied(NamedTuple):
    at: int  # the beginning of its bucket
    name: str
    what: str
    amount: int  # times, or microseconds


class Figures(Asking):
    """The part of `History` that a dashboard asks."""

    def queues(self) -> dict[str, Queue]:
        """By destination; one for which nothing waits is left out."""
        lanes: defaultdict[int, int] = defaultdict(int)
        blocked: defaultdict[int, int] = defaultdict(int)
        heads: dict[tuple[int, int], int] = {}
        for to, source, state, count, head in self._reader.select(self.figure("lanes")):
            lanes[to] += count
            blocked[to] += count if state == LANE_BLOCKED else 0
            heads[to, source] = min(head, heads.get((to, source), head))
        behind = dict(self._pairs("places")) if lanes else {}
        twice = dict(self._pairs("crossings")) if lanes else {}
        recorded = self._recorded(heads.values())
        oldest: defaultdict[int, dict[str, int]] = defaultdict(dict)
        for (to, source), head in heads.items():
            oldest[to][self._text(channel, source)] = recorded.get(head, 0)
        return {
            self._text(destination, to): Queue(
                max(count + behind.get(to, 0) - twice.get(to, 0), 1), count, blocked[to], oldest[to]
            )  # each of the three was true at its own moment
            for to, count in lanes.items()
        }

    def backlog(self) -> dict[str, Backlog]:
        """By channel; one without any is left out."""
        rows = [row for row in self._reader.select(self.figure("backlog")) if row[1]]
        received = self._received(row[2] for row in rows)
        return {title: Backlog(count, received.get(first, 0)) for title, count, first in rows}

    def parked(self) -> Held:
        messages = {self._text(channel, one): count for one, count in self._pairs("parked messages")}
        deliveries = {self._text(destination, one): count for one, count in self._pairs("parked deliveries")}
        return Held(messages, deliveries, self._reader.select(self.figure("codes"))[0][0])

    def standings(self) -> tuple[dict[str, Stands], dict[str, Stands]]:
        """Of channels and of destinations, by name."""
        both = []
        for table in (channel, destination):
            rows = self._reader.select(select(table.c.name, table.c.state, table.c.reason, table.c.since))
            both.append({title: Stands(self._text(name, state), reason, since) for title, state, reason, since in rows})
        return both[0], both[1]

    def tallies(self, noun: str, owner: str, width: int, since: int, until: int) -> list[Tallied]:
        """What was counted of one channel or destination (`noun`) in the buckets of `width` seconds that begin within
        `since` and `until`, oldest first; '' for `owner`: of each of them all together, which walks over all their rows."""
        rows = self._reader.select(self.tally_statement(noun, owner, width, since, until))
        return [Tallied(at, owner, self._text(name, what), int(count)) for at, what, count in rows]

    # ── statements, for the tests that look at their plans ─────────────────────────────────────────────────────────

    def figure(self, which: str) -> Select[Any]:
        return _FIGURES[which]

    def tally_statement(self, noun: str, owner: str, width: int, since: int, until: int) -> Select[Any]:
        t = tally.c
        noun_number, step = self._number_in(name)(noun), width * SECOND
        first = bucket(since + step - 1, width)
        if not owner:
            asked = t.width == width, t.at.between(first, until), t.noun == noun_number
            return select(t.at, t.what, func.sum(t["count"])).where(*asked).group_by(t.at, t.what).order_by(t.at, t.what)
        number = self._number_in(channel if noun == "channel" else destination)(owner)
        buckets = t.at.in_(range(first, until + 1, step))  # each of them is found by itself: none of the others' rows is read
        return (
            select(t.at, t.what, t["count"])
            .where(t.width == width, buckets, t.noun == noun_number, t.owner == number)
            .order_by(t.at, t.what)
        )

    # ── pieces ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _pairs(self, which: str) -> list[tuple[int, int]]:
        return [(one, count) for one, count in self._reader.select(self.figure(which)) if count]

    def _recorded(self, numbers: Iterable[int]) -> dict[int, int]:
        return self._instants(delivery.c.id, delivery.c.created_at, sorted(set(numbers)))

    def _received(self, numbers: Iterable[int]) -> dict[int, int]:
        return self._instants(message.c.id, message.c.received_at, sorted(set(numbers)))

    def _instants(self, key: Any, instant: Any, numbers: Sequence[int]) -> dict[int, int]:
        found: dict[int, int] = {}
        for at in range(0, len(numbers), _MOST_HEADS):
            rows = self._reader.select(select(key, instant).where(key.in_(numbers[at : at + _MOST_HEADS])))
            found.update((row[0], row[1]) for row in rows)
        return found


def _within(column: Any, number: Any) -> Any:
    """Lanes carry their destination in their upper bits: all of one destination's stand together."""
    first = cast(number, BigInteger) * _GATES
    return column.between(first, first + (_GATES - 1))


def _each(table: Any, count: Any) -> Select[Any]:
    return select(table.c.id, count.scalar_subquery())


_l, _m, _other = lane.c, message.c, crossing.alias("other").c
# As literals, since a partial index serves only those who name its condition.
_RECEIVED: Any = _m.state == literal_column(str(RECEIVED))
_PARKED: Any = and_(_m.state == literal_column(str(PARKED)), text(f"message.{UNUSUAL_MESSAGE}"))
_FIGURES: Final[dict[str, Select[Any]]] = {
    "lanes": select(_l.destination, _l.channel, _l.state, func.count(), func.min(_l.head))
    .where(_l.id >= _GATES)
    .group_by(_l.destination, _l.channel, _l.state),
    "places": _each(destination, select(func.count()).where(_within(place.c.lane, destination.c.id))),
    # One that stands in several lanes of its destination stands in each of them, and is still only one.
    "crossings": select(delivery.c.destination, func.count())
    .select_from(crossing.join(delivery, delivery.c.id == crossing.c.delivery))
    .where(
        crossing.c.lane >= _GATES,
        exists().where(and_(_other.delivery == crossing.c.delivery, _other.lane < crossing.c.lane, _other.lane >= _GATES)),
    )
    .group_by(delivery.c.destination),
    "backlog": select(
        channel.c.name,
        select(func.count()).where(_m.channel == channel.c.id, _RECEIVED).scalar_subquery(),
        select(func.min(_m.id)).where(_m.channel == channel.c.id, _RECEIVED).scalar_subquery(),
    ),
    "parked messages": select(_m.channel, func.count()).where(_PARKED).group_by(_m.channel),
    "parked deliveries": select(delivery.c.destination, func.count())
    .select_from(undelivered.join(delivery, delivery.c.id == undelivered.c.delivery))
    .where(undelivered.c.state == PARKED)
    .group_by(delivery.c.destination),
    "codes": select(func.count()).select_from(unknown_code).where(exists().where(waits_for.c.code == unknown_code.c.id)),
}
