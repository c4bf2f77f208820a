"""From an arrival to a stored message and its answer. The order is visible here, in one function: judge, take, reply.

`accept` and `skip` are judged before the store takes the message: what `accept` refuses is answered negatively and kept
as rejected, what `skip` names is answered positively and kept as filtered. Mappings never run here.

A batch is taken whole or not at all: each message in it is judged as if it had come alone, all of them are stored in one
transaction with the arrival that held them, and then one answer says what became of each.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b, sha256
from typing import Final, NamedTuple

from engine import events
from engine.contracts import Channel, Expression, Facts, Reply, Runtime, Store
from engine.errors import ContentError, StoreError, StoreFull
from engine.model import NO_HEADING, SECOND, Admission, Arrival, Heading, MessageState, Receipt, RefusedFrame, Taken, Verdict
from engine.pipeline.owed import Owing
from engine.values import Value

SEPARATOR = "\x1f"  # between the values of a dedupe key
APPLICATION_ERROR = "207"  # HL7 table 0357
REFUSED_BYTES = 64 << 10  # of a refused frame that are kept

_UNSUPPORTED: Final = {"MSH-9.2": "201", "MSH-11": "202", "MSH-12": "203"}  # HL7 table 0357; 200: unsupported message type


class Judged(NamedTuple):
    """What the store is asked to take, and what is wrong with it if it is refused; of a batch with its parts."""

    admission: Admission
    fault: ContentError | None = None
    parts: tuple[Judged, ...] = ()


class Intake:
    """Takes responsibility for what one channel's source brings. `taken` is called after each commit with work in it."""

    def __init__(
        self, channel: Channel, facts: Facts, store: Store, runtime: Runtime, taken: Callable[[], None],
        owing: Owing | None = None,
    ) -> None:  # fmt: skip
        self._channel = channel
        self._facts = facts
        self._store = store
        self._runtime = runtime
        self._taken = taken
        self._owing = owing  # where the answer waits for what becomes of the message
        self._admit = getattr(channel.format, "admit", None)
        self._window = int(channel.unique_within * SECOND)
        self.closed = ""  # why nothing is taken now, where that is so
        self._rules = bool(self._admit or channel.accept or channel.skip or channel.unique_by)

    async def __call__(self, arrival: Arrival, reply: Reply, replay_of: int = 0) -> None:
        started = self._runtime.clock.seconds()
        judged = self.judge(arrival)
        if self.closed:
            await self._refuse(arrival, judged, reply, self.closed)
            return
        if replay_of:
            judged = judged._replace(admission=judged.admission._replace(replay_of=replay_of))
        try:
            taken = await self._store.take(judged.admission)
        except (StoreError, StoreFull) as error:
            await self._refuse(arrival, judged, reply, str(error))
            return
        except Exception as error:  # the store could not hold just this one: honest, and never a positive answer
            await self._refuse(arrival, judged, reply, f"not stored: {type(error).__name__}")
            return
        if judged.parts:
            receipt = self._batch_receipt(judged, taken)
        else:
            if taken.state is MessageState.RECEIVED:
                self._taken()
            self._tell(judged.admission, taken)
            if self._owing is not None and taken.state in (MessageState.RECEIVED, MessageState.PARKED):
                await self._owing.owe(taken.message_id, taken.received_at, arrival, reply)
                return
            receipt = self._receipt(taken, judged.fault)
        heard = await reply(receipt._replace(reply=self._channel.format.acknowledge(arrival.content, receipt)))
        elapsed = self._runtime.clock.seconds() - started
        self._runtime.emit(events.Acknowledged(self._channel.name, taken.message_id, heard, elapsed))

    def refused(self, peer: str, reason: str, size: int, content: bytes = b"") -> None:
        self._runtime.emit(events.FrameRefused(self._channel.name, peer, reason, size))
        if content:
            frame = RefusedFrame(self._channel.name, peer, reason, self._runtime.now(), size, content[:REFUSED_BYTES])
            self._store.refuse(frame).addErrback(_not_kept)  # a ring is worth no answer: the event has told it

    # ── judging ──

    def judge(self, arrival: Arrival) -> Judged:
        """Pure but for the time of day."""
        content, peer, _ = arrival
        try:
            messages = self._channel.format.split(content)
        except Exception as error:
            fault = _as_fault(error)
            return Judged(self._admission(content, peer, NO_HEADING, MessageState.REJECTED, str(fault), b""), fault)
        return self._batch(arrival, messages) if messages else self._one(content, peer)

    def _one(self, content: bytes, peer: str) -> Judged:
        channel = self._channel
        heading, state, reason, key = NO_HEADING, MessageState.RECEIVED, "", b""
        fault: ContentError | None = None
        try:
            heading = channel.format.heading(content)
            if self._rules:
                document = channel.format.parse(content)
                facts = self._facts
                # First of all, so that what was accepted once gets its answer again even where today's rules refuse it.
                key = self._dedupe_key([rule(document, facts) for rule in channel.unique_by])
                if self._admit is not None:
                    self._admit(document)
                for rule in channel.accept:
                    if not rule(document, facts):
                        problem = f"{heading.kind or 'this'} is not accepted here: {rule.text} is not true"
                        raise ContentError(problem, *_blamed(rule, channel))
                for name, condition in channel.skip:
                    if condition(document, facts):
                        state, reason = MessageState.FILTERED, f"{name}: {condition.text}"
                        break
        except Exception as error:  # a rule may fail on content nobody foresaw: that is refused, and told apart from a crash
            fault = _as_fault(error)
            state, reason = MessageState.REJECTED, f"{fault}; {len(fault.also)} more" if fault.also else str(fault)
        digest = sha256(content).digest()
        return Judged(Admission(channel.name, content, peer, heading, self._runtime.now(), digest, state, reason, key), fault)

    def _batch(self, arrival: Arrival, messages: list[bytes]) -> Judged:
        """The batch itself goes nowhere. Where all of it was taken, the same bytes are the same batch again."""
        content, peer, _ = arrival
        parts = tuple([self._one(message, peer) for message in messages])
        again = self._channel.unique_by and not any(part.fault for part in parts)
        key = blake2b(content, digest_size=16, person=b"batch").digest() if again else b""
        heading = Heading("batch", "", parts[0].admission.heading.sender)
        reason = f"a batch of {len(parts)}, each a message of its own"
        whole = self._admission(content, peer, heading, MessageState.TRANSLATED, reason, key)
        return Judged(whole._replace(parts=tuple([part.admission for part in parts])), None, parts)

    def _admission(self, content: bytes, peer: str, heading: Heading, state: MessageState, reason: str, key: bytes) -> Admission:
        digest = sha256(content).digest()
        return Admission(
            self._channel.name, content, peer, heading, self._runtime.now(), digest, state, reason, key, 0, 0, (), self._window
        )

    @staticmethod
    def _dedupe_key(values: list[Value]) -> bytes:
        text = SEPARATOR.join(map(str, values))
        if not text.strip(SEPARATOR):
            return b""  # nothing to tell messages apart by: every one is taken
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()

    # ── answering ──

    def _receipt(self, taken: Taken, fault: ContentError | None) -> Receipt:
        state, number, at = taken.state, taken.message_id, taken.received_at
        if state is MessageState.REJECTED and fault is not None:
            also = tuple([(one.problem, one.place, one.code) for one in fault.also])
            return Receipt(Verdict.REFUSED, number, at, fault.problem, fault.place, fault.code, also=also)
        if self._channel.answers_to:
            return Receipt(Verdict.ACCEPTED, number, at, follows=state is MessageState.RECEIVED)
        return Receipt(Verdict.ACCEPTED, number, at)

    def _batch_receipt(self, judged: Judged, taken: Taken) -> Receipt:
        """Accepted, unless every part is refused."""
        parts: list[Receipt] = []
        for one, part in zip(judged.parts, taken.parts, strict=True):
            self._tell(one.admission, part)
            parts.append(self._receipt(part, one.fault))
        if any(part.state is MessageState.RECEIVED for part in taken.parts):
            self._taken()
        refused = all(part.verdict is Verdict.REFUSED for part in parts)
        verdict = Verdict.REFUSED if refused else Verdict.ACCEPTED
        reason = "every message of the batch is refused" if refused else ""
        return Receipt(verdict, taken.message_id, taken.received_at, reason, parts=tuple(parts))

    async def _refuse(self, arrival: Arrival, judged: Judged, reply: Reply, reason: str) -> None:
        self._runtime.emit(events.Unavailable(self._channel.name, reason))
        receipt = Receipt(Verdict.UNAVAILABLE, received_at=self._runtime.now(), reason="busy, send again", code=APPLICATION_ERROR)
        receipt = receipt._replace(parts=(receipt,) * len(judged.parts))
        await reply(receipt._replace(reply=self._channel.format.acknowledge(arrival.content, receipt)))

    def _tell(self, admission: Admission, taken: Taken) -> None:
        name, emit = self._channel.name, self._runtime.emit
        if taken.duplicate:
            emit(events.Duplicate(name, taken.message_id))
        elif taken.state is MessageState.RECEIVED:
            emit(events.Received(name, taken.message_id, len(admission.content)))
        elif taken.state is MessageState.FILTERED:
            emit(events.Filtered(name, taken.message_id, taken.reason))
        else:
            emit(events.Rejected(name, taken.message_id, taken.reason))
        if taken.key_reuse and taken.state is not MessageState.REJECTED:
            emit(events.KeyReuse(name, taken.message_id))


def _blamed(rule: Expression, channel: Channel) -> tuple[str, str]:
    """The place that a refusing rule looks at, and the code that says so."""
    found = channel.format.paths.search(rule.text)
    place = found[0] if found else ""
    return place, next((code for path, code in _UNSUPPORTED.items() if place.startswith(path)), "200")


def _as_fault(error: Exception) -> ContentError:
    return error if isinstance(error, ContentError) else ContentError(f"{type(error).__name__} while judging it")


def _not_kept(failure: object) -> None:
    """The store is full or gone, and says so itself."""
