"""From a stored message to its outgoings: parse → route → map → render. Pure: the same input gives the same output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from engine.contracts import Channel, Document, Expression, Facts, Product, Route
from engine.errors import ContentError, UnknownCode
from engine.ids import format_id
from engine.model import GATE, Message, MessageState, Outgoing, ParkReason, Translation
from engine.pipeline.answering import with_answer
from engine.values import Value, is_empty


def translate(channel: Channel, message: Message, facts: Facts, version: str) -> Translation:
    """What becomes of `message`, wholly or not at all: one route that fails parks the message with no deliveries."""
    keys: tuple[tuple[str, str], ...] = ()
    try:
        document = channel.format.parse(message.content)
        facts = _facts(facts, message)
        values = _at_once(channel, document, facts)
        keys = _business_keys(channel, document, facts, values)
        order_keys = _order_keys(channel, document, facts, values)
        outgoings: list[Outgoing] = []
        not_taken: list[tuple[str, str]] = []
        for route in channel.routes:
            here = _on_route(facts, route.name, len(outgoings) + 1)
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
        parked = _parked(message, channel, error.reason, str(error), keys, version)
        if isinstance(error, UnknownCode):
            parked = parked._replace(unknown=((error.table, error.value, error.place),))
        return with_answer(channel, message, parked, error) if channel.answers_to else parked
    except Exception as error:  # our bug, or a mapping that broke something: this message waits, the next goes on
        parked = _parked(message, channel, ParkReason.POISON, f"{type(error).__name__} while translating", keys, version)
        return with_answer(channel, message, parked) if channel.answers_to else parked
    if any(route.after for route in channel.routes):
        outgoings = _gated(channel, message, outgoings)
    if not outgoings:
        reason = "no route was taken: " + "; ".join(f"{name}: {why}" for name, why in not_taken)
        done = Translation(
            message.id, channel.name, MessageState.FILTERED, reason, keys=keys, not_taken=tuple(not_taken), config=version
        )
    else:
        done = Translation(
            message.id, channel.name, MessageState.TRANSLATED, "", "", tuple(outgoings), keys, tuple(not_taken), version
        )
    return with_answer(channel, message, done) if channel.answers_to else done


def _gated(channel: Channel, message: Message, outgoings: list[Outgoing]) -> list[Outgoing]:
    """`after`: who waits and who is waited for stand in a lane of their own besides, which only this message has."""
    gates: dict[str, list[str]] = {}
    for route in channel.routes:
        for before in route.after:
            gate = f"{GATE}{format_id(message.id)} {before} {route.name}"
            gates.setdefault(before, []).append(gate)
            gates.setdefault(route.name, []).append(gate)
    return [one._replace(order_keys=(*one.order_keys, *gates.get(one.route, ()))) for one in outgoings]


def _parked(
    message: Message, channel: Channel, park_reason: str, reason: str, keys: tuple[tuple[str, str], ...], version: str
) -> Translation:
    return Translation(message.id, channel.name, MessageState.PARKED, reason, park_reason, keys=keys, config=version)


def _products(channel: Channel, route: Route, message: Message, document: Document, facts: Facts) -> list[Product]:
    if route.mapping is not None:
        return route.mapping.apply(document, facts)
    return [Product(channel.format.render(document), channel.format.content_type, message.heading.kind)]


def _facts(facts: Facts, message: Message) -> Facts:
    """What `_replace` would give, at half its price: this is done for every message."""
    _, _, channel, route, _, organization, environment, timezone, first, form = facts
    message_id, heading = format_id(message.id), message.heading
    return Facts(message_id, message.received_at, channel, route, heading, organization, environment, timezone, first, form)


def _on_route(facts: Facts, route: str, first: int) -> Facts:
    message_id, received_at, channel, _, heading, organization, environment, timezone, _, form = facts
    return Facts(message_id, received_at, channel, route, heading, organization, environment, timezone, first, form)


# ── keys ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@lru_cache(256)
def _together(rules: tuple[Expression, ...]) -> Callable[[Document, Facts], Sequence[Value]] | None:
    """One function for `rules`, where they have one."""
    first: Any = rules[0]
    same = all(type(rule) is type(first) for rule in rules)
    return first.together(rules[1:]) if same and hasattr(first, "together") else None


def _at_once(channel: Channel, document: Document, facts: Facts) -> Sequence[Value] | None:
    """What the rules of `index` and `order_by` give; None where one of them fails, or they must be asked one by one."""
    rules = (*[rule for _, rule in channel.index], *channel.order_by)
    try:
        together = _together(rules) if rules else None
        return together(document, facts) if together is not None else None
    except Exception:  # whose fault it is, they say one by one
        return None


def _texts(value: Value) -> list[str]:
    if type(value) is str:
        return [value] if value else []
    values = value if isinstance(value, (list, tuple)) else (value,)
    return [str(one) for one in values if not is_empty(one)]


def _order_keys(channel: Channel, document: Document, facts: Facts, values: Sequence[Value] | None) -> tuple[str, ...]:
    """The lanes: one for each distinct value. Without a value the message stands in the channel's own lane."""
    found = [rule(document, facts) for rule in channel.order_by] if values is None else values[len(channel.index) :]
    return tuple(dict.fromkeys([text for value in found for text in _texts(value)])) or ("",)


def _business_keys(
    channel: Channel, document: Document, facts: Facts, values: Sequence[Value] | None
) -> tuple[tuple[str, str], ...]:
    keys: list[tuple[str, str]] = []
    for n, (name, rule) in enumerate(channel.index):
        try:
            keys += [(name, text) for text in _texts(rule(document, facts) if values is None else values[n])]
        except ContentError:
            continue  # a key that cannot be read only makes the message harder to find; it must not stop it
    return tuple(keys)
