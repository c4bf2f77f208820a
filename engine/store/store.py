"""The store as the pipeline sees it (`engine.contracts.Store`): verbs in the reactor's thread, the work elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from engine.contracts import Counted, DiskPolicy, Request, Runtime
from engine.errors import StoreError, StoreFull, WardlineError
from engine.events import Committed
from engine.model import (
    Acted,
    Action,
    Admission,
    ChannelState,
    Delivery,
    DestinationState,
    Message,
    Opened,
    Pruned,
    RefusedFrame,
    Settlement,
    Taken,
    Translation,
    Verdicts,
    Walk,
)
from engine.store import acting, commit, frames, reads, requests, settling, tally
from engine.store.commit import Committer, Done, Job
from engine.store.driver import Driver, Fault, Reader
from engine.store.prepare import prepare
from engine.store.pressure import Pressure
from engine.store.recovery import recover
from engine.store.space import Space
from engine.store.tail import Tail
from engine.store.verdicts import verdicts
from engine.store.writer import InlineWriter, ThreadedWriter


class SqlStore:
    """Made by `open_store`."""

    def __init__(
        self,
        committer: Committer,
        reader: Reader,
        runtime: Runtime,
        on_failure: Callable[[Exception], None],
        threaded: bool,
        space: Space | None = None,
    ) -> None:
        self._runtime, self._on_failure = runtime, on_failure
        self._tail = Tail(committer.ledger.next_id - 1)
        self._quiet: set[str] = set()  # destinations known to have nothing that could begin
        self._frames = 0  # bytes of refused frames that wait to be kept
        self._failure: StoreError | None = None
        self._closed: Deferred[None] | None = None
        self.space = space
        self._fault = committer.ledger.driver.fault  # whose fault an exception is
        self.on_unblocked: Callable[[set[str]], None] = _nobody  # told destinations at which something may begin again
        self._channels = committer.ledger.channels.texts()
        self._destinations = committer.ledger.destinations.texts()
        self.warnings: list[str] = committer.ledger.driver.warnings()
        seconds = runtime.clock.seconds
        self._writer: ThreadedWriter | InlineWriter
        self._reads: reads.ThreadedReads | reads.InlineReads
        if threaded:
            from engine import reactor

            call = reactor.loop_of(reactor.install()).call_soon_threadsafe
            self._writer = ThreadedWriter(committer, seconds, call, self._finish, self._fail)
            self._reads = reads.ThreadedReads(reader, call)
        else:
            self._writer = InlineWriter(committer, seconds, self._finish, self._fail)
            self._reads = reads.InlineReads(reader)
        self._pressure = Pressure(self._tail, runtime.clock, self._writer.submit)
        self._give = self._pressure.take if threaded else self._writer.submit  # what is done at once waits for nobody

    # ── verbs ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, admission: Admission) -> Deferred[Taken]:
        if self.space is not None and self.space.refusal:
            return fail(StoreFull(self.space.refusal))
        size = len(admission.content) + sum(len(part.content) for part in admission.parts)
        if self._failure is not None or self._closed is not None:
            return self._refuse()
        answer: Deferred[Taken] = Deferred()
        self._give(Job(commit.TAKE, admission, answer, 1 + len(admission.parts), size))
        return answer

    def translated(self, translations: Sequence[Translation]) -> Deferred[None]:
        size = sum(len(outgoing.content) for one in translations for outgoing in one.outgoings)
        return self._submit(commit.TRANSLATED, translations, len(translations), size)

    def take_due(self, destination: str, room: int, window: int) -> Deferred[list[Delivery]]:
        return self._submit(commit.TAKE_DUE, (destination, room, window), 1, 0)

    def attempted(self, settlements: Sequence[Settlement]) -> Deferred[None]:
        return self._submit(commit.ATTEMPTED, settlements, len(settlements), 0)

    def steer(self, destination: str, state: DestinationState, reason: str = "") -> Deferred[None]:
        """Pause, hold or start a destination; it stays so when the engine is started again. One that is not running
        gives no deliveries."""
        return self._submit(commit.STEER, (destination, state, reason, self._runtime.now()), 1, 0)

    def steer_channel(self, channel: str, state: ChannelState, reason: str = "") -> Deferred[None]:
        """Note a channel's state, so that it is in it when the engine is started again."""
        return self._do(settling.steer_channel, channel, state, reason)

    def act(self, action: Action) -> Deferred[Acted]:
        things = len(action.messages) + len(action.deliveries)
        if not action.token or things > acting.MOST:
            return fail(WardlineError(f"an action has a token, and at most {acting.MOST} messages and deliveries"))
        return self._submit(commit.ACT, action, things, 0)

    def refuse(self, frame: RefusedFrame) -> Deferred[None]:
        """Fails with StoreFull where so many wait already that a ring holds no more."""
        if self._frames > frames.MOST_BYTES:
            return fail(StoreFull("more refused frames come in than can be kept"))
        size = len(frame.content)
        self._frames += size

        def kept(answer: object) -> object:
            self._frames -= size
            return answer

        return self._submit(commit.REFUSE, frame, 1, size).addBoth(kept)

    def prune(self, walk: Walk, cutoffs: Mapping[str, int], after: int, limit: int) -> Deferred[Pruned]:
        return self._submit(commit.PRUNE, (walk, cutoffs, after, limit), 1, 0)

    def shrink(self, whole: bool) -> Deferred[bool]:
        return self._submit(commit.SHRINK, whole, 1, 0)

    def tally(self, at: int, counted: Sequence[Counted]) -> Deferred[None]:
        """Add to the buckets that the instant `at` is in."""
        return self._do(tally.tally, at, counted)

    def take_request(self, asked: Request) -> Deferred[int]:
        """Under which epoch it is taken; 0: it is not there any more, or somebody was faster."""
        return self._do(requests.take_request, asked)

    def answer_request(self, token: str, answer: str) -> Deferred[None]:
        """Give the answer to one that was taken under this engine's epoch."""
        return self._do(requests.answer_request, token, answer)

    def _do(self, what: Callable[..., Any], *about: Any) -> Deferred[Any]:
        return self._submit(commit.DO, lambda ledger: what(ledger, *about), 1, 0)

    def _submit(self, verb: int, load: Any, items: int, size: int) -> Deferred[Any]:
        if self._failure is not None or self._closed is not None:
            return self._refuse()
        answer: Deferred[Any] = Deferred()
        self._writer.submit(Job(verb, load, answer, items, size))
        return answer

    def _refuse(self) -> Deferred[Any]:
        return fail(self._failure or StoreError("the store is closed"))

    # ── reads ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def untranslated(self, channel: str, after: int, limit: int) -> Deferred[list[Message]]:
        if self._failure is not None or self._closed is not None:
            return self._refuse()
        found = self._tail.after(channel, after, limit)
        if found is not None:
            return succeed(found)
        turn = self._tail.turn(channel)

        def read(answer: tuple[list[Message], bool]) -> list[Message]:
            messages, everything = answer
            self._tail.read(channel, after, messages, everything, turn)
            return messages

        return self._reads.ask(reads.untranslated, channel, after, limit).addCallbacks(read, self._distrust)

    def _distrust(self, failure: Failure) -> Failure:
        """What was read is not what was stored, or cannot be read at all: from now on no verb succeeds."""
        error = failure.value
        if isinstance(error, Exception) and self._fault(error) is Fault.BROKEN and not isinstance(error, StoreError):
            error = StoreError(f"the store cannot be read: {error}")
        if isinstance(error, StoreError):
            failed: Deferred[None] = Deferred()
            failed.addErrback(lambda _: None)
            self._writer.submit(Job(commit.FAIL, error, failed))
        return failure

    def verdicts(self, messages: Sequence[int]) -> Deferred[dict[int, Verdicts]]:
        if self._failure is not None or self._closed is not None:
            return self._refuse()
        return self._reads.ask(verdicts, messages).addErrback(self._distrust)

    def next_due(self, destination: str) -> Deferred[int]:
        if self._failure is not None or self._closed is not None:
            return self._refuse()
        if destination in self._quiet:
            return succeed(0)
        return self._reads.ask(reads.next_due, destination).addErrback(self._distrust)

    def settled(self, channel: str) -> Deferred[bool]:
        """Whether nothing of `channel` waits to be translated or delivered. Looks at every lane where nothing does."""
        if self._failure is not None or self._closed is not None:
            return self._refuse()
        return self._reads.ask(reads.settled, channel).addErrback(self._distrust)

    def requests(self) -> Deferred[list[Request]]:
        """What is asked of this engine through the store, and not answered."""
        if self._failure is not None or self._closed is not None:
            return self._refuse()
        return self._reads.ask(requests.requests).addErrback(self._distrust)

    def channels(self) -> list[str]:
        """Those that the store has ever had messages of, at opening."""
        return list(self._channels)

    def destinations(self) -> list[str]:
        """Those that the store has ever had deliveries for, at opening."""
        return list(self._destinations)

    # ── the end ────────────────────────────────────────────────────────────────────────────────────────────────────

    def close(self) -> Deferred[None]:
        if self._closed is None:
            self._closed = Deferred()
            self._reads.close()
            if self._failure is None:
                for job in self._pressure.let_go():
                    self._writer.submit(job)
                self._writer.close(self._gone)
            else:  # the writer has ended and given back the lock
                self._gone()
        waiting: Deferred[None] = Deferred()
        self._closed.addCallback(lambda _: waiting.callback(None))
        return waiting

    def _gone(self) -> None:
        if self._closed is not None and not self._closed.called:
            self._closed.callback(None)

    # ── what the writer tells, in the reactor's thread ─────────────────────────────────────────────────────────────

    def _finish(self, done: Done, seconds: float) -> None:
        tail = self._tail
        if done.full and self.space is not None:
            self.space.refused()
        if done.stirred:
            self._quiet.clear()
        self._quiet |= done.quiet
        for channel, number in done.translated:
            tail.remove(channel, number)
        for channel, last in done.again.items():
            tail.begin_above(channel, last)
        for message in done.messages:
            tail.add(message)
        self._runtime.emit(Committed(done.items, seconds))
        if done.unblocked:
            self.on_unblocked(done.unblocked)
        for answer, result in done.answers:
            if isinstance(result, Exception):
                answer.errback(Failure(result))
            else:
                answer.callback(result)
        self._pressure.ease()

    def _fail(self, failure: StoreError, waiting: list[Deferred[Any]]) -> None:
        first = self._failure is None
        self._failure = self._failure or failure
        if first:
            self._on_failure(failure)
        held = [job.answer for job in self._pressure.let_go()]
        for answer in [*waiting, *self._writer.abandoned(), *held]:
            answer.errback(Failure(failure))
        self._gone()


def _nobody(destinations: set[str]) -> None:
    pass


def open_store(
    url: str,
    runtime: Runtime,
    on_failure: Callable[[Exception], None],
    *,
    threaded: bool = True,
    disk: DiskPolicy | None = None,
    largest: int = 0,
) -> tuple[SqlStore, Opened]:
    """Create or migrate the store at `url`, take its lock, recover what was under way, and return it ready.

    `sqlite:///site.db`, `sqlite:////absolute/site.db` or `postgresql://user@host/database`. With `threaded=False` every
    verb is committed at once in the caller. With `disk`, the disk of a SQLite store is watched by `engine.store.upkeep`, and
    nothing is taken while it is full; `largest` is what the largest message may have, in bytes. Raises StoreBusy where
    another engine holds it, StoreTooNew for a store of a later release, StoreError for anything else.
    """
    driver, read = _drivers(url)
    try:
        prepare(driver, runtime.now())
        ledger, opened = recover(driver, runtime.now)
        reader = read(url)
    except BaseException as error:
        driver.rollback()
        driver.close(isinstance(error, WardlineError) and not isinstance(error, StoreError))
        if isinstance(error, Exception) and not isinstance(error, WardlineError):
            raise StoreError(f"{url} cannot be opened: {error}") from error
        raise
    return SqlStore(Committer(ledger), reader, runtime, on_failure, threaded, _space(url, runtime, disk, largest)), opened


def _space(url: str, runtime: Runtime, disk: DiskPolicy | None, largest: int) -> Space | None:
    """The disk of a SQLite store; PostgreSQL's belongs to its server."""
    if disk is None or not url.startswith("sqlite"):
        return None
    from engine.store.sqlite import path_of

    return Space(path_of(url).absolute(), disk, largest, runtime.emit)


def _drivers(url: str) -> tuple[Driver, Callable[[str], Reader]]:
    if url.startswith(("postgresql://", "postgres://")):
        try:
            from engine.store.postgres import PostgresDriver, PostgresReader
        except ImportError as error:
            raise StoreError("PostgreSQL needs its driver: pip install 'wardline[postgres]'") from error
        return PostgresDriver(url), PostgresReader
    from engine.store.sqlite import SqliteDriver, SqliteReader

    return SqliteDriver(url), SqliteReader
