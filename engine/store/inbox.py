"""Taking responsibility: arrivals become messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, func, literal_column, or_, select

from engine.model import Admission, Message, MessageState, Taken
from engine.store.driver import Row
from engine.store.duplicates import ORIGINALS, Key, Original, original_of
from engine.store.ledger import Ledger
from engine.store.schema import CHUNK, chunk, content, further, message
from engine.store.statements import Insert, Statement
from engine.store.texts import without_nul
from engine.store.words import CODES, DUPLICATE, RECEIVED, REJECTED, WORDS

LARGE: Final = 64 << 10  # bytes of a row that is written by itself

INSERT_MESSAGE = Insert(
    message,
    *("id", "channel", "state", "admitted", "received_at", "peer", "kind", "control_id", "sender", "version"),
    *("processing_id", "digest", "dedupe_key", "size", "reason", "original", "replay_of", "part_of"),
)
INSERT_CONTENT = Insert(content)
INSERT_CHUNK = Insert(chunk)
INSERT_FURTHER = Insert(further, replacing=True)


def after_parts(after: Any, batch: Any) -> ColumnElement[int]:
    """The first message after a batch's that is not a part of it: they were taken together, and stand together."""
    other = message.alias("other").c
    end = select(other.id).where(other.id > after, or_(other.part_of.is_(None), other.part_of != batch))
    first = end.order_by(other.id).limit(literal_column("1")).offset(literal_column("0")).scalar_subquery()
    return func.coalesce(first, literal_column(str((1 << 63) - 1)))


_m = message.c
PARTS = Statement(
    "parts",
    select(_m.id, _m.received_at, _m.admitted, _m.reason, _m.original)
    .where(_m.id > bindparam("batch"), _m.id < after_parts(bindparam("after"), bindparam("part_of")))
    .order_by(_m.id),
    *("batch", "after", "part_of"),
)

_STATES = {code: MessageState(WORDS[code]) for code in range(RECEIVED, DUPLICATE + 1)}


class Contents:
    """Content on its way to the tables, in pieces of at most CHUNK bytes."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.large: list[Row] = []
        self.chunks: list[Row] = []

    def add(self, owner: int, body: bytes) -> None:
        if len(body) <= LARGE:
            self.rows.append((owner, body))
            return
        self.large.append((owner, body[:CHUNK]))
        for n, at in enumerate(range(CHUNK, len(body), CHUNK), 1):
            self.chunks.append((owner, n, body[at : at + CHUNK]))

    def write(self, ledger: Ledger) -> None:
        ledger.driver.many(INSERT_CONTENT, self.rows)
        ledger.driver.many(INSERT_CONTENT, self.large, singly=True)
        ledger.driver.many(INSERT_CHUNK, self.chunks, singly=True)


class _Taking:
    """The arrivals of one transaction."""

    def __init__(self, ledger: Ledger, number: int, known: dict[Key, list[Original]]) -> None:
        self.ledger, self.number, self.known = ledger, number, known
        self.rows: list[Row] = []
        self.contents = Contents()
        self.fresh: list[tuple[Key, Original]] = []
        self.messages: list[Message] = []
        self.parts: dict[int, tuple[Taken, ...]] = {}  # of the batches among them
        self.replays: list[Row] = []

    def take(self, admission: Admission, part_of: int) -> Taken:
        channel, body, peer, heading, received_at, digest, state, reason, dedupe_key, replay_of, _, _, window = admission
        ledger, number = self.ledger, self.number
        self.number += 1
        channel_number = ledger.channels(channel)
        code = CODES[state]
        if "\0" in heading.control_id:  # one text in every database, for the searches
            heading = heading._replace(control_id=without_nul(heading.control_id))
        key = (channel_number, dedupe_key)
        earlier = self.known.get(key) if dedupe_key else None
        if earlier and window:
            earlier = [one for one in earlier if received_at - one.received_at <= window]
        original = next((one for one in earlier if one.digest == digest), None) if earlier else None
        if original is None:
            self.contents.add(number, body)
            if code == RECEIVED:
                self.messages.append(Message(number, channel, body, heading, peer, received_at, replay_of, part_of))
                ledger.bodies.put(number, body, len(body))
            if dedupe_key and code != REJECTED:
                one = Original(number, digest, received_at, code, reason)
                self.fresh.append((key, one))
                self.known.setdefault(key, []).append(one)
            taken = Taken(number, received_at, state, reason, False, bool(earlier))
        else:
            code = DUPLICATE
            taken = _again(original)
        if replay_of:
            self.replays.append((replay_of, number))
        self.rows.append(
            (
                *(number, channel_number, code, code, received_at, peer, *heading, digest, dedupe_key or None, len(body)),
                *(reason or None, original and original.id, replay_of or None, part_of or None),
            )
        )
        return taken

    def batch(self, admission: Admission) -> Taken:
        """An arrival and its parts; of one that was here before, the parts it had then."""
        taken = self.take(admission, 0)
        if taken.duplicate:
            parts = self.parts.get(taken.message_id)
            return taken._replace(parts=_parts(self.ledger, taken.message_id) if parts is None else parts)
        parts = self.parts[taken.message_id] = tuple([self.take(one, taken.message_id) for one in admission.parts])
        return taken._replace(parts=parts)


def take(ledger: Ledger, admissions: Sequence[Admission]) -> tuple[list[Taken], list[Message]]:
    """Each admission's answer, and the messages that are to be translated.

    A rejected arrival leaves no dedupe key: should the rule that refused it be mended, a re-send must get through. But a
    re-send of something accepted is a duplicate even where today's rules would refuse it: it gets its first answer.
    """
    channels = ledger.channels
    everyone: Sequence[Admission] = admissions
    if any(one.parts for one in admissions):
        everyone = [each for one in admissions for each in (one, *one.parts)]
    wanted = [(channels(one.channel), one.dedupe_key) for one in everyone if one.dedupe_key]
    known = ledger.duplicates.known(ledger.driver, wanted)
    taking = _Taking(ledger, ledger.ids(len(everyone)), known)
    answers = [taking.batch(one) if one.parts else taking.take(one, one.part_of) for one in admissions]
    ledger.driver.many(INSERT_MESSAGE, taking.rows)
    ledger.driver.many(INSERT_FURTHER, taking.replays)
    taking.contents.write(ledger)
    fresh, stored = taking.fresh, len(taking.rows)

    def remember() -> None:
        ledger.unkeyed += stored
        for held, one in fresh:
            ledger.duplicates.add(held, one)

    ledger.after.append(remember)
    return answers, taking.messages


def _again(original: Original) -> Taken:
    return Taken(original.id, original.received_at, _STATES[original.admitted], original.reason, True)


def _parts(ledger: Ledger, batch: int) -> tuple[Taken, ...]:
    """The answers that the parts of a batch had."""
    driver = ledger.driver
    rows = driver.rows(PARTS, batch, batch, batch)
    repeated = [original for *_, original in rows if original]
    originals = driver.rows(ORIGINALS, driver.numbers(repeated)) if repeated else []
    earlier = {row[0]: _again(original_of(row)) for row in originals}
    return tuple(
        [
            earlier[original] if original else Taken(number, received_at, _STATES[admitted], reason or "", True)
            for number, received_at, admitted, reason, original in rows
        ]
    )
