"""Translating in processes of its own.

Translation is pure, and it is most of the work: away from the reactor's interpreter it has a core to itself, and whatever
goes wrong in it (a mapping that runs away, a library that crashes) costs one process and parks one message, never the
engine. `hatch` forks before the engine has threads or open files, so that a translator knows the site exactly as it was
loaded; it keeps one process working, and forks the next from the same state when that one dies.
"""

from __future__ import annotations

import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

from engine.contracts import Channel, Facts, Site
from engine.errors import WardlineError
from engine.model import Message, MessageState, ParkReason, Translation
from engine.pipeline import parcels
from engine.pipeline.translate import translate
from engine.reactor import loop_of

LIMIT = 10.0  # seconds for one batch: a thousand times what it takes; then its process ends
DEATHS = 3  # how often one message may take its process with it before it is parked as poison

Work = Callable[[str, Sequence[Message]], list[Translation]]
"""Translates messages of one channel, in order."""


class Translator(Protocol):
    def translate(self, channel: str, messages: Sequence[Message]) -> Deferred[list[Translation]]:
        """What becomes of `messages` of `channel`, in order: what cannot be translated is parked. Fails with
        TranslatorsLost only, when the engine is about to stop."""

    def stop(self) -> None:
        """Nothing more will be asked."""


def facts_of(site: Site, channel: Channel) -> Facts:
    """What every message of the channel may know besides itself."""
    return Facts(
        channel=channel.name,
        organization=site.organization,
        environment=site.environment,
        timezone=site.timezone,
        format=channel.format.name,
    )


def work_of(site: Site) -> Work:
    """The translation of every channel of a site."""
    known = {channel.name: (channel, facts_of(site, channel)) for channel in site.channels}

    def work(name: str, messages: Sequence[Message]) -> list[Translation]:
        channel, facts = known[name]
        return [translate(channel, message, facts, site.version) for message in messages]

    return work


class Inline:
    """Translates here and now: on a machine with one core, and in tests."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def translate(self, channel: str, messages: Sequence[Message]) -> Deferred[list[Translation]]:
        return succeed(self._work(channel, messages))

    def stop(self) -> None: ...


# ── in the translator's own process ────────────────────────────────────────────────────────────────────────────────


def hatch(work: Work) -> socket.socket:
    """Fork the keeper of a translator; our end of its control socket. Call this before there are threads, timers or open
    stores. For each translator the keeper forks it sends a socket of its own, so that nothing of one that died, half read
    or half written, ever reaches the next."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        status = 1
        try:
            ours.close()
            _alone(theirs.fileno())
            _keep_one_working(theirs, work)
            status = 0
        finally:
            os._exit(status)
    theirs.close()
    return ours


def _alone(keep: int) -> None:
    """Nothing of the engine's is held open here: no lock, no listening socket. Only the engine's end ends us."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.closerange(3, keep)
    os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))


def _keep_one_working(control: socket.socket, work: Work) -> None:
    how = ""
    while True:
        ours, theirs = socket.socketpair()
        if (child := os.fork()) == 0:
            status = 1
            try:
                control.close()
                ours.close()
                _serve(theirs, work)
                status = 0
            finally:
                os._exit(status)
        theirs.close()
        try:
            socket.send_fds(control, [how.encode() or b"-"], [ours.fileno()])
        except OSError:
            return  # the engine is gone
        ours.close()
        _, status = os.waitpid(child, 0)
        if _gone(control):
            return
        how = _ending(status)


def _ending(status: int) -> str:
    if not os.WIFSIGNALED(status):
        return f"exit code {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    return f"no end after {LIMIT:g} s" if number == signal.SIGALRM else f"signal {number}"


def _gone(control: socket.socket) -> bool:
    try:
        return control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _serve(wire: socket.socket, work: Work) -> None:
    """Answers batches until the engine is gone. A batch that does not end in time ends this process: the alarm has no
    handler, so it works in the middle of anything."""
    while size := _receive(wire, 4):
        if not (parcel := _receive(wire, int.from_bytes(size))):
            return
        channel, messages = parcels.read_messages(parcel)
        signal.setitimer(signal.ITIMER_REAL, LIMIT)
        try:
            answer = parcels.of_translations(work(channel, messages))
        except Exception as error:  # one of them cannot even be sent back: each by itself then, and that one parks
            answer = parcels.of_translations([_singly(work, channel, message, error) for message in messages])
        signal.setitimer(signal.ITIMER_REAL, 0)
        wire.sendall(len(answer).to_bytes(4) + answer)


def _singly(work: Work, channel: str, message: Message, error: Exception) -> Translation:
    try:
        (translation,) = work(channel, [message])
        parcels.of_translations([translation])
    except Exception:
        return poisoned(channel, message, f"{type(error).__name__} while translating")
    return translation


def _receive(wire: socket.socket, size: int) -> bytes:
    """`size` bytes, or nothing when the other end has closed."""
    parts: list[bytes] = []
    while size:
        if not (part := wire.recv(min(size, 1 << 20))):
            return b""
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def poisoned(channel: str, message: Message, why: str) -> Translation:
    return Translation(message.id, channel, MessageState.PARKED, why, ParkReason.POISON)


# ── in the engine's process ────────────────────────────────────────────────────────────────────────────────────────


class TranslatorsLost(WardlineError):
    """A keeper of translators is gone, so nobody can say what became of its work: the engine stops, and a start repeats it."""


class Job:
    """One batch and who waits for it. `deaths` counts the processes it has taken with it."""

    __slots__ = ("answer", "channel", "deaths", "messages")

    def __init__(self, channel: str, messages: Sequence[Message]) -> None:
        self.channel, self.messages = channel, messages
        self.answer: Deferred[list[Translation]] = Deferred()
        self.deaths = 0


class Wire(Int32StringReceiver):
    """Our end of one translator's life: batches one at a time, until the connection goes."""

    MAX_LENGTH = 1 << 31

    def __init__(self, pool: Processes) -> None:
        self._pool = pool
        self.job: Job | None = None

    def begin(self, job: Job) -> None:
        self.job = job
        self.sendString(parcels.of_messages(job.channel, job.messages))  # type: ignore[no-untyped-call]

    def stringReceived(self, string: bytes) -> None:
        job = self.job
        translations = parcels.read_translations(string)
        if job is None or [one.message_id for one in translations] != [one.id for one in job.messages]:
            cast(Any, self.transport).abortConnection()  # it answers what it was not asked: its end is a death like any other
            return
        self.job = None
        job.answer.callback(translations)
        self._pool.next()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        job, self.job = self.job, None
        self._pool.died(self, job)


class Processes:
    """A translator over the control sockets that `hatch` gave. `on_lost` is called once where a keeper is gone."""

    def __init__(self, reactor: Any, controls: Iterable[socket.socket], on_lost: Callable[[Exception], None]) -> None:
        self._reactor = reactor
        self._loop = loop_of(reactor)
        self._on_lost = on_lost
        self._waiting: deque[Job] = deque()
        self._wires: list[Wire] = []
        self._controls = list(controls)
        self._how = "it was killed"  # how the last one to die did, as its keeper told
        self._lost = self._stopped = False
        for control in self._controls:
            control.setblocking(False)
            self._loop.add_reader(control, self._arrived, control)

    def translate(self, channel: str, messages: Sequence[Message]) -> Deferred[list[Translation]]:
        job = Job(channel, messages)
        if self._lost:
            job.answer.errback(TranslatorsLost("the translators are gone"))
            return job.answer
        self._waiting.append(job)
        self.next()
        return job.answer

    def stop(self) -> None:
        self._stopped = True
        for control in self._controls:
            self._loop.remove_reader(control)
            control.close()
        for wire in self._wires:
            cast(Any, wire.transport).loseConnection()

    def next(self) -> None:
        for wire in self._wires:
            if not self._waiting:
                return
            if wire.job is None:
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

    def _arrived(self, control: socket.socket) -> None:
        """A keeper has a new translator for us, or is gone."""
        try:
            how, sockets, _, _ = socket.recv_fds(control, 256, 1)
        except BlockingIOError:
            return
        except OSError:
            how, sockets = b"", []
        if not sockets:
            self._keeper_gone(control)
            return
        if how != b"-":
            self._how = how.decode()
        wire = Wire(self)
        self._reactor.adoptStreamConnection(sockets[0], socket.AF_UNIX, _Once(wire))
        os.close(sockets[0])
        self._wires.append(wire)
        self.next()

    def _keeper_gone(self, control: socket.socket) -> None:
        self._loop.remove_reader(control)
        lost, self._lost = TranslatorsLost("a keeper of translators is gone: the engine stops and is to be started again"), True
        self._on_lost(lost)
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
        self._pool.translate(self._job.channel, [self._left.popleft()]).addCallbacks(self._one, self._job.answer.errback)

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
