"""From a stored delivery to its outcome: begin (committed) → send → decide → settle, lane by lane.

A lane's deliveries are sent one after another, different lanes side by side on the destination's connections. Ends of
attempts and the next beginnings go to the store together, so that they share a commit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import groupby

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred

from engine import events
from engine.contracts import Destination, DestinationSpec, Runtime, Store
from engine.model import (
    Busy,
    Close,
    Delivered,
    Delivery,
    Hold,
    Outcome,
    Refused,
    Retry,
    Settlement,
    Unknown,
    Unreached,
    Withdrawn,
)
from engine.pipeline.retry import SECOND, decide
from engine.pipeline.worker import UNTIL_WOKEN, Wake

MOST_IN_HAND = 128  # begun and not settled; more gains nothing on one machine and is all in doubt after a crash
LOST_IN_A_ROW = 3  # unknown answers in a row after which the destination as a whole is given a rest

ASK = -1  # the store knows

Lane = deque[Delivery]


class Deliver:
    """The worker's step for one destination."""

    def __init__(self, spec: DestinationSpec, destination: Destination, store: Store, runtime: Runtime, wake: Wake) -> None:
        self._spec = spec
        self._destination = destination
        self._store = store
        self._runtime = runtime
        self._wake = wake
        self._allowance = destination.concurrency  # how many may be in hand; follows what the peer can swallow
        self._in_hand = 0  # begun and not yet settled in the store
        self._ready: deque[Lane] = deque()
        self._sending: set[Deferred[None]] = set()
        self._ended: list[Settlement] = []
        self._failures = 0  # in a row, over all lanes
        self._rest_until = 0.0  # on the monotonic clock
        self._next_due = ASK  # the instant at which the first lane falls due again; 0: none waits for its time
        self._next_slot = 0.0  # on the monotonic clock, for `rate`
        self._held = False
        self._slots: list[Deferred[None]] = []  # senders that wait for theirs
        self._stopping = False

    async def step(self) -> float:
        ended, self._ended = self._ended, []
        settled = self._store.attempted(ended) if ended else None
        room = 0 if self._stopping or self._held or self._resting() else self._allowance - self._in_hand
        begun = self._store.take_due(self._spec.name, room, self._spec.window) if room > 0 else None
        try:
            if settled is not None:
                await self._record(settled, ended)
        finally:  # what was begun is begun, whatever became of the settlements
            deliveries = await begun if begun is not None else []
            self._begin(deliveries, room)
        if self._ended or (begun is None and ended) or (deliveries and len(deliveries) >= room):
            return 0  # what has just ended may let others begin, or there is more than there was room for
        return await self._rest()

    async def _record(self, settled: Deferred[None], ended: list[Settlement]) -> None:
        """Wait until ends of attempts are on disk. Those that the store could not take are given to it again."""
        try:
            await settled
        except BaseException:
            self._ended = ended + self._ended
            raise
        self._in_hand -= len(ended)
        for settlement in ended:
            self._tell(settlement)

    async def stop(self) -> None:
        """Send nothing more; what is on the wire is finished and settled, what was only begun is withdrawn."""
        self._stopping = True
        self._withdraw_ready()
        for slot in self._slots:
            slot.callback(None)
        self._slots.clear()
        try:
            await DeferredList(list(self._sending), consumeErrors=True)
            if self._ended:
                ended, self._ended = self._ended, []
                await self._record(self._store.attempted(ended), ended)
        finally:
            await self._destination.stop()

    async def _rest(self) -> float:
        """How long nothing needs doing, as far as is known; new deliveries and ended sends wake us."""
        clock = self._runtime.clock
        if self._held or self._stopping or self._allowance <= self._in_hand:
            return UNTIL_WOKEN
        if (wait := self._rest_until - clock.seconds()) > 0:
            return wait
        if self._next_due < 0:
            self._next_due = 0  # before asking: a retry that is decided meanwhile asks again
            self._next_due = await self._store.next_due(self._spec.name) or self._next_due
        if not self._next_due:
            return UNTIL_WOKEN
        wait = (self._next_due - self._runtime.now()) / SECOND
        self._next_due = ASK  # the timer may come too late for some and too early for others
        return max(wait, 0.001)

    def _begin(self, deliveries: Sequence[Delivery], room: int) -> None:
        self._in_hand += len(deliveries)
        if room > 0 and len(deliveries) >= room and not self._failures:
            self._allowance = min(self._allowance * 2, MOST_IN_HAND)
        now = self._runtime.now()
        for _, successive in groupby(deliveries, key=_lane_of):
            lane = deque(successive)
            if self._stopping or self._held or self._resting():
                self._withdraw(lane, now)
            else:
                self._ready.append(lane)
        while self._ready and len(self._sending) < self._destination.concurrency:
            self._start_sender()

    def _start_sender(self) -> None:
        sending = ensureDeferred(self._send_lanes())
        if sending.called:
            return

        def ended(result: object) -> object:
            self._sending.discard(sending)
            return result

        self._sending.add(sending)
        sending.addBoth(ended)

    async def _send_lanes(self) -> None:
        """One of `concurrency` senders: takes lanes from those ready until there are none."""
        while self._ready:
            lane = self._ready.popleft()
            while lane:
                await self._turn()
                if self._stopping or self._held or self._resting():
                    self._withdraw(lane)
                    break
                if not await self._send(lane.popleft()):
                    self._withdraw(lane)

    def _resting(self) -> bool:
        return self._runtime.clock.seconds() < self._rest_until

    async def _turn(self) -> None:
        """Waits for the next slot where the destination has a `rate`."""
        if not self._spec.rate:
            return
        now = self._runtime.clock.seconds()
        slot = max(self._next_slot, now)
        self._next_slot = slot + 1 / self._spec.rate
        if slot > now:
            waiting: Deferred[None] = Deferred()
            self._slots.append(waiting)
            self._runtime.clock.callLater(slot - now, self._slot_has_come, waiting)
            await waiting

    def _slot_has_come(self, waiting: Deferred[None]) -> None:
        if waiting in self._slots:  # else the stop was quicker
            self._slots.remove(waiting)
            waiting.callback(None)

    async def _send(self, delivery: Delivery) -> bool:
        """One attempt. True if the lane may go on with its next delivery."""
        started = self._runtime.now()
        try:
            outcome: Outcome = await self._destination.send(delivery)
        except Exception as fault:  # the contract says never; if it does, we do not know what the peer has
            outcome = Unknown(f"{type(fault).__name__} in the connector")
        ended = self._runtime.now()
        good = isinstance(outcome, (Delivered, Refused))
        self._failures = 0 if good else self._failures + 1
        decision = decide(self._spec.retry, delivery, outcome, ended, self._runtime.chance.random(), self._failures)
        if isinstance(decision, Hold):
            self._hold()
        elif isinstance(decision, Retry):
            self._next_due = ASK
            if self._peer_is_down(outcome):
                self._pause((decision.at - ended) / SECOND)
        self._end(Settlement(delivery, outcome, decision, started, ended))  # last: it wakes the worker, which must see the rest
        return isinstance(decision, Close)

    def _peer_is_down(self, outcome: Outcome) -> bool:
        return isinstance(outcome, (Unreached, Busy)) or (isinstance(outcome, Unknown) and self._failures >= LOST_IN_A_ROW)

    def _pause(self, seconds: float) -> None:
        """The peer is down as a whole: nothing is sent until one probe has gone through."""
        self._rest_until = max(self._rest_until, self._runtime.clock.seconds() + seconds)
        self._allowance = 1
        self._withdraw_ready()

    def _hold(self) -> None:
        self._held = True
        self._withdraw_ready()

    def _withdraw_ready(self) -> None:
        for lane in self._ready:
            self._withdraw(lane)
        self._ready.clear()

    def _withdraw(self, lane: Lane, now: int = 0) -> None:
        now = now or self._runtime.now()
        while lane:
            self._end(Settlement(lane.popleft(), Withdrawn(), Retry(now), now, now))

    def _end(self, settlement: Settlement) -> None:
        self._ended.append(settlement)
        if len(self._ended) == 1:
            self._wake.ring()  # last: the step that it wakes begins at once, and must find what it was woken for

    def _tell(self, settlement: Settlement) -> None:
        delivery, outcome, decision = settlement.delivery, settlement.outcome, settlement.decision
        if isinstance(outcome, Withdrawn):
            return
        emit = self._runtime.emit
        reason = "" if isinstance(outcome, Delivered) else outcome.reason
        seconds = (settlement.ended_at - settlement.started_at) / SECOND
        name = type(outcome).__name__.lower()
        emit(events.Attempted(delivery.destination, delivery.id, delivery.message_id, name, delivery.attempts, seconds, reason))
        if isinstance(decision, Close):
            lived = (settlement.ended_at - delivery.created_at) / SECOND
            ended = events.DeliveryEnded(
                delivery.destination, delivery.id, delivery.message_id, decision.state.value, decision.reason, lived
            )
            emit(ended)
        elif isinstance(decision, Hold):
            emit(events.DestinationChanged(delivery.destination, "held", decision.reason))


def _lane_of(delivery: Delivery) -> int:
    return delivery.lane
