"""One request of one person: who asks, what they may, and what there is to answer with."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from zoneinfo import ZoneInfo

from engine.console.answers import Denied, Noted, NotFound
from engine.console.home import Home, SiteView
from engine.console.rights import Right, Who
from engine.store.history import History


class Visit:
    """What a handler is given. It belongs to one thread at a time."""

    def __init__(self, home: Home, who: Who | None, peer: str) -> None:
        self.home, self.peer = home, peer
        self._who = who
        self.noted = Noted()  # for the audit trail
        self.now = home.now()  # of the request, in microseconds since 1970
        self._history: History | None = None
        self.cookie = ""  # the session's secret, for those who renew or end it
        self.agent = ""  # what the browser calls itself
        self.origin = ""  # where browsers find us: `https://console.example.org`

    # ── who ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def who(self) -> Who:
        """Whoever is logged in; only doors that are PUBLIC are reached by nobody."""
        assert self._who is not None
        return self._who

    @property
    def known(self) -> bool:
        """Whether anybody is logged in."""
        return self._who is not None

    def may(self, right: Right, channel: str) -> bool:
        return self._who is not None and self._who.may(right, channel, self.now)

    def require(self, right: Right, channel: str) -> None:
        """Raises Denied; or NotFound where the person may not even know that the channel is there."""
        if not self.may(right, channel):
            if not self.may(Right.SEE, channel):
                raise NotFound("There is nothing of this name that you may see.")
            raise Denied(f"The right to {right} is not yours on channel {channel}.", right, channel)

    def channels(self, right: Right = Right.SEE) -> frozenset[str] | None:
        """The channels on which the right is theirs, of all that files and store know; None: all, whatever their names."""
        if self.who.everywhere(right):
            return None
        known, _ = self.home.seen(self.history)
        return frozenset(name for name in known if self.may(right, name))

    def users_of(self, destination: str) -> frozenset[str]:
        """The channels that deliver to a destination, by the files."""
        return self.site.users.get(destination, frozenset())

    # ── what there is ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def site(self) -> SiteView:
        return self.home.site()

    @property
    def history(self) -> History:
        """A reader of the store, for as long as the request lasts. Raises Away."""
        if self._history is None:
            self._history = self.home.history()
        return self._history

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.home.timezone)

    def call(self, verb: str, **arguments: Any) -> Any:
        """Have the engine do something: see `Home.call`."""
        return self.home.call(verb, **arguments)

    def note(self, object: str = "", **details: Any) -> None:
        """What the audit trail says of this request besides its door's verb: never anything from a message's body."""
        if object:
            self.noted.object = object
        self.noted.details.update(details)

    # ── its end ────────────────────────────────────────────────────────────────────────────────────────────────────

    def interrupt(self) -> None:
        """From another thread: nobody waits for the answer any more."""
        history = self._history
        stop = getattr(history, "interrupt", None)
        if stop is not None:
            with suppress(Exception):
                stop()

    def end(self, *, broken: bool = False) -> None:
        history, self._history = self._history, None
        if history is not None:
            self.home.give_back(history, broken=broken)
