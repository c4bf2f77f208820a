"""The limits of an inbound MLLP connection: time, size, number, and peers that do not read."""

from __future__ import annotations

from typing import Any

from engine.connectors.mllp import ListenOptions
from engine.connectors.mllp.source import MllpSource
from engine.events import FrameRefused
from engine.model import Arrival, Receipt, Verdict
from engine.quantities import parse_address
from engine.testing.connector_suite import HeldIntake
from engine.testing.memory_network import HIGH_WATER
from engine.testing.world import World, turn, until
from tests.contract.connectors.mllp_peers import Sender

MSH = b"MSH|^~\\&|EHR|HOSPITAL|||20260911||ADT^A08|1|P|2.5.1\r"


class Bench:
    """A started source, and senders for it."""

    def __init__(self, intake: Any, **options: Any) -> None:
        self.world, self.intake = World(), intake
        self.source = MllpSource(ListenOptions(listen="lab:0", **options), self.world.runtime, "charges")

    async def start(self) -> Bench:
        await self.source.start(self.intake)
        return self

    async def sender(self) -> Sender:
        sender = await self.world.network.connect(Sender, *parse_address(self.source.address), 10)
        await turn()
        return sender

    @property
    def refused(self) -> list[tuple[str, int]]:
        return [(event.reason, event.size) for event in self.world.told(FrameRefused)]


async def at_once(arrival: Arrival, reply: Any) -> None:
    await reply(Receipt(Verdict.ACCEPTED, 1, reply=b"ACK " + arrival.content[:8]))


async def settled() -> None:
    for _ in range(5):
        await turn()


async def test_a_frame_that_does_not_end_is_given_up() -> None:  # B015
    bench = await Bench(at_once).start()
    sender = await bench.sender()
    sender.transport.write(b"\x0bMSH|half")
    await settled()
    bench.world.clock.advance(59)
    await settled()
    assert not sender.lost
    bench.world.clock.advance(1)
    await until("the connection to close", lambda: sender.lost)
    assert bench.refused == [("FRAME_TIMEOUT", 8)]
    await bench.source.stop()


async def test_the_time_counts_from_the_beginning_of_the_frame_that_is_incomplete() -> None:
    bench = await Bench(at_once).start()
    sender = await bench.sender()
    for _ in range(3):  # each begins when its forerunner ends
        sender.transport.write(b"\x0bMSH|first half")
        await settled()
        bench.world.clock.advance(40)
        sender.transport.write(b" second half\x1c\r")
        await settled()
    assert len(sender.replies) == 3
    assert bench.refused == []
    await bench.source.stop()
    assert bench.world.clock.getDelayedCalls() == []


async def test_the_time_in_which_we_do_not_read_is_not_the_peers() -> None:
    intake = HeldIntake()
    bench = await Bench(intake, max_in_flight=1).start()
    sender = await bench.sender()
    sender.transport.write(b"\x0bMSH|1\x1c\r\x0bMSH|2, not yet")
    await until("the first", lambda: intake.arrivals)
    bench.world.clock.advance(300)
    intake.let_go(0)
    await until("the reply", lambda: sender.replies)
    sender.transport.write(b" but now\x1c\r")
    await until("the second", lambda: len(intake.arrivals) == 2)
    intake.let_go(1)
    await until("the second reply", lambda: len(sender.replies) == 2)
    assert bench.refused == []
    await bench.source.stop()


async def test_a_frame_too_large_closes_after_what_came_before_it_is_answered() -> None:  # B013
    intake = HeldIntake()
    bench = await Bench(intake, max_frame="100B").start()
    sender = await bench.sender()
    await sender.send(MSH, b"x" * 101, MSH)
    await until("the first", lambda: intake.arrivals)
    await settled()
    assert bench.refused == [("FRAME_TOO_LARGE", 101)]
    assert not sender.lost
    intake.let_go(0)
    await until("the connection to close", lambda: sender.lost)
    assert sender.replies == [b"ACK " + MSH]
    assert len(intake.arrivals) == 1
    await bench.source.stop()


async def test_other_protocols_are_named_and_closed() -> None:  # B019, B020
    bench = await Bench(at_once).start()
    for opening in (b"\x16\x03\x01\x00\xc8\x01\x00\x00", b"GET /charges HTTP/1.1\r\n"):
        sender = await bench.sender()
        sender.transport.write(opening)
        await until("the connection to close", lambda sender=sender: sender.lost)
    assert [reason for reason, _ in bench.refused] == ["TLS_ON_PLAIN", "HTTP_ON_MLLP"]
    await bench.source.stop()


async def test_a_sender_that_ends_its_half_still_gets_its_replies() -> None:
    intake = HeldIntake()
    bench = await Bench(intake).start()
    sender = await bench.sender()
    await sender.send(MSH)
    sender.transport.write(b"\x0bMSH|cut off")
    sender.transport.shutdown()
    await until("the message", lambda: intake.arrivals)
    await settled()
    assert bench.refused == [("INCOMPLETE", 11)]  # B016
    assert not sender.lost
    intake.let_go(0)
    await until("the connection to close", lambda: sender.lost)
    assert sender.replies == [b"ACK " + MSH]
    await bench.source.stop()


async def test_one_connection_too_many_is_closed() -> None:
    bench = await Bench(at_once, max_connections=1).start()
    first, second = await bench.sender(), await bench.sender()
    await until("the second to close", lambda: second.lost)
    assert bench.refused == [("TOO_MANY_CONNECTIONS", 0)]
    await first.send(MSH)
    await until("the reply", lambda: first.replies)
    await first.close()
    await settled()
    third = await bench.sender()
    await third.send(MSH)
    await until("the reply to the third", lambda: third.replies)
    await bench.source.stop()


async def test_an_idle_connection_is_closed_only_where_that_is_asked() -> None:
    intake = HeldIntake()
    bench = await Bench(intake, idle_timeout="5m").start()
    sender = await bench.sender()
    bench.world.clock.advance(299)
    await sender.send(MSH)
    await until("the message", lambda: intake.arrivals)
    bench.world.clock.advance(299)
    await settled()
    bench.world.clock.advance(2)  # not idle: it waits for us
    await settled()
    intake.let_go(0)
    await until("the reply", lambda: sender.replies)
    assert not sender.lost
    bench.world.clock.advance(299)
    await settled()
    assert not sender.lost
    bench.world.clock.advance(1)
    await until("the connection to close", lambda: sender.lost)
    await bench.source.stop()

    forever = await Bench(at_once).start()
    sender = await forever.sender()
    forever.world.clock.advance(30 * 86400)
    await settled()
    assert not sender.lost
    await forever.source.stop()


async def test_a_peer_that_does_not_read_is_not_read_and_then_closed() -> None:  # B022, B023
    stored = []

    async def large(arrival: Arrival, reply: Any) -> None:
        stored.append(arrival.content)
        await reply(Receipt(Verdict.ACCEPTED, 1, reply=b"ACK" + b"." * 10_000))

    bench = await Bench(large).start()
    sender = await bench.sender()
    sender.transport.pauseProducing()
    for number in range(100):
        await sender.send(b"MSH|%d" % number)
        await turn()
    await settled()
    assert len(stored) < 100, "it went on reading"
    assert sender.transport.unread <= HIGH_WATER + 70 * 10_000
    taken = len(stored)
    sender.transport.resumeProducing()
    await until("all replies", lambda: len(sender.replies) == 100)
    assert stored == [b"MSH|%d" % number for number in range(100)]

    sender.transport.pauseProducing()
    for number in range(100):
        await sender.send(b"MSH|%d" % number)
        await turn()
    bench.world.clock.advance(60)
    sender.transport.resumeProducing()
    await until("the connection to close", lambda: sender.lost)
    assert ("WRITE_TIMEOUT", 0) in bench.refused
    assert len(stored) >= 100 + taken - 1, "what was taken in before stays taken"
    await bench.source.stop()


async def test_stop_does_not_wait_for_ever_for_a_peer_that_does_not_read() -> None:
    bench = await Bench(at_once).start()
    sender = await bench.sender()
    connection = next(iter(bench.source.connections))
    sender.transport.pauseProducing()
    await sender.send(MSH)
    await settled()
    connection.transport.loseConnection = lambda: None  # a transport whose last bytes do not leave
    from twisted.internet.defer import ensureDeferred

    stopping = ensureDeferred(bench.source.stop())
    await settled()
    assert not stopping.called
    bench.world.clock.advance(5)
    await stopping
    assert bench.source.connections == set()


async def test_frames_that_a_broken_connection_left_behind_are_told() -> None:
    intake = HeldIntake()
    bench = await Bench(intake, max_in_flight=1).start()
    sender = await bench.sender()
    await sender.send(b"MSH|1", b"MSH|2", b"MSH|33")
    await until("the first", lambda: intake.arrivals)
    await sender.close()
    await settled()
    intake.let_go(0)  # nobody reads the connection while it waits: the write finds out
    await until("the second", lambda: len(intake.arrivals) == 2)
    await until("the event", lambda: bench.refused)
    assert bench.refused == [("ABANDONED", 6)]
    intake.let_go(1)
    await settled()
    assert len(intake.arrivals) == 2
    assert intake.heard == {0: True, 1: False}
    await bench.source.stop()


async def test_an_intake_that_fails_is_told_by_name_and_without_content() -> None:
    async def broken(arrival: Arrival, reply: Any) -> None:
        raise RuntimeError(arrival.content)

    async def silent(arrival: Arrival, reply: Any) -> None:
        return

    for intake, reason in ((broken, "INTAKE_FAILED: RuntimeError"), (silent, "INTAKE_FAILED: no reply")):
        bench = await Bench(intake).start()
        sender = await bench.sender()
        await sender.send(MSH)
        await until("the event", lambda bench=bench: bench.refused)
        assert bench.refused == [(reason, len(MSH))]
        await bench.source.stop()
        await until("the close", lambda sender=sender: sender.lost)
        assert sender.replies == []


async def test_a_thousand_frames_in_one_piece_are_answered_in_order_by_an_intake_that_replies_at_once() -> None:
    bench = await Bench(at_once, max_in_flight=3).start()
    sender = await bench.sender()
    await sender.send(*(b"MSH|%04d" % number for number in range(1000)))
    await until("all replies", lambda: len(sender.replies) == 1000)
    assert sender.replies == [b"ACK MSH|%04d" % number for number in range(1000)]
    await bench.source.stop()
