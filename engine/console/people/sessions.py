"""Sessions: rows that a browser's cookie leads to. They end after 15 idle minutes, after twelve hours, and when told to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, or_, select, update

from engine.console.answers import NotFound
from engine.console.people import schema
from engine.console.people.audit import Actor
from engine.console.people.core import HOUR, MINUTE, SECOND, Core, actor, hashed, load_grants
from engine.console.people.persons import end_sessions, row_of
from engine.console.rights import Glass, Who
from engine.escape import visible

IDLE: Final = 15 * MINUTE
LONGEST: Final = 12 * HOUR
TOUCH: Final = 30 * SECOND  # between two times that somebody's being there is written down
MOST: Final = 20  # sessions of one person; the oldest goes


@dataclass(frozen=True, slots=True)
class Session:
    id: str
    made_at: int
    seen_at: int
    peer: str
    agent: str


class Sessions:
    def __init__(self, core: Core) -> None:
        self._core = core

    def who(self, cookie: str, *, touch: bool = True) -> Who | None:
        """Who it is, while the session lasts. `touch`: they are there, so that it does not grow idle."""
        if not cookie or len(cookie) > 200:
            return None
        now, key = self._core.now(), hashed(cookie)
        table, people = schema.session, schema.person
        with self._core.database.reading() as connection:
            row = connection.execute(
                select(table.c.id.label("session"), table.c.seen_at.label("seen"), table.c.made_at.label("began"), people)
                .join(people, people.c.id == table.c.person)
                .where(table.c.hash == key, people.c.disabled == 0)
            ).first()
            if row is None or now - row.seen > IDLE or now - row.began > LONGEST:
                return None
            broken = tuple(glasses(connection, row.id, now))
        if touch and now - row.seen > TOUCH:
            with self._core.database.locked(), self._core.database.transaction() as connection:
                connection.execute(update(table).where(table.c.hash == key).values(seen_at=now))
        return _who(row, cookie, broken)

    def open(self, connection: Connection, person: int, now: int, peer: str, agent: str) -> tuple[str, str]:
        """A new session: its cookie and its id. Sessions that are over are cleared away."""
        table = schema.session
        connection.execute(delete(table).where(or_(table.c.seen_at < now - IDLE, table.c.made_at < now - LONGEST)))
        connection.execute(delete(schema.ticket).where(schema.ticket.c.until <= now))
        older = select(table.c.hash).where(table.c.person == person).order_by(table.c.made_at.desc()).offset(MOST - 1)
        connection.execute(delete(table).where(table.c.hash.in_(older)))
        cookie, identity = self._core.secret(), self._core.chance(6).hex()
        connection.execute(
            insert(table).values(
                hash=hashed(cookie),
                id=identity,
                person=person,
                made_at=now,
                seen_at=now,
                peer=visible(peer, 64),
                agent=visible(agent, 120),
            )
        )
        return cookie, identity

    def renew(self, connection: Connection, who: Who) -> str:
        """The same session under a new cookie: what the old one is worth to somebody else ends here."""
        cookie = self._core.secret()
        table = schema.session
        changed = connection.execute(update(table).where(table.c.id == who.id).values(hash=hashed(cookie))).rowcount
        if not changed:
            raise NotFound("This session has ended: log in again.")
        return cookie

    def of(self, name: str) -> list[Session]:
        """Somebody's sessions that are not over, newest first. Raises NotFound."""
        now, table = self._core.now(), schema.session
        with self._core.database.reading() as connection:
            rows = connection.execute(
                select(table.c.id, table.c.made_at, table.c.seen_at, table.c.peer, table.c.agent)
                .where(
                    table.c.person == row_of(connection, name).id, table.c.seen_at >= now - IDLE, table.c.made_at >= now - LONGEST
                )
                .order_by(table.c.made_at.desc())
            )
            return [Session(*row) for row in rows]

    def end(self, by: Actor, name: str, identity: str) -> None:
        """One of somebody's sessions. Raises NotFound."""
        table = schema.session
        with self._core.audit.recording() as recording:
            row = row_of(recording.connection, name)
            gone = recording.connection.execute(delete(table).where(table.c.id == identity, table.c.person == row.id)).rowcount
            if not gone:
                raise NotFound("This session has ended already.")
            recording.note(by, "logout", row.name, details={"session": identity})

    def end_all(self, by: Actor, name: str, *, but: str = "") -> int:
        """All of somebody's sessions, but one. Raises NotFound."""
        with self._core.audit.recording() as recording:
            row = row_of(recording.connection, name)
            ended = end_sessions(recording.connection, row.id, but)
            recording.note(by, "logout everywhere", row.name, details={"sessions": ended})
            return ended

    def logout(self, who: Who) -> None:
        self.end(actor(who), who.name, who.id)


def glasses(connection: Connection, person: int, now: int) -> list[Glass]:
    """What of theirs is broken at the moment."""
    table = schema.glass
    rows = connection.execute(
        select(table.c.channel, table.c.until).where(table.c.person == person, table.c.until > now).order_by(table.c.until)
    )
    return [Glass(*row) for row in rows]


def _who(row: Any, cookie: str, broken: tuple[Glass, ...]) -> Who:
    return Who(
        name=row.name,
        display=row.display,
        grants=load_grants(row.grants),
        via="session",
        id=row.session,
        csrf=hashed(f"csrf {cookie}"),  # whoever has the cookie can know it, and nobody else
        glass=broken,
        theme=row.theme,
        due="totp" if row.totp_required and row.totp is None and not row.issuer else "",
    )
