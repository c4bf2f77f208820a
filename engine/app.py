"""The wiring, and the order of start and stop: the only module that knows every part.

Carry before accept: the store recovers, destinations and translation run, and only then do sources open. Stop is the
reverse: sources first, so that whatever was promised is stored; what is on the wire is finished; the store closes last.
"""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred

from engine import events
from engine.contracts import Channel, Clock, DestinationSpec, Network, Runtime, Site, Source, Store
from engine.errors import StoreError
from engine.events import Emit
from engine.pipeline.deliver import Deliver
from engine.pipeline.intake import Intake
from engine.pipeline.translating import Translating
from engine.pipeline.translators import Translator, facts_of
from engine.pipeline.worker import Wake, Worker
from engine.registry import build_destination, build_source
from engine.store import open_store

STOP_WITHIN = 20.0  # seconds for everything on the wire to end; what has not ended by then is in doubt at the next start


def wall_clock() -> int:
    """Now, in microseconds since 1970."""
    return time.time_ns() // 1000


def make_runtime(clock: Clock, network: Network, emit: Emit) -> Runtime:
    return Runtime(clock, network, emit, wall_clock, random.Random())  # noqa: S311 - jitter, not secrets


@dataclass
class RunningDestination:
    deliver: Deliver
    worker: Worker
    wake: Wake


@dataclass
class RunningChannel:
    channel: Channel
    source: Source
    worker: Worker
    wake: Wake


class Engine:
    """A site at work. `on_failure` is called once if the store can no longer be trusted; the process must then end."""

    def __init__(self, site: Site, runtime: Runtime, translator: Translator, on_failure: Callable[[Exception], None]) -> None:
        self._site = site
        self._translator = translator
        self._runtime = runtime
        self._on_failure = on_failure
        self._store: Store | None = None
        self._destinations: dict[str, RunningDestination] = {}
        self._channels: list[RunningChannel] = []
        self.accepting = False  # every source is open
        self.failure = ""

    def open(self) -> None:
        """Take and recover the store. Raises StoreBusy, StoreTooNew or StoreError."""
        self._store, opened = open_store(self._site.store, self._runtime, self._failed)
        self._runtime.emit(events.Recovered(opened.in_doubt, opened.untranslated))

    async def start(self) -> None:
        """Carry, then accept. Raises OSError where a source's address cannot be had."""
        assert self._store is not None, "open() comes first"
        for spec in self._site.destinations:
            self._carry(spec, self._store)
        for channel in self._site.channels:
            self._prepare(channel, self._store)
        for running in self._channels:
            await self._accept(running, self._store)
        self.accepting = True
        self._runtime.emit(events.EngineChanged("started", f"site {self._site.directory}, version {self._site.version}"))

    async def stop(self) -> None:
        """Drains: nothing new, replies for what is in hand, then the sends under way, then the store."""
        self.accepting = False
        self._runtime.emit(events.EngineChanged("stopping", ""))
        await self._together(running.source.stop() for running in self._channels)
        await self._together(running.worker.stop() for running in self._channels)
        self._translator.stop()
        await self._together(self._drain(running) for running in self._destinations.values())
        if self._store is not None and not self.failure:
            await self._store.close()
        self._runtime.emit(events.EngineChanged("stopped", self.failure))

    def state(self) -> tuple[bool, dict[str, Any]]:
        """Whether every channel accepts, and what a probe may know."""
        return self.accepting and not self.failure, {
            "version": self._site.version,
            "channels": [running.channel.name for running in self._channels],
            "failure": self.failure,
        }

    def _carry(self, spec: DestinationSpec, store: Store) -> None:
        destination = build_destination(spec.connector, spec.options, self._runtime, spec.name)
        wake = Wake()
        deliver = Deliver(spec, destination, store, self._runtime, wake)
        worker = Worker(deliver.step, wake, self._runtime.clock, self._fault)
        self._destinations[spec.name] = RunningDestination(deliver, worker, wake)
        worker.start()

    def _prepare(self, channel: Channel, store: Store) -> None:
        source = build_source(channel.connector, channel.options, self._runtime, channel.name)
        translating = Translating(channel, self._translator, store, self._runtime, self._wake_destinations)
        wake = Wake()
        worker = Worker(translating.step, wake, self._runtime.clock, self._fault)
        self._channels.append(RunningChannel(channel, source, worker, wake))
        worker.start()

    async def _accept(self, running: RunningChannel, store: Store) -> None:
        channel = running.channel
        intake = Intake(channel, facts_of(self._site, channel), store, self._runtime, running.wake.ring)
        await running.source.start(intake)
        self._runtime.emit(events.ChannelChanged(channel.name, "running", ""))

    def _wake_destinations(self, names: set[str]) -> None:
        for name in names:
            if running := self._destinations.get(name):
                running.wake.ring()

    async def _drain(self, running: RunningDestination) -> None:
        await running.worker.stop()
        await running.deliver.stop()

    async def _together(self, awaitables: Iterable[Awaitable[None]]) -> None:
        """All at once, within the limit. What does not end in time is left: the store knows it is in doubt."""
        running = [ensureDeferred(cast(Any, awaitable)) for awaitable in awaitables]
        ended: Deferred[None] = Deferred()

        def end(_: object = None) -> None:
            if not ended.called:
                ended.callback(None)

        limit = self._runtime.clock.callLater(STOP_WITHIN, end)
        DeferredList(running, consumeErrors=True).addCallback(end)
        await ended
        if limit.active():  # type: ignore[misc]  # zope declares it without self
            limit.cancel()  # type: ignore[misc]

    def _fault(self, fault: Exception) -> None:
        """A worker's step raised: our own fault. It is told without its text, which may quote a message."""
        last = traceback.extract_tb(fault.__traceback__)[-1:]
        where = f" at {last[0].filename}:{last[0].lineno}" if last else ""
        self._runtime.emit(events.EngineChanged("fault", f"{type(fault).__name__}{where}"))

    def _failed(self, error: Exception) -> None:
        if not self.failure:
            self.failure = str(error) or type(error).__name__
            self.accepting = False
            self._runtime.emit(events.EngineChanged("failed", self.failure))
            self._on_failure(error if isinstance(error, StoreError) else StoreError(self.failure))
