"""The wiring, and the order of start, change and stop: with `running` the only module that knows every part.

Carry before accept: the store recovers, destinations and translation run, and only then do sources open. Stop is the
reverse: sources first, so that whatever was promised is stored; what is on the wire is finished; the store closes last.
"""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import DeferredLock

from engine import events
from engine.change import Change
from engine.contracts import Clock, Network, Runtime, Site, Store
from engine.errors import StoreError
from engine.events import Emit
from engine.observe.tally import Tally, Tallying
from engine.pipeline.translators import Translator
from engine.pipeline.worker import Step, Wake, Worker
from engine.running import STOP_WITHIN, AtWork, RunningChannel, RunningDestination, Standing, by_place
from engine.steering import Steering
from engine.store import open_store


def wall_clock() -> int:
    """Now, in microseconds since 1970."""
    return time.time_ns() // 1000


def make_runtime(clock: Clock, network: Network, emit: Emit) -> Runtime:
    return Runtime(clock, network, emit, wall_clock, random.Random())  # noqa: S311 - jitter, not secrets


class Engine:
    """A site at work. `on_failure` is called once if the store can no longer be trusted; the process must then end.
    `tally`: what came and went, kept in the store from minute to minute."""

    def __init__(
        self, site: Site, runtime: Runtime, translator: Translator, on_failure: Callable[[Exception], None],
        tally: Tally | None = None,
    ) -> None:  # fmt: skip
        self.at = AtWork(site, runtime, translator, self._fault)
        self.runtime = runtime
        self._on_failure = on_failure
        self._store: Store | None = None
        self._workers: list[Worker] = []  # of the engine as a whole
        self._tally = tally
        self._tallying: Tallying | None = None
        self.accepting = False  # the sources are open, but for those that people have stopped or that failed before
        self.turn = DeferredLock()  # of whoever changes what is at work
        self.steering = Steering(self.at, self.turn)
        self.failure = ""

    def open(self) -> None:
        """Take and recover the store. Raises StoreBusy, StoreTooNew or StoreError."""
        from engine.store.upkeep import Upkeep  # with it comes the database, which the translators need not hold

        site = self.at.site
        largest = max((getattr(channel.options, "max_frame", 0) for channel in site.channels), default=0)
        store, opened = open_store(site.store, self.runtime, self._failed, disk=site.disk, largest=largest)
        self._store = self.at.store = store
        self._paused = {name: (reason, since) for name, reason, since in opened.paused}
        self.at.standing = {name: Standing(state, reason, since) for name, state, reason, since in opened.channels}
        self._known = set(store.channels()), set(store.destinations())
        store.on_unblocked = self.at.wake_destinations
        upkeep = Upkeep(store, self.runtime, lambda: self.at.site)
        self._work(upkeep.step, Wake())
        self._work(self.steering.step, self.steering.wake)
        if self._tally is not None:
            self._tallying = Tallying(self._tally, store, self.runtime)
            self._work(self._tallying.step, Wake())
        self.runtime.emit(events.Recovered(opened.in_doubt, opened.untranslated))

    async def start(self) -> None:
        """Carry, then accept. Raises OSError where a source's address cannot be had."""
        at, site = self.at, self.at.site
        for worker in self._workers:
            worker.start()
        for spec in site.destinations:
            at.destinations[spec.name] = RunningDestination(spec, at)
            at.destinations[spec.name].start(*self._paused.get(spec.name, ("", 0)))
        for channel in site.channels:
            at.channels[channel.name] = RunningChannel(site, channel, at)
            at.channels[channel.name].start()
        for place in by_place(site.channels):
            await self.steering.open(place)
        for name, running in at.channels.items():
            self.runtime.emit(events.ChannelChanged(name, *running.standing[:2]))
        await self._tell_left_over()
        self.accepting = True
        self.runtime.emit(events.EngineChanged("started", f"site {site.directory}, version {site.version}"))

    async def _tell_left_over(self) -> None:
        """What waits in the store for what the site has no more: nobody works on it, and nothing else would say so."""
        at, store = self.at, self.at.store
        why = "it is not in the site: what waits for it stays until it is back"
        channels, destinations = self._known
        for name in sorted(channels - at.channels.keys()):
            if await store.untranslated(name, 0, 1):
                self.runtime.emit(events.ChannelChanged(name, "stopped", why))
        for name in sorted(destinations - at.destinations.keys()):
            if await store.next_due(name):
                self.runtime.emit(events.DestinationChanged(name, "paused", why))

    async def change(self, site: Site, only: Iterable[str] = ()) -> str:
        """Take up `site`, or of it only the channels named. Returns what changed, in words; raises ConfigurationError,
        NotLoaded or OSError, and then everything is as it was. Whoever calls this has the `turn`."""
        return await Change(self.at, site, tuple(only)).carry_out()

    async def stop(self) -> None:
        """Drains: nothing new, replies for what is in hand, then the sends under way, then the store."""
        self.accepting = False
        self.runtime.emit(events.EngineChanged("stopping", ""))
        at = self.at
        at.stop_at = self.runtime.clock.seconds() + STOP_WITHIN
        await at.together([self.turn.acquire()])  # a change that is under way ends first
        await at.together(running.answer_owed() for running in at.translating())
        await at.together(listener.close() for listener in at.listeners.values())
        await at.together(running.stop() for running in at.translating())
        at.translator.stop()
        await at.together(running.stop() for running in at.destinations.values())
        if self._store is not None and not self.failure:
            await at.together(worker.stop() for worker in self._workers)
            if self._tallying is not None:
                await at.together([self._tallying.write()])
            await self._store.close()
        self.runtime.emit(events.EngineChanged("stopped", self.failure))

    def state(self) -> tuple[bool, dict[str, Any]]:
        """Whether it accepts, and what a probe may know. Single channels may be stopped: `status` says which."""
        return self.accepting and not self.failure, {
            "version": self.at.site.version,
            "channels": list(self.at.channels),
            "failure": self.failure,
        }

    def _work(self, step: Step, wake: Wake) -> None:
        self._workers.append(Worker(step, wake, self.runtime.clock, self._fault))

    def _fault(self, fault: Exception) -> None:
        """A worker's step raised: our own fault. It is told without its text, which may quote a message."""
        last = traceback.extract_tb(fault.__traceback__)[-1:]
        where = f" at {last[0].filename}:{last[0].lineno}" if last else ""
        self.runtime.emit(events.EngineChanged("fault", f"{type(fault).__name__}{where}"))

    def _failed(self, error: Exception) -> None:
        if not self.failure:
            self.failure = str(error) or type(error).__name__
            self.accepting = False
            self.runtime.emit(events.EngineChanged("failed", self.failure))
            self._on_failure(error if isinstance(error, StoreError) else StoreError(self.failure))
