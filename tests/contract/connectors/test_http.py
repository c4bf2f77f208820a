"""HTTP keeps the destinations' contract, over a network in memory: as it comes, and cut into single bytes."""

from __future__ import annotations

from engine.connectors.http import RequestOptions
from engine.connectors.http.destination import HttpDestination
from engine.model import Delivery
from engine.reactor import install
from engine.testing import world as worlds
from engine.testing.connector_suite import DestinationSuite
from engine.testing.memory_network import MemoryNetwork
from engine.testing.world import World
from tests.contract.connectors.http_peers import WebService


class TestDestination(DestinationSuite):
    # Answers name no request in HTTP/1.1: their order on the connection is all there is.
    test_an_answer_to_something_else_is_unknown = None

    def build(self, world: World, counterpart: WebService) -> HttpDestination:
        return HttpDestination(RequestOptions(url=f"http://{counterpart.address}/charges?source=ward"), world.runtime, "billing")

    def build_unreachable(self, world: World) -> HttpDestination:
        return HttpDestination(RequestOptions(url="http://nowhere/charges"), world.runtime, "billing")

    async def counterpart(self, world: World) -> WebService:
        return await WebService(world.network).start(("billing.example.org", 0))

    def delivery(self, number: int) -> Delivery:
        return worlds.delivery(b'{"quantity": %d}' % number, number, "application/json")


class TestDestinationByteByByte(TestDestination):
    def world(self) -> World:
        return World(network=MemoryNetwork(install(), segment=1))
