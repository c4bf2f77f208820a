"""Words as small numbers: the dictionary that the tables point into.

Rows hold numbers, the table `name` holds what they mean, so that SQL says the same words as everything else
(`JOIN name ON name.id = message.state`). The words of the first schema have fixed numbers, written when a store is
created; names that a site brings (routes, content types, business keys) get theirs as they come, and so do words that came
with a later schema: an older store may have given a name of a site's the same text. Numbers are never reused.
"""

from __future__ import annotations

from typing import Final

from engine.model import (
    AckState,
    ChannelState,
    Confirmation,
    DeliveryState,
    DestinationState,
    MessageState,
    ParkReason,
)

BLOCKED: Final = "blocked"  # a lane whose head waits for its turn in another lane
CONTROL_ID: Final = "control_id"  # the business key that every message has

# All of them take one byte in a SQLite row, so that a changed state never moves a row.
_WORDS: Final = (
    (2, MessageState.RECEIVED),
    (3, MessageState.TRANSLATED),
    (4, MessageState.FILTERED),
    (5, MessageState.PARKED),
    (6, MessageState.REJECTED),
    (7, MessageState.DUPLICATE),
    (8, DeliveryState.WAITING),
    (9, DeliveryState.SENDING),
    (10, DeliveryState.DELIVERED),
    (11, DeliveryState.CANCELLED),
    (12, DeliveryState.EXPIRED),
    (13, BLOCKED),
    (20, ParkReason.REFUSED),
    (21, ParkReason.POISON),
    (22, ParkReason.UNKNOWN_CODE),
    (23, ParkReason.MAPPING),
    (24, ParkReason.WAITS_FOR),
    (30, AckState.OWED),
    (31, AckState.SENT),
    (32, AckState.LOST),
    (40, Confirmation.NONE),
    (41, Confirmation.AWAITED),
    (42, Confirmation.POSITIVE),
    (43, Confirmation.NEGATIVE),
    (44, Confirmation.MISSING),
    (50, DestinationState.RUNNING),
    (51, DestinationState.PAUSED),
    (52, DestinationState.HELD),
    (53, DestinationState.OPEN),
    (54, ChannelState.DRAINING),
    (55, ChannelState.STOPPED),
    (56, ChannelState.FAILED),
    (60, "unreached"),
    (61, "unknown"),
    (62, "busy"),
    (63, "misconfigured"),
    (70, CONTROL_ID),
)

CODES: Final[dict[str, int]] = {str(word): code for code, word in _WORDS}
WORDS: Final[dict[int, str]] = {code: str(word) for code, word in _WORDS}
FIRST_NAME: Final = 100

RECEIVED: Final = CODES["received"]
TRANSLATED: Final = CODES["translated"]
FILTERED: Final = CODES["filtered"]
PARKED: Final = CODES["parked"]
REJECTED: Final = CODES["rejected"]
DUPLICATE: Final = CODES["duplicate"]
WAITING: Final = CODES["waiting"]
SENDING: Final = CODES["sending"]
DELIVERED: Final = CODES["delivered"]
CANCELLED: Final = CODES["cancelled"]
EXPIRED: Final = CODES["expired"]
LANE_BLOCKED: Final = CODES[BLOCKED]
RUNNING: Final = CODES["running"]
HELD: Final = CODES["held"]
UNKNOWN: Final = CODES["unknown"]
CONTROL: Final = CODES[CONTROL_ID]
