"""Translating in processes of its own, seen from the engine (`engine.pipeline.keeper` is the other side).

Translation is pure, and it is most of the work: away from the reactor's interpreter it has a core to itself, and whatever
goes wrong in it (a mapping that runs away, a library that crashes) costs one process and parks one message, never the
engine.
"""

from __future__ import annotations

import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import orjson
from twisted.internet.defer import Deferred, DeferredList, execute, succeed
from twisted.internet.protocol import Protocol as WireProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from engine.errors import WardlineError
from engine.model import Message, Translation
from engine.pipeline import parcels
from engine.pipeline.keeper import Work, poisoned
from engine.reactor import loop_of

DEATHS = 3  # how often one message may take its process with it before it is parked as poison


class Translator(Protocol):
    def translate(self, version: str, channel: str, messages: Sequence[Message]) -> Deferred[list[Translation]]:
        """What becomes of `messages` of `channel`, in order: what cannot be translated is parked. Fails with
        TranslatorsLost only, when the engine is about to stop."""

    def load(self, version: str, keep: Sequence[str]) -> Deferred[None]:
        """Know the site's `version` too, as its files are now; of earlier ones only those in `keep` are asked for again.
        Fails with NotLoaded where the files are not that version any more, and nothing has changed."""

    def stop(self) -> None:
        """Nothing more will be asked."""


class NotLoaded(WardlineError):
    """The translators could not load what the engine has checked."""


class TranslatorsLost(WardlineError):
    """A keeper of translators is gone, so nobody can say what became of its work: the engine stops, and a start repeats it."""


class Inline:
    """Translates here and now: on a machine with one core, and in tests."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def translate(self, version: str, channel: str, messages: Sequence[Message]) -> Deferred[list[Translation]]:
        return succeed(self._work(version, channel, messages))

    def load(self, version: str, keep: Sequence[str]) -> Deferred[None]:
        return execute(self._work.load, version, keep).addErrback(_not_loaded)

    def stop(self) -> None: ...


def _not_loaded(failure: Failure) -> None:
    raise NotLoaded(f"the translators cannot load it: {failure.getErrorMessage()}")


class Job:
    """One batch and who waits for it. `deaths` counts the processes it has taken with it."""

    __slots__ = ("answer", "channel", "deaths", "messages", "version")

    def __init__(self, version: str, channel: str, messages: Sequence[Message]) -> None:
        self.version, self.channel, self.messages = version, channel, messages
        self.answer: Deferred[list[Translation]] = Deferred()
        self.deaths = 0


class Wire(WireProtocol):
    """Our end of one translator's life: batches one at a time, until the connection goes. A parcel is led by its length in
    four bytes; what has come of one is put together once, when it is whole: it may be a hundred megabytes."""

    transport: Any

    def __init__(self, pool: Processes, keeper: Keeper) -> None:
        self._pool, self.keeper = pool, keeper
        self._parts: list[bytes] = []
        self._held = 0
        self.job: Job | None = None
        self.retired = False  # a successor knows more: no further job

    def begin(self, job: Job) -> None:
        self.job = job
        parcel = parcels.of_messages(job.version, job.channel, job.messages)
        self.transport.writeSequence((len(parcel).to_bytes(4), parcel))

    def retire(self) -> None:
        self.retired = True
        if self.job is None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self._parts.append(data)
        self._held += len(data)
        if self._held < 4:
            return
        if len(self._parts[0]) < 4:
            self._parts = [b"".join(self._parts)]
        size = 4 + int.from_bytes(self._parts[0][:4])
        if self._held >= size:  # one is asked at a time, so nothing follows it
            whole, self._parts, self._held = b"".join(self._parts), [], 0
            self._answered(whole[4:])

    def _answered(self, parcel: bytes) -> None:
        job = self.job
        translations = parcels.read_translations(parcel)
        if job is None or [one.message_id for one in translations] != [one.id for one in job.messages]:
            self.transport.abortConnection()  # it answers what it was not asked: its end is a death like any other
            return
        self.job = None
        if self.retired:
            self.transport.loseConnection()
        job.answer.callback(translations)
        self._pool.next()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        job, self.job = self.job, None
        self._pool.died(self, job)


class Keeper:
    """A control socket, and who waits for its keeper to load something."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.rest = b""
        self.loading: dict[str, Deferred[None]] = {}

    def ask(self, version: str, keep: Sequence[str]) -> Deferred[None]:
        loading = self.loading[version] = Deferred[None]()
        with suppress(OSError):  # it is gone: its end is told where its socket is read
            self.control.sendall(orjson.dumps({"load": version, "keep": list(keep)}) + b"\n")
        return loading

    def loaded(self, version: str, why: str = "") -> None:
        waiting = self.loading.pop(version, None)
        if waiting is not None and why:
            waiting.errback(NotLoaded(f"the translators cannot load it: {why}"))
        elif waiting is not None:
            waiting.callback(None)


class Processes:
    """Translators over the control sockets that `hatch` gave. `on_lost` is called once where a keeper is gone."""

    def __init__(self, reactor: Any, controls: Iterable[socket.socket], on_lost: Callable[[Exception], None]) -> None:
        self._reactor = reactor
        self._loop = loop_of(reactor)
        self._on_lost = on_lost
        self._waiting: deque[Job] = deque()
        self._unanswered: Counter[str] = Counter()  # jobs by version
        self._wires: list[Wire] = []
        self._keepers = [Keeper(control) for control in controls]
        self._how = "it was killed"  # how the last one to die did, as its keeper told
        self._lost = self._stopped = False
        for keeper in self._keepers:
            keeper.control.setblocking(False)
            self._loop.add_reader(keeper.control, self._arrived, keeper)

    def translate(self, version: str, channel: str, messages: Sequence[Message]) -> Deferred[list[Translation]]:
        job = Job(version, channel, messages)
        if self._lost:
            job.answer.errback(TranslatorsLost("the translators are gone"))
            return job.answer
        self._unanswered[version] += 1
        job.answer.addBoth(self._answered, version)
        self._waiting.append(job)
        self.next()
        return job.answer

    def _answered(self, answer: Any, version: str) -> Any:
        self._unanswered[version] -= 1
        return answer

    async def _load(self, version: str, keep: Sequence[str]) -> None:
        if self._stopped:
            raise NotLoaded("the engine is stopping")
        versions = {*keep, *+self._unanswered}  # what waits for a process may be of a version that nobody else asks for
        asked = [keeper.ask(version, sorted(versions)) for keeper in self._keepers]
        for _, result in await DeferredList(asked, consumeErrors=True):
            if isinstance(result, Failure):
                result.raiseException()

    def load(self, version: str, keep: Sequence[str]) -> Deferred[None]:
        return Deferred.fromCoroutine(self._load(version, keep))

    def stop(self) -> None:
        self._stopped = True
        for keeper in self._keepers:
            self._loop.remove_reader(keeper.control)
            keeper.control.close()
            for version in list(keeper.loading):
                keeper.loaded(version, "the engine is stopping")
        for wire in self._wires:
            wire.transport.loseConnection()

    def next(self) -> None:
        for wire in self._wires:
            if not self._waiting:
                return
            if wire.job is None and not wire.retired:
                wire.begin(self._waiting.popleft())

    def died(self, wire: Wire, job: Job | None) -> None:
        """A process ended over `job`: its messages one by one, and whatever kills again and again is parked."""
        self._wires.remove(wire)
        if job is None or self._stopped:
            return
        if self._lost:
            job.answer.errback(TranslatorsLost("the translators are gone"))
        elif len(job.messages) > 1:
            _Singly(self, job).next()
        elif (deaths := job.deaths + 1) < DEATHS:
            job.deaths = deaths
            self._waiting.appendleft(job)
            self.next()
        else:
            why = f"translating it ended the process {DEATHS} times: {self._how}"
            job.answer.callback([poisoned(job.channel, job.messages[0], why)])

    def _arrived(self, keeper: Keeper) -> None:
        """A keeper has a new translator for us, could not load what we asked for, or is gone."""
        try:
            data, sockets, _, _ = socket.recv_fds(keeper.control, 65536, 4)
        except BlockingIOError:
            return
        except OSError:
            data, sockets = b"", []
        if not data:
            self._keeper_gone(keeper)
            return
        *lines, keeper.rest = (keeper.rest + data).split(b"\n")
        brought = iter(sockets)
        for line in lines:
            told = orjson.loads(line)
            if "born" in told:
                self._born(keeper, next(brought), **told)
            else:
                keeper.loaded(told["failed"], told["why"])

    def _born(self, keeper: Keeper, handle: int, born: str, loaded: str) -> None:
        self._how = born or self._how
        for older in [wire for wire in self._wires if wire.keeper is keeper and not wire.retired]:
            older.retire()
        wire = Wire(self, keeper)
        self._reactor.adoptStreamConnection(handle, socket.AF_UNIX, _Once(wire))
        os.close(handle)
        self._wires.append(wire)
        if loaded:
            keeper.loaded(loaded)
        self.next()

    def _keeper_gone(self, keeper: Keeper) -> None:
        self._loop.remove_reader(keeper.control)
        lost, self._lost = TranslatorsLost("a keeper of translators is gone: the engine stops and is to be started again"), True
        self._on_lost(lost)
        for version in list(keeper.loading):
            keeper.loaded(version, "their keeper is gone")
        waiting, self._waiting = self._waiting, deque()
        for job in waiting:
            job.answer.errback(lost)


class _Singly:
    """A batch whose process died, message by message, in order."""

    def __init__(self, pool: Processes, job: Job) -> None:
        self._pool, self._job = pool, job
        self._left = deque(job.messages)
        self._done: list[Translation] = []

    def next(self) -> None:
        if not self._left:
            self._job.answer.callback(self._done)
            return
        one = self._pool.translate(self._job.version, self._job.channel, [self._left.popleft()])
        one.addCallbacks(self._one, self._job.answer.errback)

    def _one(self, translations: list[Translation]) -> None:
        self._done += translations
        self.next()


class _Once:
    """The factory that `adoptStreamConnection` asks for, with its one protocol."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def buildProtocol(self, address: object) -> Wire:
        return self._wire

    def doStart(self) -> None: ...

    def doStop(self) -> None: ...
