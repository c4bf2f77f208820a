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
from engine.tlsserver import TlsServer

HANDSHAKE_TIMEOUT = 10.0  # seconds for a client to do its part of a TLS handshake
BACKLOG = 1024  # connections that the system takes before we do
# A peer that does not answer the system's own probes, or does not confirm what was sent, is gone after 90 seconds.
KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 90_000}

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
    _tls: TlsServer | None = None
    _agreeing: asyncio.TimerHandle | None = None  # while the TLS handshake goes on: its time-out
    _opening = b""  # what the peer said in that time
    _over = False  # the protocol knows of the end

    def __init__(self, wire: WireProtocol, loop: asyncio.AbstractEventLoop) -> None:
        self.wire, self._loop = wire, loop
        self.data_received = wire.dataReceived  # type: ignore[method-assign]

    # ── what the loop calls ──

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.write: Callable[[bytes], None] = transport.write
        self.writeSequence: Callable[[Iterable[bytes]], None] = transport.writelines
        if (sock := transport.get_extra_info("socket")) is not None:
            _tune(sock)
        self.wire.makeConnection(self)

    def eof_received(self) -> bool:
        """A peer that has said all may still listen: a protocol with `readConnectionLost` decides when to close."""
        if self._agreeing is not None:
            self._not_agreed(ConnectionResetError("closed during the TLS handshake"))
            return False
        half_closed = getattr(self.wire, "readConnectionLost", None)
        if half_closed is None or self._transport.get_extra_info("ssl_object") is not None:
            self.disconnecting = True  # nothing more can be asked of this peer
            return False
        half_closed()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._agreeing is not None:
            self._not_agreed(ConnectionResetError("lost during the TLS handshake"))
        self._end(_DONE if exc is None else _lost(exc))

    def _end(self, reason: Failure) -> None:
        if self._over:
            return
        self.disconnecting = self._over = True
        self.write = self.writeSequence = _ignored
        if self._producer is not None:
            self._producer.stopProducing()
            self._producer = None
        self.wire.connectionLost(reason)

    def pause_writing(self) -> None:
        if self._producer is not None:
            self._producer.pauseProducing()

    def resume_writing(self) -> None:
        if self._producer is not None:
            self._producer.resumeProducing()

    # ── what the protocol calls ──

    def loseConnection(self) -> None:
        """Close when what was written has gone."""
        if self._tls is not None and not self.disconnecting:
            self._tls.close()
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

    # ── TLS, as the server ──

    def startTLS(self, context: ssl.SSLContext) -> None:
        """Only in `connectionMade`. Then comes the protocol's `handshakeCompleted()`, or `handshakeFailed(problem, received)`
        with an OSError (which ssl.SSLError is) and what the peer had sent, before its `connectionLost`."""
        self._tls = TlsServer(context, self._transport.write)
        self._agreeing = self._loop.call_later(
            HANDSHAKE_TIMEOUT, self._not_agreed, TimeoutError("the TLS handshake took too long")
        )
        self.write = self._tls.send
        self.writeSequence = self._send_all
        self.data_received = self._decrypt  # type: ignore[method-assign]
        self._transport.set_protocol(self)  # uvloop remembers the method, not the name

    def getPeerCertificate(self) -> Any:
        """The peer's certificate as `ssl.SSLSocket.getpeercert` gives it; None or empty where it showed none."""
        return self._tls.certificate if self._tls is not None else None

    def _send_all(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def _decrypt(self, data: bytes) -> None:
        tls = self._tls
        if tls is None or self._over or tls.ended:
            return
        if self._agreeing is not None:
            self._opening += data
        try:
            plain = tls.receive(data)
        except ssl.SSLError as problem:
            if self._agreeing is not None:
                self._not_agreed(problem)
            else:
                self._end(_lost(problem))
                self._transport.close()
            return
        if self._agreeing is not None and tls.agreed:
            self._agreeing.cancel()
            self._agreeing, self._opening = None, b""
            self.wire.handshakeCompleted()  # type: ignore[attr-defined]
        if plain:
            self.wire.dataReceived(plain)
        if tls.ended and not self._over and not self.eof_received():
            self._transport.close()

    def _not_agreed(self, problem: OSError) -> None:
        assert self._agreeing is not None
        self._agreeing.cancel()
        self._agreeing = None
        self.wire.handshakeFailed(problem, self._opening)  # type: ignore[attr-defined]
        self._end(_lost(problem))
        self._transport.close()

    def getPeer(self) -> IPv4Address | IPv6Address:
        return _address(self._transport.get_extra_info("peername"))

    def getHost(self) -> IPv4Address | IPv6Address:
        return _address(self._transport.get_extra_info("sockname"))


def _tune(sock: Any) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for name, value in KEEPALIVE.items():
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _address(name: Any) -> IPv4Address | IPv6Address:
    if name is None:  # it went before we could ask
        return IPv4Address("TCP", "0.0.0.0", 0)  # noqa: S104
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
            server = await self._loop.create_server(
                lambda: Connection(build(), self._loop), host, port, reuse_address=True, backlog=BACKLOG
            )
            return LoopPort(server)

        return from_asyncio(self._loop, _only_os_errors(listening()))

    def connect(
        self, build: Callable[[], WireProtocol], host: str, port: int, timeout: float, tls: ssl.SSLContext | None = None,
        name: str = "",
    ) -> Deferred[WireProtocol]:  # fmt: skip
        async def connected() -> WireProtocol:
            async with asyncio.timeout(timeout):
                _, connection = await self._loop.create_connection(
                    lambda: Connection(build(), self._loop), host, port, ssl=tls, server_hostname=(name or host) if tls else None
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
