"""The filters of a search, as conditions on `message` and its `translation`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import (
    ARRAY,
    BigInteger,
    BindParameter,
    ColumnElement,
    Select,
    Text,
    and_,
    any_,
    bindparam,
    exists,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
    text,
    union,
    union_all,
)

from engine.store.schema import (
    UNUSUAL_MESSAGE,
    attempt,
    business_key,
    delivery,
    further,
    lane,
    message,
    meta,
    place,
    rejoin,
    run,
    translation,
    undelivered,
)
from engine.store.texts import INDEXED, indexed, storable
from engine.store.words import CANCELLED, CODES, CONTROL, DUPLICATE, EXPIRED, PARKED, RECEIVED, REJECTED, SENDING, WAITING

if TYPE_CHECKING:
    from engine.store.search import Names, Query

SCATTERED: Final = 128  # keys for which looking each of them up is quicker than reading all keys of a run

_FRESH_SQLITE = "SELECT f.message_id FROM fresh_key f, json_each(f.keys) j WHERE j.value IN (SELECT value FROM json_each(:keys))"
_FRESH_POSTGRES = (
    "SELECT f.message_id FROM fresh_key f, jsonb_array_elements_text(CAST(f.keys AS jsonb)) j "
    "WHERE j.value = ANY(CAST(:keys AS TEXT[]))"
)
_SCATTERED = (  # PostgreSQL would rather read whole runs; it takes this to find far more than it does, so it stands alone
    "SELECT found.message_id FROM run r CROSS JOIN unnest(CAST(:keys AS TEXT[])) AS wanted(key) CROSS JOIN LATERAL "
    "(SELECT k.message_id FROM business_key k WHERE k.run = r.id AND k.key = wanted.key OFFSET 0) AS found "
    "WHERE r.id >= :first AND r.id < :below"
)
_END: Final = 1 << 31  # of the runs
ALL: Final = (0, 0)
_ENDED: Final = (PARKED, CANCELLED, EXPIRED)  # deliveries that are in `undelivered`

Number = Callable[[str], int]
"""The number of a name; -1 for one the store has never seen."""

Words = str | tuple[str, ...]
"""A value, or several of which any will do. Empty: no filter."""

Runs = tuple[int, int]
"""Runs from the first on and below the second, 0: to the end."""


def several(words: Any) -> tuple[Any, ...]:
    """`Words` as a tuple."""
    return words if isinstance(words, tuple) else (words,) if words else ()


def keyed() -> Select[Any]:
    return select(meta.c.keyed)


class Conditions:
    """A query's filters. `floor`: no message with a smaller id is looked for, and so no delivery either."""

    def __init__(self, names: Names, floor: int) -> None:
        self.names, self.floor = names, floor

    def of(self, query: Query) -> list[ColumnElement[bool]]:
        m, names = message.c, self.names
        found: list[ColumnElement[bool]] = []
        if query.visible is not None:
            found.append(self._among(m.channel, [names.channel(each) for each in query.visible]))
        if query.message_id:
            found.append(self._among(m.id, several(query.message_id)))
        if query.channel:
            found.append(self._among(m.channel, [names.channel(each) for each in several(query.channel)]))
        if query.state:
            found.append(or_(*(_state(CODES.get(each, -1)) for each in several(query.state))))
        if query.kind:
            found.append(or_(*(_kind(each) for each in several(query.kind))))
        if query.since:
            found.append(m.received_at >= query.since)
        if query.until:
            found.append(m.received_at <= query.until)
        if query.control_id:
            found += self._control_ids([storable(each) for each in several(query.control_id)])
        for name, values in query.keys:
            found.append(m.id.in_(union(*self.with_key(name, several(values), ALL)).subquery().select()))
        if query.destination or query.delivery_state:
            found.append(self._deliveries(several(query.destination), several(query.delivery_state)))
        found += [self._reasons(several(each)) for each in query.error]
        found += [or_(*(self._flag(flag) for flag in several(each))) for each in query.flags]
        found += [not_(func.coalesce(and_(*self.of(each)), false())) for each in query.without]
        return found

    def _among(self, column: ColumnElement[Any], values: Iterable[Any]) -> ColumnElement[bool]:
        """One statement text for a list of any length."""
        listed = list(values)
        if len(listed) == 1:
            one: ColumnElement[bool] = column == listed[0]
            return one
        kind = Text() if isinstance(column.type, Text) else BigInteger()
        one_of: ColumnElement[bool]
        if self.names.dialect == "postgresql":
            one_of = column == any_(bindparam(None, listed, type_=ARRAY(kind)))
        else:
            one_each = text("SELECT value FROM json_each(:listed)").bindparams(*_bound(listed=_json(listed)))
            one_of = column.in_(one_each.columns(value=kind))
        return one_of

    # ── what indexes know ──────────────────────────────────────────────────────────────────────────────────────────

    def _control_ids(self, values: list[str]) -> list[ColumnElement[bool]]:
        m = message.c
        found: list[ColumnElement[bool]] = [m.id.in_(union(*self.with_control_id(values, ALL)).subquery().select())]
        if max(map(len, values)) >= INDEXED:  # the index has no more than its beginning
            found.append(self._among(m.control_id, values))
        return found

    def with_control_id(self, values: list[str], runs: Runs, unkeyed: bool = True) -> list[Any]:
        """Messages with one of these, from some runs and from those that are in none."""
        m = message.c
        newest = select(m.id).where(m.id > keyed().scalar_subquery(), self._among(m.control_id, values))
        found = self._in_runs([f"{CONTROL}:{value[:INDEXED]}" for value in values], runs)
        return [found, newest.correlate(None)] if unkeyed else [found]

    def with_key(self, name: str, values: tuple[str, ...], runs: Runs, unkeyed: bool = True) -> list[Any]:
        keys = [f"{self.names.name(name)}:{indexed(storable(value))}" for value in values]
        postgres = self.names.dialect == "postgresql"
        fresh = text(_FRESH_POSTGRES if postgres else _FRESH_SQLITE)
        fresh = fresh.bindparams(*_bound(keys=keys if postgres else _json(keys)))
        found = self._in_runs(keys, runs)
        return [found, fresh.columns(message_id=BigInteger)] if unkeyed else [found]

    def _in_runs(self, keys: list[str], runs: Runs) -> Any:
        k, r = business_key.c, run.c
        first, below = runs[0], runs[1] or _END
        if self.names.dialect == "postgresql" and runs != ALL and len(keys) <= SCATTERED:
            looked_up = text(_SCATTERED).bindparams(*_bound(keys=keys, first=first, below=below))
            return looked_up.columns(message_id=BigInteger).subquery().select()
        those = select(r.id).where(r.id.between(first, below - 1)) if first or below < _END else select(r.id)
        return select(k.message_id).where(k.run.in_(those), self._among(k.key, keys))

    # ── what deliveries know ───────────────────────────────────────────────────────────────────────────────────────

    def _deliveries(self, destinations: tuple[str, ...], states: tuple[str, ...]) -> ColumnElement[bool]:
        """Messages with a delivery to one of these and in one of these states. Those that ended badly have an index, those
        that wait their lanes; others are looked up message by message, on the way back from the newest."""
        d, m = delivery.c, message.c
        to = [self._among(d.destination, [self.names.destination(each) for each in destinations])] if destinations else []
        codes = {CODES.get(each, -1) for each in states}
        if not codes:
            return self._exists(*to)
        found: list[ColumnElement[bool]] = []
        if ended := codes.intersection(_ENDED):
            known = delivery.join(undelivered, undelivered.c.delivery == d.id)
            in_states = or_(*(undelivered.c.state == code for code in sorted(ended)))
            found.append(
                m.id.in_(select(d.message_id).select_from(known).where(in_states, undelivered.c.delivery > self.floor, *to))
            )
        if SENDING in codes:
            under_way = select(d.message_id).join(lane, (lane.c.id == d.lane) & sending())
            found.append(m.id.in_(under_way.where(d.state == WAITING, *to)))
        if WAITING in codes and self.names.few_wait:
            standing = union_all(
                select(lane.c.head.label("number")), select(place.c.delivery), select(rejoin.c.delivery)
            ).subquery()
            waiting = select(d.message_id).select_from(standing).join(delivery, d.id == standing.c.number)
            found.append(m.id.in_(waiting.where(d.state == WAITING, standing.c.number > self.floor, *to)))
            codes.discard(WAITING)
        if rest := codes - {*_ENDED, SENDING}:
            found.append(self._exists(self._among(d.state, sorted(rest)), *to))
        return or_(*found)

    def _exists(self, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
        d = delivery.c
        own = d.id.between(translation.c.first_delivery, translation.c.first_delivery + translation.c.deliveries - 1)
        others = further.join(delivery, d.id == further.c.id)
        return or_(
            exists(select(d.id).where(own, *conditions).correlate(translation)),
            exists(select(d.id).select_from(others).where(further.c.message_id == message.c.id, *conditions).correlate(message)),
        )

    # ── why, and what else ─────────────────────────────────────────────────────────────────────────────────────────

    def _reasons(self, texts: tuple[str, ...]) -> ColumnElement[bool]:
        """Why a message, a delivery or an attempt is as it is. The last attempt's is its delivery's."""
        d, a = delivery.c, attempt.c
        earlier = select(a.delivery).where(a.delivery == d.id, self._says(a.reason, texts)).correlate(delivery)
        return or_(
            self._says(message.c.reason, texts),
            self._says(translation.c.reason, texts),
            self._exists(or_(self._says(d.reason, texts), and_(d.attempts > 1, exists(earlier)))),
        )

    def _says(self, column: ColumnElement[Any], texts: tuple[str, ...]) -> ColumnElement[bool]:
        like = column.ilike if self.names.dialect == "postgresql" else column.like  # SQLite's does not tell A from a
        return or_(*(like(f"%{_escaped(storable(each))}%", escape="\\") for each in texts))

    def _flag(self, flag: str) -> ColumnElement[bool]:
        m, f, d = message.c, further.c, delivery.c
        if flag == "duplicate":
            return _state(DUPLICATE)
        if flag == "in-doubt":
            doubtful = select(attempt.c.delivery).where(attempt.c.delivery == d.id, attempt.c.in_doubt == literal_column("1"))
            return self._exists(d.in_doubt == literal_column("1"), exists(doubtful.correlate(delivery)))
        if flag == "replay":
            return and_(m.id.in_(select(f.id)), m.replay_of.is_not(None))
        if flag == "replayed":
            other = message.alias("replay")
            return m.id.in_(select(f.message_id).select_from(further.join(other, other.c.id == f.id)))
        if flag == "resent":
            again = further.join(delivery, d.id == f.id)
            return m.id.in_(select(f.message_id).select_from(again).where(d.resend_of.is_not(None)))
        assert flag == "batch", flag
        part, later = message.alias("part"), message.alias("later")  # its parts stand right behind it
        following = select(func.min(later.c.id)).where(later.c.id > m.id).correlate(message).scalar_subquery()
        return exists(select(part.c.id).where(part.c.id == following, part.c.part_of == m.id).correlate(message))


def sending() -> ColumnElement[bool]:
    """Whether a waiting delivery (joined with its lane) is under way."""
    return (lane.c.state == SENDING) & delivery.c.id.between(lane.c.head, lane.c.begun)


def _state(code: int) -> ColumnElement[bool]:
    """As literals: a partial index serves only those who name its condition."""
    condition: ColumnElement[bool] = message.c.state == literal_column(str(code))
    if code in (PARKED, REJECTED, DUPLICATE):
        return and_(condition, text(f"message.{UNUSUAL_MESSAGE}"))
    if code == RECEIVED:  # few, as a rule, and together in their index
        other = message.alias("waiting")
        return message.c.id.in_(select(other.c.id).where(other.c.state == literal_column(str(code))))
    return condition


def _kind(value: str) -> ColumnElement[bool]:
    kind = message.c.kind
    if "^" in value:
        return kind == value
    return or_(kind == value, func.substr(kind, 1, len(value) + 1) == f"{value}^")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _bound(**values: Any) -> list[BindParameter[Any]]:
    return [bindparam(name, value, unique=True) for name, value in values.items()]


def _json(values: list[Any]) -> str:
    return orjson.dumps(values).decode()
