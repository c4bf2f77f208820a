"""Reading a store from outside the engine: search, and everything about one message.

Read-only, in short transactions, on a connection of its own: it may run while the engine does, in another process.
Content is returned as bytes and never interpreted here.
"""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Select, func, null, or_, select

from engine.model import GATE
from engine.store import search
from engine.store.closeup import Closeup
from engine.store.driver import Row
from engine.store.figures import Figures
from engine.store.queueing import read_keys
from engine.store.rows import AttemptRow, Counts, DeliveryRow, MessageFacts, MessageRow
from engine.store.schema import (
    attempt,
    channel,
    chunk,
    content,
    delivery,
    destination,
    further,
    lane,
    message,
    name,
    translation,
)
from engine.store.search import Query
from engine.store.words import SENDING, WAITING

__all__ = ["AttemptRow", "Counts", "DeliveryRow", "History", "MessageFacts", "MessageRow", "Query"]


class History(Closeup, Figures):
    """`History("sqlite:///site.db")`. Raises StoreError where there is no store, StoreTooNew for a later release's."""

    # ── one message ────────────────────────────────────────────────────────────────────────────────────────────────

    def message(self, message_id: int, content: bool = True) -> MessageFacts | None:
        """Not `content`: without it, for those who read it in pieces."""
        rows = self._reader.select(search.messages().where(message.c.id == message_id))
        if not rows:
            return None
        digest, admitted = self._reader.select(select(message.c.digest, message.c.admitted).where(message.c.id == message_id))[0]
        done = self._reader.select(
            select(translation.c.translated_at, translation.c.config).where(translation.c.message_id == message_id)
        )
        translated_at, config = (done[0][0], self._text(name, done[0][1])) if done else (0, "")
        row = self._message(rows[0])
        body = self._content(message_id) if content else b""
        return MessageFacts(row, body, bytes(digest), self._text(name, admitted), translated_at, config)

    def deliveries(self, message_id: int, limit: int = 0) -> list[DeliveryRow]:
        """In the order in which they were recorded: those of an earlier translation, and those that were sent again, too.

        `limit`: the most that are read; 0: all."""
        d = delivery.c
        columns = (
            *(d.id, d.message_id, d.ordinal, d.channel, d.route, d.destination, d.state, d.attempts, d.in_doubt),
            *(lane.c.due, d.created_at, d.changed_at, d.identity, d.idempotency_key, d.kind, d.action, d.content_type),
            *(d.size, d.reason, d.confirmation, d.resend_of, d.lanes, d.order_keys, lane.c.state, lane.c.head, lane.c.begun),
        )
        first, last = self._range(message_id)
        others = [row[0] for row in self._reader.select(select(further.c.id).where(further.c.message_id == message_id))]
        theirs = or_(d.id.between(first, last), d.id.in_(others)) if others else d.id.between(first, last)
        found = select(*columns).select_from(delivery.outerjoin(lane, lane.c.id == d.lane)).where(theirs)
        return [self._delivery(row) for row in self._reader.select(_limited(found.order_by(d.id), limit))]

    def parts(self, message_id: int, limit: int = 0) -> list[MessageRow]:
        """Of a batch, in order. `limit`: the most that are read; 0: all."""
        return [self._message(row) for row in self._reader.select(_limited(search.parts(message_id), limit))]

    def replays(self, message_id: int, limit: int = 0) -> list[MessageRow]:
        """Of a message, in order. `limit`: the most that are read; 0: all."""
        others = select(further.c.id).where(further.c.message_id == message_id)
        wanted = search.messages().where(message.c.id.in_(others)).order_by(message.c.id)
        return [self._message(row) for row in self._reader.select(_limited(wanted, limit))]

    def attempts(self, delivery_id: int, replies: bool = True, limit: int = 0) -> list[AttemptRow]:
        """In order; one that is under way is the last. Not `replies`: without them, only their sizes. `limit`: the newest
        so many; 0: all."""
        a = attempt.c
        reply = a.reply if replies else null()
        columns = (a.delivery, a.n, a.epoch, a.started_at, a.ended_at, a.outcome, a.in_doubt, a.reason, reply)
        wanted = select(*columns, func.length(a.reply)).where(a.delivery == delivery_id)
        rows = self._reader.select(_limited(wanted.order_by(a.n.desc()), limit))[::-1]
        found = [
            AttemptRow(
                delivery_id,
                n,
                epoch,
                started_at,
                ended_at,
                self._text(name, outcome),
                bool(doubt),
                why or "",
                bytes(reply or b""),
                size or 0,
            )
            for _, n, epoch, started_at, ended_at, outcome, doubt, why, reply, size in rows
        ]
        under_way = (
            select(delivery.c.attempts, lane.c.epoch, lane.c.begun_at)
            .join(lane, (lane.c.id == delivery.c.lane) & search.sending())
            .where(delivery.c.id == delivery_id, delivery.c.state == WAITING)
        )
        for ended, epoch, begun_at in self._reader.select(under_way):
            found.append(AttemptRow(delivery_id, ended + 1, epoch, begun_at, 0, "", False, "", b""))
        return found

    def content_of_delivery(self, delivery_id: int) -> bytes | None:
        rows = self._reader.select(select(delivery.c.content).where(delivery.c.id == delivery_id))
        return self._content(rows[0][0]) if rows else None

    def not_taken(self, message_id: int) -> list[tuple[str, str]]:
        """Routes that were not taken: (route, the condition and the value that decided)."""
        return [(route, why) for route, why in self._json(translation.c.not_taken, message_id)]

    def keys(self, message_id: int) -> list[tuple[str, str]]:
        """Business keys: (name, value)."""
        keys = (key.partition(":") for key in self._json(translation.c["keys"], message_id))
        return [(self._text(name, int(number)), value) for number, _, value in keys]

    def order_keys(self, delivery_id: int) -> list[str]:
        """What says in which lanes a delivery stands or stood; its own lane's first."""
        rows = self._reader.select(select(delivery.c.order_keys, delivery.c.lanes).where(delivery.c.id == delivery_id))
        return [key for key in read_keys(*rows[0]) if not key.startswith(GATE)] if rows else []

    # ── the whole ──────────────────────────────────────────────────────────────────────────────────────────────────

    def counts(self) -> Counts:
        """Counts every row: a few hundred milliseconds for each million."""
        m, d = message.c, delivery.c
        by_channel = select(m.channel, m.state, func.count()).group_by(m.channel, m.state)
        by_destination = select(d.destination, d.state, func.count()).group_by(d.destination, d.state)
        waiting = (  # a gate has no destination
            select(lane.c.destination, func.count(), func.min(lane.c.head))
            .where(lane.c.destination > 0)
            .group_by(lane.c.destination)
        )
        channels, destinations = self.standings()
        oldest = {}
        lanes = {}
        for number, count, head in self._reader.select(waiting):
            to = self._text(destination, number)
            lanes[to] = count
            oldest[to] = self._reader.select(select(d.created_at).where(d.id == head))[0][0]
        return Counts(
            {(self._text(channel, one), self._text(name, state)): n for one, state, n in self._reader.select(by_channel)},
            {(self._text(destination, one), self._text(name, state)): n for one, state, n in self._reader.select(by_destination)},
            {title: stands[:2] for title, stands in channels.items()},
            {title: stands[:2] for title, stands in destinations.items()},
            lanes,
            oldest,
        )

    # ── pieces ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _delivery(self, row: Row) -> DeliveryRow:
        (number, message_id, ordinal, channel_number, route, to, state, attempts, in_doubt, due, created_at, changed_at) = row[
            :12
        ]
        identity, idempotency_key, kind, action, content_type, size, reason, confirmation, resend_of = row[12:21]
        lanes, order_keys, lane_state, head, begun = row[21:]
        waiting = state == WAITING
        under_way = waiting and lane_state == SENDING and head <= number <= begun
        values = (
            *(number, message_id, ordinal, self._text(channel, channel_number), self._text(name, route)),
            *(self._text(destination, to), self._text(name, SENDING if under_way else state), attempts, bool(in_doubt)),
            *(due if waiting and head == number and not under_way else 0, created_at, changed_at, identity, idempotency_key),
            *(kind, action, self._text(name, content_type), size, reason or ""),
            *(self._text(name, confirmation) if confirmation else "none", read_keys(order_keys, lanes)[0], resend_of or 0),
        )
        return DeliveryRow._make(values)

    def _range(self, message_id: int) -> tuple[int, int]:
        """First and last delivery of a message."""
        t = translation.c
        rows = self._reader.select(select(t.first_delivery, t.deliveries).where(t.message_id == message_id))
        return (rows[0][0], rows[0][0] + rows[0][1] - 1) if rows else (0, -1)

    def _content(self, owner: int) -> bytes:
        first = self._reader.select(select(content.c.content).where(content.c.owner == owner))
        rest = self._reader.select(select(chunk.c.content).where(chunk.c.owner == owner).order_by(chunk.c.n)) if first else []
        return b"".join(bytes(row[0]) for row in [*first, *rest])

    def _json(self, column: Any, message_id: int) -> list[Any]:
        rows = self._reader.select(select(column).where(translation.c.message_id == message_id))
        return list(orjson.loads(rows[0][0])) if rows and rows[0][0] else []


def _limited(statement: Select[Any], limit: int) -> Select[Any]:
    return statement.limit(limit) if limit else statement
