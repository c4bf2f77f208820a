"""The processes in which translating happens: a keeper forks translators, one at a time, and the next when one dies.

`hatch` forks the keeper before the engine has threads or open files, so that a translator knows the site exactly as it was
loaded and holds nothing else of the engine's. A newer version of the site is loaded by the keeper itself, from the same
files; the translator of the old one ends when it has answered.

Between engine and keeper go lines of JSON. To the keeper: `{"load": version, "keep": [versions]}`. To the engine:
`{"born": how its predecessor ended, "loaded": version}`, which brings the new translator's socket with it, and
`{"failed": version, "why": text}`.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

import orjson

from engine.contracts import Channel, Facts, Site
from engine.model import Message, MessageState, ParkReason, Translation
from engine.pipeline import parcels
from engine.pipeline.translate import translate

LIMIT = 10.0  # seconds for one batch: a thousand times what it takes; then its process ends
COPIED = 1 << 20  # bytes of an answer up to which one more copy is cheaper than one more system call
MEMORY = 2 << 30  # bytes for one batch: some messages of a hundred megabytes, and what becomes of them


class Work(Protocol):
    """Translates messages of one channel as one version of the site says, in order."""

    def __call__(self, version: str, channel: str, messages: Sequence[Message]) -> list[Translation]: ...

    def load(self, version: str, keep: Iterable[str]) -> None:
        """Know `version` too, and of the others only those in `keep`. Raises where it cannot be had any more."""


def facts_of(site: Site, channel: Channel) -> Facts:
    """What every message of the channel may know besides itself."""
    return Facts(
        channel=channel.name,
        organization=site.organization,
        environment=site.environment,
        timezone=site.timezone,
        format=channel.format.name,
    )


class SiteWork:
    """`Work` of a site; `read` reads it anew from its files."""

    def __init__(self, site: Site, read: Callable[[], Site] | None = None) -> None:
        self._read = read
        self._sites: dict[str, dict[str, tuple[Channel, Facts]]] = {}
        self.add(site)

    def add(self, site: Site) -> None:
        self._sites[site.version] = {channel.name: (channel, facts_of(site, channel)) for channel in site.channels}

    def __call__(self, version: str, channel: str, messages: Sequence[Message]) -> list[Translation]:
        known, facts = self._sites[version][channel]
        return [translate(known, message, facts, version) for message in messages]

    def load(self, version: str, keep: Iterable[str]) -> None:
        if version not in self._sites:
            site = self._read() if self._read is not None else None
            if site is None or site.version != version:
                raise LookupError("the files have changed again since they were checked")
            self.add(site)
        for other in self._sites.keys() - {version, *keep}:
            del self._sites[other]


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
            _Keeper(theirs, work).run()
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
    for handle in {0, 1, 2, *map(int, os.listdir("/dev/fd"))} - {keep, nowhere}:
        os.dup2(nowhere, handle)  # not closed: a library that believes it owns this number must not find ours under it


class _Keeper:
    """Its translators by the pipe that ends with them: the one at work, and those that answer their last batch."""

    def __init__(self, control: socket.socket, work: Work) -> None:
        self._control, self._work = control, work
        self._processes: dict[int, int] = {}
        self._at_work = -1
        self._rest = b""

    def run(self) -> None:
        """Until the engine is gone."""
        try:
            self._fork("", "")
            while self._turn():
                pass
        except OSError:
            return

    def _turn(self) -> bool:
        control = self._control.fileno()
        ready, _, _ = select.select([control, *self._processes], [], [])
        if control in ready:
            if not (data := self._control.recv(65536)):
                return False
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._load(**orjson.loads(line))
        for pipe in ready:
            if pipe in self._processes:
                self._ended(pipe)
        return True

    def _load(self, load: str, keep: list[str]) -> None:
        try:
            self._work.load(load, keep)
        except Exception as error:
            why = str(error) if isinstance(error, LookupError) else type(error).__name__
            self._tell({"failed": load, "why": why})
        else:
            self._fork("", load)

    def _ended(self, pipe: int) -> None:
        os.close(pipe)
        _, status = os.waitpid(self._processes.pop(pipe), 0)
        if pipe == self._at_work:
            self._fork(_ending(status), "")

    def _fork(self, how: str, loaded: str) -> None:
        ours, theirs = socket.socketpair()
        until, ends = os.pipe()
        if (child := os.fork()) == 0:
            self._translate(ours, theirs, [*self._processes, until])
        theirs.close()
        os.close(ends)
        self._processes[until] = child
        self._at_work = until
        self._tell({"born": how, "loaded": loaded}, ours)
        ours.close()

    def _translate(self, ours: socket.socket, theirs: socket.socket, inherited: Iterable[int]) -> NoReturn:
        status = 1
        try:
            self._control.close()
            ours.close()
            for pipe in inherited:
                os.close(pipe)
            bound_memory()
            _serve(theirs, self._work)
            status = 0
        finally:
            os._exit(status)

    def _tell(self, what: dict[str, Any], brought: socket.socket | None = None) -> None:
        line = orjson.dumps(what) + b"\n"
        if brought is None:
            self._control.sendall(line)
        else:
            socket.send_fds(self._control, [line], [brought.fileno()])


def bound_memory() -> None:
    """What wants more than MEMORY besides what is there now gets a MemoryError, and parks its message."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return  # no Linux: then the machine itself is the bound
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))


def _ending(status: int) -> str:
    if not os.WIFSIGNALED(status):
        return f"exit code {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    return f"no end after {LIMIT:g} s" if number == signal.SIGALRM else f"signal {number}"


def _serve(wire: socket.socket, work: Work) -> None:
    """Answers batches until the engine is gone or wants no more."""
    while _answer(wire, work):
        pass


def _answer(wire: socket.socket, work: Work) -> bool:
    """One batch; False where there is none any more. One that does not end in time ends this process: the alarm has no
    handler, so it works in the middle of anything."""
    if not (size := receive(wire, 4)) or not (parcel := receive(wire, int.from_bytes(size))):
        return False
    version, channel, messages = parcels.read_messages(parcel)
    del parcel
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        answer = parcels.of_translations(work(version, channel, messages))
    except Exception as error:  # one of them cannot even be sent back: each by itself then, and that one parks
        answer = parcels.of_translations([_singly(work, version, channel, message, error) for message in messages])
    signal.setitimer(signal.ITIMER_REAL, 0)
    del messages
    head = len(answer).to_bytes(4)
    for part in [head + answer] if len(answer) < COPIED else [head, answer]:
        wire.sendall(part)
    return True


def _singly(work: Work, version: str, channel: str, message: Message, error: Exception) -> Translation:
    try:
        (translation,) = work(version, channel, [message])
        parcels.of_translations([translation])
    except Exception:
        return poisoned(channel, message, f"{type(error).__name__} while translating")
    return translation


def receive(wire: socket.socket, size: int) -> bytes:
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
