from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure

from engine import reactor as engine_reactor
from engine.events import Received
from engine.observe import Metrics, Monitor
from engine.observe.monitor import CONNECTIONS, HEADERS, IDLE, _Factory

reactor = engine_reactor.install()
CLOSE = "Host: wardline\r\nConnection: close\r\n"


class Peer(Protocol):
    """Collects until the other side closes."""

    def __init__(self) -> None:
        self.got = b""
        self.closed: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.got += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed.callback(self.got)


async def connected(monitor: Monitor) -> Peer:
    host, _, port = monitor.address.rpartition(":")
    peer: Peer = await connectProtocol(TCP4ClientEndpoint(reactor, host, int(port)), Peer())
    return peer


async def ask(monitor: Monitor, request: str | bytes) -> tuple[int, dict[str, str], bytes]:
    peer = await connected(monitor)
    assert peer.transport is not None
    peer.transport.write(request if isinstance(request, bytes) else request.encode())
    head, _, body = (await peer.closed).partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    return int(status.split()[1]), {k.lower(): v for k, _, v in (line.partition(": ") for line in headers)}, body


@pytest.fixture
def state() -> dict[str, Any]:
    return {"ready": True, "facts": {"channels": ["adt"]}}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def monitor(state: dict[str, Any], metrics: Metrics, spin: Callable[[Any], Any]) -> Any:
    one = Monitor(reactor, "127.0.0.1:0", metrics, lambda: (state["ready"], state["facts"]))
    spin(one.start())
    yield one
    spin(one.stop())


async def test_live(monitor: Monitor) -> None:
    status, headers, body = await ask(monitor, f"GET /live HTTP/1.1\r\n{CLOSE}\r\n")
    assert (status, body) == (200, b"live\n")
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


async def test_ready_says_so_and_what_it_knows(monitor: Monitor, state: dict[str, Any]) -> None:
    status, headers, body = await ask(monitor, f"GET /ready HTTP/1.1\r\n{CLOSE}\r\n")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body) == {"ready": True, "channels": ["adt"]}
    state["ready"] = False
    status, _, body = await ask(monitor, f"GET /ready HTTP/1.1\r\n{CLOSE}\r\n")
    assert (status, json.loads(body)["ready"]) == (503, False)


async def test_ready_that_fails_is_not_ready_and_shows_nothing(
    monitor: Monitor, state: dict[str, Any], unhandled_errors: list[Any]
) -> None:
    del state["facts"]
    status, _, body = await ask(monitor, f"GET /ready HTTP/1.1\r\n{CLOSE}\r\n")
    assert (status, body) == (500, b"internal error\n")
    assert [failure.type for failure in unhandled_errors] == [KeyError]
    unhandled_errors.clear()


async def test_metrics(monitor: Monitor, metrics: Metrics) -> None:
    metrics(Received("adt", 1, 300))
    status, headers, body = await ask(monitor, f"GET /metrics?x=1 HTTP/1.1\r\n{CLOSE}\r\n")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=")
    assert b'wardline_messages_received_total{channel="adt"} 1.0' in body


async def test_head_has_the_length_and_no_body(monitor: Monitor) -> None:
    status, headers, body = await ask(monitor, f"HEAD /live HTTP/1.1\r\n{CLOSE}\r\n")
    assert (status, headers["content-length"], body) == (200, "5", b"")


@pytest.mark.parametrize("path", ["/", "/live/", "/../live", "/LIVE", "/metrics/x", "*", "http://wardline/live"])
async def test_nothing_else_is_there(monitor: Monitor, path: str) -> None:
    assert (await ask(monitor, f"GET {path} HTTP/1.1\r\n{CLOSE}\r\n"))[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
async def test_other_methods_are_refused(monitor: Monitor, method: str) -> None:
    status, headers, _ = await ask(monitor, f"{method} /live HTTP/1.1\r\n{CLOSE}\r\n")
    assert (status, headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("announced", ["Content-Length: 1000000000", "Transfer-Encoding: chunked", "Content-Length: 2"])
async def test_bodies_are_refused_unread(monitor: Monitor, announced: str) -> None:
    assert (await ask(monitor, f"POST /live HTTP/1.1\r\nHost: x\r\n{announced}\r\n\r\nhi"))[0] == 413


@pytest.mark.parametrize("line", ["X: " + "y" * HEADERS, "\r\n".join(f"X-{n}: y" for n in range(HEADERS // 5))])
async def test_large_headers_are_refused(monitor: Monitor, line: str) -> None:
    assert (await ask(monitor, f"GET /live HTTP/1.1\r\n{line}\r\n\r\n"))[0] == 400


@pytest.mark.parametrize("garbage", [b"\x0bMSH|^~\\&|\x1c\r\r\n\r\n", b"GET\r\n\r\n", b"GET /live HTTP/1.1\r\nno colon\r\n\r\n"])
async def test_garbage_is_refused(monitor: Monitor, garbage: bytes) -> None:
    assert (await ask(monitor, garbage))[0] == 400


async def test_requests_of_one_connection_are_answered_in_order(monitor: Monitor) -> None:
    request = (
        "GET /live HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" + f"GET /live HTTP/1.1\r\n{CLOSE}\r\n"
    )
    peer = await connected(monitor)
    assert peer.transport is not None
    peer.transport.write(request.encode())
    answers = await peer.closed
    assert [part.split()[0] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"200", b"404", b"200"]


async def test_stop_closes_open_connections_and_the_port(monitor: Monitor) -> None:
    peers = [await connected(monitor) for _ in range(3)]
    assert peers[0].transport is not None
    peers[0].transport.write(b"GET /live HTTP/1.1\r\nHost: x\r\n")  # in the middle of a request
    await monitor.stop()
    await gatherResults([peer.closed for peer in peers])
    with pytest.raises(Exception, match="refused"):
        await connected(monitor)


async def test_an_address_in_use_is_an_oserror_that_names_it(monitor: Monitor, metrics: Metrics) -> None:
    second = Monitor(reactor, monitor.address, metrics, lambda: (True, {}))
    with pytest.raises(OSError, match=monitor.address):
        await second.start()
    await second.stop()


def test_an_idle_connection_is_closed() -> None:
    clock = Clock()
    transport = StringTransportWithDisconnection()
    channel: Any = _Factory(clock, lambda path: (200, "text/plain", b"")).buildProtocol(None)  # type: ignore[arg-type]
    transport.protocol = channel
    channel.makeConnection(transport)
    channel.dataReceived(b"GET /live HTTP/1.1\r\nX:")
    clock.advance(IDLE - 1)
    assert transport.connected
    clock.advance(2)
    assert not transport.connected


def test_connections_beyond_the_limit_are_not_taken() -> None:
    factory = _Factory(Clock(), lambda path: None)
    channels: list[Any] = [factory.buildProtocol(None) for _ in range(CONNECTIONS)]  # type: ignore[arg-type]
    for channel in channels:
        channel.makeConnection(StringTransportWithDisconnection())
    assert factory.buildProtocol(None) is None  # type: ignore[arg-type]
    channels[0].connectionLost(connectionDone)
    assert factory.buildProtocol(None) is not None  # type: ignore[arg-type]
