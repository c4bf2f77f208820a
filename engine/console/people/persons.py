"""People: who there is and what they may; how they are let in for the first time, and again when they have lost the way.

Nobody ever types a password for somebody else. Whoever is added, or has forgotten theirs, gets a link that is good once and
for a day, and chooses one. The first of all, who may do everything, gets it in `.wardline/first-token`.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, insert, select, update

from engine.console.answers import Conflict, Invalid, NotFound
from engine.console.people import schema
from engine.console.people.audit import Actor
from engine.console.people.core import DAY, Core, NotLetIn, dump_grants, hashed, load_grants
from engine.console.people.passwords import unfit
from engine.console.rights import RIGHTS, Grant, Right, Role
from engine.errors import StoreError

FIRST_FILE: Final = "first-token"
ADMIN: Final = (Grant(Role.ADMIN, "*"),)
THEMES: Final = ("", "light", "dark")
NAME: Final = re.compile(r"[a-z][a-z0-9._-]{0,63}")
PATTERN: Final = re.compile(r"[A-Za-z0-9_*?-]{1,64}")
_LINK_OVER: Final = "This link is not good (any more): each works once, for a day. Ask for a new one."


@dataclass(frozen=True, slots=True)
class Person:
    id: int
    name: str
    display: str
    grants: tuple[Grant, ...]
    password: bool  # whether they have one
    disabled: bool
    totp: bool  # whether a second factor is set up
    totp_required: bool
    issuer: str  # '' where they log in here
    made_at: int
    made_by: str
    seen_at: int


@dataclass(frozen=True, slots=True)
class Welcome:
    """What a link is for: `first`, `invite` or `reset`, and for whom ('': they choose a name)."""

    kind: str
    name: str
    display: str


class Persons:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._file = core.database.directory / FIRST_FILE

    # ── who there is ───────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def empty(self) -> bool:
        """Whether there is nobody at all."""
        with self._core.database.reading() as connection:
            return not connection.execute(select(schema.person.c.id).limit(1)).first()

    @property
    def headless(self) -> bool:
        """Whether there is nobody yet who may let others in: then the first token is good."""
        with self._core.database.reading() as connection:
            return not _admins(connection)

    def all(self) -> list[Person]:
        with self._core.database.reading() as connection:
            return [_person(row) for row in connection.execute(select(schema.person).order_by(schema.person.c.name))]

    def one(self, name: str) -> Person:
        """Raises NotFound."""
        with self._core.database.reading() as connection:
            return _person(row_of(connection, name))

    # ── letting people in ──────────────────────────────────────────────────────────────────────────────────────────

    def offer_first(self, by: Actor) -> str:
        """While nobody may let others in: a new token for the first who may, also in `.wardline/first-token`; older ones are
        no good any more. '' when somebody may. Raises StoreError where the file cannot be written."""
        with self._core.audit.recording() as recording:
            if _admins(recording.connection):
                with suppress(FileNotFoundError):
                    self._file.unlink()
                return ""
            recording.connection.execute(delete(schema.ticket).where(schema.ticket.c.kind == "first"))
            token = self._core.ticket(recording.connection, "first", recording.at + DAY)
            recording.note(by, "offer first login")
            self._write_first(token)
        return token

    def _write_first(self, token: str) -> None:
        new = self._file.with_suffix(".new")
        try:
            with suppress(FileNotFoundError):
                new.unlink()
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as stream:
                stream.write(f"{token}\n")
            os.replace(new, self._file)
        except OSError as error:
            raise StoreError(f"{self._file} cannot be written: {error.strerror}") from error

    def add(self, by: Actor, name: str, display: str, grants: tuple[Grant, ...], totp_required: bool = False) -> str:
        """A new person, who cannot log in yet: the token of the link by which they choose a password.

        Raises Invalid, or Conflict where the name is taken.
        """
        name, display = fit_name(name), fit_display(display, name)
        fit_grants(grants)
        with self._core.audit.recording() as recording:
            if _find(recording.connection, name):
                raise Conflict(f"There is somebody called {name} already.")
            person = make(recording.connection, recording.at, by, name, display, grants, totp_required=int(totp_required))
            recording.note(by, "add person", name, details={"grants": spoken(grants), "second factor required": totp_required})
            return self._core.ticket(recording.connection, "invite", recording.at + DAY, person)

    def reset(self, by: Actor, name: str, *, totp: bool = False) -> str:
        """The token of a link by which somebody chooses a new password; `totp`: their second factor is forgotten, too. Until
        then the old password goes on working, since whoever asks may not be who they say. Raises NotFound, Conflict."""
        with self._core.audit.recording() as recording:
            row = row_of(recording.connection, name)
            if row.issuer:
                raise Conflict(f"{row.name} logs in at {row.issuer}: nothing can be reset here.")
            recording.connection.execute(
                delete(schema.ticket).where(schema.ticket.c.person == row.id, schema.ticket.c.kind.in_(("invite", "reset")))
            )
            if totp:
                forget_totp(recording.connection, row.id)
            recording.note(by, "reset person", row.name, details={"second factor forgotten": totp})
            return self._core.ticket(recording.connection, "reset", recording.at + DAY, row.id)

    def welcome(self, token: str) -> Welcome:
        """What a link is for. Raises NotLetIn where it is not good any more."""
        with self._core.database.reading() as connection:
            return _welcome(self._ticket(connection, token))

    def _ticket(self, connection: Connection, token: str) -> Any:
        table, people = schema.ticket, schema.person
        found = connection.execute(
            select(table.c.hash, table.c.kind, table.c.person, people.c.name, people.c.display)
            .join(people, people.c.id == table.c.person, isouter=True)
            .where(
                table.c.hash == hashed(token.strip()),
                table.c.kind.in_(("first", "invite", "reset")),
                table.c.until > self._core.now(),
            )
        ).first()
        if found is None or (found.kind == "first" and _admins(connection)):
            raise NotLetIn(_LINK_OVER)
        return found

    def accept(self, token: str, password: str, peer: str, name: str = "", display: str = "") -> str:
        """Choose a password by a link; the first of all chooses a name, too. Gives the name to log in with.

        Raises NotLetIn, Invalid: with the latter the link stays good.
        """
        offered = self.welcome(token)
        if offered.kind == "first":
            name = fit_name(name)
            display = fit_display(display, name)
        else:
            name, display = offered.name, offered.display
        if why := unfit(password, name, display):
            raise Invalid(("password", f"This password is not taken: {why}."))
        kept = self._core.passwords.hash(password)
        with self._core.audit.recording() as recording:
            found = self._ticket(recording.connection, token)  # only one gets through here with it
            recording.connection.execute(delete(schema.ticket).where(schema.ticket.c.hash == found.hash))
            by = Actor(name, peer)
            if found.kind == "first":
                if _find(recording.connection, name):
                    raise Conflict(f"There is somebody called {name} already: take another name.")
                make(recording.connection, recording.at, by, name, display, ADMIN, password=kept)
                recording.note(by, "first login", name, details={"grants": spoken(ADMIN)})
            else:
                set_password(recording.connection, found.person, kept)
                end_sessions(recording.connection, found.person)
                recording.note(by, "choose password", name, details={"by": found.kind})
        if offered.kind == "first":
            with suppress(OSError):  # of no use any more, wherever it is
                self._file.unlink()
        return name

    # ── changing what they are and may ─────────────────────────────────────────────────────────────────────────────

    def change(self, by: Actor, name: str, display: str, grants: tuple[Grant, ...], totp_required: bool) -> None:
        """What somebody is called and may. Changed rights end their sessions. Raises NotFound, Invalid, Conflict."""
        fit_grants(grants)
        with self._core.audit.recording() as recording:
            row = row_of(recording.connection, name)
            display, before = fit_display(display, row.name), load_grants(row.grants)
            admins = _admins(recording.connection)
            if row.issuer and grants != before:
                raise Conflict(f"What {row.name} may is said by {row.issuer}: change it there, or in conf/engine.yaml.")
            recording.connection.execute(
                update(schema.person)
                .where(schema.person.c.id == row.id)
                .values(display=display, grants=dump_grants(grants), totp_required=int(totp_required))
            )
            _one_is_left(recording.connection, admins)
            if grants != before:
                end_sessions(recording.connection, row.id)
            was = {"before": spoken(before)} if grants != before else {}
            details = {"grants": spoken(grants), **was, "second factor required": totp_required}
            recording.note(by, "change person", row.name, details=details)

    def disable(self, by: Actor, name: str, disabled: bool = True) -> None:
        """Let somebody in no more, by any way, from now on; or again. Raises NotFound, Conflict."""
        with self._core.audit.recording() as recording:
            row, admins = row_of(recording.connection, name), _admins(recording.connection)
            recording.connection.execute(update(schema.person).where(schema.person.c.id == row.id).values(disabled=int(disabled)))
            _one_is_left(recording.connection, admins)
            if disabled:
                end_sessions(recording.connection, row.id)
                recording.connection.execute(delete(schema.ticket).where(schema.ticket.c.person == row.id))
            recording.note(by, "disable person" if disabled else "enable person", row.name)

    def theme(self, by: Actor, theme: str) -> None:
        """Raises Invalid."""
        if theme not in THEMES:
            raise Invalid(("theme", "It is light, dark or as the system says."))
        with self._core.audit.recording() as recording:
            recording.connection.execute(update(schema.person).where(schema.person.c.name == by.name).values(theme=theme))


# ── rows ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def row_of(connection: Connection, name: str) -> Any:
    """Raises NotFound."""
    found = _find(connection, name)
    if found is None:
        raise NotFound(f"There is nobody called {name[:64]}.")
    return found


def _find(connection: Connection, name: str) -> Row[Any] | None:
    return connection.execute(select(schema.person).where(schema.person.c.name == name.strip().casefold())).first()


def make(connection: Connection, at: int, by: Actor, name: str, display: str, grants: tuple[Grant, ...], **more: object) -> int:
    """A row for a new person; its id."""
    values = {"name": name, "display": display, "grants": dump_grants(grants), "made_at": at, "made_by": by.name, **more}
    made = connection.execute(insert(schema.person).values(values)).inserted_primary_key
    assert made is not None
    return int(made[0])


def set_password(connection: Connection, person: int, kept: str) -> None:
    connection.execute(update(schema.person).where(schema.person.c.id == person).values(password=kept))


def end_sessions(connection: Connection, person: int, but: str = "") -> int:
    """How many were ended. `but`: the id of one that goes on. Logins that wait for their code are ended, too."""
    table = schema.session
    connection.execute(delete(schema.ticket).where(schema.ticket.c.person == person, schema.ticket.c.kind == "code"))
    return connection.execute(delete(table).where(table.c.person == person, table.c.id != but)).rowcount


def forget_totp(connection: Connection, person: int) -> None:
    values = {"totp": None, "totp_offered": None, "totp_step": 0}
    connection.execute(update(schema.person).where(schema.person.c.id == person).values(values))
    connection.execute(delete(schema.recovery).where(schema.recovery.c.person == person))


def _admins(connection: Connection) -> list[bool]:
    """For everybody who may let people in: whether they are enabled."""
    table = schema.person
    return [
        not row.disabled
        for row in connection.execute(select(table.c.grants, table.c.disabled))
        if any(Right.PEOPLE in RIGHTS[grant.role] and grant.channels == "*" for grant in load_grants(row.grants))
    ]


def _one_is_left(connection: Connection, before: list[bool]) -> None:
    """Raises Conflict where nobody could let people in any more, and somebody could `before`."""
    if any(before) and not any(_admins(connection)):
        raise Conflict("Somebody must be left who may do everything: make another one admin of all channels first.")


def _welcome(found: Any) -> Welcome:
    return Welcome(found.kind, found.name or "", found.display or "")


def _person(row: Any) -> Person:
    return Person(
        row.id, row.name, row.display, load_grants(row.grants), row.password is not None, bool(row.disabled),
        row.totp is not None, bool(row.totp_required), row.issuer or "", row.made_at, row.made_by, row.seen_at,
    )  # fmt: skip


# ── what fits ──────────────────────────────────────────────────────────────────────────────────────────────────────


def fit_name(name: str) -> str:
    """Raises Invalid."""
    folded = name.strip().casefold()
    if not NAME.fullmatch(folded):
        raise Invalid(("name", "A name is letters, digits, '.', '-' and '_', begins with a letter, and has at most 64."))
    return folded


def fit_display(display: str, name: str) -> str:
    """Raises Invalid."""
    text = " ".join(display.split()) or name
    if len(text) > 100 or not text.isprintable():
        raise Invalid(("display", "What people are called has at most 100 characters, all of them printable."))
    return text


def fit_grants(grants: tuple[Grant, ...]) -> None:
    """Raises Invalid."""
    if not grants:
        raise Invalid(("grants", "Say what they may: a role, and the channels it is for."))
    for grant in grants:
        fit_channels(grant.channels)


def fit_channels(pattern: str) -> None:
    """Raises Invalid."""
    if not PATTERN.fullmatch(pattern):
        raise Invalid(("channels", "Channels are a name, a pattern like lab*, or * for all."))


def spoken(grants: tuple[Grant, ...]) -> list[str]:
    """`operator of lab*`"""
    return [f"{grant.role} of {grant.channels}" for grant in grants]
