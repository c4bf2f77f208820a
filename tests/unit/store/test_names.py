"""Words and numbers."""

from __future__ import annotations

from engine.model import (
    AckState,
    ChannelState,
    Confirmation,
    DeliveryState,
    DestinationState,
    MessageState,
    ParkReason,
)
from engine.store.queueing import LANE_BITS, lane_of
from engine.store.words import CODES, FIRST_NAME, WORDS


def test_every_word_of_the_model_has_a_number_of_its_own() -> None:
    for states in (MessageState, DeliveryState, DestinationState, ChannelState, AckState, Confirmation, ParkReason):
        for state in states:
            assert WORDS[CODES[state]] == state
    assert len(set(CODES.values())) == len(CODES)
    assert all(1 < code < FIRST_NAME for code in WORDS)  # one byte each in a row, and apart from a site's own names


def test_a_lane_is_stable_and_belongs_to_its_destination() -> None:
    assert lane_of(1, 1, "4711") == 0x1_3F73_70D3_EC15  # written into stores: it may never change
    assert lane_of(3, 1, "x") >> LANE_BITS == 3
    lanes = {lane_of(to, channel, key) for to in (1, 2) for channel in (1, 2, 11) for key in ("", "1", "1 1", "x")}
    assert len(lanes) == 24
    assert all(0 < lane < 1 << 63 for lane in lanes)
    assert lane_of((1 << 15) - 1, 1, "x") < 1 << 63
