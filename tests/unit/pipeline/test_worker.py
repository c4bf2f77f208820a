"""The loop: works until there is none, rests until woken or due, survives a fault, stops on a store failure."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from engine.errors import StoreError
from engine.pipeline.worker import AFTER_A_FAULT, UNTIL_WOKEN, Wake, Worker


class Rounds:
    """A step that answers from a list, and counts."""

    def __init__(self, *answers: float | Exception) -> None:
        self.answers: Iterator[float | Exception] = iter(answers)
        self.done = 0

    async def step(self) -> float:
        self.done += 1
        answer = next(self.answers, UNTIL_WOKEN)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def clock() -> Clock:
    return Clock()


def start(rounds: Rounds, clock: Clock, faults: list[Exception] | None = None) -> tuple[Worker, Wake]:
    wake = Wake()
    worker = Worker(rounds.step, wake, clock, (faults if faults is not None else []).append)
    worker.start()
    return worker, wake


def test_it_works_on_while_there_is_work(clock: Clock) -> None:
    rounds = Rounds(0, 0, 0)
    start(rounds, clock)
    assert rounds.done == 4


def test_it_rests_until_woken(clock: Clock) -> None:
    rounds = Rounds(UNTIL_WOKEN, UNTIL_WOKEN)
    _, wake = start(rounds, clock)
    clock.advance(3600)
    assert rounds.done == 1
    wake.ring()
    assert rounds.done == 2


def test_it_rests_until_due(clock: Clock) -> None:
    rounds = Rounds(5.0, UNTIL_WOKEN)
    start(rounds, clock)
    clock.advance(4.9)
    assert rounds.done == 1
    clock.advance(0.2)
    assert rounds.done == 2
    assert clock.getDelayedCalls() == []


def test_a_wake_during_the_round_is_not_lost(clock: Clock) -> None:
    wake, seen = Wake(), []
    gate: Deferred[None] = Deferred()

    async def step() -> float:
        seen.append(1)
        if len(seen) == 1:
            await gate
        return UNTIL_WOKEN

    Worker(step, wake, clock, print).start()
    wake.ring()
    gate.callback(None)
    assert len(seen) == 2


def test_a_fault_is_told_and_the_work_goes_on_after_a_rest(clock: Clock) -> None:
    faults: list[Exception] = []
    rounds = Rounds(ValueError("ours"), UNTIL_WOKEN)
    start(rounds, clock, faults)
    assert [type(fault) for fault in faults] == [ValueError]
    assert rounds.done == 1
    clock.advance(AFTER_A_FAULT + 0.1)
    assert rounds.done == 2


def test_a_store_failure_ends_it(clock: Clock) -> None:
    faults: list[Exception] = []
    rounds = Rounds(StoreError("disk"))
    _, wake = start(rounds, clock, faults)
    wake.ring()
    clock.advance(60)
    assert (rounds.done, faults) == (1, [])


def test_stop_waits_for_the_round_under_way(clock: Clock) -> None:
    gate: Deferred[None] = Deferred()

    async def step() -> float:
        await gate
        return 0

    worker = Worker(step, Wake(), clock, print)
    worker.start()
    stopped = ensureDeferred(worker.stop())
    assert not stopped.called
    gate.callback(None)
    assert stopped.called
