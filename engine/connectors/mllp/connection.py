"""One inbound MLLP connection: frames to intake, replies back in the order of arrival.

Reading stops for three reasons, each with its own word here: too many unanswered (`_full`), a peer that does not take its
replies (`_clogged`), and an end that was decided (`_closing`). It goes on when none holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.protocol import Protocol as WireProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from engine.connectors.mllp.framing import END, START, Deframer, Dropped
from engine.model import Arrival, Receipt
from engine.quantities import Address

if TYPE_CHECKING:
    from engine.connectors.mllp.source import MllpSource

CLOSE_TIMEOUT = 5.0  # seconds for the last replies to leave when closing

TOO_MANY_CONNECTIONS = "TOO_MANY_CONNECTIONS"
FRAME_TIMEOUT = "FRAME_TIMEOUT"  # a frame that did not come to its end in time
WRITE_TIMEOUT = "WRITE_TIMEOUT"  # a peer that does not take its replies
ABANDONED = "ABANDONED"  # frames not yet begun when their connection broke; the peer was told nothing of them
INTAKE_FAILED = "INTAKE_FAILED"  # our own fault; nothing was answered


class _Known:
    """An awaitable that is ready: cheaper than a Deferred that has fired."""

    def __init__(self, value: bool) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, None, bool]:
        return self._value
        yield


_HEARD, _GONE = _Known(True), _Known(False)


class Owed:
    """A reply we owe, and the `contracts.Reply` that settles it."""

    __slots__ = ("_connection", "done", "reply", "waiting")

    def __init__(self, connection: Inbound) -> None:
        self._connection = connection
        self.done = False
        self.reply: bytes | None = None
        self.waiting: Deferred[bool] | None = None

    def __call__(self, receipt: Receipt) -> _Known | Deferred[bool]:
        return self._connection.answer(self, receipt.reply)


class Inbound(WireProtocol):
    """The connection. `transport` is what `contracts.Network` promises."""

    transport: Any

    def __init__(self, source: MllpSource) -> None:
        options = source.options
        self._source = source
        self._limit = options.max_in_flight
        self._clock = source.runtime.clock
        self._deframer = Deframer(options.max_frame)
        self._owed: deque[Owed] = deque()
        self._backlog: deque[bytes] = deque()  # frames that came in one chunk beyond the limit
        self._gone = self._closing = self._paused = self._handing = False
        self._begun: float | None = None  # since when a frame is incomplete
        self._clogged: float | None = None  # since when replies are not taken
        self._active = self._clock.seconds()  # when something last happened; kept only for `idle_timeout`
        self._timer: Any = None

    # ── from the transport ──

    def connectionMade(self) -> None:
        peer = self.transport.getPeer()
        self.peer = str(Address(peer.host, peer.port))
        if not self._source.opened(self):
            self._gone = True
            self._source.refused(self.peer, TOO_MANY_CONNECTIONS, 0)
            self.transport.abortConnection()
            return
        self.transport.registerProducer(self, True)
        self._watch()

    def dataReceived(self, data: bytes) -> None:
        if self._gone:
            return
        for event in self._deframer.receive(data):
            self._begun = None
            if type(event) is bytes:
                if self._backlog or len(self._owed) >= self._limit:
                    self._backlog.append(event)
                else:
                    self._hand_over(event)
            else:
                self._refuse(event)  # type: ignore[arg-type]
        if self._deframer.partial and self._begun is None:
            self._begun = self._clock.seconds()
            self._watch()
        elif self._source.options.idle_timeout:
            self._active = self._clock.seconds()
        if self._backlog or len(self._owed) >= self._limit:
            self._flow()

    def readConnectionLost(self) -> None:
        """The peer has said all, and may still listen: it gets its replies before the connection goes."""
        self._drain_deframer()
        self.finish()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._gone:
            return
        self._gone = True
        self._drain_deframer()
        if self._backlog:
            self._source.refused(self.peer, ABANDONED, sum(map(len, self._backlog)))
            self._backlog.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        owed, self._owed = self._owed, deque()
        for one in owed:
            if one.waiting is not None:
                one.waiting.callback(False)
        self._source.closed(self)

    # As the transport's producer: our replies are not taken, or taken again.

    def pauseProducing(self) -> None:
        self._clogged = self._clock.seconds()
        self._flow()
        self._watch()

    def resumeProducing(self) -> None:
        self._clogged = None
        self._flow()

    def stopProducing(self) -> None:
        """The transport's word for a lost connection; `connectionLost` follows."""

    # ── to intake, and back ──

    def _hand_over(self, content: bytes) -> None:
        owed = Owed(self)
        self._owed.append(owed)
        running: Deferred[Any] = ensureDeferred(self._source.intake(Arrival(content, self.peer), owed))  # type: ignore[arg-type]
        if owed.done and running.called and not isinstance(running.result, Failure):
            return
        self._source.running.add(running)
        running.addBoth(self._ended, running, owed, len(content))

    def _ended(self, result: object, running: Deferred[Any], owed: Owed, size: int) -> None:
        if isinstance(result, Failure) or not owed.done:
            what = type(result.value).__name__ if isinstance(result, Failure) else "no reply"
            self._source.refused(self.peer, f"{INTAKE_FAILED}: {what}", size)
            if not owed.done:
                self.answer(owed, None)
        self._source.finished(running)

    def answer(self, owed: Owed, reply: bytes | None) -> _Known | Deferred[bool]:
        """Settle `owed`: what can leave in order leaves now. The loop makes one write of those of one turn."""
        owed.done = True
        if self._gone:
            return _GONE
        owed.reply = reply
        if self._owed[0] is not owed:
            owed.waiting = Deferred()
            return owed.waiting
        self._flush()
        return _HEARD

    def _flush(self) -> None:
        heard: list[Deferred[bool]] = []
        while self._owed and self._owed[0].done:
            owed = self._owed.popleft()
            if owed.reply is not None:
                self.transport.write(START + owed.reply + END)
            if owed.waiting is not None:
                heard.append(owed.waiting)
        for waiting in heard:
            waiting.callback(True)
        if self._paused or self._closing:
            self._continue()

    def _continue(self) -> None:
        """After replies have left: take up what waited for room, or close if that was the last."""
        if self._handing or self._gone:
            return
        self._handing = True  # an intake that replies at once comes back here: do not nest
        while self._backlog and len(self._owed) < self._limit:
            self._hand_over(self._backlog.popleft())
        self._handing = False
        if self._closing and not self._owed and not self._backlog:
            self._close()
        else:
            self._flow()

    # ── limits ──

    def _flow(self) -> None:
        pause = bool(self._clogged is not None or self._closing or self._backlog or len(self._owed) >= self._limit)
        if pause != self._paused and not self._gone:
            self._paused = pause
            if pause:
                self.transport.pauseProducing()
            else:
                if self._begun is not None:  # the time during which we did not read is not the peer's
                    self._begun = self._clock.seconds()
                self.transport.resumeProducing()

    def _refuse(self, dropped: Dropped) -> None:
        self._source.refused(self.peer, dropped.reason, dropped.size)
        if dropped.fatal:
            self.finish()

    def _drain_deframer(self) -> None:
        for event in self._deframer.close():
            self._refuse(event)  # type: ignore[arg-type]

    def finish(self) -> None:
        """Read no more; close when everything in hand has been answered."""
        if self._closing or self._gone:
            return
        self._closing = True
        self._flow()
        if not self._owed and not self._backlog:
            self._close()

    def _close(self) -> None:
        self.transport.loseConnection()
        if not self._gone:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._clock.callLater(CLOSE_TIMEOUT, self._give_up)

    def _give_up(self) -> None:
        self._timer = None
        self._source.refused(self.peer, WRITE_TIMEOUT, 0)
        self.transport.abortConnection()

    # ── one timer for all deadlines, looked at when it fires rather than moved with every message ──

    def _deadlines(self) -> list[tuple[float, str]]:
        options = self._source.options
        found = []
        if self._begun is not None and not self._paused:
            found.append((self._begun + options.frame_timeout, FRAME_TIMEOUT))
        if self._clogged is not None:
            found.append((self._clogged + options.frame_timeout, WRITE_TIMEOUT))
        if options.idle_timeout:
            found.append((self._active + options.idle_timeout, ""))
        return found

    def _watch(self) -> None:
        deadlines = self._deadlines()
        if not deadlines or self._gone:
            return
        wait = max(0.0, min(deadlines)[0] - self._clock.seconds())
        if self._timer is None:
            self._timer = self._clock.callLater(wait, self._tick)
        elif self._timer.getTime() > self._clock.seconds() + wait:
            self._timer.reset(wait)

    def _tick(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        due, reason = min(self._deadlines(), default=(now + 1, ""))
        if due > now:
            self._watch()
        elif reason == FRAME_TIMEOUT:
            dropped = self._deframer.close()
            self._source.refused(self.peer, reason, sum(event.size for event in dropped if isinstance(event, Dropped)))
            self.finish()
        elif reason == WRITE_TIMEOUT:
            self._source.refused(self.peer, reason, 0)
            self.transport.abortConnection()
        elif self._owed:  # not idle: it waits for us
            self._active = now
            self._watch()
        else:
            self.finish()
