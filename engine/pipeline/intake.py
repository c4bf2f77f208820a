"""From an arrival to a stored message and its answer. The order is visible here, in one function: judge, take, reply.

`accept` and `skip` are judged before the store takes the message: what `accept` refuses is answered negatively and kept
as rejected, what `skip` names is answered positively and kept as filtered. Mappings never run here.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b, sha256

from engine import events
from engine.contracts import Channel, Facts, Reply, Runtime, Store
from engine.errors import ContentError, StoreError, StoreFull
from engine.model import NO_HEADING, Admission, Arrival, MessageState, Receipt, Taken, Verdict
from engine.values import Value

SEPARATOR = "\x1f"  # between the values of a dedupe key
UNSUPPORTED = "200"  # HL7 table 0357: unsupported message type; what an `accept` rule refuses
APPLICATION_ERROR = "207"


class Intake:
    """Takes responsibility for what one channel's source brings. `taken` is called after each commit with work in it."""

    def __init__(self, channel: Channel, facts: Facts, store: Store, runtime: Runtime, taken: Callable[[], None]) -> None:
        self._channel = channel
        self._facts = facts
        self._store = store
        self._runtime = runtime
        self._taken = taken
        self._rules = bool(channel.accept or channel.skip or channel.unique_by)

    async def __call__(self, arrival: Arrival, reply: Reply) -> None:
        started = self._runtime.clock.seconds()
        admission, fault = self.judge(arrival)
        try:
            taken = await self._store.take(admission)
        except (StoreError, StoreFull) as error:
            await self._refuse(arrival, reply, str(error))
            return
        except Exception as error:  # the store could not hold just this one: honest, and never a positive answer
            await self._refuse(arrival, reply, f"not stored: {type(error).__name__}")
            return
        if taken.state is MessageState.RECEIVED:
            self._taken()
        self._tell(admission, taken)
        receipt = self._receipt(arrival, taken, fault)
        heard = await reply(receipt)
        elapsed = self._runtime.clock.seconds() - started
        self._runtime.emit(events.Acknowledged(self._channel.name, taken.message_id, heard, elapsed))

    def judge(self, arrival: Arrival) -> tuple[Admission, ContentError | None]:
        """What the store is asked to take, and what is wrong with it if it is refused. Pure but for the time of day."""
        channel, content = self._channel, arrival.content
        heading, state, reason, key = NO_HEADING, MessageState.RECEIVED, "", b""
        fault: ContentError | None = None
        try:
            heading = channel.format.heading(content)
            if self._rules:
                document = channel.format.parse(content)
                facts = self._facts
                for rule in channel.accept:
                    if not rule(document, facts):
                        problem = f"{heading.kind or 'this'} is not accepted here: {rule.text} is not true"
                        raise ContentError(problem, "MSH-9", UNSUPPORTED)
                for name, condition in channel.skip:
                    if condition(document, facts):
                        state, reason = MessageState.FILTERED, f"{name}: {condition.text}"
                        break
                key = self._dedupe_key([rule(document, facts) for rule in channel.unique_by])
        except Exception as error:  # a rule may fail on content nobody foresaw: that is refused, and told apart from a crash
            fault = error if isinstance(error, ContentError) else ContentError(f"{type(error).__name__} while judging it")
            state, reason, key = MessageState.REJECTED, str(fault), b""
        digest = sha256(content).digest()
        return Admission(channel.name, content, arrival.peer, heading, self._runtime.now(), digest, state, reason, key), fault

    @staticmethod
    def _dedupe_key(values: list[Value]) -> bytes:
        text = SEPARATOR.join(map(str, values))
        if not text.strip(SEPARATOR):
            return b""  # nothing to tell messages apart by: every one is taken
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()

    def _receipt(self, arrival: Arrival, taken: Taken, fault: ContentError | None) -> Receipt:
        if taken.state is MessageState.REJECTED and fault is not None:
            receipt = Receipt(Verdict.REFUSED, taken.message_id, taken.received_at, fault.problem, fault.place, fault.code)
        else:
            receipt = Receipt(Verdict.ACCEPTED, taken.message_id, taken.received_at)
        return receipt._replace(reply=self._channel.format.acknowledge(arrival.content, receipt))

    async def _refuse(self, arrival: Arrival, reply: Reply, reason: str) -> None:
        self._runtime.emit(events.Unavailable(self._channel.name, reason))
        receipt = Receipt(Verdict.UNAVAILABLE, received_at=self._runtime.now(), reason="busy, send again", code=APPLICATION_ERROR)
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
        if taken.key_reuse:
            emit(events.KeyReuse(name, taken.message_id))
