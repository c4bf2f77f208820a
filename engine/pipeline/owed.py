"""Acknowledgements that wait for what becomes of the message: `ack: processed`, and `reply`.

The message is on disk, and a re-send of it is a duplicate, whatever its sender hears: an answer that came too late, or
none because the engine was started again, costs nothing but another question. What is said is always a function of what
the store holds, so that whoever asks again once all has ended hears the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred, ensureDeferred

from engine import events
from engine.contracts import AckPolicy, Channel, Document, Facts, Reply, Runtime, Store
from engine.errors import ContentError
from engine.model import Arrival, MessageState, Receipt, Verdict, Verdicts
from engine.pipeline.worker import UNTIL_WOKEN, Wake

LOOK = 0.02  # seconds between two looks while somebody waits
MOST = 500  # messages of one look
APPLICATION_ERROR = "207"  # HL7 table 0357


class _Terms(NamedTuple):
    """By which configuration something is owed."""

    channel: Channel
    facts: Facts
    policy: AckPolicy


class _Owed(NamedTuple):
    terms: _Terms
    arrival: Arrival
    reply: Reply
    received_at: int
    asked_at: float  # on the monotonic clock
    deadline: float
    given: Deferred[None]  # fires when the reply has been given


class Owing:
    """The worker's step for one channel: settles what it can, gives up what is due."""

    def __init__(self, store: Store, runtime: Runtime, wake: Wake) -> None:
        self._store, self._runtime, self._wake = store, runtime, wake
        self._terms: _Terms
        self._owed: dict[int, list[_Owed]] = {}
        self._stopped = False

    def change(self, channel: Channel, facts: Facts, policy: AckPolicy) -> None:
        """What is owed from now on; what is owed already is settled as it was agreed."""
        self._terms = _Terms(channel, facts, policy)

    def owe(self, message_id: int, received_at: int, arrival: Arrival, reply: Reply) -> Deferred[None]:
        """`reply` is called once: when all that is waited for has ended, or when the time is up. Fires after it."""
        now, given = self._runtime.clock.seconds(), Deferred[None]()
        owed = _Owed(self._terms, arrival, reply, received_at, now, now + self._terms.policy.wait, given)
        self._owed.setdefault(message_id, []).append(owed)
        if self._stopped:
            self._settle(message_id, _late, None)
        self._wake.ring()
        return given

    async def step(self) -> float:
        if not self._owed:
            return UNTIL_WOKEN
        try:
            owed = list(self._owed)
            for at in range(0, len(owed), MOST):
                await self._look(owed[at : at + MOST])
        finally:  # whatever became of the question: nobody waits longer than was agreed
            now = self._runtime.clock.seconds()
            for message_id in list(self._owed):
                self._settle(message_id, lambda one: _late(one) if one.deadline <= now else None, None)
        return LOOK if self._owed else UNTIL_WOKEN

    async def _look(self, messages: Sequence[int]) -> None:
        for message_id, verdicts in (await self._store.verdicts(messages)).items():
            self._settle(message_id, lambda one, found=verdicts: said(one.terms.policy, found), verdicts)  # type: ignore[misc]

    def stop(self) -> None:
        """Whoever waits, or comes from now on, hears what a time-out says: the message is stored, and a re-send finds out
        the rest."""
        self._stopped = True
        for message_id in list(self._owed):
            self._settle(message_id, _late, None)

    def go_on(self) -> None:
        """After a `stop`: wait again."""
        self._stopped = False

    def _settle(self, message_id: int, say: Callable[[_Owed], Receipt | None], verdicts: Verdicts | None) -> None:
        """Answer those who wait for this message, where there is something to say. Nobody waits for an answer to be heard:
        on its connection it may stand behind another that is not even settled."""
        answers = [(one, say(one)) for one in self._owed.pop(message_id, [])]
        if left := [one for one, receipt in answers if receipt is None]:
            self._owed[message_id] = left
        for one, receipt in answers:
            if receipt is not None:
                ensureDeferred(self._answer(message_id, one, receipt, verdicts))

    async def _answer(self, message_id: int, owed: _Owed, receipt: Receipt, verdicts: Verdicts | None) -> None:
        (channel, facts, policy), arrival, reply, received_at, asked_at, _, given = owed
        mine = receipt._replace(message_id=message_id, received_at=received_at)
        try:
            answer = None
            if mine.verdict is Verdict.ACCEPTED and verdicts is not None:
                answer = _passed_on(channel, facts, policy, arrival, verdicts)
            if answer is None:
                answer = channel.format.acknowledge(arrival.content, mine)
            heard = await reply(mine._replace(reply=answer))
        except Exception:
            given.errback()  # its source says so
            return
        self._runtime.emit(events.Acknowledged(channel.name, message_id, heard, self._runtime.clock.seconds() - asked_at))
        given.callback(None)


def _late(owed: _Owed) -> Receipt:
    return late(owed.terms.policy)


def _passed_on(channel: Channel, facts: Facts, policy: AckPolicy, arrival: Arrival, verdicts: Verdicts) -> bytes | None:
    """The destination's own reply, as the sender is to see it; None where there is none."""
    theirs = next((one.reply for one in verdicts.deliveries if one.route == policy.reply_from and one.reply), b"")
    if not theirs:
        return None
    try:
        form = channel.format
        edited = form.edit(form.parse(theirs))
        document: Document = form.parse(arrival.content)
        for path, value in policy.reply_set:
            edited.assign(path, value(document, facts))
        return form.render(edited)
    except ContentError:
        return None  # not of our format: then our own word is the answer


def said(policy: AckPolicy, verdicts: Verdicts) -> Receipt | None:
    """What can be said now; None while something that is waited for has not ended. Pure."""
    state, reason, deliveries = verdicts
    if state is MessageState.RECEIVED:
        return None
    if state in (MessageState.PARKED, MessageState.REJECTED):
        return Receipt(Verdict.REFUSED, reason=reason, code=APPLICATION_ERROR)
    awaited = [one for one in deliveries if not policy.routes or one.route in policy.routes]
    for one in awaited:
        if not one.waits and not one.delivered:
            return Receipt(Verdict.REFUSED, reason=f"{one.route}: {one.reason}", code=APPLICATION_ERROR)
    return None if any(one.waits for one in awaited) else Receipt(Verdict.ACCEPTED)


def late(policy: AckPolicy) -> Receipt:
    """The time is up: the message is stored and goes on, and a re-send hears what has become of it by then."""
    if policy.accept_late:
        return Receipt(Verdict.ACCEPTED)
    return Receipt(Verdict.REFUSED, reason="stored, and not processed in time: ask again", code=APPLICATION_ERROR)
