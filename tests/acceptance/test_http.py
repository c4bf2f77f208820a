"""HTTP over real sockets: the contract again, Twisted's web server as an independent peer, and TLS that is always verified."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.web.resource import Resource
from twisted.web.server import Site

from engine import reactor as engine_reactor
from engine.connectors.http import RequestOptions
from engine.connectors.http.destination import HttpDestination
from engine.model import Delivered, Delivery, Misconfigured, Refused, Unreached
from engine.net import LoopNetwork
from engine.testing import world as worlds
from engine.testing.world import World
from tests.acceptance.certificates import Authority
from tests.acceptance.tls_servers import Charges as SecureCharges
from tests.acceptance.tls_servers import secure_server, serving
from tests.contract.connectors import test_http as contract
from tests.contract.connectors.http_peers import WebService

reactor = engine_reactor.install()


def real_world() -> World:
    return World(network=LoopNetwork(reactor))


class TestDestination(contract.TestDestination):
    def world(self) -> World:
        return real_world()

    async def counterpart(self, world: World) -> WebService:
        return await WebService(world.network).start(("127.0.0.1", 0))

    def build_unreachable(self, world: World) -> HttpDestination:
        return HttpDestination(RequestOptions(url="http://127.0.0.1:1/charges"), world.runtime, "billing")


class Charges(Resource):
    """Keeps what it is sent, by its Idempotency-Key."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[bytes, bytes] = {}

    def render_POST(self, request: Any) -> bytes:
        content = request.content.read()
        self.kept[request.getHeader(b"idempotency-key")] = content
        request.setResponseCode(201 if request.getHeader(b"content-type") == b"application/json" else 415)
        return hashlib.sha256(content).hexdigest().encode()


@pytest.fixture
def service() -> Iterator[tuple[Charges, str]]:
    charges = Charges()
    port = reactor.listenTCP(0, Site(charges), interface="127.0.0.1")
    yield charges, f"http://127.0.0.1:{port.getHost().port}/charges"
    port.stopListening()


def charge(number: int = 1, size: int = 0) -> Delivery:
    return worlds.delivery(b'{"quantity": %d, "note": "%s"}' % (number, b"." * size), number, "application/json")


async def test_twisteds_server_gets_every_delivery_whole(service: tuple[Charges, str]) -> None:
    charges, url = service
    destination = HttpDestination(RequestOptions(url=url, connections=4), real_world().runtime, "billing")
    todo = [charge(number, size=(number * 7919) % 200_000) for number in range(60)]
    expected = {delivery.identity.encode(): delivery.content for delivery in todo}

    async def lane() -> None:
        while todo:
            delivery = todo.pop()
            outcome = await destination.send(delivery)
            assert outcome == Delivered(hashlib.sha256(delivery.content).hexdigest().encode())

    await gatherResults([ensureDeferred(lane()) for _ in range(4)])
    assert charges.kept == expected
    await destination.stop()


async def test_what_the_server_refuses_is_refused(service: tuple[Charges, str]) -> None:
    _, url = service
    destination = HttpDestination(RequestOptions(url=url), real_world().runtime, "billing")
    outcome = await destination.send(charge()._replace(content_type="text/plain"))
    assert type(outcome) is Refused
    assert outcome.reason == "HTTP 415 Unsupported Media Type"
    await destination.stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


async def over_tls(authority: Authority, host: str, ca: Path | None, days: int = 1) -> Any:
    """What a delivery to `https://localhost` gives where the server's certificate is for `host`."""
    with secure_server(SecureCharges, serving(authority.issue(host, days))) as (server, port):
        options = RequestOptions(url=f"https://localhost:{port}/charges", tls={"ca": str(ca or "")})
        destination = HttpDestination(options, real_world().runtime, "billing")
        outcomes = [await destination.send(charge(number)) for number in (1, 2)]
        problem = await destination.check()
        await destination.stop()
        assert bool(server.kept) == (type(outcomes[0]) is Delivered)
    return outcomes, problem


async def test_tls_with_a_trusted_certificate(authority: Authority) -> None:
    outcomes, problem = await over_tls(authority, "localhost", authority.file)
    assert [type(outcome) for outcome in outcomes] == [Delivered, Delivered]
    assert problem == ""


@pytest.mark.parametrize("case", ["unknown authority", "another host", "expired", "system authorities only"])
async def test_a_certificate_that_cannot_be_trusted_holds_the_destination(
    authority: Authority, tmp_path: Path, case: str
) -> None:
    outcomes, problem = await {
        "unknown authority": lambda: over_tls(authority, "localhost", Authority(tmp_path, "another authority").file),
        "another host": lambda: over_tls(authority, "billing.example.org", authority.file),
        "expired": lambda: over_tls(authority, "localhost", authority.file, days=-1),
        "system authorities only": lambda: over_tls(authority, "localhost", None),
    }[case]()
    for outcome in outcomes:
        assert type(outcome) is Misconfigured, outcome
        assert outcome.reason.startswith("the certificate is not trusted: ")
    assert "not trusted" in problem


async def test_a_port_without_tls_was_not_reached(service: tuple[Charges, str]) -> None:
    charges, url = service
    world = real_world()
    options = RequestOptions(url=url.replace("http:", "https:"), connect_timeout="300ms")
    destination = HttpDestination(options, world.runtime, "billing")
    outcome = await destination.send(charge())
    assert type(outcome) is Unreached, outcome
    assert charges.kept == {}
    await destination.stop()
