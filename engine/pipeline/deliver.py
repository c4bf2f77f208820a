"""From a stored delivery to its outcome: begin (committed) → send → decide → settle, lane by lane.

A lane's deliveries are sent one after another, different lanes side by side on the destination's connections. Ends of
attempts and the next beginnings go to the store together, so that they share a commit. Whether and how fast it is sent at
all is for the gate and the pace to say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import groupby

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred

from engine import events
from engine.contracts import Destination, DestinationSpec, Runtime, Store
from engine.errors import StoreBusy, StoreFull
from engine.model import (
    SECOND,
    Busy,
    Close,
    Decision,
    Delivered,
    Delivery,
    DestinationState,
    Hold,
    Misconfigured,
    Outcome,
    Refused,
    Retry,
    Settlement,
    Unknown,
    Unreached,
    Withdrawn,
)
from engine.pipeline.gate import Gate
from engine.pipeline.pace import Pace
from engine.pipeline.retry import FIRST, Record, backoff, decide, expires_at
from engine.pipeline.worker import AFTER_A_FAULT, UNTIL_WOKEN, Wake

MOST_IN_HAND = 128  # begun and not settled; more gains nothing on one machine and is all in doubt after a crash
MOST_RECORDS = 10_000

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
        self._records: dict[int, Record] = {}  # of deliveries that were refused or broke the connector, and are tried again
        self._gate = Gate(runtime.clock)
        self._pace = Pace(spec.rate, runtime.clock)
        self._next_due = ASK  # the instant at which the first lane falls due again; 0: none waits for its time
        self._overruled = False  # the store holds what a person had paused
        self._stopping = False
        self.since = runtime.now()  # when its state last changed

    @property
    def state(self) -> tuple[DestinationState, str]:
        """What it does, and why where it does not run."""
        return self._gate.state, self._gate.reason

    async def step(self) -> float:
        ended, self._ended = self._ended, []
        settled = self._store.attempted(ended) if ended else None
        room = self._room()
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
        if self._overruled:
            await self._store.steer(self._spec.name, *self.state)
            self._overruled = False

    @property
    def in_hand(self) -> int:
        """Deliveries begun whose end is not yet recorded: all that it keeps of a queue, however long that is."""
        return self._in_hand

    def pause(self, reason: str) -> None:
        """Begin nothing more until `resume`: what is on the wire ends and is recorded, what was only begun is withdrawn.
        The store has been steered so before, or has it so from an earlier run."""
        self._stand(DestinationState.PAUSED, reason)
        self._change()

    def resume(self) -> None:
        """Run, whatever it stood still for: a person, a configuration fault, an open breaker. It begins slowly. The store
        has been steered so before."""
        if self._gate.state is DestinationState.RUNNING:
            self.look_again()
            return
        self._gate.set(DestinationState.RUNNING)
        self._run()
        self.look_again()

    def look_again(self) -> None:
        """Something has changed in the store that no delivery of ours has brought about."""
        self._next_due = ASK
        self._wake.ring()

    async def stop(self) -> None:
        """Send nothing more; what is on the wire is finished and settled, what was only begun is withdrawn."""
        self._stopping = True
        self._clear()
        try:
            await DeferredList(list(self._sending), consumeErrors=True)
            while self._ended:  # until it is on disk: a successor would wait for these lanes for ever
                ended, self._ended = self._ended, []
                try:
                    await self._record(self._store.attempted(ended), ended)
                except (StoreFull, StoreBusy):
                    self._wake.hush()
                    await self._wake.heard(self._runtime.clock, AFTER_A_FAULT)
        finally:
            await self._destination.stop()

    # ── how much, and when ─────────────────────────────────────────────────────────────────────────────────────────

    def _room(self) -> int:
        """How many deliveries may be begun now."""
        gate = self._gate
        if self._stopping or (gate.shut and (self._in_hand or not gate.probe())):
            return 0
        if gate.open:
            return 1 - self._in_hand  # the probe, once what had left before has ended
        most = min(self._allowance, self._pace.most()) if self._pace.limits else self._allowance
        return most - self._in_hand

    async def _rest(self) -> float:
        """How long nothing needs doing, as far as is known; new deliveries and ended sends wake us."""
        if self._room() <= 0:
            resting = 0.0 if self._in_hand or self._stopping else self._gate.resting()
            return resting or UNTIL_WOKEN
        if self._next_due < 0:
            self._next_due = 0  # before asking: a retry that is decided meanwhile asks again
            self._next_due = await self._store.next_due(self._spec.name) or self._next_due
        if not self._next_due:
            return UNTIL_WOKEN
        wait = (self._next_due - self._runtime.now()) / SECOND
        self._next_due = ASK  # the timer may come too late for some and too early for others
        return max(wait, 0.001)

    # ── sending ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, deliveries: Sequence[Delivery], room: int) -> None:
        self._in_hand += len(deliveries)
        if room > 0 and len(deliveries) >= room and not self._gate.open:
            self._allowance = min(self._allowance * 2, MOST_IN_HAND)
        now = self._runtime.now()
        for _, successive in groupby(deliveries, key=_lane_of):
            lane = deque(successive)
            if self._stopping or self._gate.shut:
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
                if self._pace.limits:
                    await self._pace.turn()
                if self._stopping or self._gate.shut:
                    self._withdraw(lane)
                    break
                if not await self._send(lane.popleft()):
                    self._withdraw(lane)

    async def _send(self, delivery: Delivery) -> bool:
        """One attempt. True if the lane may go on with its next delivery."""
        started = self._runtime.now()
        policy = self._spec.retry
        if policy.give_up_after and started > expires_at(policy, delivery):
            late = Unreached("its turn came too late")
            self._end(Settlement(delivery, late, decide(policy, delivery, late, started, 0.0), started, started))
            return True
        probe, record = self._gate.open, FIRST
        try:
            outcome: Outcome = await self._destination.send(delivery)
        except Exception as fault:  # the contract says never; if it does, we do not know what the peer has
            outcome = Unknown(f"{type(fault).__name__} in the connector")
            record = self._note(delivery.id, broke=1)
        if type(outcome) is Refused:
            record = self._note(delivery.id, refused=1)
        ended = self._runtime.now()
        decision = self._follow(delivery, outcome, ended, probe, record)
        if type(decision) is Close and self._records:
            self._records.pop(delivery.id, None)
        self._end(Settlement(delivery, outcome, decision, started, ended))  # last: it wakes the worker, which must see the rest
        return type(decision) is Close

    def _follow(self, delivery: Delivery, outcome: Outcome, now: int, probe: bool, record: Record) -> Decision:
        """Decide, and let the destination as a whole feel it."""
        gate, policy, roll = self._gate, self._spec.retry, self._runtime.chance.random()
        if isinstance(outcome, (Delivered, Refused)):
            if gate.passed(probe):
                self._run()
            decision = decide(policy, delivery, outcome, now, roll, 0, record)
            if type(decision) is Retry:
                self._next_due = ASK
            return decision
        if isinstance(outcome, Misconfigured) or (isinstance(outcome, Unknown) and outcome.then == "hold"):
            if gate.state is DestinationState.PAUSED:  # a person's word stands; it is held when they have it run again
                return Retry(now)
            self._stand(DestinationState.HELD, outcome.reason)
            return decide(policy, delivery, outcome, now, roll)
        self._next_due = ASK
        away = gate.away(outcome, delivery.lane, probe, alone=len(self._sending) <= 1)
        decision = decide(policy, delivery, outcome, now, roll, gate.failures if away else 0, record)
        if away:
            rest = max(backoff(policy, gate.failures, roll), outcome.after if isinstance(outcome, Busy) else 0.0)
            if gate.rest(rest, outcome.reason):
                self._change()
            self._clear()
            if isinstance(decision, Retry):  # a little after the rest, so that the next probe is another lane's, if there is one
                decision = Retry(max(decision.at, now + int((rest + min(rest / 10, 1.0)) * SECOND)))
        return decision

    def _note(self, number: int, refused: int = 0, broke: int = 0) -> Record:
        """What a delivery has had so far; kept while it is tried again."""
        before = self._records.pop(number, FIRST)
        record = self._records[number] = Record(before.refused + refused, before.broke + broke)
        if len(self._records) > MOST_RECORDS:
            del self._records[next(iter(self._records))]  # it only gets more tries
        return record

    # ── standing still and going on ────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        self._allowance = self._destination.concurrency
        self._pace.recovered()
        self._change()

    def _stand(self, state: DestinationState, reason: str) -> None:
        self._gate.set(state, reason)
        self._clear()

    def _change(self) -> None:
        state, reason = self.state
        self.since = self._runtime.now()
        self._runtime.emit(events.DestinationChanged(self._spec.name, state.value, reason))

    def _clear(self) -> None:
        """Nothing that was only begun goes out."""
        while self._ready:
            self._withdraw(self._ready.popleft())
        self._pace.let_go()

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
            if self._gate.state is DestinationState.PAUSED:
                self._overruled = True
            else:
                self._gate.set(DestinationState.HELD, decision.reason)
                self._change()


def _lane_of(delivery: Delivery) -> int:
    return delivery.lane
