"""What readers of a store are given. Words are the model's; absent numbers are 0, absent texts ''."""

from __future__ import annotations

from typing import NamedTuple


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


class Page(NamedTuple):
    """What one look for messages has found, newest first. Where its time was up, the id and the instant it had come to."""

    rows: list[MessageRow]
    reached: int = 0  # beyond this id nothing was looked at; 0: everything was
    reached_at: int = 0


class FoundDelivery(NamedTuple):
    """A delivery, as far as a line of a search tells of it."""

    id: int
    destination: str
    state: str
    in_doubt: bool
    reason: str


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
    order_key: str  # of its own lane
    resend_of: int  # the delivery it repeats on somebody's word


class AttemptRow(NamedTuple):
    delivery_id: int
    n: int
    epoch: int
    started_at: int
    ended_at: int  # 0 while it is under way
    outcome: str  # '' while it is under way
    in_doubt: bool
    reason: str
    reply: bytes  # its first 256 KiB
    reply_size: int = 0  # bytes of it that are kept, also where they were not asked for


class StandingRow(NamedTuple):
    """Where a waiting delivery stands in one of its lanes."""

    order_key: str  # begins with GATE where it waits for another route of the same message
    ahead: int  # deliveries before it; counted up to a thousand
    head: int  # the delivery whose turn it is
    head_message: int
    due: int  # when the head is tried again; 0: now
    sending: bool  # an attempt is under way in this lane


class Counts(NamedTuple):
    messages: dict[tuple[str, str], int]  # (channel, state)
    deliveries: dict[tuple[str, str], int]  # (destination, state); waiting ones include those under way
    channels: dict[str, tuple[str, str]]  # name: (state, reason)
    destinations: dict[str, tuple[str, str]]  # name: (state, reason)
    lanes: dict[str, int]  # destination: lanes in which something waits
    oldest: dict[str, int]  # destination: when the oldest waiting head was recorded


class RefusedRow(NamedTuple):
    """A frame that was no message."""

    id: int
    channel: str
    received_at: int
    peer: str
    reason: str  # one of the connector's words
    size: int  # of all of it
    content: bytes  # its beginning


class UnknownRow(NamedTuple):
    """A code that its table has no row for."""

    table: str
    value: str
    waiting: int  # messages that are parked for it now
    messages: int  # how often one parked for it, over all time
    first_seen: int
    last_seen: int
    path: str  # where it stood, in the first of them


class ActionRow(NamedTuple):
    """What somebody did."""

    token: str
    done_at: int
    verb: str
    who: str
    why: str
    messages: int
    deliveries: int


class PlannedDelivery(NamedTuple):
    id: int
    destination: str
    state: str  # waiting includes those under way
    order_key: str  # of its own lane
    lane: int = 0
    resend_of: int = 0  # the delivery it repeats on somebody's word
    content: int = 0  # whose content it has


class PlannedMessage(NamedTuple):
    """What an action on a message would find."""

    row: MessageRow
    deliveries: tuple[PlannedDelivery, ...]


class ParkedRow(NamedTuple):
    """Parked messages, or parked deliveries, of one reason: a line of the worklist before it is grouped by cause."""

    channel: str
    destination: str  # '' for messages
    kind: str  # the reason's kind: one of `ParkReason`
    reason: str
    things: int
    first: int  # the oldest one's id
    last: int
    oldest: int  # when the oldest was received, or its delivery recorded
    newest: int
    in_doubt: int  # of these deliveries: how many may have arrived


class DoubtRow(NamedTuple):
    """A delivery that may have arrived, and that nobody has answered for."""

    delivery_id: int
    message_id: int
    channel: str
    destination: str
    state: str
    attempts: int
    since: int  # when its state last changed
    reason: str
