"""The doubles that stand in for connectors keep the same contract."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred

from engine.model import Busy, Delivered, Delivery, Receipt, Refused, Unknown
from engine.testing import world as worlds
from engine.testing.connector_suite import DestinationSuite, SourceSuite
from engine.testing.memory_destination import MemoryDestination
from engine.testing.memory_source import MemorySource
from engine.testing.world import World


class _Hand:
    """The test's hand, as a peer."""

    def __init__(self, source: MemorySource) -> None:
        self.source, self.replies = source, []

    async def send(self, *contents: bytes) -> None:
        for content in contents:
            try:
                answered: Deferred[Receipt] = self.source.put(content)
            except RuntimeError as problem:
                raise OSError(str(problem)) from None
            answered.addCallbacks(lambda receipt: self.replies.append(receipt.reply), lambda failure: None)

    async def close(self) -> None:
        self.source.hears = False


class TestSource(SourceSuite):
    # The test itself holds the wire: it has no order, no bound and no address of its own.
    test_replies_leave_in_the_order_of_arrival = None
    test_takes_no_more_than_its_bound = None
    test_an_address_in_use_is_an_os_error = None

    def build(self, world: World) -> MemorySource:
        return MemorySource(None, world.runtime, "charges")

    async def peer(self, world: World, source: MemorySource) -> _Hand:
        return _Hand(source)

    async def spoil(self, world: World, source: MemorySource, peer: _Hand) -> bytes:
        source.refuse("JUNK", b"no message")
        return b"no message"

    async def test_a_peer_that_hung_up_did_not_hear(self) -> None:
        _, source, intake = await self.opened()
        source.hears = False
        answered = source.put(self.content(1))
        intake.let_go(0)
        await answered
        assert intake.heard == {0: False}


class _Script:
    connections = 0
    outcomes = {
        "accept": Delivered(),
        "refuse": Refused("no"),
        "busy": Busy("later"),
        "garbage": Unknown("?"),
        "reset": Unknown("!"),
    }

    def __init__(self) -> None:
        self.mood = "accept"
        self.received: deque[Any] = deque()

    async def stop(self) -> None: ...


class TestDestination(DestinationSuite):
    # What becomes of time and of connections is the test's to script.
    test_an_answer_to_something_else_is_unknown = None
    test_no_answer_in_time_is_unknown = None
    test_late_ack_is_not_credited_to_the_next_message = None
    test_a_peer_that_is_not_there_was_not_reached = None

    def build(self, world: World, counterpart: Any) -> MemoryDestination:
        destination = MemoryDestination(None, world.runtime, "billing")

        def answer(delivery: Delivery) -> Any:
            counterpart.received.append(delivery.content)
            return _Script.outcomes[counterpart.mood]

        destination.answer = answer
        return destination

    async def counterpart(self, world: World) -> Any:
        script = _Script()
        script.received = []  # type: ignore[assignment]
        return script

    def delivery(self, number: int) -> Delivery:
        return worlds.delivery(b"content %d" % number, number)
