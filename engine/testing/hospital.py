"""A small hospital on this machine, for the demo: an EHR that sends, and the systems that receive, each with a bad habit.

The receivers are real servers on real sockets. Their habits are regular, so that a demo always shows the same things:
the billing API is busy now and then, and refuses charges of one department; the laboratory refuses a result now and then.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import Site

from engine.connectors.mllp.framing import Deframer, Dropped, frame
from engine.contracts import Clock, Network, Runtime
from engine.quantities import Address
from engine.testing.counterpart import Counterpart
from engine.testing.faults import MLLP, Faults

REFUSED_EACH = 12  # one in so many results the laboratory refuses
BUSY_EACH = 25  # every so many requests the billing API asks to wait
ODD_EACH, TWICE_EACH, STRAY_EACH = 9, 31, 40  # one in so many messages of a feed
ODD = ("unknown", "missing", "test_patient")  # words in the names of samples that something is wrong with
MAX_FRAME = 1 << 20
MAX_BODY = 1 << 20


class Api(Resource):
    """An HTTP API that takes JSON: 200, or what its habit says."""

    isLeaf = True  # noqa: N815 - twisted.web's name

    def __init__(self, name: str, busy_each: int = 0, refuses: bytes = b"") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.name, self._busy_each, self._refuses = name, busy_each, refuses
        self.requests = 0
        self.accepted: Counter[str] = Counter()  # by Idempotency-Key

    def render_POST(self, request: Request) -> bytes:
        self.requests += 1
        request.setHeader(b"content-type", b"application/json")
        body = request.content.read(MAX_BODY) if request.content else b""
        if self._busy_each and self.requests % self._busy_each == 0:
            request.setResponseCode(503)
            request.setHeader(b"retry-after", b"1")
            return b'{"error": "busy, come back in a second"}'
        if self._refuses and self._refuses in body:
            request.setResponseCode(422)
            return b'{"error": "this department is closed"}'
        key = request.getHeader("idempotency-key") or ""
        self.accepted[key] += 1
        return b'{"status": "accepted"}'


class Sender(Protocol):
    """One connection of the EHR: sends a message, waits for its answer, sends the next."""

    def __init__(self) -> None:
        self._deframer = Deframer(MAX_FRAME)
        self._waiting: Deferred[bytes] | None = None

    def exchange(self, content: bytes) -> Deferred[bytes]:
        """The acknowledgement; fails with ConnectionError when the engine goes away first."""
        self._waiting = Deferred()
        cast(Any, self.transport).write(frame(content))
        return self._waiting

    def dataReceived(self, data: bytes) -> None:
        for content in self._deframer.receive(data):
            waiting, self._waiting = self._waiting, None
            if waiting is not None and not isinstance(content, Dropped):
                waiting.callback(content)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(ConnectionError("the engine closed the connection"))


class Feed:
    """A feed of the EHR: its samples again and again, each time with a control id of its own.

    Most are good. One in ODD_EACH is a sample that something is wrong with (by its name), one in TWICE_EACH is sent again
    byte for byte, as senders do that missed an answer, and one in STRAY_EACH belongs to another feed.
    """

    def __init__(self, name: str, samples: Sequence[Path], stray: Path, chance: random.Random) -> None:
        self.name = name
        odd = [sample for sample in samples if any(word in sample.name for word in ODD)]
        self._good = cycle([sample.read_bytes() for sample in samples if sample not in odd])
        self._odd = cycle([sample.read_bytes() for sample in odd] or [stray.read_bytes()])
        self._stray = stray.read_bytes()
        self._chance = chance
        self._sent = 0
        self._last = b""
        self.answers: Counter[str] = Counter()

    def next(self) -> bytes:
        self._sent += 1
        if self._last and self._sent % TWICE_EACH == 0:
            return self._last
        source = self._odd if self._sent % ODD_EACH == 0 else self._good
        sample = self._stray if self._sent % STRAY_EACH == 0 else next(source)
        head, separator, rest = sample.partition(b"\r")
        fields = head.split(sample[3:4])
        fields[9] = b"%s%06d" % (self.name[:3].upper().encode(), self._sent)
        self._last = sample[3:4].join(fields) + separator + rest
        return self._last

    async def run(self, network: Network, clock: Clock, host: str, port: int, rate: float, count: int) -> None:
        """Send `count` messages at `rate` per second on one connection; `answers` counts AA, AE, AR."""
        sender = cast(Sender, await network.connect(Sender, host, port, 10.0))
        for _ in range(count):
            answer = await sender.exchange(self.next())
            found = re.search(rb"\rMSA.(\w\w)", answer)
            self.answers[found[1].decode() if found else "?"] += 1
            await pause(clock, self._chance.expovariate(rate))
        cast(Any, sender.transport).loseConnection()


def pause(clock: Clock, seconds: float) -> Deferred[None]:
    """A Deferred that fires after `seconds`."""
    done: Deferred[None] = Deferred()
    clock.callLater(seconds, done.callback, None)
    return done


class Receivers:
    """The hospital's receiving systems, each on a free port of this machine."""

    def __init__(self) -> None:
        self.billing = Api("billing API", BUSY_EACH, refuses=b'"PHA-1"')
        self.registry = Api("patient registry")
        self._ports: list[Any] = []

    def start(self, reactor: Any) -> dict[str, int]:
        """Opens the HTTP ports at once; by system, the port it got."""
        found: dict[str, int] = {}
        for name, api in (("billing", self.billing), ("registry", self.registry)):
            port = reactor.listenTCP(0, Site(api), interface="127.0.0.1")
            self._ports.append(port)
            found[name] = port.getHost().port
        return found

    async def open_laboratory(self, runtime: Runtime, port: int) -> Counterpart:
        habit = Faults([f"ae:101/{REFUSED_EACH}"])
        laboratory = Counterpart(MLLP, runtime.network, runtime.clock, runtime.now, habit)
        await laboratory.start(Address("127.0.0.1", port))
        return laboratory

    async def stop(self) -> None:
        for port in self._ports:
            await port.stopListening()
