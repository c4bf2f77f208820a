"""The verbs that a running engine does for people, by the names under which commands ask for them."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from engine import events
from engine.app import Engine
from engine.contracts import Clock, Site
from engine.errors import EXIT_USAGE, ConfigurationError, WardlineError
from engine.ids import format_id
from engine.model import Action, Arrival, ChannelState, DestinationState, Receipt, Verb
from engine.operations.plans import PACE
from engine.operations.versions import Entry, Versions
from engine.running import RunningChannel, Standing
from engine.steering import Steering
from engine.text import counted, did_you_mean

STEP = 500  # messages released at once
LOOK = 2.0  # seconds between two looks at a site's files


Result = TypeVar("Result")
Files = dict[str, tuple[int, int]]  # by path: when changed, and how large


class Operations:
    """`read` reads the site anew from its files; it runs in a thread."""

    def __init__(self, engine: Engine, read: Callable[[], Site], threads: Any, reactor: Any) -> None:
        self._engine, self._read = engine, read
        self._threads, self._reactor = threads, reactor
        self._clock: Clock = engine.runtime.clock
        self.versions = Versions(engine.at.site.directory)
        self._hung_up = False  # a SIGHUP waits for its turn

    def verbs(self) -> dict[str, Callable[..., Any]]:
        return {
            "reload": self.reload,
            "act": self.act,
            "pause": self.pause,
            "resume": self.resume,
            "stop": self.stop,
            "drain": self.drain,
            "start": self.start_channel,
            "submit": self.submit,
        }

    # ── configuration ──────────────────────────────────────────────────────────────────────────────────────────────

    async def reload(self, who: str = "", only: Sequence[str] = (), unless_same: bool = False) -> str:
        """Take up the site's files as they are now, or of them only the channels `only`. What changed, in words.
        `unless_same`: do nothing where they are what runs.

        One at a time, and the files are read when its turn has come: the last word is the last one's. Raises
        ConfigurationError and others with everything as it was; that is told as an event too.
        """
        try:
            async with self._engine.turn:
                self._hung_up = False  # one that comes from now on is another
                site = await self._in_thread(self._read)
                if not self._engine.accepting:
                    raise NotYet("the engine has not started yet, or is stopping")
                if unless_same and site.version == self._engine.at.site.version:
                    return ""
                said = await self._engine.change(site, only)
                await self._note(site, who, f"deployed {', '.join(only)}" if only else "reloaded")
        except Exception as error:
            self._engine.runtime.emit(events.EngineChanged("not reloaded", _first(error)))
            raise
        return said

    async def hangup(self) -> None:
        """SIGHUP. Any number of them while one waits for its turn ask for no more than that one."""
        if not self._hung_up:
            self._hung_up = True
            await self.reload("SIGHUP")

    async def start(self) -> None:
        """Start the engine: it takes up its site, and whoever wants another meanwhile waits for his turn. Raises OSError."""
        async with self._engine.turn:
            await self._engine.start()
            await self._note(self._engine.at.site, "", "started")

    async def _note(self, site: Site, who: str, what: str) -> None:
        """Let go on what waited for rows of code tables that are others now, and remember that `site` was taken up: in this
        order, so that an engine that dies between the two does it again when it starts. What cannot be written or read here
        stops nothing, and is told."""
        now = self._engine.runtime.now()
        try:
            changed = await self._in_thread(self.versions.changed, site, "mappings/codes")
            if changed:
                await self._release(site, [Path(name).stem for name in changed])
            await self._in_thread(self.versions.note, site, Entry(site.version, now, who, what))
        except OSError as problem:
            self._fault(f"this version could not be kept to go back to: {problem}")
        except Exception as error:
            self._fault(f"what waited for codes was not released, until the next start: {type(error).__name__}")

    def _fault(self, what: str) -> None:
        self._engine.runtime.emit(events.EngineChanged("fault", what))

    def _in_thread(self, function: Callable[..., Result], *about: Any) -> Deferred[Result]:
        answer: Deferred[Result] = deferToThreadPool(self._reactor, self._threads, function, *about)
        return answer

    async def _release(self, site: Site, tables: Sequence[str]) -> None:
        """In order of their ids, as they came; those for which there is still no row park again."""
        waiting = await self._in_thread(_waiting, site.store, tables)
        why = f"changed: {', '.join(tables)}"
        for at in range(0, len(waiting), STEP):
            token = f"codes-{site.version}-{self._engine.runtime.now()}-{at}"
            await self.act(token, Verb.RELEASE, "wardline", why, waiting[at : at + STEP])

    def watch(self) -> None:
        """From now on, a change of the site's files that has come to rest is taken up."""
        _Watch(self, Path(self._engine.at.site.directory), self._clock).look()

    # ── messages and deliveries ────────────────────────────────────────────────────────────────────────────────────

    async def act(
        self, token: str, verb: str, who: str, why: str = "", messages: Sequence[int] = (), deliveries: Sequence[int] = ()
    ) -> dict[str, Any]:
        """`Store.act`, and then a pause as long as what it let in needs to be worked off beside live traffic."""
        at = self._engine.at
        action = Action(token, Verb(verb), who, why, tuple(messages), tuple(deliveries))
        acted = await at.store.act(action)
        at.wake_some(acted.channels, acted.destinations)
        if not acted.repeated and action.verb in (Verb.RESEND, Verb.REPLAY):
            await self._pause((acted.messages + acted.deliveries) / PACE)
        return acted._asdict()

    def _pause(self, seconds: float) -> Deferred[None]:
        over: Deferred[None] = Deferred()
        self._clock.callLater(seconds, over.callback, None)
        return over

    async def submit(self, channel: str, content: str, who: str, why: str = "", replay_of: int = 0) -> dict[str, Any]:
        """Have `channel` take a message as if it had come over its source, from a person: judged, deduped and answered by
        the same rules. `content` is base64 of its bytes, so that a request of the control socket carries some 5 MiB.
        `replay_of`: the message that this is an edited copy of.
        """
        running = self._channel(channel)
        try:
            arrival = Arrival(b64decode(content, validate=True), f"console:{who}")
        except ValueError as error:
            raise NotAMessage("the content must be base64 of the message's bytes") from error
        if replay_of and replay_of not in await self._engine.at.store.verdicts([replay_of]):
            raise NotAMessage(f"there is no message {format_id(replay_of)} that this could be a copy of")
        receipts: list[Receipt] = []

        async def reply(receipt: Receipt) -> bool:
            receipts.append(receipt)
            return True

        await running.intake(arrival, reply, replay_of)
        (receipt,) = receipts
        self._engine.runtime.emit(events.Submitted(channel, receipt.message_id, receipt.verdict.value, who, why))
        return {
            "message": receipt.message_id,
            "verdict": receipt.verdict.value,
            "reason": receipt.reason,
            "place": receipt.place,
            "reply": b64encode(receipt.reply or b"").decode(),
            "parts": [[part.message_id, part.verdict.value, part.reason] for part in receipt.parts],
        }

    # ── channels ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def stop(self, channel: str, who: str, why: str = "") -> str:
        """Close its source and translate nothing more; what has been translated is delivered. It stays so when the site is
        reloaded and when the engine is started again."""
        async with self._steering(channel) as (steering, standing):
            if standing.state is ChannelState.STOPPED:
                return f"{channel} is stopped already: {standing.reason}"
            await steering.stop(channel, _by("stopped", who, why))
        return f"{channel} is stopped: it takes nothing, and translates nothing"

    async def drain(self, channel: str, who: str, why: str = "") -> str:
        """Close its source, but translate and deliver what it has; then it is stopped."""
        async with self._steering(channel) as (steering, standing):
            if standing.state is ChannelState.DRAINING:
                return f"{channel} is draining already: {standing.reason}"
            await steering.drain(channel, _by("drained", who, why))
        return f"{channel} is draining: it takes nothing more, and stops when all it has is delivered"

    async def start_channel(self, channel: str, who: str, why: str = "") -> str:
        """Accept again. Raises NotOpened where its source cannot be opened."""
        async with self._steering(channel) as (steering, standing):
            if standing.state is ChannelState.RUNNING:
                return f"{channel} runs already"
            await steering.start(channel, _by("started", who, why))
        return f"{channel} runs"

    @asynccontextmanager
    async def _steering(self, channel: str) -> AsyncIterator[tuple[Steering, Standing]]:
        """One thing at a time; how the channel stands when the turn has come."""
        async with self._engine.turn:
            if not self._engine.accepting:
                raise NotYet("the engine has not started yet, or is stopping")
            yield self._engine.steering, self._channel(channel).standing

    def _channel(self, name: str) -> RunningChannel:
        known = self._engine.at.channels
        if name not in known:
            raise NoSuchChannel(name, known)
        return known[name]

    # ── destinations ───────────────────────────────────────────────────────────────────────────────────────────────

    async def pause(self, destination: str, who: str, why: str = "") -> str:
        """Begin no more deliveries to it; what is on the wire is finished. It stays so when the engine is started again."""
        self._destination(destination)
        reason = _by("paused", who, why)
        await self._engine.at.store.steer(destination, DestinationState.PAUSED, reason)
        self._destination(destination).deliver.pause(reason)  # which may be another by now
        return f"{destination} is paused: what comes for it waits"

    async def resume(self, destination: str, who: str, why: str = "") -> str:
        """Go on after a pause, a hold or while the breaker is open."""
        self._destination(destination)
        await self._engine.at.store.steer(destination, DestinationState.RUNNING, _by("resumed", who, why))
        self._destination(destination).deliver.resume()
        return f"{destination} runs"

    def _destination(self, name: str) -> Any:
        known = self._engine.at.destinations
        if name not in known:
            raise NoSuchDestination(name, known)
        return known[name]


def _waiting(store: str, tables: Sequence[str]) -> list[int]:
    """The messages that are parked for rows of these tables, in order."""
    from engine.store.history import History

    found: set[int] = set()
    with History(store) as history:
        for code in history.unknown_codes(limit=100_000):
            after = 0
            while code.table in tables and code.waiting and (page := history.waiting_for(code.table, code.value, 1000, after)):
                found.update(page)
                after = page[-1]
    return sorted(found)


class NoSuchDestination(WardlineError):
    """A name that no destination of the site has."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"there is no destination '{name}'.{did_you_mean(name, known)}")


class NoSuchChannel(WardlineError):
    """A name that no channel of the site has."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"there is no channel '{name}'.{did_you_mean(name, known)}")


class NotAMessage(WardlineError):
    """What was submitted cannot be taken at all."""

    exit_code = EXIT_USAGE


class NotYet(WardlineError):
    """There is nothing at work that could change."""


def _by(done: str, who: str, why: str) -> str:
    return f"{done} by {who}{': ' + why if why else ''}"


def _first(error: Exception) -> str:
    if not isinstance(error, WardlineError | OSError):
        return type(error).__name__  # its text may quote anything
    if not isinstance(error, ConfigurationError) or not error.problems:
        return str(error)
    more = f" (and {counted(len(error.problems) - 1, 'more problem')})" if len(error.problems) > 1 else ""
    return f"{error.problems[0]}{more}"


class _Watch:
    """Looks at the files every LOOK seconds; what differs from last time must stay the same once before it counts."""

    def __init__(self, operations: Operations, site: Path, clock: Clock) -> None:
        self._operations, self._site, self._clock = operations, site, clock
        self._seen: Files = {}
        self._taken: Files = {}  # not what is there now: it may have changed since the start read it

    def look(self) -> None:
        now = self._files()
        if now != self._taken and now == self._seen:
            self._taken = now
            Deferred.fromCoroutine(self._operations.reload("the file watch", unless_same=True)).addErrback(_told)
        self._seen = now
        self._clock.callLater(LOOK, self.look)

    def _files(self) -> Files:
        found: Files = {}
        try:
            for folder in ("conf", "channels", "mappings"):
                for path in (self._site / folder).rglob("*"):
                    if not path.name.startswith(".") and path.exists():  # an editor's links may lead nowhere
                        facts = path.stat()
                        found[str(path)] = facts.st_mtime_ns, facts.st_size
        except OSError:
            return {}  # something went while we looked: the next look sees what is left
        return found


def _told(failure: object) -> None:
    """`reload` has emitted what is wrong."""
