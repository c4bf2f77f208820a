"""The only crossing between Twisted's Deferreds and asyncio's futures, in both directions.

The core is Twisted coroutines; what exists for asyncio alone is awaited through `from_asyncio`. Nothing else in the
engine awaits an asyncio future: in a Twisted coroutine that fails, and a bare Deferred fails in an asyncio task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred

T = TypeVar("T")

_running: set[asyncio.Future[Any]] = set()  # the loop itself refers only weakly to its tasks


def from_asyncio(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> Deferred[T]:
    """Run an asyncio coroutine; cancelling the Deferred cancels it."""
    task = loop.create_task(coroutine)
    _running.add(task)
    task.add_done_callback(_running.discard)
    return Deferred.fromFuture(task)


def to_asyncio(loop: asyncio.AbstractEventLoop, awaitable: Awaitable[T]) -> asyncio.Future[T]:
    """A Deferred, or a coroutine that awaits Deferreds, as a future for asyncio code."""
    deferred: Deferred[T] = awaitable if isinstance(awaitable, Deferred) else ensureDeferred(awaitable)  # type: ignore[arg-type]
    return deferred.asFuture(loop)
