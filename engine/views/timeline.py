"""The way of a message as steps in order of time: what happened, why, how long it took, and what is still to come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from engine.model import GATE
from engine.store.rows import AttemptRow, DeliveryRow, StandingRow
from engine.text import counted
from engine.views.way import Sent, Way

REPLAY: Final = "replay"  # the peer of a message that was taken once more


class Step(NamedTuple):
    """`at` is 0 for what is so now, without an instant of its own; what is still to come has one in the future."""

    at: int
    state: str  # a word of the model's, or `accepted`, `refused`, `in doubt`: what sign and colour go by
    title: str
    text: str = ""
    why: str = ""  # the reason, as the store has it
    until: int = 0  # the end of what took time
    message: int = 0  # another message that it is about
    delivery: int = 0
    stage: str = ""  # whose content belongs to it
    since: int = 0  # microseconds since the step before it


def timeline(way: Way, answered_late: bool = False) -> list[Step]:
    """Steps in order; equal instants in the order of cause and effect. `answered_late`: the channel's answer waits for what
    becomes of a message (`ack: processed`)."""
    steps = [*_arrival(way, answered_late), *_translation(way)]
    for one in way.sent:
        steps += _delivery(one, way)
    steps += [
        Step(row.received_at, "duplicate", "Came again", f"from {row.peer}; it got the first answer again", message=row.id)
        for row in way.duplicates
    ]
    steps += [Step(row.received_at, row.state, "Replayed", why=row.reason, message=row.id) for row in way.replays]
    dated = sorted((step for step in steps if step.at), key=lambda step: step.at)
    now = [step for step in steps if not step.at]
    last = _last(way)
    past = [step for step in dated if step.at <= last]
    return _timed([*past, *now, *(step for step in dated if step.at > last)])


def _last(way: Way) -> int:
    """The latest instant of something that has happened: what is due later is still to come."""
    instants = [way.facts.row.received_at, way.facts.translated_at]
    for one in way.sent:
        instants += [one.row.changed_at, *(max(each.started_at, each.ended_at) for each in one.attempts)]
    instants += [row.received_at for row in (*way.duplicates, *way.replays)]
    return max(instants)


def _timed(steps: list[Step]) -> list[Step]:
    before = 0
    timed: list[Step] = []
    for step in steps:
        timed.append(step._replace(since=step.at - before) if step.at and before else step)
        before = step.at or before
    return timed


# ── its arrival ────────────────────────────────────────────────────────────────────────────────────────────────────


def _arrival(way: Way, late: bool) -> Iterator[Step]:
    facts, row = way.facts, way.facts.row
    at, size = row.received_at, f"{row.size:,} bytes"
    if row.replay_of:
        title = "Taken once more, as a replay of" if row.peer == REPLAY else f"Taken from {row.peer}, as a copy of"
        yield Step(at, "received", title, size, message=row.replay_of, stage="in")
    elif row.part_of:
        yield Step(at, "received", "Came in a batch", f"from {row.peer}, {size}", message=row.part_of, stage="in")
    else:
        yield Step(at, "received", "Received", f"from {row.peer}, {size}", stage="in")
    if row.original:
        yield Step(at, "duplicate", "Known already", "the same bytes came before", message=row.original)
        yield Step(at, "accepted", "Acknowledged", "with the answer that its original got")
    elif facts.admitted == "rejected":
        yield Step(at, "rejected", "Rejected", why=row.reason)
        yield Step(at, "refused", "Answered no", "the sender was told not to send this again as it is")
    elif facts.admitted == "filtered":
        yield Step(at, "filtered", "Filtered", why=row.reason)
        yield Step(at, "accepted", "Acknowledged", "positively: it is stored, and goes nowhere")
    elif late and not row.replay_of:
        yield Step(at, "accepted", "Stored", "its channel answers when it is known what became of the message, or the time is up")
    elif not row.replay_of:
        where = "with its batch" if row.part_of else "once it was safely stored"
        yield Step(at, "accepted", "Acknowledged", where)
    if way.parts:
        more = " or more" if way.more_parts else ""
        yield Step(at, "translated", f"Split into {counted(len(way.parts), 'message')}{more}")


# ── what became of it ──────────────────────────────────────────────────────────────────────────────────────────────


def _translation(way: Way) -> Iterator[Step]:
    facts, row = way.facts, way.facts.row
    at, by = facts.translated_at, f"by configuration {facts.config[:12]}"
    if row.state == "received":
        yield Step(0, "received", "Waits to be translated")
        return
    if not at:
        return
    if row.state == "translated":
        yield Step(at, "translated", "Translated", f"{by}, into {counted(row.deliveries, 'delivery', 'deliveries')}")
    elif row.state == "filtered" and row.reason.startswith("cancelled"):
        yield Step(at, "parked", "Parked", by)
        yield Step(at, "cancelled", "Cancelled", why=row.reason)
    elif row.state == "filtered":
        yield Step(at, "filtered", "Filtered", by, row.reason)
    elif row.state == "parked":
        yield Step(at, "parked", "Parked", by, row.reason)
    for route, why in way.not_taken:
        yield Step(at, "filtered", f"Route {route} not taken", why=why)
    for table, value, _ in way.waited_for:
        yield Step(0, "waiting", "Waits for a code", f"{table} has no row for {value!r}")


# ── deliveries ─────────────────────────────────────────────────────────────────────────────────────────────────────


def stage_of(delivery_id: int, attempt: int = 0) -> str:
    """The key of a delivery's stage, or of the answer to one of its attempts."""
    from engine.ids import format_id

    return f"answer-{format_id(delivery_id)}-{attempt}" if attempt else f"sent-{format_id(delivery_id)}"


def _delivery(one: Sent, way: Way) -> Iterator[Step]:
    row = one.row
    to, number = row.destination, row.id
    about = " ".join(filter(None, (row.kind or row.content_type, row.action)))
    keys = ", ".join(key for key in one.order_keys if key)
    text = f"route {row.route}: {about}, {row.size:,} bytes{f'; order key {keys}' if keys else ''}"
    title = f"Sent again to {to}" if row.resend_of else f"Queued for {to}"
    if one.earlier:
        text += "; of an earlier translation"
    yield Step(row.created_at, "waiting", title, text, delivery=number, stage=stage_of(number))
    ended = sum(1 for each in one.attempts if each.ended_at)
    if row.attempts > ended:
        yield Step(
            one.attempts[0].started_at if one.attempts else row.changed_at,
            "waiting",
            f"{counted(row.attempts - ended, 'earlier attempt')} at {to}",
            "not shown here",
            delivery=number,
        )
    for each in one.attempts:
        yield _attempt(each, to)
    yield from _end(one, way)


def _attempt(row: AttemptRow, to: str) -> Step:
    stage = stage_of(row.delivery_id, row.n) if row.reply_size else ""
    if not row.ended_at:
        return Step(row.started_at, "sending", f"Attempt {row.n} at {to}", "under way", delivery=row.delivery_id)
    doubt = row.in_doubt and row.outcome != "delivered"
    title = f"Delivered to {to}" if row.outcome == "delivered" else f"Attempt {row.n} at {to}: {row.outcome}"
    state = "in doubt" if doubt else row.outcome
    text = "it may have arrived" if doubt else ""
    return Step(row.started_at, state, title, text, row.reason, row.ended_at, 0, row.delivery_id, stage)


def _end(one: Sent, way: Way) -> Iterator[Step]:
    row = one.row
    to = row.destination
    if row.state in ("parked", "expired", "cancelled"):
        title = {"parked": f"Parked for {to}", "expired": f"Given up for {to}", "cancelled": f"Cancelled for {to}"}[row.state]
        said = one.attempts[-1].reason if one.attempts else ""
        text = "it waits for a person" if row.state == "parked" else ""
        yield Step(row.changed_at, row.state, title, text, row.reason if row.reason != said else "", delivery=row.id)
    if row.state != "waiting":
        return
    if row.reason.startswith("released"):
        yield Step(row.changed_at, "waiting", f"Released for {to}", why=row.reason, delivery=row.id)
    if row.due:
        yield Step(row.due, "waiting", f"Next attempt at {to}", delivery=row.id)
    else:
        yield Step(0, "waiting", f"Waits for {to}", waits_for(one, way), delivery=row.id)


def waits_for(one: Sent, way: Way) -> str:
    """Why a waiting delivery does not go out now, in words."""
    state = way.destinations.get(one.row.destination)
    found: list[str] = []
    if state is not None and state.state != "running":
        found.append(f"{one.row.destination} is {state.state}{f': {state.reason}' if state.reason else ''}")
    found += [text for lane in one.standing if (text := _behind(lane, one.row))]
    return "; ".join(found) or "it is its turn"


def _behind(lane: StandingRow, row: DeliveryRow) -> str:
    from engine.ids import format_id

    if not lane.ahead or lane.head == row.id:
        return ""
    if lane.order_key.startswith(GATE):
        _, _, names = lane.order_key.partition(" ")
        return f"waits until route {names.partition(' ')[0]} of this message has ended"
    many = f"{lane.ahead:,} or more" if lane.ahead >= 1000 else f"{lane.ahead:,}"
    key = f" of order key {lane.order_key}" if lane.order_key else ""
    first = "this message too" if lane.head_message == row.message_id else f"message {format_id(lane.head_message)}"
    return f"{many} before it in its lane{key}; the first is of {first}"
