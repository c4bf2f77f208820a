"""Connections over which requests and answers alternate: what MLLP and HTTP deliveries have in common.

One request is in flight on a link; an answer is taken only while one is awaited, so that a late or unasked one can never
be credited to another request: it costs the link. Waiting costs no timer of its own: each link has one, looked at when it
fires.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from errno import ECONNRESET
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol as WireProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from engine.contracts import Runtime
from engine.model import Misconfigured, Unknown, Unreached
from engine.quantities import Address, format_duration
from engine.tlsclient import Credentials, Unusable, about_our_certificate

Answer = TypeVar("Answer")

NOT_TAKEN = "the peer does not take our certificate: see tls in the destination's file"


class Link(WireProtocol, Generic[Answer]):
    """One connection. A protocol's own link implements `dataReceived`, and `ended` where an end can complete an answer."""

    transport: Any
    alive = False
    idle_limit = 0.0  # seconds after which the peer is expected to close it; 0: unknown

    def __init__(self, links: Links[Any]) -> None:
        self.links = links
        self.idle_since = 0.0
        self._clock = links.clock
        self._waiting: Deferred[Answer | Unknown | Misconfigured] | None = None
        self._fresh = True  # nothing was answered on it yet
        self._deadline = self._timeout = 0.0
        self._timer: Any = None

    def connectionMade(self) -> None:
        self.alive = True
        self.links.made(self)

    @property
    def waiting(self) -> bool:
        """A request is out and not yet answered."""
        return self._waiting is not None

    def exchange(self, request: bytes, timeout: float) -> Deferred[Answer | Unknown | Misconfigured]:
        """Send; fires with the answer, or with Unknown once bytes may have left and no answer can be had. Never fails.

        Misconfigured: the peer does not take our certificate, which in TLS 1.3 it says after we have begun to send
        (RFC 8446 §4.4.2.4), and having read nothing of that.
        """
        waiting: Deferred[Answer | Unknown | Misconfigured] = Deferred(self._cancelled)
        self._waiting = waiting
        self._timeout = timeout
        self._deadline = self._clock.seconds() + timeout
        if self._timer is None:
            self._timer = self._clock.callLater(timeout, self._tick)
        self.transport.write(request)
        return waiting

    def answered(self, answer: Answer | Unknown | Misconfigured) -> None:
        waiting, self._waiting = self._waiting, None
        self._fresh = False
        if waiting is not None:
            waiting.callback(answer)

    def ended(self, reason: Failure) -> Answer | Unknown | Misconfigured:
        """The connection was lost while an answer was awaited."""
        if self._fresh and about_our_certificate(reason.getErrorMessage()):
            return Misconfigured(NOT_TAKEN)
        closed = "closed" if isinstance(reason.value, ConnectionDone) else f"lost ({reason.getErrorMessage()})"
        return Unknown(f"the connection was {closed} before an answer came")

    def late(self) -> str:
        """What to say where no answer came in time."""
        return f"no answer within {format_duration(self._timeout)}"

    def spoil(self) -> None:
        """Give the connection up: whatever else comes over it belongs to nobody."""
        if self.alive:
            self.alive = False
            self.links.forget(self)
            self.transport.abortConnection()

    def close(self) -> None:
        if self.alive:
            self.alive = False
            self.links.forget(self)
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.alive = False
        self.links.forget(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting is not None:
            self.answered(self.ended(reason))
        self.links.lost(self)

    def _cancelled(self, _: object) -> None:
        self._waiting = None
        self.spoil()

    def _tick(self) -> None:
        self._timer = None
        if self._waiting is None:
            return
        left = self._deadline - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._tick)
            return
        why = self.late()
        self.spoil()
        self.answered(Unknown(why))


L = TypeVar("L", bound=Link[Any])


class Links(Generic[L]):
    """The connections to one address: taken for an exchange, given back when they are still good."""

    def __init__(
        self, runtime: Runtime, build: Callable[[Links[L]], L], address: Address, timeout: float,
        tls: Credentials | None = None,
    ) -> None:  # fmt: skip
        self.clock = runtime.clock
        self._network = runtime.network
        self._build, self._address, self._timeout, self._tls = build, address, timeout, tls
        self._idle: list[L] = []
        self._open: set[Link[Any]] = set()
        self._stopped: Deferred[None] | None = None

    async def take(self) -> L:
        """One that nobody uses; a new one where there is none. Raises OSError where it cannot be made."""
        while self._idle:
            link = self._idle.pop()
            if link.idle_limit and self.clock.seconds() - link.idle_since > link.idle_limit:
                link.close()
            elif link.alive and not link.transport.disconnecting:
                return link
        link: L = await self._network.connect(lambda: self._build(self), *self._address, self._timeout, *self._secure())  # type: ignore[no-redef]
        if not link.alive:
            raise ConnectionResetError(ECONNRESET, "closed by the other side as soon as it was made")
        return link

    def _secure(self) -> tuple[ssl.SSLContext | None, str]:
        return (None, "") if self._tls is None else (self._tls.context(), self._tls.server_name)

    def give(self, link: L) -> None:
        """Take it back for the next exchange."""
        if link.alive:
            if link.idle_limit:
                link.idle_since = self.clock.seconds()
            self._idle.append(link)

    def made(self, link: Link[Any]) -> None:
        self._open.add(link)

    def forget(self, link: Link[Any]) -> None:
        if link in self._idle:
            self._idle.remove(link)

    def lost(self, link: Link[Any]) -> None:
        self._open.discard(link)
        if self._stopped is not None and not self._open:
            stopped, self._stopped = self._stopped, None
            stopped.callback(None)

    async def probe(self) -> str:
        """Connect and close again; '' or why that failed."""
        try:
            link = await self.take()
        except OSError as problem:
            return f"{self._address}: {why(problem)}"
        link.close()
        return ""

    async def stop(self) -> None:
        for link in list(self._open):
            link.close()
        if self._open:
            self._stopped = Deferred()
            await self._stopped


def missed(problem: OSError) -> Unreached | Misconfigured:
    """What a connection that could not be made means: it may pass by itself, or a person must mend something."""
    if isinstance(problem, (ssl.SSLCertVerificationError, Unusable)):
        return Misconfigured(why(problem))
    if isinstance(problem, ssl.SSLError) and about_our_certificate(str(problem)):
        return Misconfigured(NOT_TAKEN)
    return Unreached(f"not connected: {why(problem)}")


def why(problem: OSError) -> str:
    """A connection failure as people say it, without numbers and addresses."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {problem.verify_message}"
    if isinstance(problem, ssl.SSLError):
        return f"the TLS handshake failed: {problem.reason or problem}"
    if isinstance(problem, ConnectionRefusedError):
        return "connection refused"
    return str(problem.strerror or problem) or type(problem).__name__
