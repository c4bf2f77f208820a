"""The endpoint for probes and scrapers: `/live`, `/ready` and `/metrics`, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from engine.observe.metrics import Metrics

IDLE = 15  # seconds a connection may stand still
CONNECTIONS = 50
HEADERS = 8192  # bytes of request line and headers
TEXT = "text/plain; charset=utf-8"

Answer = tuple[int, str, bytes]
Ready = Callable[[], tuple[bool, Mapping[str, Any]]]


class Monitor:
    """Answers on `address` (`host:port`; port 0 finds a free one, and `address` then says which).

    `/live` says that the reactor turns; `/ready` asks `ready` and is 200 or 503, with its facts as JSON; `/metrics` is
    Prometheus' text. It has no login and says nothing about patients: bind it where probes are.
    """

    def __init__(self, reactor: Any, address: str, metrics: Metrics, ready: Ready) -> None:
        self._reactor = reactor
        self.address = address
        self._metrics = metrics
        self._ready = ready
        self._factory = _Factory(reactor, self.answer)
        self._port: Any = None

    def start(self) -> Deferred[None]:
        """Fails with OSError where the address cannot be had."""
        return maybeDeferred(self._listen)

    def stop(self) -> Deferred[None]:
        """Close the port and every connection."""
        port, self._port = self._port, None
        if port is None:
            return succeed(None)
        for channel in list(self._factory.open):
            channel.forceAbortClient()
        stopped: Deferred[None] = maybeDeferred(port.stopListening)
        return stopped

    def answer(self, path: bytes) -> Answer | None:
        """Status, content type and body; None where there is nothing of that name."""
        if path == b"/live":
            return 200, TEXT, b"live\n"
        if path == b"/ready":
            ready, facts = self._ready()
            return 200 if ready else 503, "application/json", orjson.dumps({"ready": ready, **facts}, default=str) + b"\n"
        if path == b"/metrics":
            from prometheus_client import CONTENT_TYPE_LATEST

            return 200, CONTENT_TYPE_LATEST, self._metrics.text()
        return None

    def _listen(self) -> None:
        host, _, port = self.address.rpartition(":")
        host = host.strip("[]")
        try:
            self._port = self._reactor.listenTCP(int(port), self._factory, interface=host)
        except CannotListenError as error:
            raise OSError(f"monitor: {self.address} cannot be had: {error.socketError}") from error
        bound = self._port.getHost()
        self.address = f"[{bound.host}]:{bound.port}" if ":" in bound.host else f"{bound.host}:{bound.port}"


class _Request(Request):
    """One request, answered from its path alone. A body is refused by its announcement, before a byte of it is read."""

    _refused = False

    def gotLength(self, length: int | None) -> None:  # Twisted calls it when all headers are there; None means chunked
        super().gotLength(0)
        if length != 0:
            self._refused = True
            cast(_Channel, self.channel).refuse_body()

    def handleContentChunk(self, data: bytes) -> None:
        pass  # only of a refused body, until the connection is closed

    def process(self) -> None:
        if self._refused:
            return
        try:
            answer = self._answer()
        except Exception:
            Logger("engine.observe").failure("The monitor could not answer")
            answer = 500, TEXT, b"internal error\n"
        self._respond(*answer)

    def _answer(self) -> Answer:
        if self.method not in (b"GET", b"HEAD"):
            self.setHeader(b"allow", b"GET, HEAD")
            return 405, TEXT, b"only GET and HEAD\n"
        found: Answer | None = self.channel.factory.answer(self.uri.partition(b"?")[0])
        return found or (404, TEXT, b"here are /live, /ready and /metrics\n")

    def _respond(self, status: int, kind: str, body: bytes) -> None:
        self.setResponseCode(status)
        self.setHeader(b"content-type", kind.encode())
        self.setHeader(b"content-length", str(len(body)).encode())
        self.setHeader(b"cache-control", b"no-store")
        self.setHeader(b"x-content-type-options", b"nosniff")
        self.write(body)  # which sends the headers alone for HEAD
        self.finish()


class _Channel(HTTPChannel):
    requestFactory = _Request  # noqa: N815
    totalHeadersSize = HEADERS  # noqa: N815

    def refuse_body(self) -> None:
        transport: Any = self.transport
        transport.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self.loseConnection()

    def connectionMade(self) -> None:
        self.factory.open.add(self)
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.open.discard(self)
        super().connectionLost(reason)


class _Factory(ServerFactory[HTTPChannel]):
    """Not twisted.web's own: that one keeps a timer for an access log, which nobody wants of probes."""

    noisy = False

    def __init__(self, reactor: Any, answer: Callable[[bytes], Answer | None]) -> None:
        self._reactor = reactor
        self.answer = answer
        self.open: set[_Channel] = set()

    def buildProtocol(self, addr: IAddress | None) -> HTTPChannel | None:
        if len(self.open) >= CONNECTIONS:
            return None
        channel = _Channel()
        channel.factory = self
        channel.callLater = self._reactor.callLater  # type: ignore[method-assign]
        channel.timeOut = IDLE
        return channel

    def log(self, request: Request) -> None:
        pass  # twisted.web calls it for each request
