"""One type per thing worth telling. Logs, metrics, alerts and audit derive from these and from nothing else.

An event is told after the fact it names is on disk. It never carries message content: ids, names, counts, reasons that
name places. `level` is what the log uses: normal operation says nothing above debug.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Received(NamedTuple):
    """A message was stored as received, and its positive acknowledgement may leave."""

    channel: str
    message_id: int
    size: int  # bytes


class Duplicate(NamedTuple):
    """A re-send of a message we have: its first acknowledgement is given again."""

    channel: str
    message_id: int  # the original's


class KeyReuse(NamedTuple):
    """The same dedupe key came with other content: routed, and worth a look."""

    channel: str
    message_id: int


class Filtered(NamedTuple):
    """A message was unwanted but fine; `reason` is the rule that decided."""

    channel: str
    message_id: int
    reason: str


class Rejected(NamedTuple):
    """Refused on the wire. `message_id` is 0 when it could not even be kept."""

    channel: str
    message_id: int
    reason: str


class Unavailable(NamedTuple):
    """Not stored for our own reasons; the sender was asked to send it again."""

    channel: str
    reason: str


class Acknowledged(NamedTuple):
    """The reply was handed to the transport (`heard`), or the peer had gone. `seconds` since the arrival."""

    channel: str
    message_id: int
    heard: bool
    seconds: float


class Translated(NamedTuple):
    """Every route of a message was recorded, as deliveries or as not taken."""

    channel: str
    message_id: int
    deliveries: int


class Parked(NamedTuple):
    """A message waits for a person."""

    channel: str
    message_id: int
    park_reason: str
    reason: str


class Attempted(NamedTuple):
    """One attempt ended: `outcome` is the outcome's name in lower case."""

    destination: str
    delivery_id: int
    message_id: int
    outcome: str
    attempt: int
    seconds: float
    reason: str


class DeliveryEnded(NamedTuple):
    """A delivery reached an end state. `seconds` since it was recorded."""

    destination: str
    delivery_id: int
    message_id: int
    state: str
    reason: str
    seconds: float


class DestinationChanged(NamedTuple):
    """A destination runs, is paused, held or open; `reason` says why."""

    destination: str
    state: str
    reason: str


class ChannelChanged(NamedTuple):
    """A channel runs, drains, has stopped or failed; `reason` says why."""

    channel: str
    state: str
    reason: str


class Listening(NamedTuple):
    """A source accepts work at `address`."""

    channel: str
    address: str


class FrameRefused(NamedTuple):
    """Bytes on a connection that are no frame, too large or too slow; `reason` is one of the connector's words."""

    channel: str
    peer: str
    reason: str
    size: int


class Irregular(NamedTuple):
    """Not as it should be, and work goes on: a sender whose frames lack a byte, one we dial that is away, a renewed
    certificate that cannot be read. Told once a peer and reason in ten minutes."""

    channel: str
    peer: str
    reason: str


class Committed(NamedTuple):
    """One group commit: how many verbs' items it carried and how long commit and fsync took."""

    items: int
    seconds: float


class Recovered(NamedTuple):
    """What the start found: attempts that were under way and are now in doubt, messages not yet translated."""

    in_doubt: int
    untranslated: int


class SpaceChanged(NamedTuple):
    """Room on the store's disk is `ample`, `low` or `full`: then nothing more is taken, and deliveries go on."""

    state: str
    free: int  # bytes, with the reserve in place
    total: int


class Pruned(NamedTuple):
    """What retention has forgotten."""

    messages: int
    deliveries: int
    contents: int


class Submitted(NamedTuple):
    """A person gave a channel a message by hand; `verdict` is what a sender would have been told."""

    channel: str
    message_id: int  # 0: it could not be stored
    verdict: str
    who: str
    why: str


class EngineChanged(NamedTuple):
    """`started`, `reloaded`, `not reloaded` (everything is as it was), `stopping`, `stopped`; `fault` (our own, and work goes
    on), `failed` (it ends)."""

    state: str
    reason: str


Event = (
    Received
    | Duplicate
    | KeyReuse
    | Filtered
    | Rejected
    | Unavailable
    | Acknowledged
    | Translated
    | Parked
    | Attempted
    | DeliveryEnded
    | DestinationChanged
    | ChannelChanged
    | Listening
    | FrameRefused
    | Irregular
    | Committed
    | Recovered
    | SpaceChanged
    | Pruned
    | Submitted
    | EngineChanged
)
Emit = Callable[[Event], None]

LEVELS: dict[type, str] = {
    KeyReuse: "warning",
    Rejected: "warning",
    Unavailable: "warning",
    Parked: "warning",
    FrameRefused: "warning",
    Irregular: "warning",
    DestinationChanged: "warning",
    ChannelChanged: "info",
    Listening: "info",
    Recovered: "info",
    SpaceChanged: "warning",
    Submitted: "info",
    EngineChanged: "info",
}
"""The log level of each event; what is not named here is debug."""


def silent(event: Event) -> None:
    """An `Emit` for those who do not listen."""
