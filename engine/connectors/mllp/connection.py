"""One inbound MLLP connection: frames to intake, replies back in the order of arrival.

Reading stops for four reasons, each with its own word here: too many unanswered (`_full`), a peer that does not take its
replies (`_clogged`), no memory to spare (the source's budget), and an end that was decided (`_closing`). It goes on when
none holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol as WireProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from engine.connectors.mllp.framing import END, KEPT, NO_SB, START, Deframer, Dropped, Loose, frame
from engine.connectors.mllp.owed import GONE, HEARD, Known, Owed
from engine.connectors.mllp.secure import NOT_TLS, handshake_refusal
from engine.driving import drive
from engine.model import NO_HEADERS, Arrival
from engine.quantities import Address

if TYPE_CHECKING:
    from engine.connectors.mllp.source import MllpSource

CLOSE_TIMEOUT = 5.0  # seconds for the last replies to leave when closing
SETTLE_TIME = 1.0  # seconds of silence after which a frame that lacks only its last byte is taken

FRAME_TIMEOUT = "FRAME_TIMEOUT"  # a frame that did not come to its end in time
WRITE_TIMEOUT = "WRITE_TIMEOUT"  # a peer that does not take its replies
ABANDONED = "ABANDONED"  # frames not yet begun when their connection broke; the peer was told nothing of them
INTAKE_FAILED = "INTAKE_FAILED"  # our own fault; nothing was answered
MLLP_R2 = "MLLP_R2"  # the one-byte blocks by which MLLP release 2 confirms our replies; release 1 has no use for them
END_WITHOUT_CR = "END_WITHOUT_CR"  # taken all the same, unless the source is strict

_SETTLE = "settle"
_R2_BLOCKS = (b"\x06", b"\x15")  # commit ACK and NAK (HL7 Transport Specification: MLLP, release 2, §3.1)


class Inbound(WireProtocol):
    """The connection. `transport` is what `contracts.Network` promises."""

    transport: Any
    host = peer = ""

    def __init__(self, source: MllpSource) -> None:
        options = source.options
        self._source = source
        self._limit = options.max_in_flight
        self._clock = source.runtime.clock
        self._budget = source.budget
        self._deframer = Deframer(options.max_frame, tolerant=not options.strict)
        self._owed: deque[Owed] = deque()
        self._backlog: deque[bytes] = deque()  # frames that came in one chunk beyond the limit
        self._headers: Mapping[str, str] = NO_HEADERS
        self._gone = self._closing = self._paused = self._handing = False
        self._begun: float | None = None  # since when a frame is incomplete
        self._silent: float | None = None  # since when a frame lacks no more than its last byte
        self._clogged: float | None = None  # since when replies are not taken
        self._timer: Any = None
        self.counted = 0  # see `budget.Reader`
        self._keeps_time = bool(options.idle_timeout)
        self.active = self._clock.seconds()  # when something last happened; kept only for `idle_timeout`

    @property
    def busy(self) -> bool:
        """It waits for us, or has its own time-outs."""
        return bool(self._owed or self._closing or self._begun is not None)

    @property
    def spoke(self) -> bool:
        """The peer has sent the start of a frame."""
        return self._deframer.started

    # ── from the transport ──

    def connectionMade(self) -> None:
        peer = self.transport.getPeer()
        self.host, self.peer = peer.host, str(Address(peer.host, peer.port))
        if refusal := self._source.opened(self):
            self._turn_away(refusal)
            return
        self.transport.registerProducer(self, True)
        if self._source.identity is not None:
            self.transport.startTLS(self._source.identity.context())

    def handshakeCompleted(self) -> None:
        if self._source.identity is not None and not self._gone:
            self._headers, refusal = self._source.identity.judge(self.transport.getPeerCertificate())
            if refusal:
                self._turn_away(refusal)

    def handshakeFailed(self, problem: OSError, received: bytes) -> None:
        if refusal := handshake_refusal(problem):
            self._source.turned_away(self, refusal, received if refusal == NOT_TLS else b"")

    def _turn_away(self, reason: str) -> None:
        self._gone = True
        self._source.turned_away(self, reason)
        self._source.closed(self)
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        if self._gone:
            return
        for event in self._deframer.receive(data):
            self._begun = None
            if type(event) is bytes and len(event) != 1:
                self._take(event)
            else:
                self._odd(event)
        if self._deframer.partial:
            self._incomplete()
        else:
            if self.counted:
                self._budget.count(self, 0)
            if self._keeps_time:
                self.active = self._clock.seconds()
        if self._backlog or len(self._owed) >= self._limit or self.counted or self._budget.in_hand > self._budget.limit:
            self._flow()

    def readConnectionLost(self) -> None:
        """The peer has said all, and may still listen: it gets its replies before the connection goes."""
        self._settle()
        self._drain_deframer()
        self.finish()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._gone:
            return
        self._gone = True
        self._drain_deframer()
        if self._backlog:
            self._abandon()
        self._budget.forget(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        owed, self._owed = self._owed, deque()
        for one in owed:
            if one.waiting is not None:
                one.waiting.callback(False)
        self._source.closed(self)

    def _abandon(self) -> None:
        size = sum(map(len, self._backlog))
        kept = bytearray()
        for content in self._backlog:
            kept += frame(content)
            if len(kept) >= KEPT:
                break
        self._budget.in_hand -= size
        self._backlog.clear()
        self._source.refused(self.peer, ABANDONED, size, bytes(kept[:KEPT]))

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

    def _take(self, content: bytes) -> None:
        self._budget.in_hand += len(content)
        if self._backlog or len(self._owed) >= self._limit:
            self._backlog.append(content)
        else:
            self._hand_over(content)

    def _odd(self, event: bytes | Dropped) -> None:
        if isinstance(event, Dropped):
            self._refuse(event)
        elif isinstance(event, Loose):
            self._source.irregular(self.peer, END_WITHOUT_CR)
            self._take(bytes(event))
        elif event in _R2_BLOCKS:
            self._source.irregular(self.peer, MLLP_R2)
        else:
            self._take(event)

    def _hand_over(self, content: bytes) -> None:
        owed = Owed(self, len(content))
        self._owed.append(owed)
        self._source.running.add(owed)

        def ended(result: object) -> None:
            if result is None and owed.done:
                self._source.finished(owed)
            else:
                self._failed(result, owed, content)

        drive(self._source.intake(Arrival(content, self.peer, self._headers), owed), ended)

    def _failed(self, result: object, owed: Owed, content: bytes) -> None:
        if isinstance(result, Failure) or not owed.done:
            what = type(result.value).__name__ if isinstance(result, Failure) else "no reply"
            self._source.refused(self.peer, f"{INTAKE_FAILED}: {what}", len(content), content[:KEPT])
            if not owed.done:
                self.answer(owed, None)
        self._source.finished(owed)

    def answer(self, owed: Owed, reply: bytes | None) -> Known | Deferred[bool]:
        """Settle `owed`: what can leave in order leaves now. The loop makes one write of those of one turn."""
        owed.done = True
        self._budget.in_hand -= owed.size
        if self._budget.waiting:
            self._budget.relieve()
        if self._gone:
            return GONE
        owed.reply = reply
        if self._owed[0] is not owed:
            owed.waiting = Deferred()
            return owed.waiting
        self._flush()
        return HEARD

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
        if self._keeps_time:
            self.active = self._clock.seconds()
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

    def go_on(self) -> None:
        """The budget has room again."""
        if not self._gone:
            self._flow()

    def _flow(self) -> None:
        pause = bool(
            self._clogged is not None or self._closing or self._backlog or len(self._owed) >= self._limit
            or self._budget.must_wait(self)
        )  # fmt: skip
        if pause != self._paused and not self._gone:
            self._paused = pause
            if pause:
                self.transport.pauseProducing()
            else:
                if self._begun is not None:  # the time during which we did not read is not the peer's
                    self._begun = self._clock.seconds()
                    self._watch()
                self.transport.resumeProducing()

    def _incomplete(self) -> None:
        """A frame, or something else, has begun and not ended."""
        self._budget.count(self, self._deframer.pending)
        loose = self._deframer.loose
        if self._begun is None or loose:
            now = self._clock.seconds()
            if self._begun is None:
                self._begun = now
            self._silent = now if loose else None
            self._watch()
        else:
            self._silent = None

    def _refuse(self, dropped: Dropped) -> None:
        self._source.refused(self.peer, dropped.reason, dropped.size, dropped.content)
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
        limit = self._source.options.frame_timeout
        found = []
        if self._begun is not None and not self._paused:
            found.append((self._begun + limit, FRAME_TIMEOUT))
            if self._silent is not None:
                found.append((self._silent + SETTLE_TIME, _SETTLE))
        if self._clogged is not None:
            found.append((self._clogged + limit, WRITE_TIMEOUT))
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
        elif reason == _SETTLE:
            self._settle()
            self._watch()
        elif reason == FRAME_TIMEOUT:
            self._late()
        else:
            self._source.refused(self.peer, reason, 0)
            self.transport.abortConnection()

    def _settle(self) -> None:
        """No more comes of a frame that lacks only its last byte: it is taken as it is."""
        self._silent = None
        for event in self._deframer.settle():
            self._begun = None
            self._budget.count(self, 0)
            self._odd(event)

    def _late(self) -> None:
        """What has begun did not end in time. Junk behind a frame is no beginning: some send it to see that we live."""
        if junk := self._deframer.skip():
            self._begun = None
            for event in junk:
                self._odd(event)
            return
        for event in self._deframer.close():
            if isinstance(event, Dropped):
                reason = NO_SB if event.reason == NO_SB else FRAME_TIMEOUT
                self._source.refused(self.peer, reason, event.size, event.content)
        self.finish()
