"""A store opened for reading, from outside the engine: its words, and searches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, Self

import orjson
from sqlalchemy import Table, make_url, select

from engine.errors import StoreError, StoreTooNew
from engine.store import search
from engine.store.driver import Row
from engine.store.reading import SECONDS, SelectReader, open_select_reader
from engine.store.rows import FoundDelivery, MessageRow, Page
from engine.store.schema import SCHEMA, channel, destination, message, meta, name, translation
from engine.store.search import Bounds, Names, Query
from engine.store.walk import Walk

RECENT: Final = 2000  # messages whose words are offered while somebody types


class Asking:
    """Raises StoreError where there is no store, StoreTooNew for a later release's."""

    def __init__(self, url: str) -> None:
        self._reader: SelectReader = open_select_reader(url)
        self._texts: dict[str, dict[int, str]] = {}
        self.interrupted = False
        self.interrupts: list[Callable[[], None]] = []  # what else is to end when a search is called off
        try:
            found = self._reader.select(select(meta.c.schema))[0][0]
        except Exception as error:
            self._reader.close()
            raise StoreError(f"there is no Wardline store at {make_url(url).render_as_string()}") from error
        if found != SCHEMA:
            self._reader.close()
            if found > SCHEMA:
                raise StoreTooNew(f"this store was written by a later release (schema {found}, this one knows {SCHEMA})")
            raise StoreError(f"this store has an older schema ({found}): start the engine once to bring it up to {SCHEMA}")

    def close(self) -> None:
        self._reader.close()

    def replaced(self) -> bool:
        """Whether a backup was put in the store's place since: then what is read here is what was before."""
        return self._reader.replaced()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ── searching ──────────────────────────────────────────────────────────────────────────────────────────────────

    def interrupt(self) -> None:
        """From any thread: whatever is asked now or later ends with SearchStopped. What is left is to close."""
        self.interrupted = True
        self._reader.interrupt()
        for one in self.interrupts:
            one()

    def find(self, query: Query = Query(), limit: int = 50, before: int = 0) -> list[MessageRow]:  # noqa: B008 - immutable
        """Messages that pass every filter, newest first; `before`: only older ones than this id, for the next page.

        Raises TookTooLong.
        """
        return [self._message(row) for row in self._reader.select(self.statement(query, limit, before))]

    def page(self, query: Query, limit: int = 50, before: int = 0, after: int = 0, seconds: float = SECONDS) -> Page:
        """As `find`, but what takes longer than `seconds` ends where it has come to. `after`: the nearest newer ones than
        this id. Walks in stretches that grow, so that what is near is found at once and no statement is long.

        Raises TookTooLong where it has come nowhere.
        """
        walk = Walk(self._reader, query, self._names(query), self.bounds(query), before, after)
        rows, reached, reached_at = walk.collect(limit, seconds)
        return Page([self._message(row) for row in rows], reached, reached_at)

    def statement(self, query: Query, limit: int, before: int) -> Any:
        """The statement `find` runs; for the tests that look at its plan."""
        return search.find(query, self._names(query), self.bounds(query), limit, before)

    def _names(self, query: Query) -> Names:
        waiting = any("waiting" in search.several(each.delivery_state) for each in (query, *query.without))
        few_wait = waiting and not self._reader.select(search.many_wait())
        numbers = self._number_in(name), self._number_in(channel), self._number_in(destination)
        return Names(*numbers, self._reader.dialect, few_wait)

    def bounds(self, query: Query) -> Bounds:
        """Ids between which lies what was received in the query's time."""
        lowest = highest = 0
        select_ = self._reader.select
        if query.since or query.until:
            keyed = select_(search.keyed())[0][0]
            if query.since:
                lowest = select_(search.lowest_id(query.since))[0][0] or keyed + 1
            if query.until and not select_(search.early_unkeyed(keyed, query.until)):
                highest = select_(search.highest_id(query.until))[0][0] or -1
        return Bounds(lowest, highest)

    # ── what stands in the lines of a result ───────────────────────────────────────────────────────────────────────

    def keys_of(self, messages: Collection[int]) -> dict[int, list[tuple[str, str]]]:
        """The business keys of these messages, (name, value), by message; those without any are absent."""
        t = translation.c
        rows = self._reader.select(select(t.message_id, t["keys"]).where(t.message_id.in_(messages), t["keys"].is_not(None)))
        return {number: [self._key(each) for each in orjson.loads(keys)] for number, keys in rows}

    def deliveries_of(self, messages: Collection[int]) -> dict[int, list[FoundDelivery]]:
        """The deliveries of these messages, in the order in which they were recorded; those without any are absent."""
        found: dict[int, list[FoundDelivery]] = {}
        rows = [row for statement in search.deliveries_of(messages) for row in self._reader.select(statement)]
        for message_id, number, to, state, in_doubt, reason in sorted(rows, key=lambda row: int(row[1])):
            one = FoundDelivery(number, self._text(destination, to), self._text(name, state), bool(in_doubt), reason or "")
            found.setdefault(message_id, []).append(one)
        return found

    def exist(self, messages: Iterable[int]) -> set[int]:
        """Those of these that there are."""
        return {row[0] for row in self._reader.select(select(message.c.id).where(message.c.id.in_(list(messages))))}

    # ── the words of the store ─────────────────────────────────────────────────────────────────────────────────────

    def names(self) -> tuple[list[str], list[str]]:
        """The channels and the destinations that the store has seen, in the order of their first use."""
        return list(self._known(channel, fresh=True).values()), list(self._known(destination, fresh=True).values())

    def kinds(self) -> list[str]:
        """The kinds of the newest messages, the most frequent first."""
        return [row[0] for row in self._reader.select(search.recent_kinds(RECENT))]

    def key_names(self) -> list[str]:
        """The names of the newest messages' business keys."""
        t = translation.c
        rows = self._reader.select(select(t["keys"]).where(t["keys"].is_not(None)).order_by(t.message_id.desc()).limit(RECENT))
        numbers = {key.partition(":")[0] for row in rows for key in orjson.loads(row[0])}
        return sorted(self._text(name, int(number)) for number in numbers)

    def channel_of(self, message_id: int) -> str:
        """The channel that a message came in through; '' where there is no such message."""
        rows = self._reader.select(select(message.c.channel).where(message.c.id == message_id))
        return self._text(channel, rows[0][0]) if rows else ""

    # ── pieces ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _message(self, row: Row) -> MessageRow:
        number, channel_number, state, reason, park_reason, *facts, original, replay_of, part_of, why, deliveries = row
        words = self._text(name, state), why or reason or "", self._text(name, park_reason) if park_reason else ""
        links = original or 0, replay_of or 0, part_of or 0, deliveries or 0
        return MessageRow._make((number, self._text(channel, channel_number), *words, *facts, *links))

    def _key(self, key: str) -> tuple[str, str]:
        number, _, value = key.partition(":")
        return self._text(name, int(number)), value

    def _known(self, table: Table, fresh: bool = False) -> dict[int, str]:
        if fresh or table.name not in self._texts:
            self._texts[table.name] = {row[0]: row[1] for row in self._reader.select(select(*list(table.c)[:2]))}
        return self._texts[table.name]

    def _text(self, table: Table, number: int) -> str:
        text = self._known(table).get(number)
        return self._known(table, fresh=True)[number] if text is None else text

    def _number_in(self, table: Table) -> Any:
        def number(text: str) -> int:
            for fresh in (False, True):
                for known, title in self._known(table, fresh).items():
                    if title == text:
                        return known
            return -1

        return number
