"""What every part of `people` works with, and the words in which they say no."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import orjson
from sqlalchemy import Connection, insert

from engine.console.answers import Refusal
from engine.console.people import schema
from engine.console.people.audit import Actor, Audit
from engine.console.people.database import Database
from engine.console.people.passwords import Passwords
from engine.console.people.throttle import Throttle
from engine.console.rights import Grant, Role, Who

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR


class NotLetIn(Refusal):
    """Name, password, code or link are not right. The text is the same whichever it was."""

    status = 403
    title = "You are not let in"


@dataclass(frozen=True, slots=True)
class Core:
    database: Database
    audit: Audit
    now: Callable[[], int]  # microseconds since 1970
    chance: Callable[[int], bytes]  # so many random bytes
    passwords: Passwords
    throttle: Throttle
    tell: Callable[[str, dict[str, object]], None] = field(default=lambda name, facts: None)  # a line of the console's log

    def secret(self, size: int = 32) -> str:
        """Something that nobody guesses, as text that fits into a URL, a header and a cookie."""
        return urlsafe_b64encode(self.chance(size)).decode().rstrip("=")

    def ticket(self, connection: Connection, kind: str, until: int, person: int | None = None, data: object = None) -> str:
        """Something that is good once, until an instant."""
        secret = self.secret(16)
        connection.execute(
            insert(schema.ticket).values(
                hash=hashed(secret), kind=kind, person=person, until=until, data=orjson.dumps(data).decode()
            )
        )
        return secret


def hashed(secret: str) -> str:
    """What is kept of a secret that is random and long."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def actor(who: Who) -> Actor:
    """As the trail has it."""
    return Actor(who.name, f"{who.via} {who.id}".strip())


def dump_grants(grants: tuple[Grant, ...]) -> str:
    return orjson.dumps([[str(grant.role), grant.channels] for grant in grants]).decode()


def load_grants(text: str) -> tuple[Grant, ...]:
    return tuple(Grant(Role(role), channels) for role, channels in orjson.loads(text))
