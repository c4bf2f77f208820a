"""Sockets: Twisted protocols on the asyncio loop's own transports.

On uvloop such a transport costs half the CPU of Twisted's over the same loop, and it gathers the writes of one turn into
one system call. Protocols see what Twisted promises: bytes, one loss, a transport that takes anything at any time.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol as WireProtocol
from twisted.python.failure import Failure

from engine.bridge import from_asyncio
from engine.quantities import Address
from engine.reactor import loop_of

_DONE = Failure(ConnectionDone())


def _lost(problem: Exception) -> Failure:
    return Failure(ConnectionLost(str(problem)))


def _ignored(data: object) -> None:
    """What `write` becomes when the connection has been given up."""


class Connection(asyncio.Protocol):
    """One connection: an asyncio protocol to the loop, a Twisted transport to `wire`.

    `dataReceived` and `write` are bound straight through to either side: nothing of ours runs per chunk.
    """

    disconnecting = False
    _producer: Any = None

    def __init__(self, wire: WireProtocol) -> None:
        self.wire = wire
        self.data_received = wire.dataReceived  # type: ignore[method-assign]

    # ── what the loop calls ──

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.write: Callable[[bytes], None] = transport.write
        self.writeSequence: Callable[[Iterable[bytes]], None] = transport.writelines
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.wire.makeConnection(self)

    def eof_received(self) -> bool:
        """A peer that has said all may still listen: a protocol with `readConnectionLost` decides when to close."""
        half_closed = getattr(self.wire, "readConnectionLost", None)
        if half_closed is None or self._transport.get_extra_info("ssl_object") is not None:
            self.disconnecting = True  # nothing more can be asked of this peer
            return False
        half_closed()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.disconnecting = True
        self.write = self.writeSequence = _ignored
        if self._producer is not None:
            self._producer.stopProducing()
            self._producer = None
        self.wire.connectionLost(_DONE if exc is None else _lost(exc))

    def pause_writing(self) -> None:
        if self._producer is not None:
            self._producer.pauseProducing()

    def resume_writing(self) -> None:
        if self._producer is not None:
            self._producer.resumeProducing()

    # ── what the protocol calls ──

    def loseConnection(self) -> None:
        """Close when what was written has gone."""
        self.disconnecting = True
        self.write = self.writeSequence = _ignored
        self._transport.close()

    def abortConnection(self) -> None:
        """Close now, dropping what was not yet sent."""
        self.disconnecting = True
        self.write = self.writeSequence = _ignored
        self._transport.abort()

    def pauseProducing(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resumeProducing(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def stopProducing(self) -> None:
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """`producer` is paused while the peer does not take what was written. Only push producers."""
        assert streaming, "a pull producer has no use for this transport"
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def getPeer(self) -> IPv4Address | IPv6Address:
        return _address(self._transport.get_extra_info("peername"))

    def getHost(self) -> IPv4Address | IPv6Address:
        return _address(self._transport.get_extra_info("sockname"))


def _address(name: Any) -> IPv4Address | IPv6Address:
    kind = IPv6Address if ":" in name[0] else IPv4Address
    return kind("TCP", name[0], name[1])


class LoopPort:
    """A listening socket of the loop."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        host, port = server.sockets[0].getsockname()[:2]
        self.address = str(Address(host, port))

    def stop(self) -> Deferred[None]:
        self._server.close()
        return succeed(None)


class LoopNetwork:
    """`contracts.Network` on the loop under the reactor."""

    def __init__(self, reactor: Any) -> None:
        self._loop = loop_of(reactor)

    def listen(self, build: Callable[[], WireProtocol], host: str, port: int) -> Deferred[LoopPort]:
        async def listening() -> LoopPort:
            server = await self._loop.create_server(lambda: Connection(build()), host, port, reuse_address=True)
            return LoopPort(server)

        return from_asyncio(self._loop, _only_os_errors(listening()))

    def connect(
        self, build: Callable[[], WireProtocol], host: str, port: int, timeout: float, tls: ssl.SSLContext | None = None
    ) -> Deferred[WireProtocol]:
        async def connected() -> WireProtocol:
            async with asyncio.timeout(timeout):
                _, connection = await self._loop.create_connection(
                    lambda: Connection(build()), host, port, ssl=tls, server_hostname=host if tls else None
                )
            return connection.wire

        return from_asyncio(self._loop, _only_os_errors(connected()))


async def _only_os_errors(attempt: Any) -> Any:
    """Host names that cannot be encoded raise UnicodeError; to callers that is one more name that is not found."""
    try:
        return await attempt
    except TimeoutError:
        raise TimeoutError("no answer to the connection attempt") from None
    except UnicodeError as problem:
        raise OSError(f"the host name cannot be looked up: {problem}") from None
