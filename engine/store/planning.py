"""What an action would find: read before a plan is shown, for as many messages as one plan may hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from sqlalchemy import Select, func, select

from engine.store import search
from engine.store.produced import Producing
from engine.store.queueing import read_keys
from engine.store.rows import PlannedDelivery, PlannedMessage
from engine.store.schema import content, delivery, destination, further, message, name, translation
from engine.store.words import CODES

PAGE = 500  # messages, lanes or contents of one question
SPAN = 200_000  # ids that one question walks over


class Planning(Producing):
    """The part of `History` that plans are made of."""

    def planned(self, messages: Collection[int]) -> list[PlannedMessage]:
        """These messages (at most PAGE), newest first, each with all its deliveries. What is gone is left out."""
        wanted = search.messages().where(message.c.id.in_(messages)).order_by(message.c.id.desc())
        rows = [self._message(row) for row in self._reader.select(wanted)]
        deliveries = self._planned([row.id for row in rows])
        return [PlannedMessage(row, tuple(deliveries.get(row.id, ()))) for row in rows]

    def messages_of(self, deliveries: Collection[int]) -> set[int]:
        """The messages of these deliveries (at most PAGE)."""
        d = delivery.c
        return {row[0] for row in self._reader.select(select(d.message_id).where(d.id.in_(deliveries)))}

    def states_of(self, messages: Collection[int]) -> dict[str, int]:
        """How many of these messages (at most PAGE) are in which state."""
        m = message.c
        wanted = select(m.state, func.count()).where(m.id.in_(messages)).group_by(m.state)
        return {self._text(name, state): count for state, count in self._reader.select(wanted)}

    def replayed(self, messages: Collection[int]) -> set[int]:
        """Those of these messages (at most PAGE) that were replayed before."""
        replay = message.alias()
        replays = further.join(replay, replay.c.id == further.c.id)
        wanted = select(further.c.message_id).select_from(replays).where(further.c.message_id.in_(messages)).distinct()
        return {row[0] for row in self._reader.select(wanted)}

    def with_content(self, owners: Collection[int]) -> set[int]:
        """Those of these messages and deliveries (at most PAGE) whose content is still kept."""
        owner = content.c.owner
        return {row[0] for row in self._reader.select(select(owner).where(owner.in_(owners)))}

    def newest(self, lanes: Collection[int], after: int, states: Iterable[str]) -> Iterator[dict[int, tuple[int, int]]]:
        """The newest deliveries of `lanes` with an id above `after`, in one of these states: (delivery, message) by lane.

        Comes in slices of ids, from the oldest: a later slice is newer, and the caller may stop between two.
        """
        d = delivery.c
        codes = [CODES[state] for state in states]
        first, last = self._reader.select(select(func.min(d.id), func.max(d.id)).where(d.id > after))[0]
        for at in range((first or 0) - 1, last or -1, SPAN):
            wanted: Select[tuple[int, int]] = (
                select(d.lane, func.max(d.id)).where(d.id > at, d.id <= at + SPAN, d.state.in_(codes)).group_by(d.lane)
            )
            if len(lanes) <= PAGE:
                wanted = wanted.where(d.lane.in_(lanes))
            found = {number: lane for lane, number in self._reader.select(wanted) if lane in lanes}
            messages = {}
            for numbers in slices(sorted(found)):
                rows = self._reader.select(select(d.id, d.message_id).where(d.id.in_(numbers)))
                messages.update({row[0]: row[1] for row in rows})
            yield {lane: (number, messages[number]) for number, lane in found.items() if number in messages}

    def _planned(self, messages: Collection[int]) -> dict[int, list[PlannedDelivery]]:
        d, t = delivery.c, translation.c
        columns = d.message_id, d.id, d.destination, d.state, d.order_keys, d.lanes, d.lane, d.resend_of, d.content
        own = select(*columns).join(translation, d.id.between(t.first_delivery, t.first_delivery + t.deliveries - 1))
        others = select(*columns).join(further, further.c.id == d.id)
        found: dict[int, list[PlannedDelivery]] = {}
        rows = [
            *self._reader.select(own.where(t.message_id.in_(messages))),
            *self._reader.select(others.where(further.c.message_id.in_(messages))),
        ]
        for message_id, number, to, state, order_keys, lanes, lane, resend_of, owner in sorted(rows, key=lambda row: row[1]):
            order_key = read_keys(order_keys, lanes)[0]
            planned = PlannedDelivery(
                number, self._text(destination, to), self._text(name, state), order_key, lane, resend_of or 0, owner
            )
            found.setdefault(message_id, []).append(planned)
        return found


def slices(numbers: Collection[int], size: int = PAGE) -> Iterator[list[int]]:
    """As many at a time as one question may ask for."""
    each = list(numbers)
    for at in range(0, len(each), size):
        yield each[at : at + size]
