"""Who takes what arrives at an address that several channels share."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred

from engine.contracts import Channel, Facts
from engine.model import Arrival
from engine.pipeline.desk import Desk, Seat
from engine.registry import formats

MESSAGE = b"MSH|^~\\&|EHR|GENERAL|||20260901101500||%s|1|P|2.5.1\r"


class Picks:
    text = "=MSH-9.1"

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __call__(self, document: Any, facts: Any) -> bool:
        if document["MSH-9.1"] == "BAD":
            raise ZeroDivisionError("nobody foresaw this")
        return bool(document["MSH-9.1"] == self._kind)


@pytest.mark.parametrize(("kind", "taker"), [(b"ORU", "results"), (b"ADT", "rest"), (b"BAD", "rest")])
def test_the_first_that_picks_it_or_whoever_takes_the_rest(kind: bytes, taker: str) -> None:
    taken: list[str] = []

    def seat(name: str, picks: Picks | None) -> Seat:
        async def intake(arrival: Any, reply: Any) -> None:
            taken.append(name)

        channel = Channel(name, "", "memory", None, formats()["hl7v2"].build(), (), picks=picks)
        return Seat(channel, Facts(channel=name), intake)  # type: ignore[arg-type]

    desk = Desk()
    desk.seat([seat("rest", None), seat("results", Picks("ORU")), seat("orders", Picks("ORM"))])
    ensureDeferred(desk(Arrival(MESSAGE % kind, "peer"), lambda receipt: None))  # type: ignore[arg-type]
    assert taken == [taker]
