"""A network in memory: `contracts.Network` without sockets, for tests that decide when and how bytes move.

    network = MemoryNetwork(clock)            # the reactor: bytes move by themselves; a `task.Clock`: when it is advanced
    port = await network.listen(build, "lab", 2575)
    protocol = await network.connect(build, "lab", 2575, timeout=10)

Bytes never move inside `write`: they are delivered in the clock's next turn, or when the test calls `pump()`.
Faults: `segment` cuts every write into pieces of so many bytes, addresses in `silent` never answer, `refusals` maps an
address to the OSError that connecting gives, and a transport's `abortConnection` is a reset. There is no TLS here, only what
follows from it: `certificate` is what every peer shows, and `handshakes` an OSError with which they all fail.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol as WireProtocol
from twisted.python.failure import Failure

from engine.contracts import Clock
from engine.quantities import Address

HIGH_WATER = 64 * 1024  # bytes written and not read after which a producer is paused, as real transports do


class MemoryTransport:
    """One end of a connection. `peer` is the other; `disconnected` once this end is closed."""

    def __init__(self, network: MemoryNetwork, wire: WireProtocol, host: Address, peer: Address) -> None:
        self.wire = wire
        self.peer: MemoryTransport
        self.disconnecting = self.disconnected = False
        self._network, self._host, self._peer_address = network, host, peer
        self._inbox: deque[bytes | Failure] = deque()  # what the other end wrote; a Failure is its end
        self._paused = self._held = False
        self._producer: Any = None

    def write(self, data: bytes) -> None:
        if self.disconnecting or not data:
            return
        if self.peer.disconnected:  # that is how a paused end learns of a reset
            self._paused = False
            self._network.schedule()
            return
        size = self._network.segment or len(data)
        self.peer._inbox.extend(bytes(data[at : at + size]) for at in range(0, len(data), size))
        if self._producer is not None and not self._held and self.peer.unread > HIGH_WATER:
            self._held = True
            self._producer.pauseProducing()
        self._network.schedule()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close; what was written still arrives."""
        self._end(_failure(ConnectionDone()), _failure(ConnectionDone()))

    def abortConnection(self) -> None:
        """Reset: what the peer has not yet read is lost to it."""
        self.peer._inbox.clear()
        self._end(_failure(ConnectionDone()), _failure(ConnectionLost("reset by peer")))

    def shutdown(self) -> None:
        """End only the writing half: the peer reads the end and may still answer."""
        if not self.disconnecting:
            self.peer._inbox.append(_failure(_HalfClosed()))
            self._network.schedule()

    def _end(self, here: Failure, there: Failure) -> None:
        if not self.disconnecting:
            self.disconnecting = True
            self._inbox.clear()
            self._inbox.append(here)
            self.peer._inbox.append(there)
            self._paused = False
            self._network.schedule()

    def startTLS(self, context: ssl.SSLContext) -> None:
        self._inbox.appendleft(_failure(_Agreed()))
        self._network.schedule()

    def getPeerCertificate(self) -> Any:
        return self._network.certificate

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._network.schedule()

    def stopProducing(self) -> None:
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", self._peer_address.host, self._peer_address.port)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", self._host.host, self._host.port)

    @property
    def unread(self) -> int:
        """Bytes that have been written to this end and not yet read by it."""
        return sum(len(item) for item in self._inbox if isinstance(item, bytes))

    def deliver(self) -> bool:
        """Hand one piece to the protocol; False where there is nothing, or it has paused."""
        if self.disconnected or self._paused or not self._inbox:
            return False
        item = self._inbox.popleft()
        if isinstance(item, bytes):
            self.wire.dataReceived(item)
            if self.peer._held and self.unread <= HIGH_WATER // 2:
                self.peer._held = False
                self.peer._producer.resumeProducing()
        elif isinstance(item.value, _HalfClosed) and hasattr(self.wire, "readConnectionLost"):
            self.wire.readConnectionLost()
        elif isinstance(item.value, _Agreed):
            self._agreed()
        else:
            self._lost(item)
        return True

    def _agreed(self) -> None:
        if (fault := self._network.handshakes) is None:
            self.wire.handshakeCompleted()  # type: ignore[attr-defined]
        else:
            self.wire.handshakeFailed(fault, b"")  # type: ignore[attr-defined]
            self.abortConnection()

    def _lost(self, reason: Failure) -> None:
        was_ours = self.disconnecting
        self.disconnected = self.disconnecting = True
        if not was_ours:  # the peer ended it: its own end learns so too
            self.peer._inbox.append(_failure(ConnectionDone()))
        self.wire.connectionLost(reason)


class _HalfClosed(Exception):
    """The peer writes no more."""


class _Agreed(Exception):
    """The TLS handshake has been done, or has failed."""


def _failure(problem: Exception) -> Failure:
    return Failure(problem)


class MemoryPort:
    """A place that takes connections, until it is stopped."""

    def __init__(self, network: MemoryNetwork, address: Address) -> None:
        self.address = str(address)
        self._network, self._key = network, address

    def stop(self) -> Deferred[None]:
        self._network.listeners.pop(self._key, None)
        return succeed(None)


class MemoryNetwork:
    """The network. `connections` holds the pairs of transports made, listening side second."""

    def __init__(self, clock: Clock, segment: int = 0) -> None:
        self.segment = segment
        self.listeners: dict[Address, Callable[[], WireProtocol]] = {}
        self.silent: set[Address] = set()
        self.refusals: dict[Address, OSError] = {}
        self.connections: list[tuple[MemoryTransport, MemoryTransport]] = []
        self.certificate: dict[str, Any] | None = None
        self.handshakes: OSError | None = None
        self._clock = clock
        self._scheduled = False
        self._next_port = 49152

    def listen(self, build: Callable[[], WireProtocol], host: str, port: int) -> Deferred[MemoryPort]:
        address = Address(host, port or self._free_port())
        if address in self.listeners:
            return fail(OSError(98, "Address already in use"))
        self.listeners[address] = build
        return succeed(MemoryPort(self, address))

    def connect(
        self, build: Callable[[], WireProtocol], host: str, port: int, timeout: float, tls: ssl.SSLContext | None = None,
        name: str = "",
    ) -> Deferred[WireProtocol]:  # fmt: skip
        connected: Deferred[WireProtocol] = Deferred()
        address = Address(host, port)
        if address in self.silent:
            self._clock.callLater(timeout, connected.errback, TimeoutError("no answer to the connection attempt"))
        else:
            self._clock.callLater(0, self._connect, build, address, connected)
        return connected

    def _connect(self, build: Callable[[], WireProtocol], address: Address, connected: Deferred[WireProtocol]) -> None:
        accept = self.listeners.get(address)
        if address in self.refusals or accept is None:
            connected.errback(self.refusals.get(address) or ConnectionRefusedError(111, "Connection refused"))
            return
        ours = Address("127.0.0.1", self._free_port())
        here = MemoryTransport(self, build(), ours, address)
        there = MemoryTransport(self, accept(), address, ours)
        here.peer, there.peer = there, here
        self.connections.append((here, there))
        here.wire.makeConnection(here)
        there.wire.makeConnection(there)
        connected.callback(here.wire)
        self.schedule()

    def schedule(self) -> None:
        """Bytes will move in the clock's next turn."""
        if not self._scheduled:
            self._scheduled = True
            self._clock.callLater(0, self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self.pump()

    def pump(self) -> None:
        """Move bytes until nothing is left that anybody would read."""
        moved = True
        while moved:
            moved = False
            for pair in list(self.connections):
                for end in pair:
                    moved = end.deliver() or moved
                if all(end.disconnected for end in pair):
                    self.connections.remove(pair)

    def _free_port(self) -> int:
        self._next_port += 1
        return self._next_port
