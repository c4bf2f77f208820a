"""Group commit: one transaction for everything that waits, and who hears what when it fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred

from engine.errors import StoreBusy, StoreError, StoreFull
from engine.model import Message
from engine.store import acting, frames, inbox, keys, lanes, outbox, retention, settling
from engine.store.driver import Fault
from engine.store.ledger import Ledger
from engine.store.texts import storable

# The verbs, in the order in which one commit does them.
STEER: Final = 0
ATTEMPTED: Final = 1
TRANSLATED: Final = 2
ACT: Final = 3
TAKE: Final = 4
TAKE_DUE: Final = 5
REFUSE: Final = 6
FAIL: Final = 7  # what was read cannot be trusted: so nothing can
PRUNE: Final = 8
SHRINK: Final = 9
DO: Final = 10  # what is not worth a place of its own: its load is called with the ledger

RETRIES: Final = 5  # of a transaction that another session's locks or a lost connection spoiled


class Job(NamedTuple):
    """One call of a verb."""

    verb: int
    load: Any
    answer: Deferred[Any]
    items: int = 1
    size: int = 0  # bytes of content


class Done:
    """What the reactor is told about one batch."""

    def __init__(self, items: int) -> None:
        self.items = items
        self.answers: list[tuple[Deferred[Any], Any]] = []  # an exception is an answer too
        self.again: dict[str, int] = {}  # channel: up to here messages are received that nobody has been given
        self.messages: list[Message] = []  # to be translated
        self.translated: list[tuple[str, int]] = []  # (channel, message): no longer to be translated
        self.quiet: set[str] = set()  # destinations for which nothing waits that could begin
        self.full = False  # the database found no room
        self.unblocked: set[str] = set()  # destinations where a lane goes on that waited for another destination
        self.stirred = False  # what was quiet before may not be any more

    def add(self, later: Done) -> None:
        self.answers += later.answers
        for channel, last in later.again.items():
            self.again[channel] = max(last, self.again.get(channel, 0))
        self.messages += later.messages
        self.translated += later.translated
        self.unblocked |= later.unblocked
        if later.stirred:
            self.stirred = True
            self.quiet.clear()
        self.quiet |= later.quiet


class Committer:
    """Runs batches of jobs against the ledger. Raises StoreError when nothing more can be trusted."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._full = False  # a transaction since the last answers found no room

    def __call__(self, jobs: Sequence[Job]) -> Done:
        done = Done(sum(job.items for job in jobs))
        self._batch(jobs, done)
        done.full, self._full = self._full, False
        return done

    def tidy(self) -> None:
        """What is better done after everybody has had an answer."""
        ledger = self.ledger
        if keys.due(ledger) and self._transaction(lambda: keys.gather(ledger)):
            ledger.unkeyed = ledger.fresh = 0  # searches go on reading what was not gathered; try again later
        if ledger.duplicates.due():
            self._transaction(lambda: ledger.after.append(ledger.duplicates.gather(ledger.driver)))
        try:
            ledger.driver.tidy()
        except Exception as error:
            if ledger.driver.fault(error) is Fault.BROKEN:
                raise _failed(error) from error

    def _batch(self, jobs: Sequence[Job], done: Done) -> None:
        found: list[Done] = []
        failure = self._transaction(lambda: found.append(self._run(jobs)))
        if failure is None:
            done.add(found[-1])
        elif failure[0] is Fault.DATA and len(jobs) > 1:
            for job in jobs:
                self._batch([job], done)
        elif failure[0] is Fault.DATA and (cleaned := _cleaned(jobs[0])) is not None:
            self._batch([cleaned], done)
        else:
            done.answers.extend((job.answer, _answer(*failure)) for job in jobs)

    def _transaction(self, work: Callable[[], None]) -> tuple[Fault, Exception] | None:
        """Commit what `work` does; or what went wrong, with nothing changed."""
        ledger, driver = self.ledger, self.ledger.driver
        for last in range(RETRIES + 1):
            try:
                driver.begin()
                work()
                ledger.write_names()
                driver.commit()
            except StoreError:
                raise
            except Exception as error:
                fault = driver.fault(error)
                if fault is Fault.BROKEN:
                    raise _failed(error) from error
                if fault is Fault.LOST and driver.recover():
                    ledger.committed()
                    return None
                driver.rollback()
                ledger.undone()
                if fault is Fault.FULL:
                    self._full = True
                    driver.relieve()
                if fault not in (Fault.RETRY, Fault.LOST) or last == RETRIES:
                    return fault, error
            else:
                ledger.committed()
                return None
        raise AssertionError("unreachable")

    def _run(self, jobs: Sequence[Job]) -> Done:
        """Each verb once over its part of the batch."""
        ledger = self.ledger
        groups: tuple[list[Job], ...] = ([], [], [], [], [], [], [], [], [], [], [])
        for job in jobs:
            groups[job.verb].append(job)
        done = Done(len(jobs))
        done.stirred = bool(groups[STEER] or groups[ATTEMPTED] or groups[TRANSLATED] or groups[ACT])
        answers = done.answers
        for job in groups[FAIL]:
            raise job.load
        for job in groups[STEER]:
            settling.steer(ledger, *job.load)
            answers.append((job.answer, None))
        if group := groups[ATTEMPTED]:
            settling.attempted(ledger, [one for job in group for one in job.load])
            answers.extend((job.answer, None) for job in group)
        if group := groups[TRANSLATED]:
            translations = [one for job in group for one in job.load]
            outbox.translated(ledger, translations)
            answers.extend((job.answer, None) for job in group)
            done.translated.extend((one.channel, one.message_id) for one in translations)
        for job in groups[ACT]:
            acted, again = acting.act(ledger, job.load)
            answers.append((job.answer, acted))
            for channel, last in again.items():
                done.again[channel] = max(last, done.again.get(channel, 0))
        if group := groups[TAKE]:
            taken, done.messages = inbox.take(ledger, [job.load for job in group])
            answers.extend(zip([job.answer for job in group], taken, strict=True))
        if ledger.unblocked:
            done.unblocked = {ledger.destinations.text(number) for number in ledger.unblocked}
            ledger.unblocked.clear()
        for job in groups[TAKE_DUE]:
            deliveries, quiet = lanes.take_due(ledger, *job.load)
            answers.append((job.answer, deliveries))
            if quiet:
                done.quiet.add(job.load[0])
        if group := groups[REFUSE]:
            frames.refuse(ledger, [job.load for job in group])
            answers.extend((job.answer, None) for job in group)
        answers.extend((job.answer, retention.prune(ledger, *job.load)) for job in groups[PRUNE])
        answers.extend((job.answer, ledger.driver.shrink(job.load)) for job in groups[SHRINK])
        answers.extend((job.answer, job.load(ledger)) for job in groups[DO])
        return done


def _failed(error: Exception) -> StoreError:
    return StoreError(f"the store failed: {error}")


def _answer(fault: Fault, error: Exception) -> Exception:
    if fault is Fault.FULL:
        return StoreFull("the store has no room: free some, or move it to a larger disk")
    if fault in (Fault.BUSY, Fault.RETRY, Fault.LOST):
        return StoreBusy(f"the database is held by someone else: {error}")
    return error


def _cleaned(job: Job) -> Job | None:
    """The job with text that no database refuses, or None where there is nothing to clean: a control id with a NUL in it
    is the sender's fault, and no reason to lose the message."""
    load = _clean(job.load)
    return None if load == job.load else job._replace(load=load)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        if type(value) is not str:
            return value  # a word of ours
        return storable(value)
    if isinstance(value, list):
        return [_clean(one) for one in value]
    if isinstance(value, tuple):
        parts = [_clean(one) for one in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value
