"""One thread that looks, however many browsers watch: each gets the latest, and a slow one misses what lay between."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

REST = 4.0  # times as long as it looked, a feed rests at least: looking may cost a fifth of a core


class Feed:
    """`look()` gives a snapshot; it is called in a thread of the feed's own while anybody watches, and not otherwise.

    What `look` raises is the snapshot then: watchers show that the engine is away, and the feed goes on.
    """

    def __init__(self, look: Callable[[], Any], every: float = 1.0) -> None:
        self._look, self._every = look, every
        self._watchers = 0
        self._number = 0  # of the latest snapshot
        self._snapshot: Any = None
        self._fresh = asyncio.Event()  # set once there is a newer one, and then another takes its place
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._ended = False

    # ── in the loop ────────────────────────────────────────────────────────────────────────────────────────────────

    def watch(self) -> None:
        """Somebody watches from now on."""
        self._watchers += 1
        if self._thread is None and not self._ended:
            loop = asyncio.get_running_loop()
            self._wake.clear()
            self._thread = threading.Thread(target=self._run, args=(loop,), name="console feed", daemon=True)
            self._thread.start()

    def leave(self) -> None:
        """Somebody watches no more."""
        self._watchers -= 1
        if not self._watchers:
            self._wake.set()

    def end(self) -> None:
        """The console stops: nobody waits any longer."""
        self._ended = True
        self._wake.set()
        self._publish(self._snapshot)

    async def after(self, number: int, within: float) -> tuple[int, Any]:
        """The latest snapshot and its number, once that is above `number`; (number, None) when the time is up."""
        if self._number <= number:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._fresh.wait(), within)
        return (self._number, self._snapshot) if self._number > number else (number, None)

    @property
    def ended(self) -> bool:
        return self._ended

    def _publish(self, snapshot: Any) -> None:
        self._number += 1
        self._snapshot = snapshot
        fresh, self._fresh = self._fresh, asyncio.Event()
        fresh.set()

    def _gone(self) -> None:
        """The thread has ended; somebody may have come meanwhile."""
        self._thread = None
        if self._watchers and not self._ended:
            self._watchers -= 1
            self.watch()

    # ── in the thread ──────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop has ended before us
            while not self._wake.is_set():
                begin = time.monotonic()
                try:
                    found = self._look()
                except Exception as error:
                    found = error
                loop.call_soon_threadsafe(self._publish, found)
                self._wake.wait(max(self._every, REST * (time.monotonic() - begin)))
            loop.call_soon_threadsafe(self._gone)
