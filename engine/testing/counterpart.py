"""A receiver with bad days: it takes messages over MLLP or HTTP, writes them down, and answers as its faults tell.

What it has taken is in its ledger, on disk, before a byte of an answer leaves. It reads content for nothing but the
identity that a delivery carries: MSH-10, or the header `Idempotency-Key`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple

import httptools
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.protocol import Protocol as WireProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from engine.connectors.mllp.framing import Deframer, Dropped, frame
from engine.contracts import Clock, Network, Port
from engine.quantities import Address, parse_address
from engine.testing.faults import HTTP, MLLP, Faults, Turn
from engine.testing.ledger import Ledger, taken

MAX_FRAME = 256 << 20
LISTEN_AGAIN = 0.1  # seconds, where the address is still somebody's after having been down

BROKEN, NOTHING, NO_ANSWER = "broken", "nothing", "garbage"  # what was answered, where it has no code


class Taken(NamedTuple):
    """One message as it came."""

    content: bytes
    identity: bytes  # b"" where it has none
    readable: bool = True


class Counterpart:
    """One listening address. `told` is called after everything that happens."""

    def __init__(
        self, protocol: str, network: Network, clock: Clock, now: Callable[[], int], faults: Faults,
        ledger: Ledger | None = None, told: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self.protocol, self.faults, self.clock, self.now = protocol, faults, clock, now
        self._network, self._ledger, self._told = network, ledger, told
        self._port: Port | None = None
        self._timer: Any = None
        self._stopped = False
        self._build = {MLLP: MllpConversation, HTTP: HttpConversation}[protocol]
        self.address = ""
        self.open: set[Conversation] = set()
        self.number = 0  # of messages, those that were broken off before they were taken among them
        self.received = self.unreadable = self.connections = 0
        self.identities: set[bytes] = set()
        self.answers: Counter[str] = Counter()  # by MSA-1 or status
        self.last = b""  # the identity of the message before

    async def start(self, address: Address) -> None:
        """Raises OSError where the address cannot be had."""
        self._port = await self._network.listen(lambda: self._build(self), *address)
        self.address = self._port.address
        if self.faults.flapping is not None:
            self._timer = self.clock.callLater(self.faults.flapping.every - self.faults.flapping.down, self._go_down)

    async def stop(self) -> None:
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        await self._close()
        if self._ledger is not None:
            self._ledger.flush()

    def stats(self) -> dict[str, Any]:
        """Counts for people and scripts."""
        return {
            "address": self.address,
            "received": self.received,
            "distinct": len(self.identities),
            "repeated": self.received - len(self.identities) - self.unreadable,
            "unreadable": self.unreadable,
            "connections": self.connections,
            "open": len(self.open),
            "answers": dict(sorted(self.answers.items())),
            "faults": dict(self.faults.met),
        }

    # ── what conversations tell ──

    def turn(self) -> Turn:
        self.number += 1
        return self.faults.turn(self.number)

    def take(self, message: Taken) -> None:
        self.received += 1
        if message.readable:
            self.identities.add(message.identity or b"\0%d" % self.received)  # without a name it is nobody's repeat
        else:
            self.unreadable += 1
        if self._ledger is not None:
            self._ledger.add(taken(message.identity, message.content, self.now()))

    def settle(self) -> None:
        """Called before answers leave."""
        if self._ledger is not None:
            self._ledger.flush()

    def told(self, answer: str = "") -> None:
        if answer:
            self.answers[answer] += 1
        self._told()

    # ── coming and going ──

    def _go_down(self) -> None:
        assert self.faults.flapping is not None
        self._timer = self.clock.callLater(self.faults.flapping.down, self._come_back)
        _run(self._close())

    def _come_back(self) -> None:
        _run(self._listen_again())

    async def _listen_again(self) -> None:
        try:
            await self.start(parse_address(self.address))
        except OSError:
            self._timer = self.clock.callLater(LISTEN_AGAIN, self._come_back)
            return
        if self._stopped:
            await self.stop()

    async def _close(self) -> None:
        if self._port is not None:
            port, self._port = self._port, None
            await port.stop()
        for conversation in list(self.open):
            conversation.transport.abortConnection()


def _run(coroutine: Any) -> None:
    started: Deferred[None] = ensureDeferred(coroutine)
    started.addErrback(_unexpected)


def _unexpected(failure: Failure) -> None:
    from twisted.logger import Logger

    Logger().failure("the counterpart", failure)


class Conversation(WireProtocol):
    """One connection. A protocol's own reads messages and renders answers."""

    transport: Any

    def __init__(self, counterpart: Counterpart) -> None:
        self.counterpart = counterpart
        self._waiting: deque[tuple[float, Taken, Turn]] = deque()  # answers in order, and how long each takes
        self._timers: list[Any] = []
        self._timer: Any = None

    def read(self, data: bytes) -> list[Taken]:
        """The messages that `data` completes."""
        raise NotImplementedError

    def answer(self, message: Taken, turn: Turn) -> tuple[bytes, str]:
        """The answer's bytes, and its code."""
        raise NotImplementedError

    def connectionMade(self) -> None:
        self.counterpart.open.add(self)
        self.counterpart.connections += 1
        self.counterpart.told()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.counterpart.open.discard(self)
        self._waiting.clear()
        for timer in (*self._timers, *filter(None, [self._timer])):
            if timer.active():
                timer.cancel()
        self.counterpart.told()

    def dataReceived(self, data: bytes) -> None:
        turns: list[tuple[Taken, Turn]] = []
        broken = False
        for message in self.read(data):
            turn = self.counterpart.turn()
            if broken := turn.unread:
                break
            self.counterpart.take(message)
            turns.append((message, turn))
        self.counterpart.settle()
        for message, turn in turns:
            self._plan(message, turn)
        if broken:
            self.transport.abortConnection()
            self.counterpart.told(BROKEN)

    def _plan(self, message: Taken, turn: Turn) -> None:
        if turn.late:
            self._timers.append(self.counterpart.clock.callLater(turn.late, self._say, message, turn))
        else:
            self._waiting.append((turn.delay, message, turn))
            if self._timer is None:
                self._next()

    def _next(self) -> None:
        self._timer = None
        while self._waiting:
            delay, message, turn = self._waiting.popleft()
            if delay:
                self._waiting.appendleft((0.0, message, turn))
                self._timer = self.counterpart.clock.callLater(delay, self._next)
                return
            self._say(message, turn)

    def _say(self, message: Taken, turn: Turn) -> None:
        data, code = self.answer(message, turn)
        self.counterpart.last = message.identity
        if turn.instead is not None:
            data, code = turn.instead, NO_ANSWER
        data *= turn.times
        if turn.share < 1:
            data = data[: max(1, int(len(data) * turn.share))]
            code = BROKEN
        if turn.drop:
            if data and turn.share < 1:
                self.transport.write(data)
                self.transport.loseConnection()
            else:
                self.transport.abortConnection()
        elif data:
            self.transport.write(data)
        self.counterpart.told(BROKEN if turn.drop else code if data else NOTHING)


class MllpConversation(Conversation):
    """Frames in, acknowledgements out. What is no HL7 v2 is answered AR without a name."""

    def __init__(self, counterpart: Counterpart) -> None:
        super().__init__(counterpart)
        self._deframer = Deframer(MAX_FRAME)

    def read(self, data: bytes) -> list[Taken]:
        found = []
        for event in self._deframer.receive(data):
            if isinstance(event, Dropped):
                self.counterpart.unreadable += 1
                self.counterpart.received += 1
            else:
                found.append(read_mllp(event))
        return found

    def answer(self, message: Taken, turn: Turn) -> tuple[bytes, str]:
        if not message.readable:
            turn = turn._replace(code="AR", error="100")
        named = message.identity
        if turn.wrong_id:
            named = self.counterpart.last if self.counterpart.last not in (b"", named) else named + b"X"
        return frame(acknowledge(message.content, turn.code, named, turn.error, self.counterpart.number)), turn.code


def read_mllp(content: bytes) -> Taken:
    fields = content[:4096].split(b"\r", 1)[0].split(content[3:4]) if content[:3] == b"MSH" and len(content) > 8 else []
    return Taken(content, fields[9] if len(fields) > 9 else b"", bool(fields))


def acknowledge(content: bytes, code: str, named: bytes, error: str, number: int) -> bytes:
    """An acknowledgement as a plain receiver writes it: in the separators of the message, sender and receiver swapped
    (HL7 v2.5.1 §2.9.2), the error in ERR-3."""
    fields = content.split(b"\r", 1)[0].split(content[3:4]) if content[:3] == b"MSH" else []
    fields += [b""] * (13 - len(fields))
    separator, marks = content[3:4] if fields[1] else b"|", fields[1] or b"^~\\&"
    trigger = marks[:1].join([b"ACK", *fields[8].split(marks[:1])[1:2]])
    head = [b"MSH", marks, *fields[4:6], *fields[2:4], fields[6], b"", trigger, b"S%d" % number, fields[10] or b"P", fields[11]]
    segments = [head, [b"MSA", code.encode(), named]]
    if error:
        segments.append([b"ERR", b"", b"", error.encode(), b"E"])
    return b"".join(separator.join(segment) + b"\r" for segment in segments)


class HttpConversation(Conversation):
    """Requests in, statuses out (HTTP/1.1, keep-alive)."""

    def __init__(self, counterpart: Counterpart) -> None:
        super().__init__(counterpart)
        self._parser: Any = httptools.HttpRequestParser(self)
        self._found: list[Taken] = []
        self.on_message_begin()

    def read(self, data: bytes) -> list[Taken]:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.counterpart.unreadable += 1
            self.counterpart.received += 1
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.transport.loseConnection()
        found, self._found = self._found, []
        return found

    def answer(self, message: Taken, turn: Turn) -> tuple[bytes, str]:
        phrase = next((status.phrase for status in HTTPStatus if status == turn.status), "Simulated")
        retry = f"Retry-After: {turn.retry_after}\r\n" if turn.retry_after else ""
        body = '{"ok":true}' if 200 <= turn.status < 300 else '{"error":"simulated"}'
        head = f"HTTP/1.1 {turn.status} {phrase}\r\n{retry}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return (head + body).encode(), str(turn.status)

    # ── llhttp's callbacks ──

    def on_message_begin(self) -> None:
        self._identity = b""
        self._body: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"idempotency-key":
            self._identity = value

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        self._found.append(Taken(b"".join(self._body), self._identity))
