"""The limits of an inbound MLLP connection: time, size, number, and peers that do not read."""

from __future__ import annotations

from typing import Any

from engine.connectors.mllp import ListenOptions
from engine.connectors.mllp.secure import Identity
from engine.connectors.mllp.source import IDLE_SLACK, MllpSource
from engine.events import Irregular, Listening
from engine.model import Arrival, Receipt, Verdict
from engine.quantities import parse_address
from engine.testing.held_intake import HeldIntake, Refusal
from engine.testing.memory_network import HIGH_WATER
from engine.testing.world import World, turn, until
from tests.contract.connectors.mllp_peers import Sender

MSH = b"MSH|^~\\&|EHR|HOSPITAL|||20260911||ADT^A08|1|P|2.5.1\r"


class Bench:
    """A started source, and senders for it."""

    def __init__(self, intake: Any, segment: int = 0, **options: Any) -> None:
        self.world, self.intake = World(), intake
        self.world.network.segment = segment
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
        return [(refusal.reason, refusal.size) for refusal in self.intake.refusals]

    @property
    def kept(self) -> list[bytes]:
        return [refusal.content for refusal in self.intake.refusals]


class AtOnce:
    """An intake that answers at once, as `answer` says."""

    def __init__(self, answer: Any = None) -> None:
        self.refusals: list[Refusal] = []
        self.contents: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self._answer = answer

    async def __call__(self, arrival: Arrival, reply: Any) -> None:
        self.contents.append(arrival.content)
        self.headers.append(dict(arrival.headers))
        if self._answer is not None:
            await self._answer(arrival, reply)
        else:
            await reply(Receipt(Verdict.ACCEPTED, 1, reply=b"ACK " + arrival.content[:8]))

    def refused(self, peer: str, reason: str, size: int, content: bytes = b"") -> None:
        self.refusals.append(Refusal(peer, reason, size, content))


async def settled() -> None:
    for _ in range(5):
        await turn()


async def test_a_frame_that_does_not_end_is_given_up() -> None:  # B015
    bench = await Bench(AtOnce()).start()
    sender = await bench.sender()
    sender.transport.write(b"\x0bMSH|half")
    await settled()
    bench.world.clock.advance(59)
    await settled()
    assert not sender.lost
    bench.world.clock.advance(1)
    await until("the connection to close", lambda: sender.lost)
    assert bench.refused == [("FRAME_TIMEOUT", 8)]
    assert bench.kept == [b"MSH|half"]
    await bench.source.stop()


async def test_the_time_counts_from_the_beginning_of_the_frame_that_is_incomplete() -> None:
    bench = await Bench(AtOnce()).start()
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
    bench = await Bench(AtOnce()).start()
    for opening in (b"\x16\x03\x01\x00\xc8\x01\x00\x00", b"GET /charges HTTP/1.1\r\n"):
        sender = await bench.sender()
        sender.transport.write(opening)
        await until("the connection to close", lambda sender=sender: sender.lost)
    assert [reason for reason, _ in bench.refused] == ["TLS_ON_PLAIN", "HTTP_ON_MLLP"]
    assert bench.kept == [b"\x16\x03\x01\x00\xc8\x01\x00\x00", b"GET /charges HTTP/1.1\r\n"]
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
    assert bench.kept == [b"MSH|cut off"]
    assert not sender.lost
    intake.let_go(0)
    await until("the connection to close", lambda: sender.lost)
    assert sender.replies == [b"ACK " + MSH]
    await bench.source.stop()


async def test_one_connection_too_many_is_closed() -> None:
    bench = await Bench(AtOnce(), max_connections=1).start()
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
    bench.world.clock.advance(300 / IDLE_SLACK)
    await until("the connection to close", lambda: sender.lost)
    await bench.source.stop()
    assert bench.world.clock.getDelayedCalls() == []

    forever = await Bench(AtOnce()).start()
    sender = await forever.sender()
    assert forever.world.clock.getDelayedCalls() == [], "an idle connection costs no timer"
    forever.world.clock.advance(30 * 86400)
    await settled()
    assert not sender.lost
    await forever.source.stop()


async def test_a_peer_that_does_not_read_is_not_read_and_then_closed() -> None:  # B022, B023
    stored = []

    async def large(arrival: Arrival, reply: Any) -> None:
        stored.append(arrival.content)
        await reply(Receipt(Verdict.ACCEPTED, 1, reply=b"ACK" + b"." * 10_000))

    bench = await Bench(AtOnce(large)).start()
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
    bench = await Bench(AtOnce()).start()
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
    assert bench.kept == [b"\x0bMSH|33\x1c\r"]
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
        bench = await Bench(AtOnce(intake)).start()
        sender = await bench.sender()
        await sender.send(MSH)
        await until("the event", lambda bench=bench: bench.refused)
        assert bench.refused == [(reason, len(MSH))]
        assert bench.kept == [MSH]
        await bench.source.stop()
        await until("the close", lambda sender=sender: sender.lost)
        assert sender.replies == []


async def test_a_thousand_frames_in_one_piece_are_answered_in_order_by_an_intake_that_replies_at_once() -> None:
    bench = await Bench(AtOnce(), max_in_flight=3).start()
    sender = await bench.sender()
    await sender.send(*(b"MSH|%04d" % number for number in range(1000)))
    await until("all replies", lambda: len(sender.replies) == 1000)
    assert sender.replies == [b"ACK MSH|%04d" % number for number in range(1000)]
    await bench.source.stop()


# ── what real senders send ──


async def test_an_end_block_without_its_cr_is_taken_after_a_second_of_silence() -> None:  # B005
    bench = await Bench(AtOnce()).start()
    sender = await bench.sender()
    for _ in range(2):
        sender.transport.write(b"\x0b" + MSH + b"\x1c")
        await settled()
        bench.world.clock.advance(0.9)
        await settled()
        assert len(sender.replies) == 0
        bench.world.clock.advance(0.1)
        await until("the reply", lambda: sender.replies)
        sender.replies.clear()
    assert bench.intake.contents == [MSH, MSH]
    assert bench.refused == []
    assert [(event.reason, event.channel) for event in bench.world.told(Irregular)] == [("END_WITHOUT_CR", "charges")], "once"
    await bench.source.stop()
    assert bench.world.clock.getDelayedCalls() == []


async def test_what_follows_an_end_block_within_the_second_is_part_of_the_message() -> None:  # B006
    bench = await Bench(AtOnce()).start()
    sender = await bench.sender()
    sender.transport.write(b"\x0b" + MSH + b"\x1c")
    await settled()
    bench.world.clock.advance(0.9)
    sender.transport.write(b"and more")
    await settled()
    bench.world.clock.advance(5)
    await settled()
    assert bench.intake.contents == []
    sender.transport.write(b"\x1c\r")
    await until("the message", lambda: bench.intake.contents)
    assert bench.intake.contents == [MSH + b"\x1cand more"]
    await bench.source.stop()


async def test_an_end_block_without_its_cr_ends_a_frame_before_the_next_and_before_the_end() -> None:
    bench = await Bench(AtOnce()).start()
    sender = await bench.sender()
    sender.transport.write(b"\x0b" + MSH + b"\x1c\x0bMSH|2\r\x1c")
    sender.transport.shutdown()
    await until("the connection to close", lambda: sender.lost)
    assert bench.intake.contents == [MSH, b"MSH|2\r"]
    assert len(sender.replies) == 2
    assert bench.refused == []
    await bench.source.stop()


async def test_a_strict_source_refuses_an_end_block_without_its_cr() -> None:
    bench = await Bench(AtOnce(), strict="true").start()
    sender = await bench.sender()
    sender.transport.write(b"\x0b" + MSH + b"\x1c\x0bMSH|2\r\x1c")
    await settled()
    assert bench.kept == [MSH + b"\x1c"]
    bench.world.clock.advance(60)
    await until("the connection to close", lambda: sender.lost)
    assert bench.refused == [("RESTARTED", len(MSH) + 1), ("FRAME_TIMEOUT", 7)]
    assert bench.intake.contents == []
    assert bench.world.told(Irregular) == []
    await bench.source.stop()


async def test_what_is_sent_between_messages_to_see_that_we_live_does_not_cost_the_connection() -> None:  # B002
    bench = await Bench(AtOnce()).start()
    sender = await bench.sender()
    await sender.send(MSH)
    for _ in range(3):
        sender.transport.write(b"\0")
        await settled()
        bench.world.clock.advance(60)
        await settled()
    assert not sender.lost
    assert bench.refused == [("JUNK", 1)] * 3
    assert bench.kept == [b"\0"] * 3
    await sender.send(MSH)
    await until("the reply", lambda: len(sender.replies) == 2)
    await bench.source.stop()


async def test_one_that_never_sends_a_start_block_is_told_so() -> None:  # B001
    bench = await Bench(AtOnce()).start()
    sender = await bench.sender()
    sender.transport.write(MSH)
    await settled()
    bench.world.clock.advance(60)
    await until("the connection to close", lambda: sender.lost)
    assert bench.intake.refusals == [Refusal(bench.intake.refusals[0].peer, "NO_SB", len(MSH), MSH)]
    await bench.source.stop()


async def test_no_more_than_64_kib_of_what_is_refused_are_handed_on() -> None:
    bench = await Bench(AtOnce()).start()
    sender = await bench.sender()
    sender.transport.write(b"\x0bMSH|" + b"x" * 200_000)
    sender.transport.shutdown()
    await until("the connection to close", lambda: sender.lost)
    assert bench.refused == [("INCOMPLETE", 200_004)]
    assert bench.kept == [b"MSH|" + b"x" * (65_536 - 4)]
    await bench.source.stop()


async def test_the_confirmations_of_mllp_release_2_are_no_messages() -> None:
    bench = await Bench(AtOnce()).start()
    sender = await bench.sender()
    await sender.send(MSH, b"\x06", MSH, b"\x15", MSH)
    await until("three replies", lambda: len(sender.replies) == 3)
    assert bench.intake.contents == [MSH] * 3
    assert [event.reason for event in bench.world.told(Irregular)] == ["MLLP_R2"]
    await bench.source.stop()


async def test_what_has_only_one_byte_is_for_intake_to_judge() -> None:
    bench = await Bench(AtOnce()).start()
    sender = await bench.sender()
    await sender.send(b"x", b"")
    await until("two replies", lambda: len(sender.replies) == 2)
    assert bench.intake.contents == [b"x", b""]
    await bench.source.stop()


# ── who may come in ──


async def test_only_the_networks_named_may_connect() -> None:
    bench = await Bench(AtOnce(), allow=["10.20.0.0/16", "fd00::/8"]).start()
    for _ in range(3):
        sender = await bench.sender()
        await until("the connection to close", lambda sender=sender: sender.lost)
    assert bench.refused == [("NOT_ALLOWED", 0)], "told once"
    assert bench.source.connections == set()
    bench.world.clock.advance(601)
    await bench.sender()
    await settled()
    assert len(bench.refused) == 2, "and again after a while"
    await bench.source.stop()

    local = await Bench(AtOnce(), allow=["10.20.0.0/16", "127.0.0.1"]).start()
    sender = await local.sender()
    await sender.send(MSH)
    await until("the reply", lambda: sender.replies)
    await local.source.stop()


async def test_a_hosts_new_connection_takes_over_from_its_older_one() -> None:
    intake = HeldIntake()
    bench = await Bench(intake, takeover="true", max_connections=1).start()
    idle = await bench.sender()
    half = await bench.sender()
    await until("the idle one to close", lambda: idle.lost)
    half.transport.write(b"\x0b" + MSH + b"\x1c\r\x0bMSH|half")
    await until("the message", lambda: intake.arrivals)
    last = await bench.sender()
    await settled()
    assert not half.lost, "it is owed a reply"
    intake.let_go(0)
    await until("the second to close", lambda: half.lost)
    assert half.replies == [b"ACK " + MSH]
    assert bench.refused == [("INCOMPLETE", 8)]
    await last.send(MSH)
    await until("its message", lambda: len(intake.arrivals) == 2)
    intake.let_go(1)
    await until("its reply", lambda: last.replies)
    await bench.source.stop()


async def test_without_takeover_a_host_may_have_several() -> None:
    bench = await Bench(AtOnce()).start()
    senders = [await bench.sender() for _ in range(3)]
    for sender in senders:
        await sender.send(MSH)
        await until("the reply", lambda sender=sender: sender.replies)
    await bench.source.stop()


# ── TLS, without its cryptography (tests/acceptance/test_mllp_tls.py has that) ──

CERTIFICATE = {
    "subject": ((("organizationName", "Hospital"),), (("commonName", "ehr-prod"),)),
    "subjectAltName": (("DNS", "ehr.hospital.example"), ("IP Address", "10.20.30.40")),
}


def _secured(bench: Bench, *subjects: str) -> Bench:
    identity = Identity.__new__(Identity)
    identity._subjects = frozenset(subject.casefold() for subject in subjects)
    identity.context = lambda: None  # type: ignore[method-assign,assignment,return-value]
    bench.source.identity = identity
    return bench


async def test_a_certificates_name_is_what_an_arrival_carries() -> None:
    for subjects, shown in (
        ((), "ehr-prod"),
        (("EHR.hospital.example",), "ehr.hospital.example"),
        (("10.20.30.40",), "10.20.30.40"),
    ):
        bench = _secured(await Bench(AtOnce()).start(), *subjects)
        bench.world.network.certificate = CERTIFICATE
        sender = await bench.sender()
        await sender.send(MSH)
        await until("the reply", lambda sender=sender: sender.replies)
        assert bench.intake.headers == [{"tls-subject": shown}]
        await bench.source.stop()


async def test_a_certificate_of_somebody_else_is_refused_by_name_and_once() -> None:
    bench = _secured(await Bench(AtOnce()).start(), "lab.hospital.example", "ehr-pro")
    bench.world.network.certificate = CERTIFICATE
    for _ in range(3):
        sender = await bench.sender()
        await sender.send(MSH)
        await until("the connection to close", lambda sender=sender: sender.lost)
    assert bench.refused == [("SUBJECT_NOT_ALLOWED: ehr-prod", 0)]
    bench.world.network.certificate = {}
    sender = await bench.sender()
    await until("the connection to close", lambda: sender.lost)
    assert bench.refused[1:] == [("SUBJECT_NOT_ALLOWED", 0)]
    assert bench.intake.contents == []
    await bench.source.stop()


async def test_a_handshake_that_fails_is_told_once() -> None:
    bench = _secured(await Bench(AtOnce()).start())
    for fault, told in ((TimeoutError("slow"), ["TLS_FAILED: not done in time"]), (ConnectionResetError("gone"), [])):
        bench.world.network.handshakes = fault
        bench.intake.refusals.clear()
        for _ in range(3):
            sender = await bench.sender()
            await until("the connection to close", lambda sender=sender: sender.lost)
        assert [refusal.reason for refusal in bench.intake.refusals] == told
    await until("nothing to be left", lambda: not bench.source.connections)
    await bench.source.stop()


# ── a sender that we dial ──


class Called:
    """A source that dials, and the address at which it may find a sender."""

    def __init__(self, **options: Any) -> None:
        self.world, self.intake = World(), AtOnce()
        self.source = MllpSource(ListenOptions(connect="ehr:2575", **options), self.world.runtime, "charges")
        self.senders: list[Sender] = []

    async def listen(self) -> Any:
        def build() -> Sender:
            self.senders.append(Sender())
            return self.senders[-1]

        return await self.world.network.listen(build, "ehr", 2575)

    @property
    def wait(self) -> float:
        """Until the next attempt."""
        (call,) = self.world.clock.getDelayedCalls()
        return call.getTime() - self.world.clock.seconds()


async def test_a_sender_that_waits_is_called_and_answered() -> None:
    called = Called()
    await called.listen()
    await called.source.start(called.intake)
    assert called.source.address == "ehr:2575"
    await until("the call", lambda: called.senders)
    sender = called.senders[0]
    await sender.send(MSH, MSH)
    await until("two replies", lambda: len(sender.replies) == 2)
    assert [event.address for event in called.world.told(Listening)] == ["ehr:2575"]
    await called.source.stop()
    await until("the end", lambda: sender.lost)
    assert called.world.clock.getDelayedCalls() == []


async def test_one_that_is_away_is_called_more_and_more_rarely_and_told_once() -> None:
    called = Called()
    await called.source.start(called.intake)
    waits = []
    for _ in range(9):
        await settled()
        waits.append(called.wait)
        called.world.clock.advance(waits[-1])
    await settled()
    for wait, most in zip(waits, (1, 2, 4, 8, 16, 32, 60, 60, 60), strict=True):
        assert most / 2 <= wait <= most
    assert [event.reason for event in called.world.told(Irregular)] == ["not connected: connection refused; it is tried again"]
    assert called.world.told(Listening) == []
    await called.listen()
    called.world.clock.advance(called.wait)
    await until("the call", lambda: called.senders)
    await settled()
    assert len(called.world.told(Listening)) == 1
    await called.source.stop()
    assert called.world.clock.getDelayedCalls() == []


async def test_one_that_hangs_up_is_called_again_soon_if_it_had_sent_something() -> None:
    called = Called()
    await called.listen()
    await called.source.start(called.intake)
    for number in range(1, 5):
        await until("the call", lambda number=number: len(called.senders) == number)
        sender = called.senders[-1]
        await sender.send(MSH)
        await until("the reply", lambda sender=sender: sender.replies)
        sender.transport.loseConnection()
        await settled()
        assert called.wait <= 1
        called.world.clock.advance(called.wait)
    for number in range(5, 10):  # these say nothing
        await until("the call", lambda number=number: len(called.senders) == number)
        called.senders[-1].transport.loseConnection()
        await settled()
        called.world.clock.advance(called.wait)
    await until("one more", lambda: len(called.senders) == 10)
    called.senders[-1].transport.loseConnection()
    await settled()
    assert called.wait >= 16
    assert len(called.world.told(Listening)) == 1, "not each time"
    await called.source.stop()


async def test_a_stop_ends_an_attempt_under_way() -> None:
    called = Called()
    called.world.network.silent.add(called.source.options.connect)
    await called.source.start(called.intake)
    await called.source.stop()
    called.world.clock.advance(10)
    await settled()
    assert called.senders == []
    assert called.world.told(Irregular) == []
    assert called.world.clock.getDelayedCalls() == []


# ── memory ──


async def test_large_messages_wait_for_one_another_and_small_ones_pass() -> None:
    bench = await Bench(AtOnce(), max_frame="1MiB", max_inbound="2MiB", segment=16384).start()
    large = [await bench.sender() for _ in range(4)]
    body = b"x" * 900_000
    for sender in large:  # together more than half of the memory
        sender.transport.write(b"\x0b" + MSH + body)
        await settled()
    assert 2**20 < bench.source.budget.arriving < 2 * 2**20, "half of it, and what one may have beyond"
    assert sum(connection._paused for connection in bench.source.connections) == 2
    small = await bench.sender()
    await small.send(MSH)
    await until("the small one", lambda: small.replies)
    for sender in reversed(large):
        sender.transport.write(b"\x1c\r")
    await until("all of them", lambda: all(sender.replies for sender in large))
    assert bench.source.budget.arriving == bench.source.budget.in_hand == 0
    assert bench.refused == []
    await bench.source.stop()


async def test_one_that_goes_amid_a_large_message_gives_its_room_back() -> None:
    bench = await Bench(AtOnce(), max_frame="1MiB", max_inbound="1MiB").start()
    first, second = await bench.sender(), await bench.sender()
    for sender in (first, second):
        sender.transport.write(b"\x0b" + MSH + b"x" * 700_000)
        await settled()
    second.transport.write(b"y\x1c\r")
    await settled()
    assert second.replies == []
    first.transport.abortConnection()
    await until("the second", lambda: second.replies)
    assert bench.source.budget.arriving == 0
    await bench.source.stop()


async def test_one_that_stops_amid_a_large_message_holds_the_others_up_no_longer_than_its_time() -> None:
    bench = await Bench(AtOnce(), max_frame="1MiB", max_inbound="1MiB").start()
    first, second = await bench.sender(), await bench.sender()
    for sender in (first, second):
        sender.transport.write(b"\x0b" + MSH + b"x" * 700_000)
        await settled()
    second.transport.write(b"y\x1c\r")
    bench.world.clock.advance(60)
    await until("the second", lambda: second.replies)
    assert first.lost
    assert bench.refused == [("FRAME_TIMEOUT", len(MSH) + 700_000)]
    await bench.source.stop()


async def test_nobody_is_read_while_too_much_is_unanswered() -> None:
    intake = HeldIntake()
    bench = await Bench(intake, max_frame="1MiB", max_inbound="1MiB").start()
    first, second = await bench.sender(), await bench.sender()
    await first.send(b"MSH|" + b"x" * 600_000)
    await until("the first", lambda: intake.arrivals)
    await second.send(MSH)
    await until("the second", lambda: len(intake.arrivals) == 2)  # what it had sent is taken; then it is not read
    await second.send(MSH)
    await settled()
    assert len(intake.arrivals) == 2
    intake.let_go(0)
    await until("the third", lambda: len(intake.arrivals) == 3)
    intake.let_go(1)
    intake.let_go(2)
    await until("its replies", lambda: len(second.replies) == 2)
    assert bench.source.budget.in_hand == 0
    await bench.source.stop()


async def test_memory_is_given_back_by_connections_that_broke() -> None:
    intake = HeldIntake()
    bench = await Bench(intake, max_in_flight=1).start()
    sender = await bench.sender()
    await sender.send(b"MSH|1", b"MSH|2", b"MSH|3")
    await until("the first", lambda: intake.arrivals)
    assert bench.source.budget.in_hand == 15
    sender.transport.write(b"\x0b" + b"x" * 100_000)
    await sender.close()
    await settled()
    intake.let_go(0)
    await until("the second", lambda: len(intake.arrivals) == 2)
    await until("the end", lambda: not bench.source.connections)
    intake.let_go(1)
    await settled()
    assert (bench.source.budget.in_hand, bench.source.budget.arriving) == (0, 0)
    await bench.source.stop()
