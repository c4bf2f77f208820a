"""A search, as one statement: newest first, paged by id.

Control ids and business keys come from their runs and from what is not in a run yet, so the answer is exact at once. What
is rare (parked, rejected, waiting, …) comes from where it is kept together; the other filters are tested while walking back
from the newest message. An instant becomes an id through the map in `run`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, and_, case, func, select, union, union_all

from engine.store.filters import Conditions, Number, Words, keyed, sending, several
from engine.store.inbox import after_parts
from engine.store.schema import delivery, further, lane, message, place, run, translation
from engine.store.texts import storable
from engine.store.words import SENDING, WAITING

LONG: Final = 16  # keys that are looked up in every run at once; of more, stretch by stretch
KEPT_TOGETHER: Final = ("parked", "rejected", "duplicate", "received")
FEW: Final = 10_000  # waiting deliveries that are gathered at once; where there are more, one is found soon on the way back


@dataclass(frozen=True, slots=True)
class Query:
    """Filters that must all hold; those that are empty do not narrow. Instants are microseconds since 1970, both inclusive."""

    message_id: int | tuple[int, ...] = 0
    channel: Words = ""
    state: Words = ""
    kind: Words = ""  # `ADT` stands for every `ADT^…`
    control_id: Words = ""
    keys: tuple[tuple[str, Words], ...] = ()  # business keys: (name, value)
    destination: Words = ""
    delivery_state: Words = ""
    error: tuple[Words, ...] = ()  # texts that must occur in a reason, in either case; of each of these, any
    flags: tuple[Words, ...] = ()  # of each of these, any
    since: int = 0
    until: int = 0
    without: tuple[Query, ...] = ()  # what any of these finds is left out
    visible: tuple[str, ...] | None = None  # channels that the asker may see; None: all

    @property
    def gathered(self) -> bool:
        """What it finds is gathered from an index, whole: there is no walking back."""
        return bool(self.message_id or self.control_id or self.keys) or self.delivery_state == "sending"

    @property
    def together(self) -> bool:
        """What it finds is kept together: walking back over much of the store is little work."""
        states = several(self.delivery_state)
        return self.state in KEPT_TOGETHER or (bool(states) and "delivered" not in states)

    def list_of_keys(self) -> Query:
        """Where nothing but a long list of keys leads to what it finds: a query of that list alone. Else an empty one."""
        terms = [Query(control_id=self.control_id)] if self.control_id else []
        terms += [Query(keys=(each,)) for each in self.keys]
        if self.message_id or len(terms) != 1:
            return Query()
        values = several(terms[0].control_id) or several(terms[0].keys[0][1])
        return terms[0] if len(values) > LONG else Query()


@dataclass(frozen=True, slots=True)
class Names:
    """How a search turns its words into numbers, and how it is to be said."""

    name: Number
    channel: Number
    destination: Number
    dialect: str
    few_wait: bool = False  # no more than FEW deliveries wait


@dataclass(frozen=True, slots=True)
class Bounds:
    """Ids between which everything lies that is looked for, both inclusive; 0: none."""

    lowest: int = 0
    highest: int = 0


def lowest_id(since: int) -> Select[Any]:
    """The first message of the oldest run that reaches `since`; none where only what is in no run yet can match."""
    return select(func.min(run.c.first_message)).where(run.c.last_received >= since, run.c.first_message > 0)


def highest_id(until: int) -> Select[Any]:
    """The last message of the newest run that begins by `until`."""
    return select(func.max(run.c.last_message)).where(run.c.first_received <= until, run.c.first_message > 0)


def stretch_below(before: int, runs: int) -> Select[Any]:
    """(first message, received at, run) of the stretch that begins so many runs below `before`; none where fewer are left."""
    r = run.c
    older = select(r.first_message, r.first_received, r.id).where(r.first_message > 0)
    if before:
        older = older.where(r.first_message < before)
    return older.order_by(r.id.desc()).limit(1).offset(runs - 1)


def stretch_above(after: int, runs: int) -> Select[Any]:
    """(last message, received at, run) of the stretch that ends so many runs above `after`."""
    r = run.c
    newer = select(r.last_message, r.last_received, r.id).where(r.first_message > 0, r.last_message > after)
    return newer.order_by(r.id).limit(1).offset(runs - 1)


def early_unkeyed(after: int, until: int) -> Select[Any]:
    """Whether a message that is in no run yet was received by `until`."""
    return select(message.c.id).where(message.c.id > after, message.c.received_at <= until).limit(1)


def many_wait() -> Select[Any]:
    """Rows beyond the first FEW of what waits; none where there are no more."""
    places = select(place.c.lane).limit(1).offset(FEW)
    lanes = select(lane.c.id).limit(1).offset(FEW)
    return union_all(places.subquery().select(), lanes.subquery().select())  # type: ignore[return-value]


COLUMNS = (
    *(message.c.id, message.c.channel, message.c.state, message.c.reason, message.c.park_reason),
    *(message.c.received_at, message.c.peer, message.c.kind, message.c.control_id, message.c.sender, message.c.version),
    *(message.c.processing_id, message.c.size, message.c.original, message.c.replay_of, message.c.part_of),
    *(translation.c.reason.label("translation_reason"), translation.c.deliveries),
)


def messages(lowest: int = 0, before: int = 0) -> Select[Any]:
    """All of them. Of those from `lowest` on and `before` an id the translations are said to lie there too: PostgreSQL does
    not conclude it."""
    within = [translation.c.message_id >= lowest] if lowest else []
    within += [translation.c.message_id < before] if before else []
    return select(*COLUMNS).select_from(message.outerjoin(translation, and_(translation.c.message_id == message.c.id, *within)))


def parts(batch: int) -> Select[Any]:
    """The messages that were taken with a batch, in order."""
    return messages().where(message.c.id > batch, message.c.id < after_parts(batch, batch)).order_by(message.c.id)


def deliveries_of(numbers: Collection[int]) -> list[Select[Any]]:
    """(message, delivery, destination, state, in doubt, reason) of what these messages sent."""
    d, t = delivery.c, translation.c
    state = case((and_(d.state == WAITING, sending()), SENDING), else_=d.state)
    columns = d.id, d.destination, state, d.in_doubt, d.reason
    with_lanes = delivery.outerjoin(lane, lane.c.id == d.lane)
    own = translation.join(with_lanes, d.id.between(t.first_delivery, t.first_delivery + t.deliveries - 1))
    others = further.join(with_lanes, d.id == further.c.id)
    return [
        select(t.message_id, *columns).select_from(own).where(t.message_id.in_(numbers)),
        select(further.c.message_id, *columns).select_from(others).where(further.c.message_id.in_(numbers)),
    ]


def recent_kinds(newest: int) -> Select[Any]:
    recent = select(message.c.kind).where(message.c.kind != "").order_by(message.c.id.desc()).limit(newest).subquery()
    return select(recent.c.kind).group_by(recent.c.kind).order_by(func.count().desc(), recent.c.kind)


def find(query: Query, names: Names, bounds: Bounds, limit: int, before: int, after: int = 0) -> Select[Any]:
    """The newest that match; with `after`, the oldest of those that are newer, oldest first."""
    m = message.c
    within = (max(bounds.lowest, after), before) if names.dialect == "postgresql" else (0, 0)
    wanted = messages(*within).order_by(m.id if after else m.id.desc()).limit(limit)
    if before:
        wanted = wanted.where(m.id < before)
    if after:
        wanted = wanted.where(m.id > after)
    if bounds.lowest:
        wanted = wanted.where(m.id >= bounds.lowest)
    if bounds.highest:
        wanted = wanted.where(m.id <= bounds.highest)
    for condition in Conditions(names, max(bounds.lowest, after)).of(query):
        wanted = wanted.where(condition)
    return wanted


def listed(query: Query, names: Names, first: int, below: int) -> Select[Any]:
    """Ids from a `list_of_keys`, by the runs from `first` on and `below` another, which the statement before this one began
    with; 0: none. A message's keys are in the run of its own stretch or in a later one."""
    conditions = Conditions(names, 0)
    runs = first, below
    if query.control_id:
        found = conditions.with_control_id([storable(each) for each in several(query.control_id)], runs, not below)
    else:
        ((name, values),) = query.keys
        found = conditions.with_key(name, several(values), runs, not below)
    return union(*found)  # type: ignore[return-value]


__all__ = [
    "COLUMNS",
    "Bounds",
    "Names",
    "Query",
    "Words",
    "deliveries_of",
    "early_unkeyed",
    "find",
    "highest_id",
    "keyed",
    "listed",
    "lowest_id",
    "many_wait",
    "messages",
    "parts",
    "recent_kinds",
    "sending",
    "several",
    "stretch_above",
    "stretch_below",
]
