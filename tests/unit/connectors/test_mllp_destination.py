"""What the MLLP destination does with its connections: one message in flight, and an answer that belongs to it."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred

from engine.connectors.mllp import ConnectOptions
from engine.connectors.mllp.destination import MllpDestination
from engine.model import Delivered, Delivery, Refused, Unknown, Unreached
from engine.quantities import Address
from engine.testing import world as worlds
from engine.testing.world import World, turn, until
from tests.contract.connectors.mllp_peers import Receiver, acknowledgement


def message(number: int) -> Delivery:
    content = f"MSH|^~\\&|WARDLINE|HOSPITAL|LAB|HOSPITAL|20260911120000||ADT^A08|W{number}|P|2.5.1\rPID|1||{number}\r"
    return worlds.delivery(content.encode(), number)


async def pair(**options: Any) -> tuple[World, Receiver, MllpDestination]:
    world = World()
    receiver = await Receiver(world.network).start(("lab", 2575))
    return world, receiver, MllpDestination(ConnectOptions(connect="lab:2575", **options), world.runtime, "lab")


async def settled() -> None:
    for _ in range(5):
        await turn()


async def test_a_connection_is_kept_for_the_next_message() -> None:
    _, receiver, destination = await pair()
    for number in range(5):
        assert type(await destination.send(message(number))) is Delivered
    assert receiver.made == 1
    await destination.stop()


async def test_without_keep_open_each_message_has_its_connection() -> None:
    _, receiver, destination = await pair(keep_open=False)
    for number in range(3):
        assert type(await destination.send(message(number))) is Delivered
    await until("the connections to close", lambda: receiver.connections == 0)
    assert receiver.made == 3
    await destination.stop()


async def test_the_bytes_and_the_identity_are_the_same_on_every_attempt() -> None:  # I4
    _, receiver, destination = await pair()
    receiver.mood = "reset"
    assert type(await destination.send(message(1))) is Unknown
    receiver.mood = "accept"
    assert type(await destination.send(message(1))) is Delivered
    assert receiver.received == [message(1).content] * 2


async def test_a_connection_that_the_peer_closed_while_idle_is_made_again_without_doubt() -> None:
    _, receiver, destination = await pair()
    assert type(await destination.send(message(1))) is Delivered
    receiver.open[0].transport.loseConnection()
    await settled()
    assert type(await destination.send(message(2))) is Delivered
    assert receiver.made == 2
    await destination.stop()


@pytest.mark.parametrize(
    "unasked",
    [
        b"\x0b" + acknowledgement(message(2).content, "AA") + b"\x1c\r",  # a forged one for the next message
        b"\x0bMSH|^~\\&|half",
        b"welcome to the lab\r\n",
    ],
)
async def test_bytes_that_nobody_asked_for_cost_the_connection(unasked: bytes) -> None:
    _, receiver, destination = await pair()
    assert type(await destination.send(message(1))) is Delivered
    receiver.open[0].transport.write(unasked)
    await settled()
    assert receiver.connections == 0
    receiver.mood = "refuse"
    outcome = await destination.send(message(2))
    assert type(outcome) is Refused, "the refusal is the answer, not what came before the message"
    await destination.stop()


async def test_a_line_end_after_the_acknowledgement_is_harmless() -> None:  # B018
    _, receiver, destination = await pair()
    assert type(await destination.send(message(1))) is Delivered
    receiver.open[0].transport.write(b"\r\n")
    await settled()
    assert type(await destination.send(message(2))) is Delivered
    assert receiver.made == 1
    await destination.stop()


async def answered_with(answer: bytes) -> tuple[Any, Receiver, MllpDestination]:
    _, receiver, destination = await pair()
    receiver.mood = "silent"
    sending = ensureDeferred(destination.send(message(1)))
    await until("the message", lambda: receiver.received)
    receiver.open[0].transport.write(answer)
    outcome = await sending
    await settled()
    return outcome, receiver, destination


async def test_an_extra_frame_after_the_acknowledgement_costs_the_connection() -> None:
    good = b"\x0b" + acknowledgement(message(1).content, "AA") + b"\x1c\r"
    forged = b"\x0b" + acknowledgement(message(2).content, "AA") + b"\x1c\r"
    outcome, receiver, destination = await answered_with(good + forged)
    assert type(outcome) is Delivered
    assert receiver.connections == 0
    await destination.stop()


@pytest.mark.parametrize(
    "answer",
    [
        b"\x0b" + acknowledgement(message(2).content, "AA") + b"\x1c\r",  # names another message
        b"\x0b" + acknowledgement(message(1).content, "AA", b"") + b"\x1c\r",  # names none
        b"\x0b" + acknowledgement(message(1).content, "ZZ") + b"\x1c\r",  # no such code
        b"\x0b" + acknowledgement(message(1).content, "") + b"\x1c\r",
        b"\x0b\x06\x1c\r",  # B024: a commit acknowledgement of MLLP release 2
        b"\x0b\x1c\r",
        b"\x0bMSH|^~\\&|LAB\r\x1c\r",
        b"\x0b" + message(1).content + b"\x1c\r",  # our own message back
        b"\x0bMSA|AA|W1\r\x1c\r",
        b"HTTP/1.1 200 OK\r\n\r\n\x0b" + acknowledgement(message(1).content, "AA") + b"\x1c\r",
        b"x" * 70_000,
        b"\x0b" + b"x" * 2_000_000,
    ],
)
async def test_what_is_no_matching_acknowledgement_is_unknown_and_costs_the_connection(answer: bytes) -> None:
    outcome, receiver, destination = await answered_with(answer)
    assert type(outcome) is Unknown, outcome
    assert receiver.connections == 0
    await destination.stop()


async def test_a_time_out_says_what_came_instead() -> None:
    world, receiver, destination = await pair(ack_timeout="5s")
    receiver.mood = "silent"
    sending = ensureDeferred(destination.send(message(1)))
    await until("the message", lambda: receiver.received)
    receiver.open[0].transport.write(b"MSH|no frame\r")
    await settled()
    world.clock.advance(5)
    outcome = await sending
    assert outcome == Unknown("no acknowledgement within 5s, only 13 bytes that are no MLLP frame")
    await destination.stop()


async def test_the_wait_for_one_message_does_not_shorten_the_next_ones() -> None:
    world, receiver, destination = await pair()
    assert type(await destination.send(message(1))) is Delivered
    world.clock.advance(20)  # the link's timer still stands for the first
    receiver.mood = "silent"
    sending = ensureDeferred(destination.send(message(2)))
    await until("the message", lambda: len(receiver.received) == 2)
    world.clock.advance(29)
    assert not sending.called
    world.clock.advance(1)
    assert type(await sending) is Unknown
    await destination.stop()


async def test_a_cancelled_send_takes_its_connection_with_it() -> None:
    _, receiver, destination = await pair()
    receiver.mood = "silent"
    sending = ensureDeferred(destination.send(message(1)))
    await until("the message", lambda: receiver.received)
    sending.addErrback(lambda failure: None)
    sending.cancel()
    await until("the connection to close", lambda: receiver.connections == 0)
    await destination.stop()


async def test_why_a_peer_was_not_reached() -> None:
    world = World()
    destination = MllpDestination(ConnectOptions(connect="lab:2575", connect_timeout="3s"), world.runtime, "lab")
    assert await destination.send(message(1)) == Unreached("not connected: connection refused")
    assert await destination.check() == "lab:2575: connection refused"
    world.network.refusals[Address("lab", 2575)] = OSError(113, "No route to host")
    assert await destination.send(message(1)) == Unreached("not connected: No route to host")
    await destination.stop()
