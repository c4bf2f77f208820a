"""Links to a peer whose connections come and go at bad moments."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred, succeed
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport

from engine.links import Link, Links
from engine.model import Unknown
from engine.quantities import Address
from engine.testing.world import World, turn, until


class Echo(Link[bytes]):
    def dataReceived(self, data: bytes) -> None:
        if not self.waiting:
            self.spoil()
        self.answered(data)


class Dying:
    """A network whose connections are lost before anybody can use them."""

    def connect(self, build: Any, *rest: Any) -> Any:
        link = build()
        link.makeConnection(StringTransport())
        link.connectionLost()
        return succeed(link)


def links(world: World) -> Links[Any]:
    return Links(world.runtime, Echo, Address("peer", 1), 10)


async def test_a_connection_lost_as_soon_as_it_was_made_was_not_reached_and_does_not_hold_up_stop() -> None:
    ours = links(World(network=Dying()))
    with pytest.raises(OSError, match="as soon as it was made"):
        await ours.take()
    await ours.stop()


async def test_the_one_used_last_is_used_first() -> None:
    """So that the ones that are not needed get old, and are closed by their peer while nothing hangs on them."""
    world, made = World(), []

    class Mirror(Protocol):
        def connectionMade(self) -> None:
            made.append(self)

        def dataReceived(self, data: bytes) -> None:
            self.transport.write(data)

    await world.network.listen(Mirror, "peer", 1)
    ours = links(world)
    first, second = await ours.take(), await ours.take()
    ours.give(first)
    ours.give(second)
    for _ in range(3):
        link = await ours.take()
        assert link is second
        assert await link.exchange(b"x", 5) == b"x"
        ours.give(link)
    assert len(made) == 2
    made[1].transport.loseConnection()
    await until("the loss", lambda: not second.alive)
    assert await ours.take() is first
    await ours.stop()
    assert world.clock.getDelayedCalls() == []


async def test_stop_ends_what_is_under_way_as_unknown() -> None:
    world = World()
    await world.network.listen(Protocol, "peer", 1)
    ours = links(world)
    link = await ours.take()
    waiting = link.exchange(b"x", 5)
    stopping = ensureDeferred(ours.stop())
    assert type(await waiting) is Unknown
    await stopping
    await turn()
    assert world.clock.getDelayedCalls() == []
