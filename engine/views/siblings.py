"""Other messages of the same patient, charge or order: those with the same business keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from engine.store.history import History, MessageRow

EACH: Final = 8  # messages for one business key
KEYS: Final = 12  # business keys of one message that are looked up
SECONDS: Final = 1.0  # for one key


class Siblings(NamedTuple):
    name: str  # of the business key
    value: str
    rows: tuple[MessageRow, ...]  # newest first, without the message itself
    more: bool  # there are more, or there was no time to look for them


def siblings(history: History, message_id: int, keys: Sequence[tuple[str, str]]) -> list[Siblings]:
    """For each business key, the newest other messages that have it."""
    from engine.store.history import Query

    found = []
    for name, value in keys[:KEYS]:
        page = history.page(Query(keys=((name, value),)), EACH + 2, seconds=SECONDS)
        rows = [row for row in page.rows if row.id != message_id]
        found.append(Siblings(name, value, tuple(rows[:EACH]), len(rows) > EACH or bool(page.reached)))
    return found


def previous(history: History, row: MessageRow, keys: Sequence[tuple[str, str]]) -> MessageRow | None:
    """The message before this one with the same business keys, of the same kind and channel: with all of them, else with the
    first that gives one. The channel's `index:` has its keys in the order of their weight."""
    from engine.store.history import Query

    some = tuple(keys[:KEYS])
    for wanted in dict.fromkeys([some, *((one,) for one in some)]):
        if not wanted:
            continue
        rows = history.page(Query(channel=row.channel, kind=row.kind, keys=wanted), 1, row.id, seconds=SECONDS).rows
        if rows:
            return rows[0]
    return None
