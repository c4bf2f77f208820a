"""Doing something to a store while no engine runs: the command takes its lock itself."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from engine.app import make_runtime
from engine.config import load_site
from engine.events import silent
from engine.model import Acted, Action, ChannelState, DestinationState, Verb
from engine.operations.verbs import NoSuchChannel, NoSuchDestination
from engine.store import open_store

Result = TypeVar("Result")


class Alone:
    """A store with nobody else at it. Every verb is done when it returns."""

    def __init__(self, store: Any, destinations: list[str], channels: list[str]) -> None:
        self._store, self._destinations, self._channels = store, destinations, channels

    def steer(self, destination: str, state: DestinationState, reason: str) -> None:
        if destination not in self._destinations:
            raise NoSuchDestination(destination, self._destinations)
        done(self._store.steer(destination, state, reason))

    def steer_channel(self, channel: str, state: ChannelState, reason: str) -> None:
        if channel not in self._channels:
            raise NoSuchChannel(channel, self._channels)
        done(self._store.steer_channel(channel, state, reason))

    def act(self, **step: Any) -> dict[str, Any]:
        """The arguments of `Action`, as a running engine takes them."""
        acted: Acted = done(self._store.act(Action(**{"why": "", **step, "verb": Verb(step["verb"])})))
        return acted._asdict()


@contextmanager
def alone(site: Path) -> Iterator[Alone]:
    """The site's store, recovered, for as long as the context lasts. Raises StoreBusy where an engine holds it."""
    loaded = load_site(site)
    here = os.getcwd()
    os.chdir(loaded.directory)  # relative paths in a site are the site's
    try:
        runtime = make_runtime(cast(Any, _Clock()), cast(Any, None), silent)
        store, _ = open_store(loaded.store, runtime, _raise, threaded=False)
        try:
            yield Alone(store, [spec.name for spec in loaded.destinations], [channel.name for channel in loaded.channels])
        finally:
            done(store.close())
    finally:
        os.chdir(here)


class _Clock:
    """For durations only: nothing here waits."""

    def seconds(self) -> float:
        return time.monotonic()


def _raise(failure: Exception) -> None:
    raise failure


def done(answer: Deferred[Result]) -> Result:
    """What an answer that has come says. Raises what it failed with."""
    found: list[Result] = []
    failures: list[Failure] = []
    answer.addCallbacks(found.append, failures.append)
    if failures:
        failures[0].raiseException()
    return found[0]
