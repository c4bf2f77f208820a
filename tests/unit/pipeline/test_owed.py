"""What a sender hears that waits for what becomes of its message: a table, and the way of one question."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from engine.contracts import AckPolicy, Channel, Facts, Runtime
from engine.events import silent
from engine.model import Arrival, Ended, MessageState, Receipt, Verdict, Verdicts
from engine.pipeline.owed import LOOK, Owing, late, said
from engine.pipeline.worker import Wake, Worker
from engine.registry import formats

DONE = Ended("billing", True, False, "", b"")
WAITS = Ended("billing", False, True, "", b"")
FAILED = Ended("billing", False, False, "AE: no such account", b"")
OTHER = Ended("ledger", False, True, "", b"")


@pytest.mark.parametrize(
    ("routes", "state", "deliveries", "heard"),
    [
        ((), MessageState.RECEIVED, (), None),
        ((), MessageState.TRANSLATED, (WAITS,), None),
        ((), MessageState.TRANSLATED, (DONE, OTHER), None),
        ((), MessageState.TRANSLATED, (DONE,), Verdict.ACCEPTED),
        (("billing",), MessageState.TRANSLATED, (DONE, OTHER), Verdict.ACCEPTED),
        (("billing",), MessageState.TRANSLATED, (OTHER,), Verdict.ACCEPTED),  # that route was not taken
        (("billing",), MessageState.TRANSLATED, (FAILED, OTHER), Verdict.REFUSED),
        ((), MessageState.TRANSLATED, (FAILED, OTHER), Verdict.REFUSED),  # whatever the other one gives
        ((), MessageState.FILTERED, (), Verdict.ACCEPTED),
        ((), MessageState.PARKED, (), Verdict.REFUSED),
    ],
)
def test_what_can_be_said(
    routes: tuple[str, ...], state: MessageState, deliveries: tuple[Ended, ...], heard: Verdict | None
) -> None:
    receipt = said(AckPolicy(routes), Verdicts(state, "why", deliveries))
    assert (receipt and receipt.verdict) == heard


def test_a_refusal_names_the_route_and_the_reason() -> None:
    receipt = said(AckPolicy(), Verdicts(MessageState.TRANSLATED, "", (FAILED,)))
    assert receipt is not None
    assert (receipt.reason, receipt.code) == ("billing: AE: no such account", "207")


def test_when_the_time_is_up_the_policy_decides() -> None:
    assert late(AckPolicy()).verdict is Verdict.REFUSED
    assert late(AckPolicy(accept_late=True)).verdict is Verdict.ACCEPTED


# ── the worker ─────────────────────────────────────────────────────────────────────────────────────────────────────

TERMS = Channel("adt", "", "memory", None, formats()["hl7v2"].build(), ())
FACTS = Facts(channel="adt")
ENDED = Verdicts(MessageState.FILTERED, "", ())


class Debtor:
    """An `Owing` at work, whose store knows what the test has said, and the answers that were given."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.verdicts_: dict[int, Verdicts] = {}
        self.answers: dict[str, Receipt] = {}
        runtime = Runtime(self.clock, None, silent, lambda: 0, random.Random(1))  # type: ignore[arg-type]
        wake = Wake()
        self.owing = Owing(self, runtime, wake)  # type: ignore[arg-type]
        self.owing.change(TERMS, FACTS, AckPolicy())
        self.faults: list[Exception] = []
        Worker(self.owing.step, wake, self.clock, self.faults.append).start()

    def verdicts(self, messages: Sequence[int]) -> Deferred[dict[int, Verdicts]]:
        return succeed({number: self.verdicts_[number] for number in messages if number in self.verdicts_})

    def owe(self, number: int, name: str, heard: Callable[[], Deferred[bool]] = lambda: succeed(True)) -> Deferred[None]:
        def reply(receipt: Receipt) -> Deferred[bool]:
            self.answers[name] = receipt
            return heard()

        return self.owing.owe(number, 0, Arrival(b"MSH|^~\\&|EHR|||||ADT^A01|" + name.encode(), "peer"), reply)  # type: ignore[arg-type]

    def end(self, number: int) -> None:
        self.verdicts_[number] = ENDED
        self.clock.advance(LOOK)


def test_an_answer_that_is_not_heard_yet_holds_up_nobody() -> None:
    debtor = Debtor()
    for number, name in ((1, "first"), (3, "other")):
        debtor.owe(number, name)
    debtor.owe(2, "behind the first on its connection", Deferred[bool])
    debtor.end(2)
    debtor.end(3)
    debtor.end(1)
    assert set(debtor.answers) == {"behind the first on its connection", "other", "first"}


def test_everybody_has_the_time_that_was_agreed_with_him() -> None:
    debtor = Debtor()
    debtor.owe(1, "first")
    debtor.clock.advance(20)
    debtor.owe(1, "asks again")
    debtor.owing.change(TERMS, FACTS, AckPolicy(wait=1, accept_late=True))
    debtor.owe(1, "by the new terms")
    debtor.clock.pump([LOOK] * 60)
    assert {name: one.verdict for name, one in debtor.answers.items()} == {"by the new terms": Verdict.ACCEPTED}
    debtor.clock.pump([LOOK] * 450)
    assert [*debtor.answers] == ["by the new terms", "first"]
    debtor.end(1)
    assert (debtor.answers["first"].verdict, debtor.answers["asks again"].verdict) == (Verdict.REFUSED, Verdict.ACCEPTED)


def test_whoever_comes_after_the_stop_hears_at_once_what_a_time_out_says() -> None:
    debtor = Debtor()
    before = debtor.owe(1, "before")
    debtor.owing.stop()
    after = debtor.owe(2, "after")
    assert before.called
    assert after.called
    assert {one.verdict for one in debtor.answers.values()} == {Verdict.REFUSED}


def test_an_answer_that_cannot_be_given_is_its_sources_fault_to_tell_and_the_others_are_given() -> None:
    def broken() -> Any:
        raise ZeroDivisionError

    debtor = Debtor()
    failed, fine = debtor.owe(1, "broken", broken), debtor.owe(1, "fine")
    told: list[Any] = []
    failed.addErrback(told.append)
    debtor.end(1)
    assert fine.called
    assert [failure.type for failure in told] == [ZeroDivisionError]
    assert debtor.faults == []
