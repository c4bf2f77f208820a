"""What every connector must do, as tests: subclass, say how to build yours and its counterpart, and run it with pytest.

    class TestMySource(SourceSuite):
        def build(self, world): return MySource(MyOptions(listen="lab:1"), world.runtime, "channel")
        async def peer(self, world, source): return MyPeer(...)

Tests are coroutines on the engine's reactor (Wardline's tests/conftest.py shows the ten lines that run them). A behaviour
that a connector cannot have is taken out in its class with `test_… = None` and a comment that says why.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import ensureDeferred, gatherResults

from engine.contracts import Destination, Source
from engine.events import Listening
from engine.model import Busy, Delivered, Delivery, Refused, Unknown, Unreached
from engine.testing.held_intake import HeldIntake
from engine.testing.world import World, turn, until

# ── sources ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Peer(Protocol):
    """A sender connected to the source under test."""

    replies: list[bytes]  # the contents of the replies that came, in order

    async def send(self, *contents: bytes) -> None:
        """Send them without waiting, in one piece where the wire allows it."""

    async def close(self) -> None:
        """Hang up at once."""


class SourceSuite:
    """The duties of a `contracts.Source`."""

    most_in_hand = 64
    """How many arrivals of one peer the source under test may have with intake at once."""

    def build(self, world: World) -> Source:
        raise NotImplementedError

    async def peer(self, world: World, source: Any) -> Peer:
        raise NotImplementedError

    def content(self, number: int) -> bytes:
        """The `number`-th content: any bytes that the wire can carry, all different."""
        return b"MSH|content %d|\r" % number

    def world(self) -> World:
        return World()

    async def opened(self) -> tuple[World, Any, HeldIntake]:
        world, intake = self.world(), HeldIntake()
        source = self.build(world)
        await source.start(intake)
        return world, source, intake

    async def test_hands_on_exactly_what_arrives(self) -> None:
        world, source, intake = await self.opened()
        peer = await self.peer(world, source)
        await peer.send(self.content(1))
        await until("the arrival", lambda: intake.arrivals)
        intake.let_go(0)
        await until("the reply", lambda: peer.replies)
        assert [arrival.content for arrival in intake.arrivals] == [self.content(1)]
        assert intake.arrivals[0].peer, "the arrival says who sent it"
        assert peer.replies == [b"ACK " + self.content(1)]
        assert intake.heard == {0: True}
        await source.stop()

    async def test_tells_where_it_listens(self) -> None:
        world, source, _ = await self.opened()
        assert [event.address != "" for event in world.told(Listening)] == [True]
        await source.stop()

    async def test_says_nothing_before_intake_has_replied(self) -> None:
        world, source, intake = await self.opened()
        peer, other = await self.peer(world, source), await self.peer(world, source)
        await peer.send(self.content(1))
        await until("the arrival", lambda: intake.arrivals)
        await other.send(self.content(2))  # a whole round trip beside it
        await until("the second arrival", lambda: len(intake.arrivals) == 2)
        intake.let_go(1)
        await until("the reply to the other", lambda: other.replies)
        assert peer.replies == []
        intake.let_go(0)
        await until("the reply", lambda: peer.replies)
        await source.stop()

    async def test_replies_leave_in_the_order_of_arrival(self) -> None:
        world, source, intake = await self.opened()
        peer = await self.peer(world, source)
        await peer.send(*(self.content(n) for n in range(3)))
        await until("three arrivals", lambda: len(intake.arrivals) == 3)
        for number in (2, 1, 0):
            intake.let_go(number)
        await until("three replies", lambda: len(peer.replies) == 3)
        assert peer.replies == [b"ACK " + self.content(n) for n in range(3)]
        await until("three answers to reply", lambda: len(intake.heard) == 3)
        assert set(intake.heard.values()) == {True}
        await source.stop()

    async def test_stop_finishes_what_is_in_hand(self) -> None:
        world, source, intake = await self.opened()
        peer = await self.peer(world, source)
        await peer.send(self.content(1))
        await until("the arrival", lambda: intake.arrivals)
        stopping = ensureDeferred(source.stop())
        await turn()
        assert not stopping.called, "stop returned before the reply was given"
        intake.let_go(0)
        await stopping
        await until("the reply", lambda: peer.replies)
        assert peer.replies == [b"ACK " + self.content(1)]

    async def test_accepts_nothing_new_once_stopped(self) -> None:
        world, source, intake = await self.opened()
        await source.stop()
        try:
            peer = await self.peer(world, source)
            await peer.send(self.content(1))
        except OSError:
            pass
        for _ in range(5):
            await turn()
        assert intake.arrivals == []

    async def test_a_peer_that_hung_up_did_not_hear(self) -> None:
        world, source, intake = await self.opened()
        peer = await self.peer(world, source)
        await peer.send(self.content(1), self.content(2))
        await until("two arrivals", lambda: len(intake.arrivals) == 2)
        intake.let_go(1)  # waits for its turn, which never comes
        await peer.close()
        await until("the second to be given up", lambda: 1 in intake.heard)
        intake.let_go(0)
        await until("the first to be given up", lambda: 0 in intake.heard)
        assert intake.heard == {0: False, 1: False}
        await source.stop()

    async def test_takes_no_more_than_its_bound(self) -> None:
        world, source, intake = await self.opened()
        peer = await self.peer(world, source)
        total = self.most_in_hand * 3
        await peer.send(*(self.content(n) for n in range(total)))
        for number in range(total):
            await until(f"arrival {number}", partial(intake.holds, number))
            intake.let_go(number)
        await until("all replies", lambda: len(peer.replies) == total)
        assert intake.most_in_hand <= self.most_in_hand
        assert peer.replies == [b"ACK " + self.content(n) for n in range(total)]
        await source.stop()

    async def test_outlives_an_intake_that_fails(self) -> None:
        world, source, intake = await self.opened()
        peer = await self.peer(world, source)
        await peer.send(self.content(1), self.content(2))
        await until("two arrivals", lambda: len(intake.arrivals) == 2)
        intake.fail(0)
        intake.let_go(1)
        await until("the reply", lambda: peer.replies)
        assert peer.replies == [b"ACK " + self.content(2)], "no reply was invented for the one that failed"
        await source.stop()

    async def test_what_is_no_message_is_refused_with_its_bytes(self) -> None:
        world, source, intake = await self.opened()
        peer = await self.peer(world, source)
        spoilt = await self.spoil(world, source, peer)
        await until("the refusal", lambda: intake.refusals)
        refusal = intake.refusals[0]
        assert refusal.content == spoilt
        assert refusal.size == len(spoilt)
        assert refusal.peer
        assert refusal.reason
        assert intake.arrivals == []
        await source.stop()

    async def spoil(self, world: World, source: Any, peer: Any) -> bytes:
        """Have `peer` send something that is no message; gives the bytes that are to be kept of it."""
        raise NotImplementedError

    async def test_an_address_in_use_is_an_os_error(self) -> None:
        world, source, _ = await self.opened()
        second = self.build_at(world, source.address)
        try:
            await second.start(HeldIntake())
        except OSError:
            pass
        else:
            raise AssertionError("two sources have one address")
        await source.stop()

    def build_at(self, world: World, address: str) -> Source:
        """A source for an address that is in use; only for sources that listen."""
        raise NotImplementedError


# ── destinations ───────────────────────────────────────────────────────────────────────────────────────────────────


class Counterpart(Protocol):
    """The system that the destination under test delivers to."""

    received: list[bytes]  # contents, in order of arrival
    mood: str
    """What it does with the next content: `accept`, `refuse`, `busy`, `garbage`, `silent` (says nothing), `reset` (breaks
    the connection after reading), `mismatch` (a positive answer to something else)."""

    def late(self) -> None:
        """Give the positive answer to what was received while silent, where the connection still allows it."""

    @property
    def connections(self) -> int:
        """How many are open."""

    async def stop(self) -> None: ...


class DestinationSuite:
    """The duties of a `contracts.Destination`."""

    timeout = 30.0
    """Seconds after which the destination under test gives up waiting."""

    def build(self, world: World, counterpart: Any) -> Destination:
        """With a `concurrency` of at least 2, if it has any."""
        raise NotImplementedError

    def build_unreachable(self, world: World) -> Destination:
        """One whose counterpart is not there."""
        raise NotImplementedError

    async def counterpart(self, world: World) -> Any:
        raise NotImplementedError

    def delivery(self, number: int) -> Delivery:
        raise NotImplementedError

    def world(self) -> World:
        return World()

    async def ready(self) -> tuple[World, Any, Any]:
        world = self.world()
        counterpart = await self.counterpart(world)
        return world, counterpart, self.build(world, counterpart)

    async def ended(self, counterpart: Any, destination: Any) -> None:
        await destination.stop()
        await until("connections to be closed", lambda: counterpart.connections == 0)
        await counterpart.stop()

    async def test_a_positive_answer_is_delivered(self) -> None:
        _, counterpart, destination = await self.ready()
        for number in (1, 2):
            outcome = await destination.send(self.delivery(number))
            assert type(outcome) is Delivered, outcome
        assert counterpart.received == [self.delivery(1).content, self.delivery(2).content]
        await self.ended(counterpart, destination)

    async def test_a_refusal_is_refused_with_a_reason(self) -> None:
        _, counterpart, destination = await self.ready()
        counterpart.mood = "refuse"
        outcome = await destination.send(self.delivery(1))
        assert type(outcome) is Refused, outcome
        assert outcome.reason
        await self.ended(counterpart, destination)

    async def test_a_busy_peer_is_busy(self) -> None:
        _, counterpart, destination = await self.ready()
        counterpart.mood = "busy"
        assert type(await destination.send(self.delivery(1))) is Busy
        counterpart.mood = "accept"
        assert type(await destination.send(self.delivery(1))) is Delivered
        await self.ended(counterpart, destination)

    async def test_garbage_is_unknown(self) -> None:
        await self._recovers_from("garbage")

    async def test_an_answer_to_something_else_is_unknown(self) -> None:
        await self._recovers_from("mismatch")

    async def test_a_reset_after_the_first_byte_is_unknown(self) -> None:
        await self._recovers_from("reset")

    async def _recovers_from(self, mood: str) -> None:
        _, counterpart, destination = await self.ready()
        counterpart.mood = mood
        outcome = await destination.send(self.delivery(1))
        assert type(outcome) is Unknown, outcome
        assert outcome.reason
        counterpart.mood = "accept"
        assert type(await destination.send(self.delivery(1))) is Delivered
        await self.ended(counterpart, destination)

    async def test_no_answer_in_time_is_unknown(self) -> None:
        world, counterpart, destination = await self.ready()
        counterpart.mood = "silent"
        sending = ensureDeferred(destination.send(self.delivery(1)))
        await until("the content to arrive", lambda: counterpart.received)
        world.clock.advance(self.timeout - 1)
        assert not sending.called
        world.clock.advance(1)
        outcome = await sending
        assert type(outcome) is Unknown, outcome
        await self.ended(counterpart, destination)

    async def test_late_ack_is_not_credited_to_the_next_message(self) -> None:
        world, counterpart, destination = await self.ready()
        counterpart.mood = "silent"
        sending = ensureDeferred(destination.send(self.delivery(1)))
        await until("the content to arrive", lambda: counterpart.received)
        world.clock.advance(self.timeout)
        assert type(await sending) is Unknown
        second = ensureDeferred(destination.send(self.delivery(2)))
        counterpart.late()  # the positive answer to the first, while the second is under way
        await until("the second to arrive", lambda: len(counterpart.received) == 2)
        for _ in range(5):
            await turn()
        assert not second.called, "the late answer to the first was taken for the second's"
        world.clock.advance(self.timeout)
        assert type(await second) is Unknown
        await self.ended(counterpart, destination)

    async def test_a_peer_that_is_not_there_was_not_reached(self) -> None:
        destination = self.build_unreachable(self.world())
        outcome = await destination.send(self.delivery(1))
        assert type(outcome) is Unreached, outcome
        assert await destination.check()
        await destination.stop()

    async def test_sends_as_many_at_once_as_it_says(self) -> None:
        _, counterpart, destination = await self.ready()
        numbers = range(1, destination.concurrency * 5 + 1)
        waiting = list(numbers)

        async def lane() -> list[Any]:
            outcomes = []
            while waiting:
                outcomes.append(await destination.send(self.delivery(waiting.pop(0))))
            return outcomes

        lanes: Any = await gatherResults([ensureDeferred(lane()) for _ in range(destination.concurrency)])
        failed = [outcome for outcomes in lanes for outcome in outcomes if type(outcome) is not Delivered]
        assert not failed, failed
        assert sorted(counterpart.received) == sorted(self.delivery(number).content for number in numbers)
        assert counterpart.connections <= destination.concurrency
        await self.ended(counterpart, destination)

    async def test_check_finds_it_usable_and_delivers_nothing(self) -> None:
        _, counterpart, destination = await self.ready()
        assert await destination.check() == ""
        assert counterpart.received == []
        await self.ended(counterpart, destination)
