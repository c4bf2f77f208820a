"""Taking responsibility: arrivals become messages."""

from __future__ import annotations

from collections.abc import Sequence

from engine.model import Admission, Message, MessageState, Taken
from engine.store.driver import Row
from engine.store.duplicates import Key, Original
from engine.store.ledger import Ledger
from engine.store.schema import CHUNK, chunk, content, message
from engine.store.statements import Insert
from engine.store.texts import without_nul
from engine.store.words import CODES, DUPLICATE, RECEIVED, REJECTED, WORDS

INSERT_MESSAGE = Insert(
    message,
    *("id", "channel", "state", "admitted", "received_at", "peer", "kind", "control_id", "sender", "version"),
    *("processing_id", "digest", "dedupe_key", "size", "reason", "original", "replay_of", "part_of"),
)
INSERT_CONTENT = Insert(content)
INSERT_CHUNK = Insert(chunk)

_STATES = {code: MessageState(WORDS[code]) for code in range(RECEIVED, DUPLICATE + 1)}


class Contents:
    """Content on its way to the tables, in pieces of at most CHUNK bytes."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.chunks: list[Row] = []

    def add(self, owner: int, body: bytes) -> None:
        if len(body) <= CHUNK:
            self.rows.append((owner, body))
            return
        self.rows.append((owner, body[:CHUNK]))
        for n, at in enumerate(range(CHUNK, len(body), CHUNK), 1):
            self.chunks.append((owner, n, body[at : at + CHUNK]))

    def write(self, ledger: Ledger) -> None:
        ledger.driver.many(INSERT_CONTENT, self.rows)
        ledger.driver.many(INSERT_CHUNK, self.chunks)


def take(ledger: Ledger, admissions: Sequence[Admission]) -> list[tuple[Taken, Message | None]]:
    """Each admission's answer, and the message where it is to be translated.

    A rejected arrival leaves no dedupe key: should the rule that refused it be mended, a re-send must get through. But a
    re-send of something accepted is a duplicate even where today's rules would refuse it: it gets its first answer.
    """
    channels = ledger.channels
    known = ledger.duplicates.known(
        ledger.driver, [(channels(one.channel), one.dedupe_key) for one in admissions if one.dedupe_key]
    )
    answers: list[tuple[Taken, Message | None]] = []
    rows: list[Row] = []
    fresh: list[tuple[Key, Original]] = []
    contents = Contents()
    number = ledger.ids(len(admissions))
    for admission in admissions:
        channel, body, peer, heading, received_at, digest, state, reason, dedupe_key, replay_of, part_of = admission
        channel_number = channels(channel)
        code = CODES[state]
        if "\0" in heading.control_id:  # one text in every database, for the searches
            heading = heading._replace(control_id=without_nul(heading.control_id))
        key = (channel_number, dedupe_key)
        earlier = known.get(key) if dedupe_key else None
        original = next((one for one in earlier if one.digest == digest), None) if earlier else None
        stored = None
        if original is None:
            contents.add(number, body)
            if code == RECEIVED:
                stored = Message(number, channel, body, heading, peer, received_at, replay_of, part_of)
                ledger.bodies.put(number, body, len(body))
            if dedupe_key and code != REJECTED:
                one = Original(number, digest, received_at, code, reason)
                fresh.append((key, one))
                known.setdefault(key, []).append(one)
            taken = Taken(number, received_at, state, reason, False, bool(earlier))
        else:
            code = DUPLICATE
            taken = Taken(original.id, original.received_at, _STATES[original.admitted], original.reason, True)
        rows.append(
            (
                *(number, channel_number, code, code, received_at, peer, *heading, digest, dedupe_key or None, len(body)),
                *(reason or None, original and original.id, replay_of or None, part_of or None),
            )
        )
        answers.append((taken, stored))
        number += 1
    ledger.driver.many(INSERT_MESSAGE, rows)
    contents.write(ledger)

    def remember() -> None:
        ledger.unkeyed += len(rows)
        for held, one in fresh:
            ledger.duplicates.add(held, one)

    ledger.after.append(remember)
    return answers
