"""Logging in: name and password, then the code of the second factor where there is one.

Names that nobody has, people who are disabled and people without a password meet the same text after the same work. Who fails
five times a minute on a name, or goes on failing from an address, waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from sqlalchemy import delete, select, update

from engine.console.answers import Invalid, TooMuch
from engine.console.people import schema
from engine.console.people.audit import Actor
from engine.console.people.core import MINUTE, Core, NotLetIn, actor, hashed
from engine.console.people.passwords import unfit
from engine.console.people.persons import end_sessions, row_of, set_password
from engine.console.people.sessions import Sessions
from engine.console.people.totp import Totp
from engine.console.rights import Who

CODE_WITHIN: Final = 5 * MINUTE
_NOT_RIGHT: Final = "Name or password is not right."
_CODE_NOT_RIGHT: Final = "This code is not right, or has been used. Wait for the next one, and look at the clock of your phone."


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Either a session's cookie, or what the code of the second factor is to be shown with."""

    name: str
    cookie: str = ""
    ticket: str = ""


class Login:
    def __init__(self, core: Core, sessions: Sessions, totp: Totp) -> None:
        self._core, self._sessions, self._totp = core, sessions, totp

    def password(self, name: str, password: str, peer: str, agent: str) -> LoggedIn:
        """Raises NotLetIn, TooMuch."""
        name = name.strip().casefold()[:64]
        self._attempt("login", name, f"name {hashed(name)}", *_address(peer), peer=peer)
        row = self._row(name)
        kept = row.password if row is not None and not row.disabled else None
        if not self._core.passwords.right(kept, password) or row is None:
            self._failed("login", row.name if row is not None else "", peer)
            raise NotLetIn(_NOT_RIGHT)
        self._core.throttle.succeeded(f"name {hashed(name)}", *_address(peer))
        renewed = self._core.passwords.hash(password) if self._core.passwords.outdated(row.password) else None
        with self._core.audit.recording() as recording:
            now = row_of(recording.connection, row.name)  # it may have changed since
            if now.password != row.password or now.disabled:
                raise NotLetIn(_NOT_RIGHT)
            if renewed:
                set_password(recording.connection, row.id, renewed)
            if now.totp is not None:
                ticket = self._core.ticket(recording.connection, "code", recording.at + CODE_WITHIN, row.id)
                return LoggedIn(row.name, ticket=ticket)
            return LoggedIn(row.name, cookie=self._let_in(recording, row, peer, agent, "password"))

    def code(self, ticket: str, code: str, peer: str, agent: str) -> LoggedIn:
        """The second step, with a code of the phone or one of the recovery codes. Raises NotLetIn, TooMuch."""
        row = self._waiting(ticket)
        key = f"code {row.id}"
        self._attempt("login", row.name, key, key, *_address(peer), peer=peer)
        with self._core.audit.recording() as recording:
            # Both go in one transaction, so that neither ticket nor code is good twice.
            how = self._totp.take(recording.connection, row.id, code)
            gone = how and recording.connection.execute(
                delete(schema.ticket).where(schema.ticket.c.hash == hashed(ticket), schema.ticket.c.until > recording.at)
            )
            if how and not (gone and gone.rowcount):
                raise NotLetIn("This login has taken too long: begin again.")
            if how:
                cookie = self._let_in(recording, row, peer, agent, how)
        if not how:
            self._failed("login", row.name, peer, step="code")
            raise NotLetIn(_CODE_NOT_RIGHT)
        self._core.throttle.succeeded(key, key, *_address(peer))
        return LoggedIn(row.name, cookie=cookie)

    def waits(self, ticket: str) -> bool:
        """Whether a login waits for its code with this ticket."""
        try:
            self._waiting(ticket)
        except NotLetIn:
            return False
        return True

    def check(self, who: Who, password: str, peer: str) -> None:
        """Before something that whoever found an open browser must not do: the password again. Raises Invalid, TooMuch."""
        key = f"again {who.name}"
        self._attempt("confirm password", who.name, key, *_address(peer), peer=peer)
        row = self._row(who.name)
        if row is None or not self._core.passwords.right(row.password, password):
            self._failed("confirm password", who.name, actor(who).via)
            raise Invalid(("password", "This is not your password."))
        self._core.throttle.succeeded(key, *_address(peer))

    def change_password(self, who: Who, old: str, new: str, peer: str) -> str:
        """A new password; every other session ends, and this one goes on under a new cookie. Raises Invalid, TooMuch."""
        self.check(who, old, peer)
        if why := unfit(new, who.name, who.display):
            raise Invalid(("new", f"This password is not taken: {why}."))
        kept = self._core.passwords.hash(new)
        with self._core.audit.recording() as recording:
            row = row_of(recording.connection, who.name)
            set_password(recording.connection, row.id, kept)
            end_sessions(recording.connection, row.id, who.id)
            recording.note(actor(who), "choose password", who.name, details={"by": "account"})
            return self._sessions.renew(recording.connection, who)

    def _let_in(self, recording: Any, row: Any, peer: str, agent: str, how: str) -> str:
        cookie, identity = self._sessions.open(recording.connection, row.id, recording.at, peer, agent)
        recording.connection.execute(update(schema.person).where(schema.person.c.id == row.id).values(seen_at=recording.at))
        recording.note(Actor(row.name, f"session {identity}"), "login", row.name, details={"by": how, "from": peer})
        return cookie

    def _row(self, name: str) -> Any:
        with self._core.database.reading() as connection:
            return connection.execute(select(schema.person).where(schema.person.c.name == name)).first()

    def _waiting(self, ticket: str) -> Any:
        table, people = schema.ticket, schema.person
        with self._core.database.reading() as connection:
            found = connection.execute(
                select(people.c.id, people.c.name)
                .join(table, table.c.person == people.c.id)
                .where(
                    table.c.hash == hashed(ticket),
                    table.c.kind == "code",
                    table.c.until > self._core.now(),
                    people.c.disabled == 0,
                )
            ).first()
        if found is None:
            raise NotLetIn("This login has taken too long, or is done already: begin again.")
        return found

    def _attempt(self, what: str, name: str, account: str, *growing: str, peer: str) -> None:
        """Raises TooMuch, and notes the first one of a series only: whoever hammers does not fill the trail."""
        wait, first = self._core.throttle.attempt(account, *growing)
        if wait:
            if first:
                self._failed(what, name if self._row(name) is not None else "", peer, why="too often")
            raise TooMuch(f"Too many attempts: wait {wait} s, then try again.", wait)

    def _failed(self, what: str, name: str, via: str, **details: str) -> None:
        # What was typed as a name is not noted where nobody has it: people type their password there.
        self._core.audit.write(name, via, what, name or "unknown name", "denied", details)


def _address(peer: str) -> tuple[str, ...]:
    """What an address that keeps failing is remembered by. Behind a proxy on this machine everybody has the same one, and
    whoever fails there must not keep the others out: names still have their limit."""
    try:
        return () if ip_address(peer).is_loopback else (f"peer {peer}",)
    except ValueError:
        return (f"peer {peer}",)
