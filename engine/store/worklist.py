"""What waits for people, and what they did: refused frames, unknown codes, actions, and what an action would find."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import func, select

from engine.store.asking import Asking
from engine.store.queueing import read_keys
from engine.store.rows import ActionRow, PlannedDelivery, PlannedMessage, RefusedRow, UnknownRow
from engine.store.schema import (
    action,
    channel,
    delivery,
    destination,
    further,
    name,
    refused,
    translation,
    unknown_code,
    waits_for,
)
from engine.store.search import Query
from engine.store.texts import indexed, storable


class Worklist(Asking):
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

    # ── before an action ───────────────────────────────────────────────────────────────────────────────────────────

    def plan(self, query: Query, limit: int = 500, before: int = 0) -> list[PlannedMessage]:
        """Messages that match, newest first, each with all its deliveries; the next page is `before` the last one's id."""
        rows = self.find(query, limit, before)
        deliveries = self._planned([row.id for row in rows])
        return [PlannedMessage(row, tuple(deliveries.get(row.id, ()))) for row in rows]

    def overtaken(self, deliveries: Collection[int]) -> set[int]:
        """Those of these deliveries after which others were recorded in their own lane: sent now, they may come after newer
        ones. Walks over all that was recorded since the oldest of them."""
        d = delivery.c
        if not deliveries:
            return set()
        lanes = {row[0]: row[1] for row in self._reader.select(select(d.id, d.lane).where(d.id.in_(deliveries)))}
        since = d.id > min(deliveries), d.lane.in_(set(lanes.values()))
        newest = {row[0]: row[1] for row in self._reader.select(select(d.lane, func.max(d.id)).where(*since).group_by(d.lane))}
        return {number for number, lane in lanes.items() if newest.get(lane, 0) > number}

    def _planned(self, messages: Collection[int]) -> dict[int, list[PlannedDelivery]]:
        d, t = delivery.c, translation.c
        columns = d.message_id, d.id, d.destination, d.state, d.order_keys, d.lanes
        own = select(*columns).join(translation, d.id.between(t.first_delivery, t.first_delivery + t.deliveries - 1))
        others = select(*columns).join(further, further.c.id == d.id)
        found: dict[int, list[PlannedDelivery]] = {}
        rows = [
            *self._reader.select(own.where(t.message_id.in_(messages))),
            *self._reader.select(others.where(further.c.message_id.in_(messages))),
        ]
        for message_id, number, to, state, order_keys, lanes in sorted(rows, key=lambda row: row[1]):
            planned = PlannedDelivery(
                number, self._text(destination, to), self._text(name, state), read_keys(order_keys, lanes)[0]
            )
            found.setdefault(message_id, []).append(planned)
        return found
