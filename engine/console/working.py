"""The slow lane of a console: the jobs that people agreed to, and the one thread that carries them out."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from engine.console.answers import NotFound
from engine.console.home import Home
from engine.console.rights import Right
from engine.console.visit import Visit
from engine.operations.jobs import DIRECTORY, SEND, Job, Jobs, NoJob
from engine.operations.runner import Call, Runner, sent_in
from engine.operations.worklists import Assignments

PART = "work"
STEP = 3.0  # seconds that a step under way may take to its end; one that takes longer is done once more, which changes nothing
REMEMBERED = 50  # codes of which it is known who waited for them


class Work:
    """Lives as long as its console; `close` lets the step under way end."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self.jobs = Jobs(home.directory, home.now)
        self.assignments = Assignments(home.directory, home.now)
        self.runner = Runner(self.jobs, self._reached, self._sent)
        self.waited: dict[tuple[str, str], list[int]] = {}  # (table, value): the messages that waited when a row was added
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = False

    def go_on(self) -> None:
        """There is something to do, or may be: from now on somebody does it."""
        with self._lock:
            if not self._ended and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self.runner.run, args=(lambda: self._ended,), name="jobs", daemon=True)
                self._thread.start()
        self.runner.woken.set()

    def remember(self, table: str, value: str, messages: list[int]) -> None:
        with self._lock:
            self.waited[table, value] = messages
            while len(self.waited) > REMEMBERED:
                del self.waited[next(iter(self.waited))]

    def close(self) -> None:
        self._ended = True
        self.runner.woken.set()
        if self._thread is not None:
            self._thread.join(STEP)

    @contextmanager
    def _reached(self) -> Iterator[Call]:
        with self._home.caller() as caller:
            yield caller

    def _sent(self, original: int, content: bytes) -> Sequence[int]:
        with self._home.reading() as history:
            return sent_in(history)(original, content)


def work(home: Home) -> Work:
    """The one of this console, made when it is first asked for."""
    part: Any = home.parts.get(PART)
    if part is None:
        part = home.parts.setdefault(PART, Work(home))
    return part  # type: ignore[no-any-return]


def attend(home: Home) -> None:
    """At the console's start: what an earlier one, or a command that was killed, left undone goes on."""
    if (home.directory / DIRECTORY).is_dir():
        work(home).go_on()


# ── whose jobs these are ───────────────────────────────────────────────────────────────────────────────────────────


def channels_of(job: Job) -> list[str]:
    return [job.figures["channel"]] if job.verb == SEND else list(job.figures["channels"])


def right_of(job: Job) -> Right:
    return Right.EDIT if job.verb == SEND else Right.ACT


def visible_job(visit: Visit, name: str) -> Job:
    """Raises NotFound also for what is about channels that the person may not see."""
    try:
        job = work(visit.home).jobs.find(name)
    except NoJob as error:
        raise NotFound(str(error)) from error
    if not all(visit.may(Right.SEE, channel) for channel in channels_of(job)):
        raise NotFound(f"There is no plan and no job {name!r} here (any more).")
    return job


def may_read(visit: Visit, job: Job) -> bool:
    """What a job names by its values, a key in its query or an order, may be a patient's."""
    return all(visit.may(Right.READ, channel) for channel in channels_of(job))


def query_of(visit: Visit, job: Job) -> str:
    """The search that a job came from; '' for those who may not read what its messages hold, unless it is their own."""
    return job.asked if job.planned_by == visit.who.name or may_read(visit, job) else ""


def may_steer(visit: Visit, job: Job) -> None:
    for channel in channels_of(job):
        visit.require(right_of(job), channel)
