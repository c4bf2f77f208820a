"""The nouns. When responsibility changes, the type changes: `Arrival` → `Message`, `Outgoing` → `Delivery`.

All are immutable. Instants are integers: microseconds since 1970-01-01T00:00:00Z. The words for states are the same
here, in SQL, in configuration, in metrics and in the console.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

GATE: Final = "\x1e"  # what an order key begins with that makes deliveries of one message wait for one another

SECOND: Final = 1_000_000  # of an instant

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class MessageState(StrEnum):
    RECEIVED = "received"  # stored, not yet translated
    TRANSLATED = "translated"  # every route has been recorded, as deliveries or as not taken
    FILTERED = "filtered"  # unwanted but fine: answered positively, kept with the rule and the value that decided
    PARKED = "parked"  # waits for a person, with a reason
    REJECTED = "rejected"  # refused on the wire, kept for the record
    DUPLICATE = "duplicate"  # a re-send of one we have; the original's answer was given again


class DeliveryState(StrEnum):
    WAITING = "waiting"  # for its turn or for its due time
    SENDING = "sending"  # an attempt is under way
    DELIVERED = "delivered"  # a well-formed positive answer that names what we sent
    PARKED = "parked"  # refused; waits for a person
    CANCELLED = "cancelled"  # by a named person
    EXPIRED = "expired"  # gave up after the time its destination sets


class ParkReason(StrEnum):
    REFUSED = "refused"
    POISON = "poison"
    UNKNOWN_CODE = "unknown_code"
    MAPPING = "mapping"
    WAITS_FOR = "waits_for"


class AckState(StrEnum):
    OWED = "owed"
    SENT = "sent"
    LOST = "lost"


class Confirmation(StrEnum):
    """The answer that comes later and elsewhere: 999, 277CA, an application acknowledgement."""

    NONE = "none"
    AWAITED = "awaited"
    POSITIVE = "positive"
    NEGATIVE = "negative"
    MISSING = "missing"


class DestinationState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"  # by a person
    HELD = "held"  # a configuration fault: nothing is lost, nothing is tried until it is mended
    OPEN = "open"  # the breaker: one probe at a time


class ChannelState(StrEnum):
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class Verdict(StrEnum):
    ACCEPTED = "accepted"  # on disk; the sender may forget it (AA, CA, 2xx)
    REFUSED = "refused"  # the content is at fault: do not send this again (AE/AR, 4xx)
    UNAVAILABLE = "unavailable"  # our fault or our load: send it again later (AR + 207, 503)


class Heading(NamedTuple):
    """Cheap facts about a message, read without parsing it. Absent ones are empty text."""

    kind: str  # MSH-9 as `ADT^A01`, ST01, a resource type
    control_id: str  # MSH-10, ISA13, Bundle.identifier
    sender: str  # MSH-3 and MSH-4 as `APP|FACILITY`
    version: str = ""  # MSH-12, GS08
    processing_id: str = ""  # MSH-11


NO_HEADING: Final = Heading("", "", "")


class Arrival(NamedTuple):
    """Bytes on a wire: nobody is responsible for them yet."""

    content: bytes
    peer: str  # who sent it, as `host:port` or a path
    headers: Mapping[str, str] = NO_HEADERS  # of the transport, for formats that need them; never logged


class Admission(NamedTuple):
    """What intake asks the store to take: an arrival, judged."""

    channel: str
    content: bytes
    peer: str
    heading: Heading
    received_at: int
    digest: bytes  # SHA-256 of the content
    state: MessageState = MessageState.RECEIVED  # RECEIVED, FILTERED or REJECTED; TRANSLATED: a batch, its parts go on
    reason: str = ""  # the rule and the value that decided, or what is wrong and where
    dedupe_key: bytes = b""  # 16 bytes over the channel's `unique_by`; empty: this message cannot be deduped
    replay_of: int = 0  # the message this one replays
    part_of: int = 0  # the arrival this one was split from
    parts: tuple[Admission, ...] = ()  # of a batch: taken in the same transaction, as messages of their own, `part_of` this one
    window: int = 0  # microseconds within which the same dedupe key means a re-send; 0: for as long as the store has it


class Taken(NamedTuple):
    """The store's answer, given after the commit. For a duplicate, the facts are the original's.

    The acknowledgement is a pure function of the original content and these facts, so a re-send gets the same bytes.
    """

    message_id: int
    received_at: int
    state: MessageState
    reason: str
    duplicate: bool = False
    key_reuse: bool = False  # same dedupe key, other content: routed all the same, and flagged
    parts: tuple[Taken, ...] = ()  # of a batch, in order


class Receipt(NamedTuple):
    """What a source tells its peer."""

    verdict: Verdict
    message_id: int = 0  # 0: not stored
    received_at: int = 0
    reason: str = ""  # names the segment and field at fault
    place: str = ""  # e.g. `PID-3`, where known
    code: str = "0"  # HL7 table 0357
    reply: bytes | None = None  # the acknowledgement in the channel's format; None: the source answers by status alone
    also: tuple[tuple[str, str, str], ...] = ()  # further faults, as (reason, place, code)
    follows: bool = False  # an application acknowledgement follows, as a delivery of its own, where the content asks for one
    parts: tuple[Receipt, ...] = ()  # of a batch, in order


class Message(NamedTuple):
    """A message we are responsible for."""

    id: int  # also its sequence within the channel
    channel: str
    content: bytes
    heading: Heading
    peer: str
    received_at: int
    replay_of: int = 0
    part_of: int = 0


class Outgoing(NamedTuple):
    """A route's product, not yet stored."""

    route: str
    destination: str
    content: bytes
    content_type: str  # `application/hl7-v2`, `application/json`, `application/xml`, `text/plain`
    identity: str  # transport identity, the same on every attempt: MSH-10, Idempotency-Key, file name
    order_keys: tuple[str, ...] = ("",)  # the lanes it stands in; it starts when it heads all of them
    idempotency_key: str = ""  # of the business fact, the same for a replay; empty for pass-through
    kind: str = ""  # `charge/v1`, `ORU^R01`
    action: str = ""  # the canonical envelope's action


class Delivery(NamedTuple):
    """An outgoing we must bring to its destination."""

    id: int
    message_id: int
    channel: str
    route: str
    destination: str
    content: bytes
    content_type: str
    identity: str
    idempotency_key: str
    lane: int  # the lane whose turn this is
    attempts: int  # this one included
    created_at: int
    in_doubt: bool  # an earlier attempt may have arrived
    expires_at: int = 0


class Translation(NamedTuple):
    """What became of one message: recorded with all its deliveries in one transaction."""

    message_id: int
    channel: str
    state: MessageState  # TRANSLATED, FILTERED (no route taken) or PARKED
    reason: str = ""  # `mapping: dft-to-charge charge.department: FT1-13.1 is required (FT1[2])`
    park_reason: str = ""
    outgoings: tuple[Outgoing, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()  # business keys: (name, value), from the channel's `index:`
    not_taken: tuple[tuple[str, str], ...] = ()  # (route, the condition and the value that decided)
    config: str = ""  # version of the configuration that translated it
    unknown: tuple[tuple[str, str, str], ...] = ()  # codes it waits for: (table, value, example path)


# What a send can give. An unknown answer is never success.


class Delivered(NamedTuple):
    """A well-formed positive answer whose correlation id equals the one sent."""

    reply: bytes = b""


class Refused(NamedTuple):
    """The peer understood and said no: trying again gives the same (AE, 4xx)."""

    reason: str
    reply: bytes = b""
    tries: int = 1  # refusals that park it; more where it said no without saying why; 0: none does
    code: str = ""  # the answer's own word, where `answers:` may make something else of it: `AE`, `AE/205`


class Unreached(NamedTuple):
    """Certainly not received: connection refused, name not found, TLS handshake failed before the first byte."""

    reason: str


class Unknown(NamedTuple):
    """May have been received: time-out, reset after the first byte, an answer that cannot be credited, 500, 502, 504, 408."""

    reason: str
    reply: bytes = b""
    then: str = ""  # `park` or `hold`, where the destination's `answers:` have it so; it stays in doubt


class Busy(NamedTuple):
    """The peer asks to wait: 429, 503, AR with error 207. `after`: seconds it asked for, 0 if it did not say."""

    reason: str
    after: float = 0
    reply: bytes = b""
    code: str = ""  # as of `Refused`


class Misconfigured(NamedTuple):
    """Nothing will pass until a person mends the destination: 401, 403, certificate, host key."""

    reason: str
    reply: bytes = b""


class Withdrawn(NamedTuple):
    """Begun but not sent, because an older one in its lane failed: as if never begun."""

    reason: str = "withdrawn"


Outcome = Delivered | Refused | Unreached | Unknown | Busy | Misconfigured


# What follows from an outcome.


class Retry(NamedTuple):
    at: int  # due at


class Close(NamedTuple):
    state: DeliveryState  # DELIVERED, PARKED or EXPIRED
    reason: str = ""


class Hold(NamedTuple):
    """The destination stands still; the delivery keeps waiting at the head of its lane."""

    reason: str


Decision = Retry | Close | Hold


class Settlement(NamedTuple):
    """The end of one attempt, recorded with what follows from it."""

    delivery: Delivery
    outcome: Outcome | Withdrawn
    decision: Decision
    started_at: int
    ended_at: int


# What a sender waits for.


class Ended(NamedTuple):
    """How far one delivery has come."""

    route: str
    delivered: bool
    waits: bool  # it has not ended
    reason: str
    reply: bytes  # its last attempt's


class Verdicts(NamedTuple):
    """How far a message has come."""

    state: MessageState
    reason: str
    deliveries: tuple[Ended, ...]


# What people do to messages and deliveries.


class Verb(StrEnum):
    RELEASE = "release"  # parked messages are translated anew, parked deliveries sent again: what they waited for is mended
    CANCEL = "cancel"  # parked or waiting: it ends, undelivered, by a named person
    RESEND = "resend"  # a delivery that has ended goes out once more, under the same identity
    REPLAY = "replay"  # a message is taken once more, translated by today's mapping, under a new identity


class Action(NamedTuple):
    """One verb on a bounded number of things, done in one transaction.

    `token` makes it idempotent: the store remembers it, and the same one again changes nothing and answers the same.
    Ids that are not in a state the verb applies to are passed over, never an error: states change under one's hands.
    """

    token: str
    verb: Verb
    who: str  # a person, or `wardline` for what the engine does by itself
    why: str = ""
    messages: tuple[int, ...] = ()
    deliveries: tuple[int, ...] = ()


class Acted(NamedTuple):
    """What an action changed."""

    messages: int
    deliveries: int
    repeated: bool = False  # the token was known: this is the first answer again
    channels: tuple[str, ...] = ()  # where messages are received that a cursor has passed: begin again below it
    destinations: tuple[str, ...] = ()  # where lanes go on that may have stood still


class RefusedFrame(NamedTuple):
    """Bytes that came over a connection and are no message: kept in a bounded ring, so that a sender's fault can be seen."""

    channel: str
    peer: str
    reason: str  # one of the connector's words
    received_at: int
    size: int  # of all of it
    content: bytes  # its first 64 KiB


class Walk(StrEnum):
    """What is forgotten, and so which table is walked."""

    CONTENT = "content"  # of messages and deliveries, and replies
    EVERYTHING = "everything"  # messages with all that became of them


class Pruned(NamedTuple):
    """What one slice of pruning forgot."""

    messages: int = 0
    deliveries: int = 0
    contents: int = 0
    reached: int = 0  # the id the next slice goes on from; 0: nothing older is left


class Opened(NamedTuple):
    """What opening and recovering the store found."""

    in_doubt: int  # attempts that were under way when the engine died
    untranslated: int  # messages received and not yet translated, over all channels
    paused: tuple[tuple[str, str, int], ...] = ()  # destinations that a person paused: (name, reason, since)
    channels: tuple[tuple[str, ChannelState, str, int], ...] = ()  # those that do not run: (name, state, reason, since)
