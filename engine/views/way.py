"""Everything the store knows of one message, read once and within bounds. The other views make what they show of this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from engine.store.figures import Stands
    from engine.store.history import AttemptRow, DeliveryRow, History, MessageFacts, MessageRow
    from engine.store.rows import StandingRow

DELIVERIES: Final = 100  # of one message that are read
ATTEMPTS: Final = 20  # of one delivery: the newest
OTHERS: Final = 20  # parts, replays, re-sends


class Sent(NamedTuple):
    """One delivery, with what was tried and what it waits for."""

    row: DeliveryRow
    order_keys: tuple[str, ...]
    attempts: tuple[AttemptRow, ...]  # the newest, without their answers
    standing: tuple[StandingRow, ...]  # while it waits
    earlier: bool  # of a translation that was done anew since


class Way(NamedTuple):
    facts: MessageFacts  # without content
    keys: tuple[tuple[str, str], ...]
    not_taken: tuple[tuple[str, str], ...]
    waited_for: tuple[tuple[str, str, str], ...]  # codes: (table, value, place)
    sent: tuple[Sent, ...]
    more_sent: bool  # there are more deliveries
    parts: tuple[MessageRow, ...]
    more_parts: bool
    replays: tuple[MessageRow, ...]
    duplicates: tuple[MessageRow, ...]
    all_duplicates: bool
    destinations: Mapping[str, Stands]  # those it goes to


def way_of(history: History, message_id: int) -> Way | None:
    """None where there is no such message. Bounded reads: at most some hundreds of rows, and no content."""
    facts = history.message(message_id, content=False)
    if facts is None:
        return None
    row = facts.row
    rows = history.deliveries(message_id, DELIVERIES + 1)
    sent = tuple(_sent(history, one, facts.translated_at) for one in rows[:DELIVERIES])
    batch = row.kind == "batch"
    parts = history.parts(message_id, OTHERS + 1) if batch else []
    no_duplicates: tuple[list[MessageRow], bool] = [], True
    duplicates, complete = no_duplicates if row.original else history.duplicates(message_id, OTHERS)
    _, states = history.standings()
    return Way(
        facts,
        tuple(history.keys(message_id)),
        tuple(history.not_taken(message_id)),
        tuple(history.waited_for(message_id)) if row.state == "parked" else (),
        sent,
        len(rows) > DELIVERIES,
        tuple(parts[:OTHERS]),
        len(parts) > OTHERS,
        tuple(history.replays(message_id, OTHERS)),
        tuple(duplicates),
        complete,
        {one.row.destination: states[one.row.destination] for one in sent if one.row.destination in states},
    )


def _sent(history: History, row: DeliveryRow, translated_at: int) -> Sent:
    waits = row.state in ("waiting", "sending")
    return Sent(
        row,
        tuple(history.order_keys(row.id)),
        tuple(history.attempts(row.id, replies=False, limit=ATTEMPTS)),
        tuple(history.standing(row.id)) if waits else (),
        bool(translated_at) and row.created_at < translated_at and not row.resend_of,
    )
