"""The second factor: codes of a phone (RFC 6238: SHA-1, six digits, 30 s), and ten recovery codes for when it is lost.

A code is good in its own half minute and in those before and after it, and once: the step of the last one taken is kept.
The secret must be readable to make codes of, so it stands in the database as it is, which only the console's user can read.
"""

from __future__ import annotations

import re
from base64 import b32encode
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import pyotp
from sqlalchemy import Connection, delete, func, insert, select, update

from engine.console.answers import Conflict, Invalid
from engine.console.people import schema
from engine.console.people.audit import Actor
from engine.console.people.core import SECOND, Core, actor, hashed
from engine.console.people.persons import end_sessions, forget_totp, row_of
from engine.console.people.sessions import Sessions
from engine.console.rights import Who

STEP: Final = 30  # seconds
CODES: Final = 10
QUIET: Final = 4  # modules around a QR code that stay empty
_CODE: Final = re.compile(r"[0-9]{6}")


@dataclass(frozen=True, slots=True)
class Offer:
    """A secret to be taken into a phone."""

    secret: str  # base 32, to be typed
    uri: str  # otpauth://…
    picture: str  # its QR code, as the data of an SVG path
    side: int  # of the picture, in the path's units, with its quiet zone


class Totp:
    def __init__(self, core: Core, sessions: Sessions, issuer: str) -> None:
        self._core, self._sessions, self._issuer = core, sessions, issuer

    def offer(self, who: Who) -> Offer:
        """A new secret, which counts once `confirm` has seen a code of it. Raises Conflict where one is set up."""
        with self._core.audit.recording() as recording:
            row = row_of(recording.connection, who.name)
            if row.totp is not None:
                raise Conflict("A second factor is set up already: take it away first.")
            secret = b32encode(self._core.chance(20)).decode()
            recording.connection.execute(update(schema.person).where(schema.person.c.id == row.id).values(totp_offered=secret))
        return _offered(secret, who.name, self._issuer)

    def offered(self, who: Who) -> Offer:
        """The secret that waits to be confirmed, to be shown again. Raises Conflict where none does."""
        with self._core.database.reading() as connection:
            row = row_of(connection, who.name)
        if row.totp_offered is None:
            raise Conflict("Nothing waits to be confirmed: begin again.")
        return _offered(row.totp_offered, who.name, self._issuer)

    def confirm(self, who: Who, code: str) -> tuple[list[str], str]:
        """From now on it is asked for: the recovery codes, which are shown once, and the session's new cookie. Other sessions
        end. Raises Invalid where the code is not one of the offered secret, Conflict where nothing is offered."""
        with self._core.audit.recording() as recording:
            row = row_of(recording.connection, who.name)
            if row.totp_offered is None:
                raise Conflict("Nothing waits to be confirmed: begin again.")
            step = _step(row.totp_offered, code, self._core.now())
            if not step:
                raise Invalid(
                    ("code", "This is not the code of this secret. Look at the clock of your phone, and take the next one.")
                )
            recording.connection.execute(
                update(schema.person)
                .where(schema.person.c.id == row.id)
                .values(totp=row.totp_offered, totp_offered=None, totp_step=step)
            )
            codes = self._new_codes(recording.connection, row.id)
            end_sessions(recording.connection, row.id, who.id)
            recording.note(actor(who), "set up second factor", who.name)
            return codes, self._sessions.renew(recording.connection, who)

    def new_codes(self, who: Who) -> list[str]:
        """Other recovery codes; the ones before are no good any more. Raises Conflict where no second factor is set up."""
        with self._core.audit.recording() as recording:
            row = row_of(recording.connection, who.name)
            if row.totp is None:
                raise Conflict("Recovery codes are for those who have a second factor.")
            recording.note(actor(who), "new recovery codes", who.name)
            return self._new_codes(recording.connection, row.id)

    def forget(self, by: Actor, name: str) -> None:
        """Somebody's second factor, of their own will or an admin's; their other sessions end. Raises NotFound, Conflict."""
        with self._core.audit.recording() as recording:
            row = row_of(recording.connection, name)
            if row.totp is None:
                raise Conflict(f"{row.name} has no second factor.")
            forget_totp(recording.connection, row.id)
            end_sessions(recording.connection, row.id, by.via.removeprefix("session ") if by.name == row.name else "")
            recording.note(by, "forget second factor", row.name)

    def left(self, name: str) -> int:
        """How many recovery codes are left."""
        with self._core.database.reading() as connection:
            row = row_of(connection, name)
            query = select(func.count()).select_from(schema.recovery).where(schema.recovery.c.person == row.id)
            return int(connection.execute(query).scalar_one())

    def take(self, connection: Connection, person: int, code: str) -> str:
        """Use a code up: `code` or `recovery code`, '' where it is neither. In the transaction in which it lets somebody in."""
        table = schema.person
        row: Any = connection.execute(select(table.c.totp, table.c.totp_step).where(table.c.id == person)).one()
        text = re.sub(r"[\s-]", "", code)
        if row.totp is None:
            return ""
        if step := _step(row.totp, text, self._core.now()):
            newer = table.c.totp_step < step
            taken = connection.execute(update(table).where(table.c.id == person, newer).values(totp_step=step)).rowcount
            return "code" if taken else ""
        key = hashed(f"{person} {text.upper()}")
        used = delete(schema.recovery).where(schema.recovery.c.hash == key, schema.recovery.c.person == person)
        return "recovery code" if connection.execute(used).rowcount else ""

    def _new_codes(self, connection: Connection, person: int) -> list[str]:
        connection.execute(delete(schema.recovery).where(schema.recovery.c.person == person))
        codes = [b32encode(self._core.chance(10)).decode() for _ in range(CODES)]  # 80 bits each
        connection.execute(insert(schema.recovery), [{"hash": hashed(f"{person} {code}"), "person": person} for code in codes])
        return ["-".join(code[at : at + 4] for at in range(0, 16, 4)) for code in codes]


def _step(secret: str, code: str, now: int) -> int:
    """The half minute that a code is of, of those that are close enough; 0: none."""
    code = re.sub(r"[\s-]", "", code)
    if not _CODE.fullmatch(code):
        return 0
    made = pyotp.TOTP(secret)
    at = now // SECOND // STEP
    found = 0
    for step in (at - 1, at, at + 1):  # all three are compared, whichever it is
        if pyotp.utils.strings_equal(code, made.generate_otp(step)):
            found = step
    return found


def _offered(secret: str, name: str, issuer: str) -> Offer:
    import segno

    uri = pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=issuer)
    code = segno.make(uri, error="m", micro=False)
    drawn = []
    for y, row in enumerate(code.matrix):
        x = 0
        for dark, run in groupby(row):
            width = len(list(run))
            if dark:
                drawn.append(f"M{x + QUIET} {y + QUIET}h{width}v1h-{width}z")
            x += width
    return Offer(secret, uri, "".join(drawn), len(code.matrix) + 2 * QUIET)
