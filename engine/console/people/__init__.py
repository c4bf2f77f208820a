"""People and rights: who may do what, how they are let in, and the trail of what they did.

All of it is kept in `.wardline/console.db` of the site. Everything here is synchronous and may be called from any thread.
What says no is a `Refusal`; what cannot be recorded is a StoreFull or StoreError, and has not happened.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.console.people.audit import Actor, Audit
from engine.console.people.core import Core, NotLetIn, actor
from engine.console.people.database import Database
from engine.console.people.glass import BreakGlass, Broken
from engine.console.people.login import LoggedIn, Login
from engine.console.people.passwords import Passwords
from engine.console.people.persons import Person, Persons, Welcome
from engine.console.people.sessions import Session, Sessions
from engine.console.people.throttle import Throttle
from engine.console.people.tokens import Token, Tokens
from engine.console.people.totp import Offer, Totp
from engine.console.rights import Who
from engine.errors import WardlineError

if TYPE_CHECKING:
    from engine.config.files import Oidc
    from engine.console.people.oidc import OidcLogin

TELL: Final = 3600.0  # seconds between two times that the trail's last row is told


class People:
    """The people of one site.

    `tell(name, facts)` writes a line of the console's log: that glass was broken is told at once. `oidc`: the provider at
    which people may log in as well. Raises StoreTooNew, StoreFull, StoreError.
    """

    def __init__(
        self,
        site: Path,
        now: Callable[[], int],
        *,
        chance: Callable[[int], bytes] = secrets.token_bytes,
        tell: Callable[[str, dict[str, object]], None] = lambda name, facts: None,
        passwords: Passwords | None = None,
        organization: str = "",
        oidc: Oidc | None = None,
    ) -> None:
        self._closed = threading.Event()
        self._telling: threading.Thread | None = None
        self.database = Database(site)
        self.audit = Audit(self.database, now)
        self._core = Core(self.database, self.audit, now, chance, passwords or Passwords(), Throttle(now), tell)
        self.persons = Persons(self._core)
        self.sessions = Sessions(self._core)
        self.totp = Totp(self._core, self.sessions, f"Wardline {organization}".strip())
        self.login = Login(self._core, self.sessions, self.totp)
        self.tokens = Tokens(self._core)
        self.glass = BreakGlass(self._core, self.sessions)
        self.oidc: OidcLogin | None = None
        if oidc is not None:
            from engine.console.people.oidc import OidcLogin

            self.oidc = OidcLogin(self._core, self.sessions, oidc)

    @property
    def empty(self) -> bool:
        """Whether there is nobody yet."""
        return self.persons.empty

    def start(self) -> str:
        """When the console starts: while nobody may let others in, a new token for whoever is to be the first; otherwise ''.
        From now on the trail's last row is told every hour, so that a log kept elsewhere knows it."""
        token = self.persons.offer_first(Actor("wardline", "console"))
        self._telling = threading.Thread(target=self._tell_anchor, name="audit anchor", daemon=True)
        self._telling.start()
        return token

    def _tell_anchor(self) -> None:
        while True:
            try:
                self._core.tell("audit.anchor", {"anchor": str(self.audit.head())})
            except WardlineError as error:
                self._core.tell("audit.failed", {"why": str(error)})
            if self._closed.wait(TELL):
                return

    def session(self, cookie: str, *, touch: bool = True) -> Who | None:
        """Who a browser's cookie belongs to, as long as the session lasts. `touch`: it does not grow idle by this."""
        return self.sessions.who(cookie, touch=touch)

    def token(self, bearer: str) -> Who | None:
        """Who an API token belongs to, as long as it is good."""
        return self.tokens.who(bearer)

    def close(self) -> None:
        self._closed.set()
        if self._telling is not None:
            self._telling.join()
        self.database.close()


__all__ = [
    "Actor",
    "Broken",
    "LoggedIn",
    "NotLetIn",
    "Offer",
    "People",
    "Person",
    "Session",
    "Token",
    "Welcome",
    "actor",
]
