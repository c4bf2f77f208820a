"""A search, as one statement: newest first, paged by id.

Control ids and business keys come from their runs and from what is not in a run yet, so the answer is exact at once. The
other filters are tested while walking back from the newest message; an instant becomes an id through the map in `run`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, exists, func, literal_column, or_, select, text, union

from engine.store.inbox import after_parts
from engine.store.schema import (
    UNUSUAL_MESSAGE,
    business_key,
    delivery,
    further,
    lane,
    message,
    meta,
    run,
    translation,
    undelivered,
)
from engine.store.texts import INDEXED, indexed, storable
from engine.store.words import CODES, CONTROL, DUPLICATE, PARKED, REJECTED, SENDING, WAITING

_FRESH_SQLITE = "SELECT f.message_id FROM fresh_key f, json_each(f.keys) j WHERE j.value = :key"
_FRESH_POSTGRES = "SELECT f.message_id FROM fresh_key f, jsonb_array_elements_text(CAST(f.keys AS jsonb)) j WHERE j.value = :key"

Number = Callable[[str], int]
"""The number of a name; -1 for one the store has never seen."""


@dataclass(frozen=True, slots=True)
class Query:
    """Exact filters; those that are empty do not narrow. Instants are microseconds since 1970, both inclusive."""

    message_id: int = 0
    channel: str = ""
    state: str = ""
    kind: str = ""
    control_id: str = ""
    keys: tuple[tuple[str, str], ...] = ()  # business keys: (name, value)
    destination: str = ""
    delivery_state: str = ""
    since: int = 0
    until: int = 0


@dataclass(frozen=True, slots=True)
class Names:
    """How a search turns its words into numbers."""

    name: Number
    channel: Number
    destination: Number
    dialect: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """Ids between which everything lies that a search's instants allow."""

    lowest: int = 0
    highest: int = 0  # 0: none


def lowest_id(since: int) -> Select[Any]:
    """The first message of the oldest run that reaches `since`; none where only what is in no run yet can match."""
    return select(func.min(run.c.first_message)).where(run.c.last_received >= since, run.c.first_message > 0)


def highest_id(until: int) -> Select[Any]:
    """The last message of the newest run that begins by `until`."""
    return select(func.max(run.c.last_message)).where(run.c.first_received <= until, run.c.first_message > 0)


def keyed() -> Select[Any]:
    return select(meta.c.keyed)


def early_unkeyed(after: int, until: int) -> Select[Any]:
    """Whether a message that is in no run yet was received by `until`."""
    return select(message.c.id).where(message.c.id > after, message.c.received_at <= until).limit(1)


COLUMNS = (
    *(message.c.id, message.c.channel, message.c.state, message.c.reason, message.c.park_reason),
    *(message.c.received_at, message.c.peer, message.c.kind, message.c.control_id, message.c.sender, message.c.version),
    *(message.c.processing_id, message.c.size, message.c.original, message.c.replay_of, message.c.part_of),
    *(translation.c.reason.label("translation_reason"), translation.c.deliveries),
)


def messages() -> Select[Any]:
    return select(*COLUMNS).select_from(message.outerjoin(translation, translation.c.message_id == message.c.id))


def parts(batch: int) -> Select[Any]:
    """The messages that were taken with a batch, in order."""
    return messages().where(message.c.id > batch, message.c.id < after_parts(batch, batch)).order_by(message.c.id)


def find(query: Query, names: Names, bounds: Bounds, limit: int, before: int) -> Select[Any]:
    m = message.c
    wanted = messages().order_by(m.id.desc()).limit(limit)
    if query.message_id:
        wanted = wanted.where(m.id == query.message_id)
    if before:
        wanted = wanted.where(m.id < before)
    if bounds.lowest:
        wanted = wanted.where(m.id >= bounds.lowest)
    if bounds.highest:
        wanted = wanted.where(m.id <= bounds.highest)
    if query.channel:
        wanted = wanted.where(m.channel == names.channel(query.channel))
    if query.state:
        wanted = wanted.where(*_state(CODES.get(query.state, -1)))
    if query.kind:
        wanted = wanted.where(m.kind == query.kind)
    if query.since:
        wanted = wanted.where(m.received_at >= query.since)
    if query.until:
        wanted = wanted.where(m.received_at <= query.until)
    if query.control_id:
        control_id = storable(query.control_id)
        wanted = wanted.where(m.id.in_(_control_id(control_id)))
        if len(control_id) >= INDEXED:  # the index has no more than its beginning
            wanted = wanted.where(m.control_id == control_id)
    for name, value in query.keys:
        wanted = wanted.where(m.id.in_(_business_key(names, name, value)))
    if query.destination or query.delivery_state:
        wanted = wanted.where(_deliveries(query, names))
    return wanted


def _state(code: int) -> list[ColumnElement[bool]]:
    """As literals: a partial index serves only those who name its condition."""
    conditions: list[ColumnElement[bool]] = [message.c.state == literal_column(str(code))]
    if code in (PARKED, REJECTED, DUPLICATE):
        conditions.append(text(f"message.{UNUSUAL_MESSAGE}"))  # type: ignore[arg-type]
    return conditions


def _in_runs(key: str) -> Select[Any]:
    k = business_key.c
    return select(k.message_id).where(k.run.in_(select(run.c.id)), k.key == key)


def _control_id(value: str) -> Any:
    unkeyed = select(message.c.id).where(message.c.id > keyed().scalar_subquery(), message.c.control_id == value)
    return union(_in_runs(f"{CONTROL}:{value[:INDEXED]}"), unkeyed.correlate(None)).subquery().select()


def _business_key(names: Names, name: str, value: str) -> Any:
    key = f"{names.name(name)}:{indexed(storable(value))}"
    fresh = text(_FRESH_POSTGRES if names.dialect == "postgresql" else _FRESH_SQLITE)
    fresh = fresh.bindparams(bindparam("key", key, unique=True))
    return union(_in_runs(key), fresh.columns(message_id=BigInteger)).subquery().select()


def sending() -> ColumnElement[bool]:
    """Whether a waiting delivery (joined with its lane) is under way."""
    return (lane.c.state == SENDING) & delivery.c.id.between(lane.c.head, lane.c.begun)


def _deliveries(query: Query, names: Names) -> ColumnElement[bool]:
    """Messages with a delivery like this. Those that ended badly are few and have an index; others are looked up message
    by message, on the way back from the newest."""
    d = delivery.c
    conditions: list[ColumnElement[bool]] = []
    if query.destination:
        conditions.append(d.destination == names.destination(query.destination))
    code = CODES.get(query.delivery_state, -1)
    if query.delivery_state in ("parked", "cancelled", "expired"):
        ended = delivery.join(undelivered, undelivered.c.delivery == d.id)
        return message.c.id.in_(select(d.message_id).select_from(ended).where(undelivered.c.state == code, *conditions))
    if query.delivery_state == "sending":
        under_way = select(d.message_id).join(lane, (lane.c.id == d.lane) & sending())
        return message.c.id.in_(under_way.where(d.state == WAITING, *conditions))
    if query.delivery_state:
        conditions.append(d.state == code)
    own = d.id.between(translation.c.first_delivery, translation.c.first_delivery + translation.c.deliveries - 1)
    others = further.join(delivery, d.id == further.c.id)
    return or_(
        exists(select(d.id).where(own, *conditions).correlate(translation)),
        exists(select(d.id).select_from(others).where(further.c.message_id == message.c.id, *conditions).correlate(message)),
    )
