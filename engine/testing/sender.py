"""A sender over MLLP as real ones are: one message in flight on each connection, the answer must name it.

It never answers for the peer: what was not answered in time, or was answered for another message, counts as unanswered and
costs the connection, so that a late answer cannot be credited to the next message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.protocol import Protocol as WireProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from engine.connectors.mllp.framing import END, START, Deframer
from engine.contracts import Clock, Network
from engine.testing.files import Acknowledgement, Item, read_acknowledgement

MAX_ANSWER = 2**20  # bytes
CONNECT_WITHIN = 10.0  # seconds
FAILED_CONNECTS = 3  # in a row, until a connection gives up
MAX_OPTIONAL = 64  # messages of one connection that may yet be answered
LINGER = 1.0  # seconds to wait at the end for answers that may or may not come

NO_ANSWER = ""  # one was wanted, and none came
UNASKED = "none"  # none was wanted, and none came


class Result(NamedTuple):
    """What became of one message: `code` is MSA-1, NO_ANSWER or UNASKED."""

    item: Item
    code: str
    reason: str = ""
    seconds: float = 0.0


class Link(WireProtocol):
    """One connection. Answers that may or may not come are taken by their MSA-2, whenever they do."""

    transport: Any

    def __init__(self, clock: Clock, timeout: float, told: Callable[[Result], None]) -> None:
        self._clock, self._timeout, self._told = clock, timeout, told
        self._deframer = Deframer(MAX_ANSWER)
        self._waiting: tuple[Item, float, Deferred[Result]] | None = None
        self._optional: list[tuple[Item, float]] = []
        self._settled: Deferred[None] | None = None
        self._timer: Any = None
        self.alive = True

    def send(self, item: Item) -> Deferred[Result] | None:
        """Its result, or None where an answer need not come: then it is told when it does, or at the end."""
        began = self._clock.seconds()
        done: Deferred[Result] | None = None
        if item.answer == "always":
            done = Deferred()
            self._waiting = (item, began, done)
            self._timer = self._clock.callLater(self._timeout, self._give_up, f"no answer within {self._timeout:g} s")
        else:
            self._optional.append((item, began))
            if len(self._optional) > MAX_OPTIONAL:
                self._told(Result(self._optional.pop(0)[0], UNASKED))
        self.transport.writeSequence([START, item.content, END])
        return done

    async def finish(self) -> None:
        """Wait a little for answers that may still come, then close."""
        if self._optional and self.alive:
            self._settled = Deferred()
            timer: Any = self._clock.callLater(LINGER, self._settle)
            await self._settled
            if timer.active():
                timer.cancel()
        self._close()

    def dataReceived(self, data: bytes) -> None:
        for event in self._deframer.receive(data):
            if isinstance(event, bytes):
                self._answered(read_acknowledgement(event))
            else:
                self._give_up(f"the answer is no MLLP frame: {event.reason}")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.alive = False
        self._give_up("the connection was closed before the answer came")
        for item, _ in self._optional:
            self._told(Result(item, UNASKED))
        self._optional.clear()
        self._settle()

    def _answered(self, said: Acknowledgement) -> None:
        item = self._waiting[0] if self._waiting else None
        if item is not None and item.control_id == said.control_id:
            self._done(said.code, said.reason)
        elif (at := next((n for n, (other, _) in enumerate(self._optional) if other.control_id == said.control_id), -1)) >= 0:
            other, began = self._optional.pop(at)
            self._told(Result(other, said.code, said.reason, self._clock.seconds() - began))
            if not self._optional:
                self._settle()
        elif item is not None and item.control_id is None:
            self._done(said.code, said.reason)
        else:
            self._give_up(f"the answer is for {said.control_id.decode('latin-1')!r}")

    def _done(self, code: str, reason: str) -> None:
        if self._waiting is not None:
            item, began, done = self._waiting
            self._waiting = None
            if self._timer.active():
                self._timer.cancel()
            done.callback(Result(item, code or NO_ANSWER, reason, self._clock.seconds() - began))

    def _give_up(self, reason: str) -> None:
        self._close()
        self._done(NO_ANSWER, reason)

    def _settle(self) -> None:
        if self._settled is not None:
            settled, self._settled = self._settled, None
            settled.callback(None)

    def _close(self) -> None:
        if self.alive:
            self.alive = False
            self.transport.loseConnection()


class Sender:
    """Sends messages over a number of connections; `told` hears of each one's result, in no particular order."""

    def __init__(
        self,
        network: Network,
        clock: Clock,
        to: tuple[str, int],
        told: Callable[[Result], None],
        *,
        connections: int = 1,
        rate: float = 0.0,  # a second, over all connections; 0: as fast as answers come
        timeout: float = 30.0,
    ) -> None:
        self._network, self._clock, self._to, self._told = network, clock, to, told
        self._connections, self._timeout = connections, timeout
        self._interval = 1 / rate if rate else 0.0
        self._next = 0.0
        self.gave_up = ""  # why no connection could be made

    async def run(self, items: Iterator[Item]) -> None:
        """Returns when every message has its result, or when every connection has given up."""
        self._next = self._clock.seconds()
        work: list[Deferred[None]] = [ensureDeferred(self._work(items)) for _ in range(self._connections)]
        await gatherResults(work)

    async def _work(self, items: Iterator[Item]) -> None:
        link: Link | None = None
        failed = 0
        for item in items:
            await self._turn()
            if link is None or not link.alive:
                try:
                    link = await self._connect()
                except OSError as problem:
                    failed += 1
                    self._told(Result(item, NO_ANSWER, f"not connected: {problem}"))
                    if failed < FAILED_CONNECTS:
                        continue
                    self.gave_up = str(problem)
                    return
                failed = 0
            if (answer := link.send(item)) is not None:
                self._told(await answer)
        if link is not None:
            await link.finish()

    async def _connect(self) -> Link:
        link = Link(self._clock, self._timeout, self._told)
        await self._network.connect(lambda: link, *self._to, CONNECT_WITHIN)
        return link

    async def _turn(self) -> None:
        """Wait for the next slot of the rate."""
        if self._interval:
            wait = self._next - self._clock.seconds()
            self._next = max(self._next, self._clock.seconds()) + self._interval
            if wait > 0:
                slot: Deferred[None] = Deferred()
                self._clock.callLater(wait, slot.callback, None)
                await slot
