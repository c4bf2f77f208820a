"""What waits for people, and what they did: refused frames, unknown codes, what is parked or in doubt, actions."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Select, Text, func, literal_column, select, text

from engine.store.planning import Planning
from engine.store.rows import ActionRow, DoubtRow, ParkedRow, RefusedRow, UnknownRow
from engine.store.schema import (
    UNUSUAL_MESSAGE,
    action,
    channel,
    delivery,
    destination,
    lane,
    message,
    name,
    refused,
    translation,
    undelivered,
    unknown_code,
    waits_for,
)
from engine.store.texts import indexed, storable
from engine.store.words import PARKED, WAITING

_NOTHING: Final = literal_column("''", Text)  # no parameter: what is grouped by must be the same text as what is selected


class Worklist(Planning):
    """The part of `History` that an operator works through."""

    def refused(self, only: str = "", limit: int = 50, before: int = 0) -> list[RefusedRow]:
        """Refused frames, newest first: of one channel, or of all. `before`: only older ones than this id."""
        r = refused.c
        wanted = select(r.id, r.channel, r.received_at, r.peer, r.reason, r.size, r.content).order_by(r.id.desc()).limit(limit)
        if only:
            wanted = wanted.where(r.channel == self._number_in(channel)(only))
        if before:
            wanted = wanted.where(r.id < before)
        rows = self._reader.select(wanted)
        return [RefusedRow._make((row[0], self._text(channel, row[1]), *row[2:-1], bytes(row[-1]))) for row in rows]

    def unknown_codes(self, limit: int = 1000) -> list[UnknownRow]:
        """Those that most messages wait for now first; then those seen last."""
        u = unknown_code.c
        waiting = select(func.count()).where(waits_for.c.code == u.id).scalar_subquery().label("waiting")
        columns = u.code_table, u.value, waiting, u.messages, u.first_seen, u.last_seen, u.path
        wanted = select(*columns).order_by(waiting.desc(), u.last_seen.desc(), u.id).limit(limit)
        return [UnknownRow(*row) for row in self._reader.select(wanted)]

    def waiting_for(self, table: str, value: str, limit: int = 1000, after: int = 0) -> list[int]:
        """Messages that are parked for this code, in order; `after`: only those with a larger id."""
        u, w = unknown_code.c, waits_for.c
        code = select(u.id).where(u.code_table == storable(table), u.value == indexed(storable(value))).scalar_subquery()
        wanted = select(w.message_id).where(w.code == code, w.message_id > after).order_by(w.message_id).limit(limit)
        return [row[0] for row in self._reader.select(wanted)]

    def actions(self, limit: int = 50) -> list[ActionRow]:
        """What people did, the latest first."""
        a = action.c
        columns = a.token, a.done_at, a.verb, a.who, a.why, a.messages, a.deliveries
        rows = self._reader.select(select(*columns).order_by(a.done_at.desc(), a.token).limit(limit))
        return [ActionRow(token, done_at, self._text(name, verb), *facts) for token, done_at, verb, *facts in rows]

    # ── what is parked, and what is in doubt ───────────────────────────────────────────────────────────────────────

    def parked_messages(self) -> list[ParkedRow]:
        """A line for each channel, kind and text of a reason; those parked longest first."""
        m, why = message.c, func.coalesce(translation.c.reason, message.c.reason, _NOTHING)
        facts = func.count(), func.min(m.id), func.max(m.id), func.min(m.received_at), func.max(m.received_at)
        wanted = _parked_messages(select(m.channel, m.park_reason, why, *facts)).group_by(m.channel, m.park_reason, why)
        rows = self._reader.select(wanted.order_by(func.min(m.id)))
        return [
            ParkedRow._make((self._text(channel, number), "", self._text(name, kind) if kind else "", reason, *numbers, 0))
            for number, kind, reason, *numbers in rows
        ]

    def parked_message_ids(self, only: str, kind: str) -> list[tuple[int, str]]:
        """The parked messages of a channel and a kind of reason, in order, each with its reason."""
        m, why = message.c, func.coalesce(translation.c.reason, message.c.reason, _NOTHING)
        number, word = self._number_in(channel)(only), self._number_in(name)(kind)
        wanted = _parked_messages(select(m.id, why)).where(m.channel == number, m.park_reason == word)
        return [(row[0], row[1]) for row in self._reader.select(wanted.order_by(m.id))]

    def parked_deliveries(self) -> list[ParkedRow]:
        """A line for each channel, destination and text of a reason; those parked longest first."""
        d, why = delivery.c, func.coalesce(delivery.c.reason, _NOTHING)
        facts = func.count(), func.min(d.id), func.max(d.id), func.min(d.created_at), func.max(d.created_at), func.sum(d.in_doubt)
        wanted = _parked_deliveries(select(d.channel, d.destination, why, *facts)).group_by(d.channel, d.destination, why)
        return [
            ParkedRow._make((self._text(channel, number), self._text(destination, to), "refused", *others[:-1], int(others[-1])))
            for number, to, *others in self._reader.select(wanted.order_by(func.min(d.id)))
        ]

    def parked_delivery_ids(self, only: str, to: str) -> list[tuple[int, str]]:
        """The parked deliveries of a channel to a destination, in order, each with its reason."""
        d, why = delivery.c, func.coalesce(delivery.c.reason, _NOTHING)
        number, place = self._number_in(channel)(only), self._number_in(destination)(to)
        wanted = _parked_deliveries(select(d.id, why)).where(d.channel == number, d.destination == place)
        return [(row[0], row[1]) for row in self._reader.select(wanted.order_by(d.id))]

    def in_doubt(self, limit: int = 200) -> list[DoubtRow]:
        """Deliveries of which an attempt may have arrived: those whose turn it is again, and those that ended without an
        answer. What was delivered since is in doubt no more."""
        d = delivery.c
        columns = d.id, d.message_id, d.channel, d.destination, d.state, d.attempts, d.changed_at, d.reason
        standing = select(*columns).join(lane, (lane.c.id == d.lane) & (lane.c.head == d.id))
        ended = select(*columns).join(undelivered, undelivered.c.delivery == d.id)
        doubtful = d.in_doubt == 1, d.attempts > 0
        rows = [
            *self._reader.select(standing.where(d.state == WAITING, *doubtful).order_by(d.id).limit(limit)),
            *self._reader.select(ended.where(*doubtful).order_by(d.id).limit(limit)),
        ]
        found = []
        for number, owner, source, to, state, attempts, since, reason in sorted(rows, key=lambda row: row[0])[:limit]:
            places = self._text(channel, source), self._text(destination, to), self._text(name, state)
            found.append(DoubtRow(number, owner, *places, attempts, since, reason or ""))
        return found


def _parked_messages(wanted: Select[Any]) -> Select[Any]:
    """Word for word what the partial index serves."""
    m = message.c
    joined = wanted.select_from(message.outerjoin(translation, translation.c.message_id == m.id))
    return joined.where(m.state == literal_column(str(PARKED)), text(f"message.{UNUSUAL_MESSAGE}"))


def _parked_deliveries(wanted: Select[Any]) -> Select[Any]:
    parked = delivery.join(undelivered, undelivered.c.delivery == delivery.c.id)
    return wanted.select_from(parked).where(undelivered.c.state == PARKED)
