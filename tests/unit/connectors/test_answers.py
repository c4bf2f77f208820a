"""`answers:` of a destination: another meaning for an answer, and never one for what cannot be credited."""

from __future__ import annotations

from typing import Any

import pytest

from engine.connectors.http.outcome import outcome_of
from engine.connectors.mllp import ConnectOptions
from engine.connectors.mllp.destination import MllpDestination
from engine.model import Busy, Delivered, Delivery, Misconfigured, Refused, Unknown
from engine.testing import world as worlds
from engine.testing.world import World
from tests.contract.connectors.mllp_peers import Receiver, acknowledgement

HTTP: list[tuple[int, dict[str, str], Any]] = [
    # status, answers → outcome
    (409, {"409": "delivered"}, Delivered(b"body")),
    (409, {"4xx": "retry"}, Refused("HTTP 409 Conflict", b"body", tries=0)),
    (409, {"4xx": "hold", "409": "park"}, Refused("HTTP 409 Conflict", b"body")),
    (410, {"409": "delivered"}, Refused("HTTP 410 Gone", b"body")),
    (404, {"404": "park"}, Refused),
    (
        404,
        {"404": "retry"},
        Busy("HTTP 404 Not Found: there is nothing at this URL: see url in the destination's file", 0, b"body"),
    ),
    (401, {"4xx": "retry"}, Busy),
    (422, {"422": "hold"}, Misconfigured),
    (500, {"500": "park"}, Unknown("HTTP 500 Internal Server Error", b"body", "park")),  # it may have arrived all the same
    (502, {"5xx": "hold"}, Unknown("HTTP 502 Bad Gateway", b"body", "hold")),
    (500, {"500": "delivered"}, Unknown("HTTP 500 Internal Server Error", b"body")),  # options refuse it as well
    (500, {"5xx": "retry"}, Unknown),  # it may have arrived: that stays true
    (501, {"5xx": "retry"}, Refused("HTTP 501 Not Implemented", b"body", tries=0)),
    (503, {"5xx": "retry"}, Busy("HTTP 503 Service Unavailable", 30, b"body")),  # and waits as long as it was asked to
    (503, {"5xx": "hold"}, Misconfigured),
    (302, {"3xx": "hold"}, Misconfigured),
    (200, {"2xx": "park"}, Delivered(b"body")),
    (600, {"6xx": "delivered"}, Unknown),
]


@pytest.mark.parametrize(("status", "answers", "expected"), HTTP)
def test_http(status: int, answers: Any, expected: Any) -> None:
    outcome = outcome_of(status, b"body", "30", 0, {key: value for key, value in answers.items() if key[0] in "345"})
    if isinstance(expected, type):
        assert type(outcome) is expected, outcome
    else:
        assert (type(outcome), outcome) == (type(expected), expected)


def message(number: int = 1) -> Delivery:
    content = f"MSH|^~\\&|WARDLINE|HOSPITAL|LAB|HOSPITAL|20260911120000||ADT^A08|W{number}|P|2.5.1\rPID|1||{number}\r"
    return worlds.delivery(content.encode(), number)


DUPLICATE = "205^Duplicate key identifier^HL70357"
LOCKED = "206^Application record locked^HL70357"
MLLP: list[tuple[str, str, dict[str, str], Any]] = [
    # MSA-1, ERR-3, answers → outcome
    ("AE", "", {}, 1), ("AE", "", {"AE": "retry"}, 0), ("AE", "", {"AE": "hold"}, Misconfigured),
    ("AE", DUPLICATE, {"AE/205": "delivered"}, Delivered), ("AE", "", {"AE/205": "delivered"}, 1),
    ("CE", DUPLICATE, {"AE/205": "delivered"}, 1), ("AE", DUPLICATE, {"AE": "retry", "AE/205": "park"}, 1),
    ("AR", "", {}, 5), ("AR", "", {"AR": "park"}, 1), ("CR", "", {"CR": "retry"}, 0), ("CR", "", {}, 5),
    ("AR", LOCKED, {}, Busy), ("AR", LOCKED, {"AR": "retry"}, Busy), ("AR", LOCKED, {"AR/206": "park"}, 1),
    ("AA", "", {"AE": "park", "AR": "hold"}, Delivered),
]  # fmt: skip


@pytest.mark.parametrize(("code", "error", "answers", "expected"), MLLP)
async def test_mllp(code: str, error: str, answers: dict[str, Any], expected: Any) -> None:
    outcome = await answered(acknowledgement(message().content, code, error=error), answers)
    if isinstance(expected, int):
        assert type(outcome) is Refused, outcome
        assert outcome.tries == expected
    else:
        assert type(outcome) is expected, outcome


EVERYTHING: dict[str, Any] = {f"{code}/205": "delivered" for code in ("AE", "AR", "CE", "CR")}


@pytest.mark.parametrize(
    "answer",
    [
        acknowledgement(message(2).content, "AE", error=DUPLICATE),  # of another message
        acknowledgement(message().content, "AE", b"", error=DUPLICATE),  # of none
        acknowledgement(message().content, "XE", error=DUPLICATE),
        b"MSA|AE|W1\rERR|||205\r",
        b"AE/205",
    ],
)
async def test_i3_what_cannot_be_credited_is_never_delivered(answer: bytes) -> None:
    assert type(await answered(answer, EVERYTHING)) is Unknown


async def answered(answer: bytes, answers: dict[str, Any]) -> Any:
    world = World()
    receiver = await Receiver(world.network).start(("lab", 2575))
    receiver.scripted = answer
    destination = MllpDestination(ConnectOptions(connect="lab:2575", answers=answers), world.runtime, "lab")
    outcome = await destination.send(message())
    await destination.stop()
    return outcome
