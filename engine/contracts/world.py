"""What everything runs on: time, the network, chance."""

from __future__ import annotations

import random
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol as WireProtocol

from engine.events import Emit


class Clock(Protocol):
    """Monotonic time and timers; the reactor has it, and so has `twisted.internet.task.Clock` in tests."""

    def seconds(self) -> float: ...

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall: ...


class Port(Protocol):
    """A listening socket."""

    address: str  # `host:port` as bound: port 0 has become a real one

    def stop(self) -> Awaitable[None]:
        """Accept no more connections; those that are open stay open."""


class Network(Protocol):
    """The way to sockets; `engine.net` has the real one, `engine.testing` one in memory.

    Protocols are Twisted protocols, and their transport offers `write`, `writeSequence`, `loseConnection`,
    `abortConnection`, `pauseProducing`, `resumeProducing`, `registerProducer`, `unregisterProducer`, `getPeer`, `getHost`.
    On the listening side `startTLS(context)`, called in `connectionMade`, takes the connection over to TLS: then comes the
    protocol's `handshakeCompleted()`, with the certificate in the transport's `getPeerCertificate()` as `ssl` gives it, or
    `handshakeFailed(problem, received)`, an OSError and the peer's bytes, and after it `connectionLost`.
    """

    def listen(self, build: Callable[[], WireProtocol], host: str, port: int) -> Awaitable[Port]:
        """One protocol from `build` for each connection. Raises OSError where the address cannot be bound."""

    def connect(
        self, build: Callable[[], WireProtocol], host: str, port: int, timeout: float, tls: ssl.SSLContext | None = None,
        name: str = "",
    ) -> Awaitable[WireProtocol]:  # fmt: skip
        """A connected protocol, its TLS handshake done where `tls` is given (the certificate must name `name`, or `host`).
        Raises OSError (which TimeoutError and ssl.SSLError are) when it was certainly not reached."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a part may use of the world. Nothing in the core reads clock, network or chance in any other way."""

    clock: Clock
    network: Network
    emit: Emit
    now: Callable[[], int]  # wall clock, microseconds since 1970; for records, never for order or durations
    chance: random.Random
