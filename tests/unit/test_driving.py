"""A coroutine that is driven ends as one that Twisted runs."""

from __future__ import annotations

import gc
from typing import Any
from weakref import ref

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from engine.driving import drive


def driven(work: Any) -> list[Any]:
    ends: list[Any] = []
    drive(work, ends.append)
    return ends


def test_what_it_returns_is_told_at_once_where_nothing_is_waited_for() -> None:
    async def work() -> int:
        return 1 + await succeed(1)

    assert driven(work()) == [2]


def test_it_goes_on_when_what_it_waits_for_is_there() -> None:
    first: Deferred[int] = Deferred()
    second: Deferred[int] = Deferred()

    async def work() -> int:
        return await first + await second

    ends = driven(work())
    first.callback(2)
    assert ends == []
    second.callback(3)
    assert ends == [5]


def test_a_failure_is_raised_where_it_is_awaited() -> None:
    waiting: Deferred[int] = Deferred()

    async def work() -> str:
        try:
            await waiting
        except ValueError as error:
            return f"caught {error}"
        return ""

    ends = driven(work())
    waiting.errback(ValueError("late"))
    assert ends == ["caught late"]


@pytest.mark.parametrize("late", [False, True])
def test_what_it_raises_is_told_as_a_failure(late: bool) -> None:
    waiting: Deferred[None] = Deferred()
    if not late:
        waiting.callback(None)

    async def work() -> None:
        await waiting
        raise KeyError("ours")

    ends = driven(work())
    if late:
        waiting.callback(None)
    (failure,) = ends
    assert isinstance(failure, Failure)
    assert failure.check(KeyError)


def test_a_deferred_is_waited_for_as_it_is() -> None:
    assert driven(succeed("there")) == ["there"]
    (failure,) = driven(fail(ValueError("no")))
    assert failure.check(ValueError)


def test_awaiting_the_same_result_twice_and_chained_results_work() -> None:
    inner: Deferred[int] = Deferred()
    outer: Deferred[int] = Deferred()
    outer.addCallback(lambda _: inner)  # paused until `inner` has fired

    async def work() -> int:
        return await outer

    ends = driven(work())
    outer.callback(0)
    assert ends == []
    inner.callback(7)
    assert ends == [7]


def test_nothing_is_left_for_the_cycle_collector() -> None:
    class Content:
        pass

    content, waiting = Content(), Deferred[None]()
    gone = ref(content)

    async def work(held: Content) -> Content:
        await waiting
        return held

    drive(work(content), lambda result: None)
    del content
    gc.disable()
    try:
        assert gone() is not None
        waiting.callback(None)
        assert gone() is None
    finally:
        gc.enable()
