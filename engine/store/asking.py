"""A store opened for reading, from outside the engine: its words, and searches."""

from __future__ import annotations

from typing import Any, Self

from sqlalchemy import Table, make_url, select

from engine.errors import StoreError, StoreTooNew
from engine.store import search
from engine.store.driver import Row
from engine.store.reading import SelectReader, open_select_reader
from engine.store.rows import MessageRow
from engine.store.schema import SCHEMA, channel, destination, meta, name
from engine.store.search import Bounds, Names, Query


class Asking:
    """Raises StoreError where there is no store, StoreTooNew for a later release's."""

    def __init__(self, url: str) -> None:
        self._reader: SelectReader = open_select_reader(url)
        self._texts: dict[str, dict[int, str]] = {}
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ── searching ──────────────────────────────────────────────────────────────────────────────────────────────────

    def find(self, query: Query = Query(), limit: int = 50, before: int = 0) -> list[MessageRow]:  # noqa: B008 - immutable
        """Messages that pass every filter, newest first; `before`: only older ones than this id, for the next page."""
        return [self._message(row) for row in self._reader.select(self.statement(query, limit, before))]

    def statement(self, query: Query, limit: int, before: int) -> Any:
        """The statement `find` runs; for the tests that look at its plan."""
        names = Names(self._number_in(name), self._number_in(channel), self._number_in(destination), self._reader.dialect)
        return search.find(query, names, self._bounds(query), limit, before)

    def _bounds(self, query: Query) -> Bounds:
        lowest = highest = 0
        select_ = self._reader.select
        if query.since or query.until:
            keyed = select_(search.keyed())[0][0]
            if query.since:
                lowest = select_(search.lowest_id(query.since))[0][0] or keyed + 1
            if query.until and not select_(search.early_unkeyed(keyed, query.until)):
                highest = select_(search.highest_id(query.until))[0][0] or -1
        return Bounds(lowest, highest)

    def names(self) -> tuple[list[str], list[str]]:
        """The channels and the destinations that the store has seen, in the order of their first use."""
        return list(self._known(channel, fresh=True).values()), list(self._known(destination, fresh=True).values())

    # ── pieces ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _message(self, row: Row) -> MessageRow:
        number, channel_number, state, reason, park_reason, *facts, original, replay_of, part_of, why, deliveries = row
        words = self._text(name, state), why or reason or "", self._text(name, park_reason) if park_reason else ""
        links = original or 0, replay_of or 0, part_of or 0, deliveries or 0
        return MessageRow._make((number, self._text(channel, channel_number), *words, *facts, *links))

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
