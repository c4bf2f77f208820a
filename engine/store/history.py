"""Reading a store from outside the engine: search, and everything about one message.

Read-only, in short transactions, on a connection of its own: it may run while the engine does, in another process.
Content is returned as bytes and never interpreted here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson
from sqlalchemy import Table, func, make_url, select

from engine.errors import StoreError, StoreTooNew
from engine.store import search
from engine.store.driver import Row
from engine.store.reading import SelectReader, open_select_reader
from engine.store.schema import (
    SCHEMA,
    attempt,
    channel,
    chunk,
    content,
    crossing,
    delivery,
    destination,
    lane,
    message,
    meta,
    name,
    translation,
)
from engine.store.search import Bounds, Names, Query
from engine.store.words import SENDING, WAITING

__all__ = ["AttemptRow", "Counts", "DeliveryRow", "History", "MessageFacts", "MessageRow", "Query"]


class MessageRow(NamedTuple):
    """One line of a search. Words are the model's; absent numbers are 0, absent texts ''."""

    id: int
    channel: str
    state: str
    reason: str  # why it is filtered, rejected or parked
    park_reason: str
    received_at: int
    peer: str
    kind: str
    control_id: str
    sender: str
    version: str
    processing_id: str
    size: int
    original: int  # of a duplicate
    replay_of: int
    part_of: int
    deliveries: int


class MessageFacts(NamedTuple):
    """Everything about one message. `content` is empty for a duplicate: its original has it."""

    row: MessageRow
    content: bytes
    digest: bytes
    admitted: str  # the state in which it was taken, and so what its acknowledgement said
    translated_at: int
    config: str  # version of the configuration that translated it


class DeliveryRow(NamedTuple):
    id: int
    message_id: int
    ordinal: int
    channel: str
    route: str
    destination: str
    state: str
    attempts: int
    in_doubt: bool
    due: int  # when it is tried again; 0: now, or not waiting
    created_at: int
    changed_at: int
    identity: str
    idempotency_key: str
    kind: str
    action: str
    content_type: str
    size: int
    reason: str
    confirmation: str
    order_key: str  # of its own lane, while it stands there


class AttemptRow(NamedTuple):
    delivery_id: int
    n: int
    epoch: int
    started_at: int
    ended_at: int  # 0 while it is under way
    outcome: str  # '' while it is under way
    in_doubt: bool
    reason: str
    reply: bytes  # its first 4 KiB


class Counts(NamedTuple):
    messages: dict[tuple[str, str], int]  # (channel, state)
    deliveries: dict[tuple[str, str], int]  # (destination, state); waiting ones include those under way
    destinations: dict[str, tuple[str, str]]  # name: (state, reason)
    lanes: dict[str, int]  # destination: lanes in which something waits
    oldest: dict[str, int]  # destination: when the oldest waiting head was recorded


class History:
    """`History("sqlite:///site.db")`. Raises StoreError where there is no store, StoreTooNew for a later release's."""

    def __init__(self, url: str) -> None:
        self._reader: SelectReader = open_select_reader(url)
        self._texts: dict[str, dict[int, str]] = {}
        try:
            found = self._reader.select(select(meta.c.schema))[0][0]
        except Exception as error:
            self._reader.close()
            raise StoreError(f"there is no Wardline store at {make_url(url).render_as_string()}") from error
        if found != SCHEMA:
            self._reader.close()
            if found > SCHEMA:
                raise StoreTooNew(f"this store was written by a later release (schema {found}, this one knows {SCHEMA})")
            raise StoreError(f"this store has an older schema ({found}): start the engine once to bring it up to {SCHEMA}")

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> History:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ── searching ──────────────────────────────────────────────────────────────────────────────────────────────────

    def find(self, query: Query = Query(), limit: int = 50, before: int = 0) -> list[MessageRow]:  # noqa: B008 - immutable
        """Messages that pass every filter, newest first; `before`: only older ones than this id, for the next page."""
        return [self._message(row) for row in self._reader.select(self.statement(query, limit, before))]

    def statement(self, query: Query, limit: int, before: int) -> Any:
        """The statement `find` runs; for the tests that look at its plan."""
        names = Names(self._number_in(name), self._number_in(channel), self._number_in(destination), self._reader.dialect)
        return search.find(query, names, self._bounds(query), limit, before)

    def _bounds(self, query: Query) -> Bounds:
        lowest = highest = 0
        select_ = self._reader.select
        if query.since or query.until:
            keyed = select_(search.keyed())[0][0]
            if query.since:
                lowest = select_(search.lowest_id(query.since))[0][0] or keyed + 1
            if query.until and not select_(search.early_unkeyed(keyed, query.until)):
                highest = select_(search.highest_id(query.until))[0][0] or -1
        return Bounds(lowest, highest)

    # ── one message ────────────────────────────────────────────────────────────────────────────────────────────────

    def message(self, message_id: int) -> MessageFacts | None:
        rows = self._reader.select(search.messages().where(message.c.id == message_id))
        if not rows:
            return None
        digest, admitted = self._reader.select(select(message.c.digest, message.c.admitted).where(message.c.id == message_id))[0]
        done = self._reader.select(
            select(translation.c.translated_at, translation.c.config).where(translation.c.message_id == message_id)
        )
        translated_at, config = (done[0][0], self._text(name, done[0][1])) if done else (0, "")
        row = self._message(rows[0])
        return MessageFacts(row, self._content(message_id), bytes(digest), self._text(name, admitted), translated_at, config)

    def deliveries(self, message_id: int) -> list[DeliveryRow]:
        d = delivery.c
        columns = (
            *(d.id, d.message_id, d.ordinal, d.channel, d.route, d.destination, d.state, d.attempts, d.in_doubt),
            *(lane.c.due, d.created_at, d.changed_at, d.identity, d.idempotency_key, d.kind, d.action, d.content_type),
            *(d.size, d.reason, d.confirmation, lane.c.order_key, lane.c.state, lane.c.head, lane.c.begun),
        )
        first, last = self._range(message_id)
        found = select(*columns).select_from(delivery.outerjoin(lane, lane.c.id == d.lane)).where(d.id.between(first, last))
        return [self._delivery(row) for row in self._reader.select(found.order_by(d.id))]

    def attempts(self, delivery_id: int) -> list[AttemptRow]:
        """In order; one that is under way is the last."""
        a = attempt.c
        columns = (a.delivery, a.n, a.epoch, a.started_at, a.ended_at, a.outcome, a.in_doubt, a.reason, a.reply)
        rows = self._reader.select(select(*columns).where(a.delivery == delivery_id).order_by(a.n))
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
            )
            for _, n, epoch, started_at, ended_at, outcome, doubt, why, reply in rows
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
        """The lanes a delivery stands in, while it does."""
        own = select(lane.c.order_key).join(delivery, delivery.c.lane == lane.c.id)
        found = own.where(delivery.c.id == delivery_id, delivery.c.state == WAITING)
        others = select(lane.c.order_key).join(crossing, crossing.c.lane == lane.c.id).where(crossing.c.delivery == delivery_id)
        return list(dict.fromkeys(row[0] for row in [*self._reader.select(found), *self._reader.select(others)]))

    # ── the whole ──────────────────────────────────────────────────────────────────────────────────────────────────

    def counts(self) -> Counts:
        """Counts every row: a few hundred milliseconds for each million."""
        m, d = message.c, delivery.c
        by_channel = select(m.channel, m.state, func.count()).group_by(m.channel, m.state)
        by_destination = select(d.destination, d.state, func.count()).group_by(d.destination, d.state)
        waiting = select(lane.c.destination, func.count(), func.min(lane.c.head)).group_by(lane.c.destination)
        oldest = {}
        lanes = {}
        for number, count, head in self._reader.select(waiting):
            to = self._text(destination, number)
            lanes[to] = count
            oldest[to] = self._reader.select(select(d.created_at).where(d.id == head))[0][0]
        states = select(destination.c.name, destination.c.state, destination.c.reason)
        return Counts(
            {(self._text(channel, one), self._text(name, state)): n for one, state, n in self._reader.select(by_channel)},
            {(self._text(destination, one), self._text(name, state)): n for one, state, n in self._reader.select(by_destination)},
            {title: (self._text(name, state), reason) for title, state, reason in self._reader.select(states)},
            lanes,
            oldest,
        )

    # ── pieces ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _message(self, row: Row) -> MessageRow:
        number, channel_number, state, reason, park_reason, *facts, original, replay_of, part_of, why, deliveries = row
        words = self._text(name, state), why or reason or "", self._text(name, park_reason) if park_reason else ""
        links = original or 0, replay_of or 0, part_of or 0, deliveries or 0
        return MessageRow._make((number, self._text(channel, channel_number), *words, *facts, *links))

    def _delivery(self, row: Row) -> DeliveryRow:
        (number, message_id, ordinal, channel_number, route, to, state, attempts, in_doubt, due, created_at, changed_at) = row[
            :12
        ]
        identity, idempotency_key, kind, action, content_type, size, reason, confirmation = row[12:20]
        order_key, lane_state, head, begun = row[20:]
        waiting = state == WAITING
        under_way = waiting and lane_state == SENDING and head <= number <= begun
        values = (
            *(number, message_id, ordinal, self._text(channel, channel_number), self._text(name, route)),
            *(self._text(destination, to), self._text(name, SENDING if under_way else state), attempts, bool(in_doubt)),
            *(due if waiting and head == number and not under_way else 0, created_at, changed_at, identity, idempotency_key),
            *(kind, action, self._text(name, content_type), size, reason or ""),
            *(self._text(name, confirmation) if confirmation else "none", (order_key or "") if waiting else ""),
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

    def _known(self, table: Table, fresh: bool = False) -> dict[int, str]:
        if fresh or table.name not in self._texts:
            self._texts[table.name] = {row[0]: row[1] for row in self._reader.select(select(*list(table.c)[:2]))}
        return self._texts[table.name]

    def _text(self, table: Table, number: int) -> str:
        text = self._known(table).get(number)
        return self._known(table, fresh=True)[number] if text is None else text

    def _number_in(self, table: Table) -> Any:
        def number(text: str) -> int:
            for fresh in (False, True):
                for known, title in self._known(table, fresh).items():
                    if title == text:
                        return known
            return -1

        return number
