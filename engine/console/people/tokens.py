"""API tokens, of people and of services: shown once, kept as a hash, for some rights on some channels, for a year at most."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import insert, select, update

from engine.console.answers import Denied, Invalid, NotFound
from engine.console.people import schema
from engine.console.people.audit import Actor
from engine.console.people.core import DAY, MINUTE, Core, hashed, load_grants
from engine.console.people.persons import fit_channels, row_of
from engine.console.rights import Grant, Right, Role, Who

LONGEST: Final = 365  # days
NEVER: Final = frozenset({Right.PEOPLE})
"""Letting people in takes a person in a session: whoever finds a token must not be able to stay."""

_TOKEN: Final = re.compile(r"wl_[0-9a-f]{8}_[A-Za-z0-9_-]{43}")
_LABEL: Final = re.compile(r"[^\W_][\w .@/-]{0,63}")


@dataclass(frozen=True, slots=True)
class Token:
    id: int
    prefix: str  # `wl_3f2a91c0`
    label: str
    person: str  # '' of a service
    rights: frozenset[Right]
    channels: str
    made_at: int
    made_by: str
    until: int
    used_at: int  # to the minute; 0: never
    revoked_at: int


class Tokens:
    def __init__(self, core: Core) -> None:
        self._core = core

    def make(
        self, by: Actor, label: str, rights: frozenset[Right], channels: str, days: int, person: str = ""
    ) -> tuple[str, Token]:
        """A token, which nobody can see again, and what is kept of it. `person`: it never may more than they; '': a service's.

        Raises Invalid, NotFound.
        """
        label = " ".join(label.split())
        problems = []
        if not _LABEL.fullmatch(label):
            problems.append(("label", "Say in a few words what it is for: letters, digits, spaces, . @ / - and _, at most 64."))
        if not rights:
            problems.append(("rights", "Say what it may."))
        if rights & NEVER:
            problems.append(("rights", "A token cannot let people in: that takes a person."))
        if not 1 <= days <= LONGEST:
            problems.append(("days", f"A token is good for 1 to {LONGEST} days."))
        if problems:
            raise Invalid(*problems)
        fit_channels(channels)
        prefix = f"wl_{self._core.chance(4).hex()}"
        secret = f"{prefix}_{self._core.secret()}"
        with self._core.audit.recording() as recording:
            owner = row_of(recording.connection, person).id if person else None
            values = {
                "hash": hashed(secret), "prefix": prefix, "label": label, "person": owner, "channels": channels,
                "rights": orjson.dumps(sorted(rights)).decode(), "made_at": recording.at, "made_by": by.name,
                "until": recording.at + days * DAY,
            }  # fmt: skip
            recording.connection.execute(insert(schema.token).values(values))
            details = {"label": label, "of": person or "a service", "rights": sorted(rights), "channels": channels, "days": days}
            recording.note(by, "make token", prefix, details=details)
        return secret, self._one(prefix)

    def all(self, person: str | None = None) -> list[Token]:
        """Newest first: of one person, or of everybody and every service."""
        table, people = schema.token, schema.person
        query = select(table, people.c.name.label("owner")).join(people, people.c.id == table.c.person, isouter=True)
        if person is not None:
            query = query.where(people.c.name == person)
        with self._core.database.reading() as connection:
            return [_token(row) for row in connection.execute(query.order_by(table.c.id.desc()))]

    def _one(self, prefix: str) -> Token:
        found = [one for one in self.all() if one.prefix == prefix]
        if not found:
            raise NotFound("There is no such token.")
        return found[0]

    def revoke(self, by: Actor, prefix: str, *, own: bool = False) -> None:
        """It is good for nothing from now on. `own`: only where it is theirs. Raises NotFound, Denied."""
        with self._core.audit.recording() as recording:
            token = self._one(prefix)
            if own and token.person != by.name:
                raise Denied("This token is not yours.")
            if token.revoked_at:
                raise NotFound("This token has been revoked already.")
            recording.connection.execute(
                update(schema.token).where(schema.token.c.prefix == prefix).values(revoked_at=recording.at)
            )
            recording.note(by, "revoke token", prefix, details={"label": token.label})

    def who(self, bearer: str) -> Who | None:
        """Who comes with this token; None where it is none, or no good any more."""
        if not _TOKEN.fullmatch(bearer):
            return None
        now, table, people = self._core.now(), schema.token, schema.person
        query = (
            select(table, people.c.name, people.c.display, people.c.grants, people.c.disabled)
            .join(people, people.c.id == table.c.person, isouter=True)
            .where(table.c.hash == hashed(bearer), table.c.revoked_at == 0, table.c.until > now)
        )
        with self._core.database.reading() as connection:
            row = connection.execute(query).first()
        if row is None or row.disabled:
            return None
        if now - row.used_at > MINUTE:
            with self._core.database.locked(), self._core.database.transaction() as connection:
                connection.execute(update(table).where(table.c.id == row.id).values(used_at=now))
        rights = frozenset(map(Right, orjson.loads(row.rights))) - NEVER
        service = row.person is None
        return Who(
            name=f"service {row.label}" if service else row.name,
            display=row.label if service else row.display,
            grants=(Grant(Role.ADMIN, row.channels),) if service else load_grants(row.grants),
            via="token",
            id=row.prefix,
            only=rights,
            only_channels=row.channels,
        )


def _token(row: Any) -> Token:
    return Token(
        row.id, row.prefix, row.label, row.owner or "", frozenset(map(Right, orjson.loads(row.rights))), row.channels,
        row.made_at, row.made_by, row.until, row.used_at, row.revoked_at,
    )  # fmt: skip
