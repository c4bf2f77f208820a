"""What of a site is at work: destinations, channels, and the addresses at which channels are reached."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple, cast

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.python.failure import Failure

from engine import events
from engine.contracts import Channel, Destination, DestinationSpec, Runtime, Site, Source, Store
from engine.errors import StoreBusy, StoreError, StoreFull
from engine.model import ChannelState, DestinationState
from engine.pipeline.deliver import Deliver
from engine.pipeline.desk import Desk, Seat
from engine.pipeline.intake import Intake
from engine.pipeline.keeper import facts_of
from engine.pipeline.owed import Owing
from engine.pipeline.translating import Translating
from engine.pipeline.translators import Translator
from engine.pipeline.worker import Wake, Worker
from engine.registry import build_destination, build_source

LEAST = 1.0  # seconds for each step of a stop, however long those before it took
STOP_WITHIN = 20.0  # seconds for everything on the wire to end; what has not ended by then is in doubt at the next start


class Standing(NamedTuple):
    """How a channel stands, and why where it does not run."""

    state: ChannelState
    reason: str
    since: int

    @property
    def open(self) -> bool:
        """Whether it is to accept what comes."""
        return self.state in (ChannelState.RUNNING, ChannelState.FAILED)

    @property
    def works(self) -> bool:
        """Whether what it has received is translated."""
        return self.state is not ChannelState.STOPPED


RUNNING = Standing(ChannelState.RUNNING, "", 0)


class AtWork:
    """A site at work. `fault` is told what a worker's step raised."""

    def __init__(self, site: Site, runtime: Runtime, translator: Translator, fault: Callable[[Exception], None]) -> None:
        self.site, self.runtime, self.translator, self.fault = site, runtime, translator, fault
        self.store: Store  # once it is open
        self.destinations: dict[str, RunningDestination] = {}
        self.channels: dict[str, RunningChannel] = {}
        self.leaving: dict[str, RunningChannel] = {}  # no longer in the site; what they received is still translated
        self.listeners: dict[str, Listener] = {}
        self.standing: dict[str, Standing] = {}  # of channels that somebody has steered, or that could not be opened
        self.stop_at = 0.0  # on the monotonic clock: when everything on the wire has to have ended; 0: it goes on

    def wake_destinations(self, names: Iterable[str]) -> None:
        for name in names:
            if running := self.destinations.get(name):
                running.wake.ring()

    def wake_some(self, channels: Iterable[str], destinations: Iterable[str]) -> None:
        """Something was done to the store from outside the usual way."""
        again = set(channels)
        for running in self.translating():
            if running.channel.name in again:
                running.translating.look_again()
                running.wake.ring()
        self.wake_destinations(destinations)

    async def load(self, version: str) -> None:
        """Have the translators know the site's files as they are now, besides all versions that are still at work."""
        keep = {running.site.version for running in self.translating()}
        await self.translator.load(version, sorted(keep))

    def stand(self, name: str, state: ChannelState, reason: str = "") -> None:
        """From now on the channel is in this state, which is told."""
        self.standing[name] = Standing(state, reason, self.runtime.now())
        if running := self.channels.get(name) or self.leaving.get(name):
            running.look()
        self.runtime.emit(events.ChannelChanged(name, state.value, reason))

    def sitting(self, place: str) -> list[RunningChannel]:
        """The channels that one place is for, the one that takes the rest first."""
        there = by_place(running.channel for running in self.channels.values()).get(place, [])
        return [self.channels[channel.name] for channel in there]

    async def listen(self, place: str) -> None:
        """Open the source there. Raises OSError where its address cannot be had."""
        sitting = self.sitting(place)
        listener = Listener(sitting[0].channel, self.runtime)
        listener.desk.seat([running.seat for running in sitting])
        await listener.open()
        self.listeners[place] = listener

    async def recovered(self) -> None:
        """Those that had failed and whose source is open now run."""
        for name, running in self.channels.items():
            if running.standing.state is ChannelState.FAILED and place_of(running.channel) in self.listeners:
                self.stand(name, ChannelState.RUNNING)
                try:
                    await self.store.steer_channel(name, ChannelState.RUNNING)
                except (StoreFull, StoreBusy) as problem:
                    self.fault(problem)  # the next start tries it all the same

    def translating(self) -> list[RunningChannel]:
        """Those that translate: of each name one, or two would work on the same messages."""
        return [*self.channels.values(), *self.leaving.values()]

    async def together(self, awaitables: Iterable[Awaitable[object]]) -> None:
        """All at once, within the limit, which is one for all of a stop. What does not end in time is left: the store knows
        it is in doubt. What fails is told, and the others go on."""
        running = [ensureDeferred(cast(Any, awaitable)).addErrback(self._told) for awaitable in awaitables]
        ended: Deferred[None] = Deferred()

        def end(_: object = None) -> None:
            if not ended.called:
                ended.callback(None)

        now = self.runtime.clock.seconds()
        limit = self.runtime.clock.callLater(max(self.stop_at - now, LEAST) if self.stop_at else STOP_WITHIN, end)
        DeferredList(running, consumeErrors=True).addCallback(end)
        await ended
        if limit.active():  # type: ignore[misc]  # zope declares it without self
            limit.cancel()  # type: ignore[misc]

    def _told(self, failure: Failure) -> None:
        if not failure.check(StoreError):  # that one has told the engine itself
            self.fault(cast(Exception, failure.value))


class RunningDestination:
    def __init__(self, spec: DestinationSpec, at: AtWork) -> None:
        self.spec, self._at = spec, at
        self.destination: Destination = build_destination(spec.connector, spec.options, at.runtime, spec.name)
        self.wake = Wake()
        self.deliver = Deliver(spec, self.destination, at.store, at.runtime, self.wake)
        self._worker = Worker(self.deliver.step, self.wake, at.runtime.clock, at.fault)

    def start(self, paused: str = "", since: int = 0) -> None:
        """`paused`: why a person has paused it, if one has, and since when."""
        if paused:
            self.deliver.pause(paused)
        self.deliver.since = since or self.deliver.since
        self._worker.start()

    def paused(self) -> str:
        """Why, if it is."""
        state, reason = self.deliver.state
        return reason if state is DestinationState.PAUSED else ""

    async def stop(self) -> None:
        """Begin nothing more; what is on the wire is finished and recorded."""
        await self._worker.stop()
        await self.deliver.stop()
        successor = self._at.destinations.get(self.spec.name)
        if successor is not None and successor is not self:  # it did not wait for our end, and what waited for that may go on
            successor.deliver.look_again()


class RunningChannel:
    """A channel's intake and its translation. What was received goes on being translated when nothing more comes."""

    def __init__(self, site: Site, channel: Channel, at: AtWork) -> None:
        self._at = at
        self.wake = Wake()
        self._owing: Owing | None = None  # from the first configuration on that has it owe anything
        self._paying: Worker
        self.translating = Translating(channel, site.version, at.translator, at.store, at.runtime, at.wake_destinations)
        self._worker: Worker | None = None  # while it translates
        self._new = RUNNING._replace(since=at.runtime.now())
        self.change(site, channel)

    def change(self, site: Site, channel: Channel) -> None:
        """From now on what arrives is judged, and what is not yet translated is translated, as `site` says."""
        self.site, self.channel = site, channel
        facts, store, runtime = facts_of(site, channel), self._at.store, self._at.runtime
        if channel.ack is not None:
            if self._owing is None:
                wake = Wake()
                self._owing = Owing(store, runtime, wake)
                self._paying = Worker(self._owing.step, wake, runtime.clock, self._at.fault)
                self._paying.start()
            self._owing.change(channel, facts, channel.ack)
        owing = self._owing if channel.ack is not None else None
        self.intake = Intake(channel, facts, store, runtime, self.wake.ring, owing)
        self.seat = Seat(channel, facts, self.intake)
        self.translating.version = site.version
        self.look()

    @property
    def standing(self) -> Standing:
        return self._at.standing.get(self.channel.name, self._new)

    def look(self) -> None:
        """See how it stands: from now on intake answers so. Who waits for what becomes of a message hears no more of it
        where nothing is translated."""
        standing = self.standing
        self.intake.closed = "" if standing.open else f"channel {self.channel.name} is {standing.state}"
        if self._owing is not None and standing.works:
            self._owing.go_on()
        elif self._owing is not None:
            self._owing.stop()

    def start(self) -> None:
        """Translate, where it stands so that it does."""
        if self._worker is None and self.standing.works:
            self._worker = Worker(self.translating.step, self.wake, self._at.runtime.clock, self._at.fault)
            self._worker.start()

    async def stop(self) -> None:
        """Translate no more; what is being recorded is recorded."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()
            await self.translating.rest()

    async def answer_owed(self) -> None:
        """Whoever still waits for an answer gets one: the listeners wait for that."""
        if self._owing is not None:
            await self._paying.stop()
            self._owing.stop()


class Listener:
    """A source and the channels that take what it brings."""

    def __init__(self, channel: Channel, runtime: Runtime) -> None:
        self.channel = channel  # whose name and options the source has
        self.desk = Desk()
        self.source: Source = build_source(channel.connector, channel.options, runtime, channel.name)

    async def open(self) -> None:
        """Raises OSError where its address cannot be had."""
        await self.source.start(self.desk)

    async def close(self) -> None:
        await self.source.stop()

    def serves(self, channel: Channel) -> bool:
        """Whether `channel` would have the very same source."""
        return (self.channel.connector, self.channel.options) == (channel.connector, channel.options)


def port_of(channel: Channel) -> int:
    """Where its source listens; 0: anywhere, or not at all."""
    listen = getattr(channel.options, "listen", None)
    return listen.port if listen is not None else 0


def place_of(channel: Channel) -> str:
    """What channels of one source have in common: the address where it listens; else nothing but the channel itself."""
    return f"{channel.connector} {channel.options.listen}" if port_of(channel) else f"channel {channel.name}"


def by_place(channels: Iterable[Channel]) -> dict[str, list[Channel]]:
    """The one that takes the rest stands first."""
    places: dict[str, list[Channel]] = {}
    for channel in channels:
        others = places.setdefault(place_of(channel), [])
        others.insert(0 if channel.picks is None else len(others), channel)
    return places
