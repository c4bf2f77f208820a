"""A code that no table has: the message parks for exactly that, however it travels."""

from __future__ import annotations

from typing import Any

from engine.contracts import Channel, Document, Facts, Product, Route
from engine.errors import UnknownCode
from engine.model import Heading, Message, MessageState
from engine.pipeline import parcels
from engine.pipeline.translate import translate
from engine.registry import formats

BODY = b"MSH|^~\\&|EHR|GENERAL|WARDLINE|GENERAL|20260901101500||ADT^A01|C1|P|2.5.1\rPID|1||4711\r"


class NoRow:
    name = "dft-to-charge"

    def apply(self, document: Document, facts: Facts) -> list[Product]:
        raise UnknownCode("departments has no row for X1", "FT1[2]-13.1", "departments", "X1")


def test_the_code_and_where_it_stood_are_recorded() -> None:
    mapping: Any = NoRow()
    channel = Channel("adt", "", "memory", None, formats()["hl7v2"].build(), (Route("out", "erp", mapping),))
    message = Message(5, "adt", BODY, Heading("ADT^A01", "C1", ""), "", 0)
    parked = translate(channel, message, Facts(channel="adt"), "v1")
    assert (parked.state, parked.park_reason, parked.outgoings) == (MessageState.PARKED, "unknown_code", ())
    assert parked.unknown == (("departments", "X1", "FT1[2]-13.1"),)
    assert parcels.read_translations(parcels.of_translations([parked])) == [parked]


def test_a_sender_that_is_answered_hears_of_it_too() -> None:
    mapping: Any = NoRow()
    channel = Channel(
        "adt", "", "memory", None, formats()["hl7v2"].build(), (Route("out", "erp", mapping),), answers_to="replies"
    )
    asks = BODY.replace(b"|2.5.1\r", b"|2.5.1|||AL|AL\r", 1)
    parked = translate(channel, Message(5, "adt", asks, Heading("ADT^A01", "C1", ""), "", 0), Facts(channel="adt"), "v1")
    assert parked.unknown == (("departments", "X1", "FT1[2]-13.1"),)
    (answer,) = parked.outgoings
    assert (answer.destination, b"MSA|AE|C1" in answer.content) == ("replies", True)
