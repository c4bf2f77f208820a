"""MLLP keeps the connectors' contract, over a network in memory: as it comes, and cut into single bytes."""

from __future__ import annotations

from typing import Any

from engine.connectors.mllp import ConnectOptions, ListenOptions
from engine.connectors.mllp.destination import MllpDestination
from engine.connectors.mllp.source import MllpSource
from engine.events import Listening
from engine.model import Delivery
from engine.quantities import parse_address
from engine.reactor import install
from engine.testing import world as worlds
from engine.testing.connector_suite import DestinationSuite, SourceSuite
from engine.testing.held_intake import HeldIntake
from engine.testing.memory_network import MemoryNetwork
from engine.testing.world import World, until
from tests.contract.connectors.mllp_peers import Receiver, Sender


class TestSource(SourceSuite):
    most_in_hand = 4

    def build(self, world: World) -> MllpSource:
        return self.build_at(world, "lab:0")

    def build_at(self, world: World, address: str) -> MllpSource:
        return MllpSource(ListenOptions(listen=address, max_in_flight=4), world.runtime, "charges")

    async def peer(self, world: World, source: MllpSource) -> Any:
        return await world.network.connect(Sender, *parse_address(source.address), 10)

    async def spoil(self, world: World, source: MllpSource, peer: Sender) -> bytes:
        peer.transport.write(b"MSH|no start block")
        await until("it to begin", lambda: any(connection.busy for connection in source.connections))
        world.clock.advance(60)
        return b"MSH|no start block"


class TestSourceByteByByte(TestSource):
    def world(self) -> World:
        return World(network=MemoryNetwork(install(), segment=1))


class TestSourceThatDials(TestSource):
    """The sender waits to be called: there is one, and nothing else could use its address."""

    test_says_nothing_before_intake_has_replied = None
    test_accepts_nothing_new_once_stopped = None
    test_an_address_in_use_is_an_os_error = None

    address = ("ehr", 2575)

    def build(self, world: World) -> MllpSource:
        return MllpSource(ListenOptions(connect="ehr:2575", max_in_flight=4), world.runtime, "charges")

    async def opened(self) -> tuple[World, MllpSource, HeldIntake]:
        world, intake, called = self.world(), HeldIntake(), []

        def build() -> Sender:
            called.append(Sender())
            return called[-1]

        port = await world.network.listen(build, *self.address)
        source = self.build(world)
        await source.start(intake)
        await until("the call", lambda: world.told(Listening))
        await port.stop()
        self.sender = called[0]
        return world, source, intake

    async def peer(self, world: World, source: MllpSource) -> Any:
        return self.sender


class TestDestination(DestinationSuite):
    def build(self, world: World, counterpart: Receiver) -> MllpDestination:
        return MllpDestination(ConnectOptions(connect=counterpart.address, connections=3), world.runtime, "lab")

    def build_unreachable(self, world: World) -> MllpDestination:
        return MllpDestination(ConnectOptions(connect="nowhere:2575"), world.runtime, "lab")

    async def counterpart(self, world: World) -> Receiver:
        return await Receiver(world.network).start(("lab", 0))

    def delivery(self, number: int) -> Delivery:
        content = f"MSH|^~\\&|WARDLINE|HOSPITAL|LAB|HOSPITAL|20260911120000||ADT^A08|W{number}|P|2.5.1\rPID|1||{number}\r"
        return worlds.delivery(content.encode(), number)


class TestDestinationByteByByte(TestDestination):
    def world(self) -> World:
        return World(network=MemoryNetwork(install(), segment=1))
