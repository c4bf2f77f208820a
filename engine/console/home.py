"""What the console has: the site's files, its store, its people, and the way to the engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config import read_site
from engine.config.site import SiteReading
from engine.console.answers import Away
from engine.errors import StoreError, WardlineError
from engine.operations.control import Caller, NotRunning
from engine.operations.requests import Requests
from engine.store.history import History

if TYPE_CHECKING:
    from engine.console.people import People
    from engine.contracts import Channel

LOOK = 2.0  # seconds for which the site's files are believed to be as they were
NOTES = 1000  # notes that wait to be shown


@dataclass(frozen=True, slots=True)
class SiteView:
    """The site as its files say now; what runs may be another version (`status` says which)."""

    reading: SiteReading
    channels: Mapping[str, Channel]  # those that can be compiled, by name
    names: tuple[str, ...]  # of all channel files
    users: Mapping[str, frozenset[str]]  # destination: the channels that deliver to it
    index: tuple[str, ...]  # names of business keys


class Home:
    """One console. Its methods may be called from any thread.

    `store` is the URL of the store, absolute; `facts` are what never changes while the console runs.
    """

    def __init__(
        self,
        directory: Path,
        store: str,
        people: People,
        *,
        organization: str,
        environment: str,
        timezone: str,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
        fault: Callable[..., None] = lambda **facts: None,
    ) -> None:
        self.directory, self.store, self.people, self.now = directory, store, people, now
        self.fault = fault  # is told where something of ours went wrong, never with its text
        self.organization, self.environment, self.timezone = organization, environment, timezone
        self._histories: list[History] = []
        self._lock = threading.Lock()
        self._site_lock = threading.Lock()
        self._site: SiteView | None = None
        self._stamps: object = None
        self._looked = 0.0
        self._notes: dict[str, str] = {}
        self.parts: dict[str, Any] = {}  # what pages keep for all their visits, by name

    # ── the store ──────────────────────────────────────────────────────────────────────────────────────────────────

    def history(self) -> History:
        """A reader of the store, for one thread at a time; give it back. Raises Away where there is no store."""
        while (kept := self._kept()) is not None:
            if not kept.replaced():
                return kept
            self.give_back(kept, broken=True)
        try:
            return History(self.store)
        except StoreError as error:
            raise Away(f"{error}. Has the engine run here?") from error
        except Exception as error:  # the driver's own, whose text may hold the URL
            raise Away("The store cannot be opened: is the database there?") from error

    def _kept(self) -> History | None:
        with self._lock:
            return self._histories.pop() if self._histories else None

    def give_back(self, history: History, *, broken: bool = False) -> None:
        """`broken`: something failed with it, so that nobody else gets it."""
        with self._lock:
            if not broken and not history.interrupted and len(self._histories) < 8:
                self._histories.append(history)
                return
        with suppress(Exception):
            history.close()

    @contextmanager
    def reading(self) -> Iterator[History]:
        """As `history`, given back at the end: for feeds and jobs."""
        history = self.history()
        try:
            yield history
        except BaseException:
            self.give_back(history, broken=True)
            raise
        self.give_back(history)

    # ── the site ───────────────────────────────────────────────────────────────────────────────────────────────────

    def site(self) -> SiteView:
        """The site's files as they are, read again when they have changed."""
        with self._site_lock:
            now = time.monotonic()
            if self._site is None or now - self._looked > LOOK:
                self._looked = now
                stamps = _stamps(self.directory)
                if self._site is None or stamps != self._stamps:
                    self._stamps, self._site = stamps, _view(self.directory)
            return self._site

    def seen(self, history: History) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Every channel and every destination that the files or the store know, in order of name."""
        names = history.names()
        view = self.site()
        site = view.reading.site
        destinations = [spec.name for spec in site.destinations] if site else []
        return tuple(sorted({*names[0], *view.names})), tuple(sorted({*names[1], *destinations}))

    # ── the engine ─────────────────────────────────────────────────────────────────────────────────────────────────

    def call(self, verb: str, **arguments: Any) -> Any:
        """Have the engine do something. Raises Away where none runs, Answered with its own words where it says no."""
        try:
            with self.caller() as caller:
                return caller(verb, **arguments)
        except NotRunning as error:
            raise Away(f"{str(error).capitalize()}. Start it with: wardline run") from error

    def caller(self) -> Any:
        """A context in which the engine can be called: over its socket, and where it runs on another host through the
        PostgreSQL store. Raises NotRunning."""
        try:
            return Caller(self.directory)
        except NotRunning:
            if not self.store.startswith("postgres"):
                raise
            return Requests(self.store)

    # ── notes ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def leave_note(self, session: str, text: str) -> None:
        """To be shown on the next page of this session."""
        with self._lock:
            self._notes[session] = text
            while len(self._notes) > NOTES:
                del self._notes[next(iter(self._notes))]

    def take_note(self, session: str) -> str:
        with self._lock:
            return self._notes.pop(session, "")

    def close(self) -> None:
        with self._lock:
            histories, self._histories = self._histories, []
        for history in histories:
            with suppress(Exception):
                history.close()
        self.people.close()


def _stamps(directory: Path) -> object:
    found = []
    for folder in ("conf", "channels", "mappings"):
        for path in sorted((directory / folder).rglob("*")):
            with suppress(OSError):
                facts = path.stat()
                found.append((str(path), facts.st_mtime_ns, facts.st_size))
    return found


def _view(directory: Path) -> SiteView:
    try:
        reading = read_site(directory, elsewhere=True)
    except (WardlineError, OSError) as error:
        raise Away(f"The site's files cannot be read: {error}") from error
    channels = {channel.name: channel for channel in reading.site.channels} if reading.site else {}
    users: dict[str, set[str]] = {}
    for channel in channels.values():
        for route in channel.routes:
            users.setdefault(route.destination, set()).add(channel.name)
        if channel.answers_to:
            users.setdefault(channel.answers_to, set()).add(channel.name)
    index = dict.fromkeys(name for channel in channels.values() for name, _ in channel.index)
    names = tuple(sorted(path.stem for path in (directory / "channels").glob("*.yaml")))
    return SiteView(reading, channels, names, {name: frozenset(ones) for name, ones in users.items()}, tuple(index))
