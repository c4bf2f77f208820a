"""Comparisons that go on in processes of their own while people do something else."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from typing import Any, Final

import orjson

from engine.console.answers import Conflict, NotFound
from engine.console.home import Home
from engine.testing import comparing
from engine.testing.apart import Apart, Ended

KEPT: Final = 20  # comparisons that are remembered
AT_ONCE: Final = 2
LOOK: Final = 1.0  # seconds between looks at whether one was cancelled


class Job:
    """One comparison. `found` is what it told last: counts, groups, `done` from 0 to 1."""

    def __init__(self, who: str, about: dict[str, Any], title: str, begun_at: int) -> None:
        self.id = secrets.token_hex(6)
        self.who, self.about, self.title, self.begun_at = who, about, title, begun_at
        self.state = "waiting"  # `running`, `done`, `failed`, `cancelled`
        self.why = ""
        self.ended_at = 0
        self.found: dict[str, Any] = {}
        self._apart: Apart | None = None
        self._lock = threading.Lock()

    @property
    def channels(self) -> list[str] | None:
        """On which it looks; None: on all."""
        wanted = self.about["channel"] or self.about["visible"]
        return list(wanted) if wanted is not None else None

    def run(self, home: Home, directory: str) -> None:
        """To its end, in a thread."""
        with self._lock:
            if self.state == "cancelled":
                return
            self._apart = Apart(comparing.job, home.store, directory, str(home.directory), self.about, limit=0)
            self.state = "running"
        try:
            self._listen(self._apart)
        except Ended as error:
            self._end("failed", f"its process ended: {error}")
        except EOFError:
            self._end("failed", "its process ended without a result: is the store there?")
        finally:
            self._apart.close()
            self.ended_at = home.now()

    def _listen(self, apart: Apart) -> None:
        while True:
            said = apart.hear(LOOK)
            if said is None:
                continue
            told = orjson.loads(said)
            if "failed" in told:
                self._end("failed", told["failed"])
                return
            self.found = told
            if told.get("finished"):
                self._end("done", "")
                return

    def _end(self, state: str, why: str) -> None:
        with self._lock:
            if self.state != "cancelled":
                self.state, self.why = state, why

    def cancel(self, who: str) -> None:
        """Nothing has been changed by it, so there is nothing to undo."""
        with self._lock:
            if self.state in ("waiting", "running"):
                self.state, self.why = "cancelled", f"by {who}"
            if self._apart is not None:
                self._apart.end()


class Jobs:
    """The last comparisons of this console. They are gone when it ends; none of them matters to anything else."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, job: Job, directory: str) -> None:
        """Raises Conflict where as many go on as may."""
        with self._lock:
            if sum(one.state in ("waiting", "running") for one in self._jobs.values()) >= AT_ONCE:
                raise Conflict(f"{AT_ONCE} comparisons go on already: wait for one, or cancel it.")
            self._jobs[job.id] = job
            while len(self._jobs) > KEPT:
                self._jobs.popitem(last=False)
        threading.Thread(target=job.run, args=(self._home, directory), name="comparison", daemon=True).start()

    def all(self) -> list[Job]:
        """The latest first."""
        with self._lock:
            return list(reversed(self._jobs.values()))

    def get(self, number: str) -> Job:
        with self._lock:
            if number not in self._jobs:
                raise NotFound("There is no such comparison any more.")
            return self._jobs[number]

    def close(self) -> None:
        for job in self.all():
            job.cancel("the console's end")


def jobs(home: Home) -> Jobs:
    found: Jobs = home.parts.setdefault("comparisons", Jobs(home))
    return found
