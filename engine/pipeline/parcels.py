"""Messages and translations as bytes, between the engine and its translators: facts as JSON, contents behind them.

parcel = length of the facts (4 bytes) · facts · contents, one after another
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from engine.model import Heading, Message, MessageState, Outgoing, Translation

_STATES: Final = {state.value: state for state in MessageState}


def of_messages(version: str, channel: str, messages: Sequence[Message]) -> bytes:
    facts = [
        version,
        channel,
        [(m.id, len(m.content), tuple(m.heading), m.peer, m.received_at, m.replay_of, m.part_of) for m in messages],
    ]
    return _packed(facts, [message.content for message in messages])


def read_messages(parcel: bytes) -> tuple[str, str, list[Message]]:
    (version, channel, rows), at = _unpacked(parcel)
    messages: list[Message] = []
    for number, size, heading, peer, received_at, replay_of, part_of in rows:
        content = parcel[at : at + size]
        at += size
        messages.append(Message(number, channel, content, Heading(*heading), peer, received_at, replay_of, part_of))
    return version, channel, messages


def of_translations(translations: Sequence[Translation]) -> bytes:
    """Raises TypeError (orjson's) where a text holds half a character, which no encoding has."""
    rows: list[Any] = []
    contents: list[bytes] = []
    for message_id, channel, state, reason, park_reason, outgoings, keys, not_taken, config, unknown in translations:
        products = []
        for route, destination, content, content_type, identity, order_keys, idempotency_key, kind, action in outgoings:
            products.append((route, destination, len(content), content_type, identity, order_keys, idempotency_key, kind, action))
            contents.append(content)
        rows.append((message_id, channel, state.value, reason, park_reason, products, keys, not_taken, config, unknown))
    return _packed(rows, contents)


def read_translations(parcel: bytes) -> list[Translation]:
    rows, at = _unpacked(parcel)
    found: list[Translation] = []
    for message_id, channel, state, reason, park_reason, products, keys, not_taken, config, unknown in rows:
        outgoings: list[Outgoing] = []
        for route, destination, size, content_type, identity, order_keys, idempotency_key, kind, action in products:
            content = parcel[at : at + size]
            at += size
            outgoings.append(
                Outgoing(route, destination, content, content_type, identity, tuple(order_keys), idempotency_key, kind, action)
            )
        found.append(
            Translation(
                message_id, channel, _STATES[state], reason, park_reason, tuple(outgoings),
                tuple([tuple(key) for key in keys]), tuple([tuple(why) for why in not_taken]), config,
                tuple([tuple(code) for code in unknown]),
            )
        )  # fmt: skip
    return found


def _packed(facts: Any, contents: list[bytes]) -> bytes:
    head = orjson.dumps(facts)
    return b"".join((len(head).to_bytes(4), head, *contents))


def _unpacked(parcel: bytes) -> tuple[Any, int]:
    end = 4 + int.from_bytes(parcel[:4])
    return orjson.loads(parcel[4:end]), end
