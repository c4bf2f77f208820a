"""Recording what became of messages: their deliveries, the lanes these stand in, and business keys."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import orjson
from sqlalchemy import text, update

from engine.errors import WardlineError
from engine.model import Delivery, MessageState, Outgoing, Translation
from engine.store import unknown
from engine.store.driver import Row
from engine.store.inbox import Contents
from engine.store.ledger import Ledger
from engine.store.queueing import Queueing, keys_text, lane_of
from engine.store.schema import delivery, fresh_key, message, translation
from engine.store.statements import Insert, Statement, Update, among
from engine.store.texts import indexed, without_nul
from engine.store.unknown import Unknown
from engine.store.words import CODES, RECEIVED, TRANSLATED, WAITING

INSERT_TRANSLATION = Insert(translation, replacing=True)
INSERT_FRESH = Insert(fresh_key, replacing=True)
INSERT_DELIVERY = Insert(
    delivery,
    *("id", "message_id", "ordinal", "channel", "route", "destination", "state", "attempts", "in_doubt", "lane", "lanes"),
    *("created_at", "changed_at", "identity", "idempotency_key", "kind", "action", "content_type", "content", "size"),
    *("order_keys", "crc"),
)
TRANSLATE = Statement(
    "translate",
    update(message).where(among(message.c.id, "ids"), text(f"message.state = {RECEIVED}")).values(state=text(str(TRANSLATED))),
    "ids",
)
OTHERWISE = Update("message_otherwise", message, "state", "park_reason", "id")


class NotTranslatable(WardlineError):
    """A message was recorded before and not released since, or never received: its caller has lost its place."""


class _Recording:
    """The rows of one transaction's translations."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.now = ledger.now()
        self.rows: list[Row] = []
        self.fresh: list[Row] = []
        self.deliveries: list[Row] = []
        self.contents = Contents()
        self.body: bytes | None = None  # of the message in hand, where it was taken just now
        self.stands: list[tuple[int, dict[int, str], int, int]] = []
        self.unknown: list[Unknown] = []

    def add(self, one: Translation, first: int) -> None:
        message_id, _, state, reason, _, outgoings, keys, not_taken, config, codes = one
        ledger = self.ledger
        key_text = None
        if keys:
            values = [(ledger.names(name), without_nul(value)) for name, value in dict.fromkeys(keys)]
            key_text = orjson.dumps([f"{name}:{value}" for name, value in values]).decode()
            in_index = orjson.dumps([f"{name}:{indexed(value)}" for name, value in values]).decode()
            self.fresh.append((message_id, in_index))
        why_not = orjson.dumps(not_taken).decode() if not_taken else None
        row = (message_id, self.now, ledger.names(config), first, len(outgoings), reason or None, key_text, why_not)
        self.rows.append(row)
        self.body = ledger.bodies.take(message_id)
        if codes:
            self.unknown.append(Unknown(message_id, codes, state is MessageState.PARKED))
        for ordinal, outgoing in enumerate(outgoings, 1):
            self.deliver(one, first + ordinal - 1, ordinal, outgoing)

    def deliver(self, one: Translation, number: int, ordinal: int, outgoing: Outgoing) -> None:
        route, destination, content, content_type, identity, order_keys, idempotency_key, kind, action = outgoing
        ledger, now, message_id = self.ledger, self.now, one.message_id
        channel_number, to = ledger.channels(one.channel), ledger.destinations(destination)
        stands = {lane_of(to, channel_number, key): key for key in order_keys or ("",)}
        lane = next(iter(stands))
        body = self.body
        crc = None
        if body is not None and body == content:
            owner = message_id
        else:
            owner = number
            crc = crc32(content)
            self.contents.add(number, content)
        self.stands.append((number, stands, to, channel_number))
        self.deliveries.append(
            (
                *(number, message_id, ordinal, channel_number, ledger.names(route), to, WAITING, 0, 0, lane, len(stands)),
                *(now, now, identity, idempotency_key, kind, action, ledger.names(content_type), owner, len(content)),
                *(keys_text(stands), crc),
            )
        )
        if len(stands) == 1:
            facts = (number, message_id, one.channel, route, destination, content, content_type, identity, idempotency_key)
            ledger.shelf.put(number, Delivery(*facts, lane, 1, now, False), len(content))

    def write(self) -> None:
        ledger, driver = self.ledger, self.ledger.driver
        driver.many(INSERT_TRANSLATION, self.rows)
        driver.many(INSERT_FRESH, self.fresh)
        driver.many(INSERT_DELIVERY, self.deliveries)
        self.contents.write(ledger)
        queueing = Queueing(ledger, {lane for _, stands, _, _ in self.stands for lane in stands})
        for number, stands, to, channel in self.stands:
            if len(stands) == 1:
                ((lane, order_key),) = stands.items()
                queueing.join(number, lane, order_key, to, channel)
            else:
                queueing.cross(number, stands, to, channel)
        queueing.write()
        if self.unknown:
            unknown.record(ledger, self.unknown, self.now)


def translated(ledger: Ledger, translations: Sequence[Translation]) -> None:
    """Raises NotTranslatable where a message is not waiting for this."""
    _settle(ledger, translations)
    recording = _Recording(ledger)
    number = ledger.ids(sum(len(one.outgoings) for one in translations))
    for one in translations:
        recording.add(one, number)
        number += len(one.outgoings)
    recording.write()

    fresh = len(recording.fresh)

    def remember() -> None:
        ledger.fresh += fresh

    ledger.after.append(remember)


def _settle(ledger: Ledger, translations: Sequence[Translation]) -> None:
    ids = {one.message_id for one in translations}
    if len(ids) < len(translations):
        raise NotTranslatable("one message is recorded as translated twice in one call")
    driver = ledger.driver
    if driver.changed(TRANSLATE, driver.numbers(ids)) != len(ids):
        raise NotTranslatable("a message is recorded that is not received: it was recorded before, and not released since")
    others = [one for one in translations if one.state != MessageState.TRANSLATED]
    driver.many(
        OTHERWISE, [(CODES[one.state], CODES[one.park_reason] if one.park_reason else None, one.message_id) for one in others]
    )
