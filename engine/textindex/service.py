"""The indexer as a process: it works when there is time, rests as long as it must, and survives what it can.

Messages are taken up once they have been there for a moment: most have been delivered by then, and are indexed once. Each
piece of work is followed by a rest in proportion: a longer one while the engine is taking messages, for then they share the
disk and, with PostgreSQL, a server that knows nothing of priorities.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from typing import Final, NoReturn

from engine.contracts import DiskPolicy
from engine.errors import StoreBusy, StoreError
from engine.textindex.indexer import Indexer
from engine.textindex.source import Source
from engine.textindex.tables import Database, Fault

MOMENT: Final = 0.7  # seconds that a message is left alone, and between looks for new ones
LOOK: Final = 2.0  # seconds between two rounds over the watched deliveries, at the least
LOOK_SHARE: Final = 20  # and so many times what a round takes
FORGET: Final = 3600.0  # seconds between two rounds over the volumes
RATE: Final = 50.0  # ids a second: from then on the engine is busy
REST: Final = 0.5  # of the time that was worked
BUSY_REST: Final = 4.0
WAIT: Final = 10.0  # seconds before the next try, where there is no room or no database

Progress = Callable[[int, int], None]


def step_back() -> None:
    """Everybody else first; but never so far back that a read of the store could not end within seconds: under the kernel's
    idle policy a busy machine would leave it standing in the middle of one, and the store's log would grow meanwhile."""
    with suppress(OSError):
        os.nice(10)
    with suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


class _NoRoom(Exception):
    """Its text says where."""


class Service:
    """Keeps the index of one store. `tell` is told what an operator should know, each thing once. It may be killed at any
    moment: whoever comes next goes on where the last transaction was."""

    def __init__(self, url: str, tell: Callable[[str], None], disk: DiskPolicy | None = None) -> None:
        self._url, self._disk = url, disk
        self._tell, self._told = tell, ""
        self._damaged = False

    def run(self, once: bool = False, rebuild: bool = False, progress: Progress | None = None) -> None:
        """Until the process ends; `once`: until everything is indexed that is there now.

        Raises StoreBusy where another indexer is at work; with `once`, StoreError where there is no store or no room.
        """
        self._damaged = rebuild
        while True:
            try:
                with ExitStack() as stack:
                    source = stack.enter_context(closing(Source(self._url)))
                    database = stack.enter_context(closing(self._database()))
                    self._work(source, database, once, progress)
                    return
            except StoreBusy:
                raise
            except (StoreError, _NoRoom) as error:
                if once:
                    raise StoreError(str(error)) from error
                self._say(f"texts are not indexed for now: {error}")
            time.sleep(WAIT)

    def _database(self) -> Database:
        if self._url.startswith("postgres"):
            from engine.textindex.postgres import PostgresDatabase

            return PostgresDatabase(self._url)
        from engine.textindex.sqlite import SqliteDatabase

        return SqliteDatabase(self._url, self._disk)

    def _work(self, source: Source, database: Database, once: bool, progress: Progress | None) -> None:
        """Raises StoreError or _NoRoom for what may be better in a while."""
        try:
            indexer = Indexer(source, database, lambda: time.time_ns() // 1000, self._tell)
            indexer.open()
            if self._damaged:
                indexer.make_anew()
                self._damaged = False
            if once:
                self._once(source, database, indexer, progress or _nobody)
            else:
                _Rounds(self, source, database, indexer).run()
        except (StoreError, StoreBusy, _NoRoom):
            raise
        except Exception as error:
            fault = database.fault(error)
            if fault is Fault.OTHER:
                raise
            self._damaged = fault is Fault.DAMAGED
            raise StoreError(_FAULTS[fault]) from error

    def _once(self, source: Source, database: Database, indexer: Indexer, progress: Progress) -> None:
        upto = source.newest()
        total, done = source.ahead(indexer.place().reached), 0
        while indexer.place().reached < upto:
            self.check_room(database)
            done += indexer.forward(upto)
            progress(min(done, total), total)
        for rest in (indexer.look, indexer.tidy):
            while rest():
                self.check_room(database)
        indexer.caught_up()

    def check_room(self, database: Database) -> None:
        if why := database.room():
            raise _NoRoom(why)

    def going_well(self) -> None:
        if self._told:
            self._tell("texts are indexed again")
            self._told = ""

    def _say(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._tell(text)


_FAULTS: Final = {
    Fault.FULL: "there is no room",
    Fault.LOST: "the database cannot be reached",
    Fault.DAMAGED: "the index was damaged, and is made anew",
}


def _nobody(done: int, total: int) -> None:
    """Nobody looks."""


class _Rounds:
    """The indexer's day."""

    def __init__(self, service: Service, source: Source, database: Database, indexer: Indexer) -> None:
        self._service, self._source, self._database, self._indexer = service, source, database, indexer
        self._marks = (0, indexer.place().reached)  # the newest ids at the last two looks
        self._marked_at = 0.0
        self._rate = 0.0  # ids a second
        self._look_at = self._forget_at = 0.0
        self._looking = 0.0  # seconds that this round over the watched deliveries has taken
        self._caught_up = False

    def run(self) -> NoReturn:
        """Raises what goes wrong."""
        while True:
            began = time.monotonic()
            if began >= self._marked_at + MOMENT:
                self._mark(began)
            worked = self._step()
            took = time.monotonic() - began
            rest = took * (BUSY_REST if self._rate > RATE else REST)
            time.sleep(min(rest, 1.0) if worked else max(self._marked_at + MOMENT - time.monotonic(), 0.01))

    def _mark(self, now: float) -> None:
        if self._source.replaced():
            raise StoreError("the store was replaced by another file")
        newest = self._source.newest()
        self._rate = (newest - self._marks[1]) / max(now - self._marked_at, MOMENT)
        self._marks, self._marked_at = (self._marks[1], newest), now

    def _step(self) -> bool:
        """One piece of work; whether there may be more of it at once."""
        self._service.check_room(self._database)
        upto = self._marks[0]
        if self._indexer.place().reached < upto:
            self._indexer.forward(upto)
            self._service.going_well()
            if time.monotonic() >= self._look_at:
                self._look()
            return True
        if not self._caught_up:
            self._caught_up = True
            self._indexer.caught_up()
        if time.monotonic() >= self._look_at:
            return self._look()
        if self._indexer.tidy():
            return True
        if time.monotonic() >= self._forget_at:
            if not self._indexer.forget():
                self._forget_at = time.monotonic() + FORGET
            return True
        return False

    def _look(self) -> bool:
        began = time.monotonic()
        more = self._indexer.look()
        ended = time.monotonic()
        self._looking += ended - began
        if not more:
            self._look_at = ended + max(LOOK, LOOK_SHARE * self._looking)
            self._looking = 0.0
        return more
