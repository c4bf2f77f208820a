"""Running coroutines of which there is one for each message: Twisted's `ensureDeferred` without what these never use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


def drive(work: Awaitable[Any], ended: Callable[[Any], object]) -> None:
    """Run `work`, a coroutine that awaits Deferreds or a Deferred itself; `ended` is told what it returned, or its Failure,
    and must not raise. It has no context of its own and cannot be cancelled: half the price."""
    if isinstance(work, Deferred):
        work.addBoth(ended)
    else:
        _Driven(work, ended)(None)


class _Driven:
    """A coroutine on its way, as the callback of what it awaits. Nothing of it refers to itself: it goes when it has ended."""

    __slots__ = ("_coroutine", "_ended")

    def __init__(self, coroutine: Any, ended: Callable[[Any], object]) -> None:
        self._coroutine, self._ended = coroutine, ended

    def __call__(self, result: object) -> None:
        coroutine = self._coroutine
        try:  # the Deferred that was awaited knows its result itself
            awaited = result.throwExceptionIntoGenerator(coroutine) if isinstance(result, Failure) else coroutine.send(None)
        except StopIteration as end:
            self._ended(end.value)
        except BaseException:
            self._ended(Failure())
        else:
            awaited.addBoth(self)
