"""Who runs the commits: a thread of its own, or the caller at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from twisted.internet.defer import Deferred

from engine.errors import StoreError
from engine.store.commit import Committer, Done, Job

MOST_ITEMS: Final = 500
MOST_BYTES: Final = 8 << 20

Finish = Callable[[Done, float], None]
Fail = Callable[[StoreError, list[Deferred[Any]]], None]


class ThreadedWriter:
    """Collects what arrives while a commit is under way; there is no timer.

    `call` runs a function in the reactor's thread, once for each commit. `finish` is told of every commit and `fail`, at
    most once, of the end.
    """

    def __init__(
        self, committer: Committer, seconds: Callable[[], float], call: Callable[..., object], finish: Finish, fail: Fail
    ) -> None:
        self._committer, self._seconds, self._call = committer, seconds, call
        self._finish, self._fail = finish, fail
        self._waiting: deque[Job] = deque()
        self._wake = threading.Event()
        self._idle = False
        self._stop = False
        self._closed: Callable[[], None] = _nothing
        self._thread = threading.Thread(target=self._run, name="wardline-store", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        self._waiting.append(job)
        if self._idle:
            self._wake.set()

    def abandoned(self) -> list[Deferred[Any]]:
        """After `fail`: who still waits."""
        waiting = [job.answer for job in self._waiting]
        self._waiting.clear()
        return waiting

    def close(self, closed: Callable[[], None]) -> None:
        """Do what was submitted, then close; `closed` is called in the reactor's thread."""
        self._closed = closed
        self._stop = True
        self._wake.set()

    def _collect(self) -> list[Job]:
        """A batch; waits for one. Empty: there will be none any more."""
        waiting = self._waiting
        jobs: list[Job] = []
        items = size = 0
        while True:
            while waiting and items < MOST_ITEMS and size < MOST_BYTES:
                job = waiting.popleft()
                items += job.items
                size += job.size
                jobs.append(job)
            if jobs or self._stop:
                return jobs
            self._idle = True
            if not waiting and not self._stop:
                self._wake.wait()
            self._wake.clear()
            self._idle = False

    def _run(self) -> None:
        jobs: list[Job] = []
        failure: StoreError | None = None
        try:
            while jobs := self._collect():
                started = self._seconds()
                done = self._committer(jobs)
                jobs = []
                self._call(self._finish, done, self._seconds() - started)
                self._committer.tidy()
        except BaseException as error:
            failure = _as_failure(error)
        _close(self._committer, failure is None)
        if failure is not None:
            self._call(self._fail, failure, [job.answer for job in jobs])
        self._call(self._closed)


class InlineWriter:
    """Each verb is a commit of its own, done when the verb returns. For tests that own the clock."""

    def __init__(self, committer: Committer, seconds: Callable[[], float], finish: Finish, fail: Fail) -> None:
        self._committer, self._seconds, self._finish, self._fail = committer, seconds, finish, fail

    def submit(self, job: Job) -> None:
        started = self._seconds()
        waiting = [job.answer]
        try:
            done = self._committer([job])
            waiting.clear()
            self._finish(done, self._seconds() - started)
            self._committer.tidy()
        except StoreError as error:
            _close(self._committer, well=False)
            self._fail(error, waiting)

    def abandoned(self) -> list[Deferred[Any]]:
        return []

    def close(self, closed: Callable[[], None]) -> None:
        _close(self._committer, well=True)
        closed()


def _nothing() -> None:
    pass


def _as_failure(error: BaseException) -> StoreError:
    if isinstance(error, StoreError):
        return error
    failure = StoreError(f"the store's writer failed: {error!r}")
    failure.__cause__ = error
    return failure


def _close(committer: Committer, well: bool) -> None:
    """Give the lock back, whatever state the database is in."""
    with suppress(Exception):
        committer.ledger.driver.close(well)
