"""Carrying jobs out: one step after the other, of one job after the other, by one runner on each site.

A runner holds the lock of the site's jobs for as long as it lives; when it dies, the system gives the lock back and the next
one goes on. Between two steps it asks the files what people want by now. A step that was done and not noted is asked for
again, and the store, which knows its token, answers as it did.
"""

from __future__ import annotations

import fcntl
import os
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from threading import Event
from typing import Any

from twisted.logger import Logger

from engine.errors import WardlineError
from engine.operations.jobs import SEND, UNFINISHED, Job, Jobs

LOOK = 1.0  # seconds between two looks at the files, where nobody says that there is something
AGAIN = 15.0  # seconds at most before what failed is tried again

Call = Callable[..., Any]
"""A verb of the engine by its name: as `control.Caller`."""

Reach = Callable[[], AbstractContextManager[Call]]
Sent = Callable[[int, bytes], Sequence[int]]
"""The replays of a message that have this content, by their ids."""


class NotTaken(WardlineError):
    """A copy was not stored, and so may be tried again."""


class Runner:
    """`reach` opens a way to the engine and raises where there is none; `sent` looks into the store. A job that fails holds
    up no other one."""

    def __init__(self, jobs: Jobs, reach: Reach, sent: Sent, seconds: Callable[[], float] = time.monotonic) -> None:
        self._jobs, self._reach, self._sent, self._seconds = jobs, reach, sent, seconds
        self._failed: dict[str, tuple[int, float]] = {}  # by job: how often in a row, and when it is tried again
        self.woken = Event()  # there may be something to do

    def run(self, ended: Callable[[], bool]) -> None:
        """For a thread of its own, until `ended`. Where another holds the lock, it works and we look on."""
        while not ended():
            try:
                self._attend(ended)
            except Exception:  # a full disk, for example: another time it may go well
                Logger("engine.operations").failure("The jobs cannot be gone on with for now")
                self.rest(AGAIN)
            else:
                self.rest(LOOK)

    def _attend(self, ended: Callable[[], bool]) -> None:
        lock = Lock(self._jobs)
        if lock.taken:
            with lock:
                while not ended():
                    self.rest(self.turn())

    def rest(self, seconds: float) -> None:
        """Until that is over, or somebody wakes us: then what failed is tried at once."""
        if seconds and self.woken.wait(seconds):
            self.woken.clear()
            self._failed.clear()

    def turn(self) -> float:
        """One step of the job whose turn it is; how many seconds it is until the next one."""
        now = self._seconds()
        job = self._jobs.next(self._later(now))
        if job is None:
            return LOOK
        try:
            with self._reach() as call:
                self.step(job, call)
        except Exception as error:
            failures = self._failed.get(job.name, (0, 0.0))[0] + 1
            wait = min(AGAIN, 0.5 * 2.0 ** min(failures, 10))
            self._failed[job.name] = failures, now + wait
            known = isinstance(error, WardlineError)  # another's text may quote anything
            self._jobs.waits(job, str(error) if known else f"{type(error).__name__} while it was asked for; it is tried again")
            return wait if self._jobs.next(self._later(now)) is None else 0
        self._failed.pop(job.name, None)
        return 0

    def _later(self, now: float) -> list[str]:
        """The jobs that failed and are not to be tried yet."""
        return [name for name, (_, at) in self._failed.items() if at > now]

    def step(self, job: Job, call: Call) -> None:
        """Take `job` one step further. Raises what `call` raises, with the job as it was."""
        if job.verb == SEND:
            self._send(job, call)
            return
        arguments = self._jobs.step(job)
        if arguments is None:
            self._jobs.ended(job)
            return
        acted = call("act", **arguments)
        things = len(arguments.get("messages", ())) + len(arguments.get("deliveries", ()))
        self._jobs.did(job, things, acted["messages"], acted["deliveries"])
        if self._jobs.step(job._replace(steps=job.steps + 1)) is None:
            self._jobs.ended(job)

    def _send(self, job: Job, call: Call) -> None:
        """Once: where an answer was lost, the store says whether the copy is there. Raises NotTaken."""
        content, original = self._jobs.content(job), job.figures["original"]
        copies, reason = self._sent(original, content), ""
        before = self._jobs.begun(job, copies)
        there = next((number for number in copies if number not in before), 0)
        if not there:
            about = {"channel": job.figures["channel"], "content": b64encode(content).decode(), "replay_of": original}
            answer = call("submit", who=job.who, why=job.why, **about)
            there = answer["message"]
            if answer["verdict"] != "accepted":
                reason = answer["reason"] or answer["verdict"]
                if not there:
                    raise NotTaken(f"the channel does not take it: {reason}")
        if not job.steps:
            self._jobs.did(job, 1, 0 if reason else 1, 0)
        self._jobs.ended(job, there, reason)

    def carry_out(self, name: str, call: Call, told: Callable[[Job], None]) -> Job:
        """All that is left of one job, for whoever holds the lock; `told` hears of each step. Raises what `call` raises."""
        while (job := self._jobs.find(name)).state in UNFINISHED:
            self.step(job, call)
            told(self._jobs.find(name))
        return job


class Lock:
    """Of a site's jobs, for one runner. Use it as a context once it is `taken`; the system frees it when its holder dies."""

    def __init__(self, jobs: Jobs) -> None:
        for place in (jobs.place.parent, jobs.place):
            place.mkdir(mode=0o700, exist_ok=True)
        self._number = os.open(jobs.place / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.taken = True
        except OSError:
            os.close(self._number)
            self.taken = False

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._number)


def attended(jobs: Jobs) -> bool:
    """Whether a runner is at work."""
    lock = Lock(jobs)
    if lock.taken:
        with lock:
            return False
    return True


def sent_in(history: Any) -> Sent:
    """Looks for replays in a store: through a `History`."""
    from hashlib import sha256

    def sent(original: int, content: bytes) -> list[int]:
        digest = sha256(content).digest()
        replays = [history.message(row.id, content=False) for row in history.replays(original) if row.size == len(content)]
        return [facts.row.id for facts in replays if facts and facts.digest == digest]

    return sent
