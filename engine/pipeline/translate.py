"""From a stored message to its outgoings: parse → route → map → render. Pure: the same input gives the same output."""

from __future__ import annotations

from engine.contracts import Channel, Document, Facts, Product, Route
from engine.errors import ContentError
from engine.ids import format_id
from engine.model import Message, MessageState, Outgoing, ParkReason, Translation
from engine.values import Value, is_empty


def translate(channel: Channel, message: Message, facts: Facts, version: str) -> Translation:
    """What becomes of `message`, wholly or not at all: one route that fails parks the message with no deliveries."""
    keys: tuple[tuple[str, str], ...] = ()
    try:
        document = channel.format.parse(message.content)
        facts = facts._replace(message_id=format_id(message.id), received_at=message.received_at, heading=message.heading)
        keys = _business_keys(channel, document, facts)
        order_keys = _order_keys(channel, document, facts)
        outgoings: list[Outgoing] = []
        not_taken: list[tuple[str, str]] = []
        for route in channel.routes:
            here = facts._replace(route=route.name, first_ordinal=len(outgoings) + 1)
            if route.when is not None and not route.when(document, here):
                not_taken.append((route.name, f"{route.when.text} is not true"))
                continue
            products = _products(channel, route, message, document, here)
            if not products:
                not_taken.append((route.name, "`when` in its mapping skipped every result"))
            for n, product in enumerate(products):
                outgoings.append(
                    Outgoing(
                        route.name,
                        route.destination,
                        product.content,
                        product.content_type,
                        here.identity(n),
                        order_keys,
                        product.idempotency_key,
                        product.kind,
                        product.action,
                    )
                )
    except ContentError as error:
        return _parked(message, channel, error.reason, str(error), keys, version)
    except Exception as error:  # our bug, or a mapping that broke something: this message waits, the next goes on
        return _parked(message, channel, ParkReason.POISON, f"{type(error).__name__} while translating", keys, version)
    if not outgoings:
        reason = "no route was taken: " + "; ".join(f"{name}: {why}" for name, why in not_taken)
        return Translation(
            message.id, channel.name, MessageState.FILTERED, reason, keys=keys, not_taken=tuple(not_taken), config=version
        )
    return Translation(
        message.id, channel.name, MessageState.TRANSLATED, "", "", tuple(outgoings), keys, tuple(not_taken), version
    )


def _parked(
    message: Message, channel: Channel, park_reason: str, reason: str, keys: tuple[tuple[str, str], ...], version: str
) -> Translation:
    return Translation(message.id, channel.name, MessageState.PARKED, reason, park_reason, keys=keys, config=version)


def _products(channel: Channel, route: Route, message: Message, document: Document, facts: Facts) -> list[Product]:
    if route.mapping is not None:
        return route.mapping.apply(document, facts)
    return [Product(message.content, channel.format.content_type, message.heading.kind)]


def _texts(value: Value) -> list[str]:
    values = value if isinstance(value, (list, tuple)) else (value,)
    return [str(one) for one in values if not is_empty(one)]


def _order_keys(channel: Channel, document: Document, facts: Facts) -> tuple[str, ...]:
    """The lanes: one for each distinct value. Without a value the message stands in the channel's own lane."""
    keys: dict[str, None] = {}
    for rule in channel.order_by:
        for text in _texts(rule(document, facts)):
            keys[text] = None
    return tuple(keys) or ("",)


def _business_keys(channel: Channel, document: Document, facts: Facts) -> tuple[tuple[str, str], ...]:
    keys: list[tuple[str, str]] = []
    for name, rule in channel.index:
        try:
            keys += [(name, text) for text in _texts(rule(document, facts))]
        except ContentError:
            continue  # a key that cannot be read only makes the message harder to find; it must not stop it
    return tuple(keys)
