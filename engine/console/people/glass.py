"""Breaking the glass: whoever may see a channel reads its bodies for an hour, gives a reason, and everybody hears of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import insert, select, update

from engine.console.answers import Denied, Invalid, NotFound
from engine.console.people import schema
from engine.console.people.audit import Actor
from engine.console.people.core import HOUR, MINUTE, Core, actor
from engine.console.people.persons import fit_channels, row_of
from engine.console.people.sessions import Sessions
from engine.console.rights import Right, Who

FOR: Final = HOUR
SHORTEST: Final = 10  # characters of a reason
LONGEST: Final = 200


@dataclass(frozen=True, slots=True)
class Broken:
    id: int
    person: str
    channel: str
    reason: str
    at: int
    until: int
    revoked_by: str


class BreakGlass:
    def __init__(self, core: Core, sessions: Sessions) -> None:
        self._core, self._sessions = core, sessions

    def __call__(self, who: Who, channel: str, reason: str) -> str:
        """Let them read the bodies of a channel that they may see, for an hour. The session's new cookie.

        Raises Invalid, Denied.
        """
        reason, now = " ".join(reason.split()), self._core.now()
        if not SHORTEST <= len(reason) <= LONGEST:
            text = f"Say why in {SHORTEST} to {LONGEST} characters: somebody will read it. No name of a patient, please."
            raise Invalid(("reason", text))
        fit_channels(channel)
        if who.via != "session":
            raise Denied("Only a person in a session can break the glass.")
        if set(channel) & set("*?") or not who.may(Right.SEE, channel, now):
            raise Denied("The glass can be broken for one channel, which you may see.", Right.SEE, channel)
        if who.may(Right.READ, channel, now):
            raise Invalid(("channel", "You may read the bodies of this channel already."))
        with self._core.audit.recording() as recording:
            row = row_of(recording.connection, who.name)
            values = {"person": row.id, "channel": channel, "reason": reason, "at": recording.at, "until": recording.at + FOR}
            recording.connection.execute(insert(schema.glass).values(values))
            recording.note(actor(who), "break glass", channel, details={"reason": reason, "minutes": FOR // MINUTE})
            cookie = self._sessions.renew(recording.connection, who)
        # The reason is free text, and logs are read by others: the trail has it.
        self._core.tell("glass.broken", {"who": who.name, "channel": channel, "until": values["until"]})
        return cookie

    def all(self, limit: int = 200) -> list[Broken]:
        """Newest first, what is over among them."""
        return self._rows(limit=limit)

    def open(self) -> list[Broken]:
        """What lets somebody read at the moment."""
        return self._rows(schema.glass.c.until > self._core.now())

    def _rows(self, *conditions: Any, limit: int = 1000) -> list[Broken]:
        table, people = schema.glass, schema.person
        columns = (table.c.id, people.c.name, table.c.channel, table.c.reason, table.c.at, table.c.until, table.c.revoked_by)
        query = select(*columns).join(people, people.c.id == table.c.person).where(*conditions)
        with self._core.database.reading() as connection:
            return [Broken(*row) for row in connection.execute(query.order_by(table.c.id.desc()).limit(limit))]

    def end(self, by: Actor, number: int, *, own: bool = False) -> None:
        """Before its hour is over. `own`: only where it is theirs. Raises NotFound, Denied."""
        with self._core.audit.recording() as recording:
            found = self._rows(schema.glass.c.id == number)
            if not found or found[0].until <= recording.at:
                raise NotFound("This is over already.")
            if own and found[0].person != by.name:
                raise Denied("Somebody else has broken this glass.")
            values = {"until": recording.at, "revoked_by": by.name}
            recording.connection.execute(update(schema.glass).where(schema.glass.c.id == number).values(values))
            recording.note(by, "mend glass", found[0].channel, details={"person": found[0].person})
