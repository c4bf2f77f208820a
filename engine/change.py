"""From one configuration to another while messages flow: all of it, or nothing.

What can fail comes first: the translators load the new version, and addresses are opened; if one of these cannot be done,
what was opened is closed and what was closed is opened again as it was. After that nothing can fail: every channel takes
its new rules between two messages, and an address whose options stay the same keeps its connections.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import replace

from engine import events
from engine.contracts import Channel, DestinationSpec, Site
from engine.errors import ConfigurationError, Problem, StoreBusy, StoreFull
from engine.model import ChannelState, DestinationState
from engine.pipeline.desk import Seat
from engine.running import (
    RUNNING,
    AtWork,
    Listener,
    RunningChannel,
    RunningDestination,
    Standing,
    by_place,
    port_of,
)
from engine.text import did_you_mean, listed

ENGINE = "conf/engine.yaml"


class Change:
    """From what is `at` work to `site`, or to what it runs with only the channels `only` of `site` taken from there.

    Raises ConfigurationError where this cannot be done while it runs.
    """

    def __init__(self, at: AtWork, site: Site, only: tuple[str, ...]) -> None:
        self._at, self._site, self._only = at, site, only
        for what in ("store", "monitor"):
            if getattr(site, what) != getattr(at.site, what):
                raise _wrong(f"'{what}' has changed, which takes a restart of the engine.")
        known = {channel.name: channel for channel in site.channels}
        for name in only:
            if name not in known and name not in at.channels:
                raise _wrong(f"there is no channel '{name}'.{did_you_mean(name, known)}")
        current = {name: running.channel for name, running in at.channels.items()}
        self._new = {name: known[name] for name in only if name in known} if only else known
        gone = set(only) if only else set(current)
        kept = {name: channel for name, channel in current.items() if name not in gone}
        self._wanted: dict[str, Channel] = {**kept, **self._new}
        self._specs = self._destinations(site.destinations)
        self._fresh: dict[str, RunningChannel] = {}

    def _destinations(self, specs: Iterable[DestinationSpec]) -> dict[str, DestinationSpec]:
        """All of the new ones; for single channels those that these alone use, besides what runs."""
        offered = {spec.name: spec for spec in specs}
        if not self._only:
            return offered
        wanted = {name: running.spec for name, running in self._at.destinations.items()}
        for channel in self._new.values():
            used = {route.destination for route in channel.routes} | {channel.answers_to} - {""}
            for name in used:
                if name not in wanted or name.startswith(f"{channel.name}."):
                    wanted[name] = offered[name]
        return wanted

    async def carry_out(self) -> str:
        """What changed, in words. Raises NotLoaded or ConfigurationError, and then everything is as it was."""
        at = self._at
        destinations = {
            name: RunningDestination(spec, at)
            for name, spec in self._specs.items()
            if name not in at.destinations or at.destinations[name].spec != spec
        }
        await at.load(self._site.version)
        fresh, stale = await self._open()
        said = self._swap(fresh)
        await at.together(listener.close() for listener in stale)
        await at.recovered()
        said += await self._exchange(destinations)
        text = f"version {self._site.version}: {listed(said) if said else 'the same channels and destinations'}"
        at.runtime.emit(events.EngineChanged("reloaded", text))
        return text

    # ── addresses ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _open(self) -> tuple[dict[str, Listener], list[Listener]]:
        """The listeners from now on, and those to be closed when nobody needs them any more."""
        at = self._at
        fresh: dict[str, Listener] = {}
        opened: list[Listener] = []
        closed: dict[str, Listener] = {}
        wanted = by_place(self._wanted.values())
        try:
            for place, channels in wanted.items():
                if not any(self._standing(channel.name).open for channel in channels):
                    continue
                before = at.listeners.get(place)
                if before is not None and before.serves(channels[0]):
                    fresh[place] = before
                    continue
                for other in self._in_the_way(place, channels[0], wanted):
                    if other not in closed:
                        closed[other] = at.listeners[other]
                        await at.together([closed[other].close()])
                fresh[place] = listener = Listener(channels[0], at.runtime)
                listener.desk.seat([self._seat(channel) for channel in channels])
                try:
                    await listener.open()
                except OSError:
                    if not self._had_failed(place, channels):
                        raise
                    del fresh[place]  # it stays as it was
                    continue
                opened.append(listener)
        except Exception as problem:
            await at.together(listener.close() for listener in opened)
            for place, before in closed.items():
                await self._reopen(place, before)
            at.leaving.update(self._fresh)  # one of them may have taken something already
            if not isinstance(problem, OSError):
                raise
            raise ConfigurationError([Problem("channels", 0, 0, f"an address cannot be had: {problem}")]) from problem
        return fresh, [before for place, before in at.listeners.items() if place not in fresh and place not in closed]

    def _in_the_way(self, place: str, channel: Channel, wanted: Container[str]) -> list[str]:
        """The places that must be closed before `place` can be opened: itself, and one that goes and has the same port, where
        a channel moves to another host of it or to another connector."""
        port = port_of(channel)
        return [
            other
            for other, listener in self._at.listeners.items()
            if other == place or (other not in wanted and port and port_of(listener.channel) == port)
        ]

    def _standing(self, name: str) -> Standing:
        return self._at.standing.get(name, RUNNING)

    def _had_failed(self, place: str, channels: list[Channel]) -> bool:
        """Whether nobody there accepted before, nor is asked to for the first time: so nothing is lost where it fails again."""
        states = {self._standing(channel.name).state for channel in channels}
        return place not in self._at.listeners and ChannelState.RUNNING not in states

    def _seat(self, channel: Channel) -> Seat:
        """An old channel answers by its old rules until the swap, and so does one that comes back; a new one has no others."""
        at, name = self._at, channel.name
        running = at.channels.get(name) or at.leaving.get(name) or self._fresh.get(name)
        if running is None:
            running = self._fresh[name] = RunningChannel(self._site, channel, at)
            running.start()
        return running.seat

    async def _reopen(self, place: str, before: Listener) -> None:
        at = self._at
        at.listeners[place] = again = Listener(before.channel, at.runtime)
        there = by_place(running.channel for running in at.channels.values())[place]
        again.desk.seat([at.channels[channel.name].seat for channel in there])
        try:
            await again.open()
        except Exception as problem:
            del at.listeners[place]  # so that the next change tries again
            for channel in there:
                if self._standing(channel.name).open:
                    at.stand(channel.name, ChannelState.FAILED, str(problem))

    # ── what cannot fail ───────────────────────────────────────────────────────────────────────────────────────────

    def _swap(self, listeners: dict[str, Listener]) -> list[str]:
        """Between two messages. What changed, in words."""
        at, site, said = self._at, self._site, []
        for name, channel in self._new.items():
            if name in at.channels:
                at.channels[name].change(site, channel)
                continue
            if name in at.leaving:
                at.channels[name] = at.leaving.pop(name)
                at.channels[name].change(site, channel)
            else:
                self._seat(channel)
            said.append(f"channel {name} is new")
            at.runtime.emit(events.ChannelChanged(name, *self._standing(name)[:2]))
        at.channels.update(self._fresh)
        for name in [name for name in at.channels if name not in self._wanted]:
            at.leaving[name] = at.channels.pop(name)
            said.append(f"channel {name} is gone")
            at.runtime.emit(events.ChannelChanged(name, "stopped", "it is no longer in the site"))
        at.listeners = listeners
        for place, channels in by_place(running.channel for running in at.channels.values()).items():
            if place in listeners:
                listeners[place].desk.seat([at.channels[channel.name].seat for channel in channels])
        at.site = site if not self._only else replace(
            at.site,
            channels=tuple(running.channel for running in at.channels.values()),
            destinations=tuple(self._specs.values()),
        )  # fmt: skip
        for running in at.translating():
            running.wake.ring()
        return said

    async def _exchange(self, fresh: dict[str, RunningDestination]) -> list[str]:
        """A destination that stays the same keeps its connections; deliveries to the others wait in the store meanwhile."""
        at, said = self._at, []
        old = {name: running for name, running in at.destinations.items() if self._specs.get(name) != running.spec}
        await at.together(running.stop() for running in old.values())
        for name in old:
            del at.destinations[name]
            if name not in self._specs:
                said.append(f"destination {name} is gone")
                at.runtime.emit(events.DestinationChanged(name, "paused", "it is no longer in the site: what waits for it stays"))
        for name, running in fresh.items():
            said.append(f"destination {name} is {'changed' if name in old else 'new'}")
            at.destinations[name] = running
            running.start(old[name].paused() if name in old else "")
            if name in old and old[name].deliver.state[0] is DestinationState.HELD:
                await self._try_again(name)
        return said

    async def _try_again(self, name: str) -> None:
        """What held it may have been mended with its file; if not, it holds again."""
        try:
            await self._at.store.steer(name, DestinationState.RUNNING, "its file has changed")
        except (StoreFull, StoreBusy) as problem:
            self._at.fault(problem)  # it stays held: `wardline resume` does the same
        self._at.destinations[name].deliver.look_again()


def _wrong(text: str) -> ConfigurationError:
    return ConfigurationError([Problem(ENGINE, 0, 0, text)])
