"""What a channel's configuration promises its sender and its receivers, in words.

Every sentence follows from what the store, intake and deliver do with the setting it speaks of; nothing is said of what a
peer may do.
"""

from __future__ import annotations

from engine.contracts import Channel, DestinationSpec, Route, Site
from engine.quantities import format_duration, format_rate
from engine.text import counted, listed


def promise(channel: Channel, site: Site) -> str:
    """One paragraph."""
    specs = {spec.name: spec for spec in site.destinations}
    sentences = [
        *_receipt(channel),
        _repeats(channel),
        _order(channel),
        _parking(),
        *(_route(route, specs[route.destination]) for route in channel.routes),
        "A delivery whose answer was lost, or that was under way when the engine died, is sent again with the same identity.",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _receipt(channel: Channel) -> list[str]:
    said = ["The sender gets its positive answer once the message is on disk, never before."]
    if channel.accept:
        rule = "its condition" if len(channel.accept) == 1 else f"one of its {len(channel.accept)} conditions"
        said.append(f"What fails {rule} is refused and kept as rejected.")
    if channel.skip:
        said.append(f"What is skipped ({listed((reason for reason, _ in channel.skip), 'or')}) is answered positively and kept.")
    return said


def _repeats(channel: Channel) -> str:
    if not channel.unique_by:
        return "A message that is sent again is delivered again: nothing tells that it is the same."
    keys = listed(expression.text for expression in channel.unique_by)
    return f"A message sent again (the same {keys} and the same content) gets the first answer again and goes nowhere twice."


def _order(channel: Channel) -> str:
    if not channel.order_by:
        return "Each destination gets the channel's messages one after another, in the order in which they were stored."
    keys = listed(expression.text for expression in channel.order_by)
    same = f"the same {keys}" if len(channel.order_by) == 1 else f"a value in common ({keys})"
    return f"Messages with {same} reach each destination one after another, in the order stored; others do not wait for them."


def _parking() -> str:
    return "When a message is parked, later ones go on without it."


def _route(route: Route, spec: DestinationSpec) -> str:
    retry = spec.retry
    how = f"through {route.mapping.name}" if route.mapping else "unchanged"
    when = f", where {route.when.text[1:].strip()}," if route.when else ""
    longest = format_duration(retry.up_to)
    until = "until it is delivered" if not retry.give_up_after else f"for at most {format_duration(retry.give_up_after)}"
    refused = "at once" if retry.refusals == 1 else f"after {counted(retry.refusals, 'attempt')}"
    rate = f", at most {format_rate(spec.rate)}" if spec.rate else ""
    return (
        f"Route {route.name}{when} goes {how} to {spec.name}{rate}: tried again after {format_duration(retry.first)}, then at "
        f"growing intervals of at most {longest}, {until}; a refusal parks it {refused}."
    )
