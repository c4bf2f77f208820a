"""One engine in this process, from reactor start to exit code: what `run` and `demo` share."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.process import reapAllProcesses
from twisted.python.failure import Failure

from engine import reactor as engine_reactor
from engine.app import Engine, make_runtime, wall_clock
from engine.cli.companions import Companion
from engine.config import load_site
from engine.contracts import Runtime, Site
from engine.errors import EXIT_FAILED, WardlineError
from engine.events import EngineChanged, Event, Listening
from engine.net import LoopNetwork
from engine.observe import Bus, Logs, Metrics, Monitor
from engine.observe.activity import Activity
from engine.observe.tally import Tally
from engine.operations.control import Control
from engine.operations.requests import Taking
from engine.operations.status import Status
from engine.operations.verbs import Operations
from engine.pipeline.keeper import SiteWork, hatch
from engine.pipeline.translators import Processes
from engine.pipeline.worker import Wake, Worker

MOST_TRANSLATORS = 8  # what one engine can keep busy

Accompany = Callable[[Engine, Runtime], Awaitable[None]]


def serve(
    site: Site, *, level: str = "info", subscriber: Callable[[Event], None] | None = None, accompany: Accompany | None = None
) -> int:
    """Runs until a signal or a storage failure; returns the exit code.

    `subscriber` is told every event; `accompany` is awaited once the engine accepts, and its end stops the engine.
    """
    os.chdir(site.directory)  # relative paths in a site are the site's
    _tame_collector()

    def read() -> Site:
        return load_site(Path(site.directory))

    work = SiteWork(site, read)
    hatched = [hatch(work) for _ in range(_translators())]  # first of all: they inherit nothing but the site
    reactor = engine_reactor.install()
    bus, logs, metrics, activity = Bus(), Logs(level), Metrics(), Activity(wall_clock)
    logs.take_over()
    for listener in (logs, metrics, activity, subscriber):
        if listener is not None:
            bus.subscribe(listener)
    runtime = make_runtime(reactor, LoopNetwork(reactor), bus.emit)
    process = _Process(reactor, bus)
    translator = Processes(reactor, hatched, process.give_up)
    tally = Tally(metrics)
    engine = Engine(site, runtime, translator, process.fail, tally)
    monitor = Monitor(reactor, site.monitor, metrics, engine.state) if site.monitor else None
    operations = Operations(engine, read, reactor.getThreadPool(), reactor)
    verbs: dict[str, Any] = {**operations.verbs(), "status": Status(engine, metrics, activity, tally)}
    control = Control(reactor, site.directory, verbs)
    taking = Worker(Taking(lambda: engine.at.store, verbs).step, Wake(), reactor, engine.at.fault)
    companions = [Companion(reactor, name, ["--site", site.directory], bus.emit) for name in _beside(site)]

    async def start() -> None:
        process.on_hangup(operations.hangup)  # before anybody could think that it runs: unhandled, it kills
        process.on_children()
        engine.open()
        control.start()
        if site.store.startswith("postgres"):
            taking.start()
        if monitor is not None:
            await monitor.start()
        await operations.start()
        if site.watch:
            operations.watch()
        for companion in companions:
            companion.start()
        if site.console:
            bus.emit(Listening("console", site.console))
        if accompany is not None:
            await accompany(engine, runtime)
            process.stop()

    async def stop() -> None:
        ended = gatherResults([ensureDeferred(companion.stop()) for companion in companions])  # while we stop
        await control.stop()
        await taking.stop()
        await engine.stop()
        if monitor is not None:
            await monitor.stop()
        await ended

    process.run(start, stop)
    return process.exit_code


def _beside(site: Site) -> list[str]:
    """The commands that run beside the engine of a site: the console, where it has one, and the index it searches in."""
    return ["console", "index"] if site.console else []


def _translators() -> int:
    """A process for each core but the one that the engine itself keeps busy; always one, so that a mapping that runs away
    can be stopped."""
    return max(1, min(len(os.sched_getaffinity(0)) - 1, MOST_TRANSLATORS))


def _tame_collector() -> None:
    """What is loaded now stays; and messages come and go by reference counting, so that looking for cycles among the
    thousands that are in hand at a time would be work for nothing, several times a second."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


class _Process:
    """The reactor's life: start when it runs, stop before it ends, and the code to end with."""

    def __init__(self, reactor: Any, bus: Bus) -> None:
        self._reactor = reactor
        self._bus = bus
        self.exit_code = 0

    def run(self, start: Callable[[], Awaitable[None]], stop: Callable[[], Awaitable[None]]) -> None:
        def begin() -> None:
            ensureDeferred(start()).addErrback(self._not_started)  # type: ignore[arg-type]

        def end() -> Deferred[None]:
            for number in (signal.SIGTERM, signal.SIGINT):
                engine_reactor.loop_of(self._reactor).add_signal_handler(number, self._at_once)
            return ensureDeferred(stop())  # type: ignore[arg-type]

        self._reactor.callWhenRunning(begin)
        self._reactor.addSystemEventTrigger("before", "shutdown", end)
        self._reactor.run()

    def on_hangup(self, reload: Callable[[], Awaitable[object]]) -> None:
        """What SIGHUP does. What is wrong with it has been told as an event."""

        def begin() -> None:
            ensureDeferred(reload()).addErrback(lambda failure: None)  # type: ignore[arg-type]

        engine_reactor.loop_of(self._reactor).add_signal_handler(signal.SIGHUP, begin)

    def on_children(self) -> None:
        """Notice at once that a child has ended. Twisted waits for its own wakeup by SIGCHLD, which a loop that handles
        signals itself (see `on_hangup`) has taken away from it: a companion that has ended would never be told of."""

        def reap(number: int, frame: Any) -> None:
            self._reactor.callFromThread(reapAllProcesses)

        signal.signal(signal.SIGCHLD, reap)

    def _at_once(self) -> None:
        """A second signal: whoever sends it waits no longer. The store is as after a crash, and that is what it is made for."""
        self._bus.emit(EngineChanged("stopped", "at once, by a second signal: what was on the wire is in doubt"))
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(self.exit_code or EXIT_FAILED)

    def stop(self) -> None:
        if self._reactor.running:
            self._reactor.callFromThread(self._stop_once)

    def give_up(self, error: BaseException) -> None:
        """Say why, and end: the engine did not start, or cannot go on."""
        self._bus.emit(EngineChanged("failed", str(error) or type(error).__name__))
        self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End with the code of what has already been told: storage failed, and nothing more is acknowledged."""
        self.exit_code = error.exit_code if isinstance(error, WardlineError) else EXIT_FAILED
        self.stop()

    def _stop_once(self) -> None:
        if self._reactor.running and not getattr(self._reactor, "_stopped", False):
            self._reactor.stop()

    def _not_started(self, failure: Failure) -> None:
        assert failure.value is not None
        self.give_up(failure.value)
