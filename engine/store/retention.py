"""Forgetting, a slice at a time: what has come to its end and was received before its channel's cutoff.

Two walks. One goes through content, from the oldest, and leaves the facts: what it forgets is not there when it comes again.
The other goes through messages and takes everything with them: deliveries, attempts, dedupe keys, business keys. Whatever
waits for anything, or has a delivery, a resend or a replay's delivery that does, is passed over whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import bindparam, delete, func, literal_column, null, select, text, update

from engine.model import Pruned, Walk
from engine.store import keys
from engine.store.driver import Row
from engine.store.ledger import Ledger
from engine.store.schema import (
    attempt,
    chunk,
    content,
    dedupe,
    delivery,
    fresh_key,
    further,
    message,
    refused,
    translation,
)
from engine.store.schema import undelivered as undelivered_
from engine.store.statements import Delete, Statement, Written, among
from engine.store.words import PARKED, RECEIVED, WAITING

SLICE_BYTES: Final = 16 << 20  # of content forgotten in one commit; a single message may be more

_m, _d, _t, _c = message.c, delivery.c, translation.c, content.c


def _next(query: object) -> object:
    return query.limit(bindparam("limit")).offset(literal_column("0"))  # type: ignore[attr-defined]


CONTENT_WALK = Statement(
    "content_walk",
    _next(
        select(_c.owner, _m.id, _m.channel, _m.state, _m.received_at, func.coalesce(_d.size, _m.size))
        .select_from(
            content.outerjoin(delivery, _d.id == _c.owner).join(message, _m.id == func.coalesce(_d.message_id, _c.owner))
        )
        .where(_c.owner > bindparam("after"))
        .order_by(_c.owner)
    ),  # type: ignore[arg-type]
    *("after", "limit"),
)
MESSAGE_WALK = Statement(
    "message_walk",
    _next(select(_m.id, _m.id, _m.channel, _m.state, _m.received_at, _m.size).where(_m.id > bindparam("after")).order_by(_m.id)),  # type: ignore[arg-type]
    *("after", "limit"),
)
_OWN = _d.id.between(_t.first_delivery, _t.first_delivery + _t.deliveries - text("1"))
OWN_DELIVERIES = Statement(
    "own_deliveries",
    select(_d.message_id, _d.id, _d.state).select_from(translation.join(delivery, _OWN)).where(among(_t.message_id, "ids")),
    "ids",
)
FURTHER_DELIVERIES = Statement(
    "further_deliveries",
    select(further.c.message_id, _d.id, _d.state)
    .select_from(further.join(delivery, _d.id == further.c.id))
    .where(among(further.c.message_id, "ids")),
    "ids",
)
DEDUPE_KEYS = Statement(
    "dedupe_keys",
    select(_m.channel, _m.dedupe_key, _m.id).where(among(_m.id, "ids"), _m.dedupe_key.is_not(None)),
    "ids",
)
FORGET_REPLIES = Statement(
    "forget_replies",
    update(attempt).where(among(attempt.c.delivery, "ids"), attempt.c.reply.is_not(None)).values(reply=null()),
    "ids",
)
FORGET_REFUSED = Statement(
    "forget_refused",
    delete(refused).where(refused.c.channel == bindparam("channel"), refused.c.received_at < bindparam("cutoff")),
    *("channel", "cutoff"),
)
FORGET_DEDUPE = Delete(dedupe)
FORGET_UNDELIVERED = Delete(undelivered_)


def _forget(table: object, column: object) -> Statement:
    name = table.name  # type: ignore[attr-defined]
    return Statement(f"prune_{name}", delete(table).where(among(column, "ids")), "ids")  # type: ignore[arg-type]


FORGET_CONTENT = _forget(content, content.c.owner)
FORGET_CHUNKS = _forget(chunk, chunk.c.owner)
FORGET_MESSAGES = _forget(message, message.c.id)
FORGET_TRANSLATIONS = _forget(translation, translation.c.message_id)
FORGET_FRESH = _forget(fresh_key, fresh_key.c.message_id)
FORGET_FURTHER = _forget(further, further.c.message_id)
FORGET_DELIVERIES = _forget(delivery, delivery.c.id)
FORGET_ATTEMPTS = _forget(attempt, attempt.c.delivery)

_TOUCHED = "first_message <= ? AND last_message >= ?"
FORGET_KEYS = Written(
    "forget_keys",
    *("last", "first"),
    sqlite=f"DELETE FROM business_key WHERE run IN (SELECT id FROM run WHERE {_TOUCHED}) "
    "AND NOT EXISTS (SELECT 1 FROM message WHERE message.id = business_key.message_id)",
)
FORGET_RUNS = Written(
    "forget_runs",
    *("last", "first"),
    sqlite=f"DELETE FROM run WHERE {_TOUCHED} AND NOT EXISTS "
    "(SELECT 1 FROM message WHERE message.id BETWEEN run.first_message AND run.last_message)",
)


class _Row(NamedTuple):
    at: int  # where the walk is: an owner of content, or the message
    message: int
    channel: int
    state: int
    received_at: int
    size: int


def prune(ledger: Ledger, walk: Walk, cutoffs: Mapping[str, int], after: int, limit: int) -> Pruned:
    """See `engine.contracts.Store.prune`."""
    if walk is Walk.EVERYTHING and ledger.duplicates.moving:
        return Pruned(reached=max(after, 1))  # the next commits see to that
    by_channel = {number: cutoffs.get(ledger.channels.text(number), cutoffs[""]) for number in ledger.channels.numbers()}
    statement = CONTENT_WALK if walk is Walk.CONTENT else MESSAGE_WALK
    latest = max(by_channel.values(), default=0)
    seen, reached = _slice([_Row._make(row) for row in ledger.driver.rows(statement, after, limit)], latest, limit)
    old = [row for row in seen if row.received_at < by_channel.get(row.channel, 0) and row.state not in (RECEIVED, PARKED)]
    deliveries = _deliveries(ledger, {row.message for row in old})
    waiting = {number for number, _, state in deliveries if state in (WAITING, PARKED)}
    old = [row for row in old if row.message not in waiting]
    deliveries = [row for row in deliveries if row[0] not in waiting]
    if walk is Walk.CONTENT:
        _forget_content(ledger, old, deliveries)
        for channel, cutoff in by_channel.items():
            if cutoff and not reached:
                ledger.driver.run(FORGET_REFUSED, channel, cutoff)
        return Pruned(0, 0, len(old), reached)
    _forget_messages(ledger, [row.message for row in old], deliveries)
    return Pruned(len(old), len(deliveries), 0, reached)


def _slice(rows: Sequence[_Row], latest: int, limit: int) -> tuple[list[_Row], int]:
    """Of `rows`, those for one commit, and how far the walk has come; 0 where it is at its end."""
    seen: list[_Row] = []
    size = 0
    for row in rows:
        if row.received_at >= latest:
            return seen, 0
        if seen and (size := size + row.size) > SLICE_BYTES:
            return seen, seen[-1].at
        seen.append(row)
    return seen, seen[-1].at if len(rows) == limit else 0


def _deliveries(ledger: Ledger, messages: Collection[int]) -> list[Row]:
    """(message, delivery, state) of everything that was sent because of these messages."""
    if not messages:
        return []
    ids = ledger.driver.numbers(sorted(messages))
    return [*ledger.driver.rows(OWN_DELIVERIES, ids), *ledger.driver.rows(FURTHER_DELIVERIES, ids)]


def _forget_content(ledger: Ledger, old: Sequence[_Row], deliveries: Sequence[Row]) -> None:
    if not old:
        return
    driver = ledger.driver
    owners = driver.numbers([row.at for row in old])
    driver.run(FORGET_CONTENT, owners)
    driver.run(FORGET_CHUNKS, owners)
    driver.run(FORGET_REPLIES, driver.numbers(sorted({row[1] for row in deliveries})))


def _forget_messages(ledger: Ledger, messages: Sequence[int], deliveries: Sequence[Row]) -> None:
    if not messages:
        return
    driver = ledger.driver
    first, last = messages[0], messages[-1]
    if last > driver.rows(keys.KEYED)[0][0]:
        keys.gather(ledger)  # what gathering has not seen yet must not be missing when it does
    ids, sent = driver.numbers(messages), driver.numbers(sorted({row[1] for row in deliveries}))
    known = [(channel, bytes(key), number) for channel, key, number in driver.rows(DEDUPE_KEYS, ids)]
    driver.many(FORGET_DEDUPE, known)
    driver.many(FORGET_UNDELIVERED, [(state, number) for _, number, state in deliveries])
    owners = driver.numbers(sorted({*messages, *(row[1] for row in deliveries)}))
    for statement, about in (
        *((FORGET_CONTENT, owners), (FORGET_CHUNKS, owners), (FORGET_ATTEMPTS, sent), (FORGET_DELIVERIES, sent)),
        *((FORGET_TRANSLATIONS, ids), (FORGET_FRESH, ids), (FORGET_FURTHER, ids), (FORGET_MESSAGES, ids)),
    ):
        driver.run(statement, about)
    driver.run(FORGET_KEYS, last, first)
    driver.run(FORGET_RUNS, last, first)
    ledger.after.append(lambda: ledger.duplicates.forget(known))
