"""What a channel's configuration promises its sender and its receivers, in words.

Every sentence follows from what the store, intake and deliver do with the setting it speaks of; nothing is said of what a
peer may do.
"""

from __future__ import annotations

from engine.contracts import AckPolicy, Channel, DestinationSpec, Retention, Route, Site
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
        _kept(channel.retention or site.retention),
        "A delivery whose answer was lost, or that was under way when the engine died, is sent again with the same identity: "
        "what arrives at least once is acted on once by a receiver that tells repeats by it.",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _receipt(channel: Channel) -> list[str]:
    said = [_answered(channel.ack)]
    if channel.picks is not None:
        said.append(f"It takes what it picks of its address: {channel.picks.text[1:].strip()}.")
    if channel.answers_to:
        said.append(f"Where MSH-16 asks for it, what became of a message is told through {channel.answers_to}.")
    elif hasattr(channel.format, "answer"):
        said.append("No application acknowledgement follows later: where MSH-15 and MSH-16 ask for both, the accept one is all.")
    if channel.accept:
        rule = "its condition" if len(channel.accept) == 1 else f"one of its {len(channel.accept)} conditions"
        said.append(f"What fails {rule} is refused and kept as rejected.")
    if channel.skip:
        said.append(f"What is skipped ({listed((reason for reason, _ in channel.skip), 'or')}) is answered positively and kept.")
    return said


def _answered(ack: AckPolicy | None) -> str:
    if ack is None:
        return "The sender gets its positive answer once the message is on disk, never before."
    routes = listed(ack.routes) if ack.routes else "all routes"
    wait = format_duration(ack.wait)
    if ack.reply_from:
        return (
            f"The sender is answered with the reply of {ack.reply_from}, within {wait}; the message is on disk before it goes "
            "there, and whoever asks again hears what has become of it by then."
        )
    late = "accepted" if ack.accept_late else "not processed in time"
    return (
        f"The sender is answered when the deliveries of {routes} have ended, and after {wait} in any case, then as {late}; the "
        "message is on disk before that, and goes on whatever was answered."
    )


def _repeats(channel: Channel) -> str:
    if not channel.unique_by:
        return "A message that is sent again is delivered again: nothing tells that it is the same."
    keys = listed(expression.text for expression in channel.unique_by)
    within = f" within {format_duration(channel.unique_within)}" if channel.unique_within else ""
    return (
        f"A message sent again{within} (the same {keys} and the same content) gets the first answer again and goes nowhere "
        "twice; with other content it is a message of its own, delivered and told of."
    )


def _order(channel: Channel) -> str:
    if not channel.order_by:
        return "Each destination gets the channel's messages one after another, in the order in which they were stored."
    keys = listed(expression.text for expression in channel.order_by)
    same = f"the same {keys}" if len(channel.order_by) == 1 else f"a value in common ({keys})"
    return f"Messages with {same} reach each destination one after another, in the order stored; others do not wait for them."


def _kept(retention: Retention) -> str:
    if not retention.content and not retention.everything:
        return "Everything is kept for ever."
    times = []
    if retention.content:
        times.append(f"content goes after {format_duration(retention.content)}")
    times.append(f"everything after {format_duration(retention.everything)}" if retention.everything else "the facts never")
    return f"Of what has come to its end, {listed(times)}; what waits is kept."


def _parking() -> str:
    return "When a message is parked, later ones go on without it."


def _route(route: Route, spec: DestinationSpec) -> str:
    retry = spec.retry
    how = f"through {route.mapping.name}" if route.mapping else "unchanged"
    when = f", where {route.when.text[1:].strip()}," if route.when else ""
    longest = format_duration(retry.up_to)
    until = "until it is delivered" if not retry.give_up_after else f"for at most {format_duration(retry.give_up_after)}"
    refused = "at once" if retry.refusals == 1 else f"when there have been {counted(retry.refusals, 'refusal')}"
    given = getattr(spec.options, "answers", {})
    answers = f", but {listed(f'{answer} means {action}' for answer, action in given.items())}" if given else ""
    rate = f", at most {format_rate(spec.rate)}" if spec.rate else ""
    after = f", once the deliveries of {listed(route.after)} have ended" if route.after else ""
    return (
        f"Route {route.name}{when} goes {how} to {spec.name}{after}{rate}: tried again after {format_duration(retry.first)}, "
        f"then at growing intervals of at most {longest}, {until}; a refusal parks it {refused}{answers}."
    )
