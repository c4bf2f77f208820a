"""Finding what a query asks for: in the store, and where it asks for words, in the index of texts first."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from engine.model import DeliveryState, MessageState
from engine.query.language import QueryError, Search, Term, is_text
from engine.text import did_you_mean, listed

if TYPE_CHECKING:
    from engine.store.history import History, MessageRow, Query
    from engine.textindex import Phrase, TextIndex

SECONDS: Final = 10.0  # one look may take
PAGE: Final = 500  # messages, where everything is wanted
CHUNK: Final = 250  # ids asked of the index of texts at once, and more each time
_RARE: Final = (MessageState.PARKED, MessageState.REJECTED, MessageState.DUPLICATE, MessageState.RECEIVED)
_ENDED: Final = (DeliveryState.PARKED, DeliveryState.CANCELLED, DeliveryState.EXPIRED)

Texts = Callable[[], "TextIndex"]
"""Opens the index of texts; whoever gives it closes what it opened."""


class Found(NamedTuple):
    """A page of messages, newest first."""

    rows: list[MessageRow]
    older: int = 0  # `before` of the next page; 0: this is the last one
    newer: int = 0  # `after` of the page before; 0: this is the first one
    reached_at: int = 0  # time was up: only what was received since then was looked at; 0: everything was
    indexed_up_to: int = 0  # words were looked for: in what was received until then


def find(
    history: History,
    search: Search,
    limit: int = 50,
    before: int = 0,
    after: int = 0,
    *,
    visible: Collection[str] | None = None,
    configured: Collection[str] = (),
    texts: Texts | None = None,
) -> Found:
    """A page of what matches: the newest, or those next `before` or `after` an id. `visible`: channels that the asker may
    see, None for all. Ends after SECONDS with what there is.

    Raises QueryError for a channel or destination that the store has never seen and that is not among the `configured`
    names; NotWords, NoIndex where words are asked for; TookTooLong, SearchStopped.
    """
    check_names(history, search, configured, visible)
    until = time.monotonic() + SECONDS
    asked = queries(search, visible)
    indexed = 0
    if search.texts:
        index = _opened(texts)
        history.interrupts.append(index.interrupt)
        try:
            indexed = index.indexed_up_to()[1]
            rows, reached, reached_at = _by_text(history, index, search, asked, limit + 1, before, after, until)
        finally:
            history.interrupts.clear()
    else:
        rows, reached, reached_at = _pages(history, asked, limit + 1, before, after, until)
    more = len(rows) > limit
    rows = (rows[-limit:] if after else rows[:limit]) if more else rows
    if after:
        older = rows[-1].id if rows else after + 1
        newer = rows[0].id if more else reached
    else:
        older = rows[-1].id if more else reached
        newer = (rows[0].id if rows else before - 1) if before else 0
    return Found(rows, older, newer, 0 if more else reached_at, indexed)


def every(
    history: History, search: Search, *, visible: Collection[str] | None = None, texts: Texts | None = None
) -> Iterator[list[MessageRow]]:
    """Everything that matches, a page after the other, newest first. A page may be empty: time was up, and it goes on."""
    before = 0
    while True:
        found = find(history, search, PAGE, before, visible=visible, texts=texts)
        yield found.rows
        before = found.older
        if not before:
            return


def check_names(
    history: History, search: Search, configured: Collection[str] = (), visible: Collection[str] | None = None
) -> None:
    """Raises QueryError, as `find`."""
    channels, destinations = history.names()
    for key, seen in (("channel", channels), ("destination", destinations)):
        known = sorted({*seen, *configured})
        if key == "channel" and visible is not None:
            known = sorted(visible)
        for term in search.terms:
            for value in term.values if term.key == key else ():
                if known and value not in known:
                    problem = f"no message has had this {key}.{did_you_mean(value, known)} Seen so far: {listed(known)}"
                    raise QueryError(problem, str(Term(key, (value,))))


def queries(search: Search, visible: Collection[str] | None = None) -> list[Query]:
    """What the store is asked; it finds what any of these find. `parked` is a state of messages and of deliveries, and
    people mean both; states are asked one by one where each has an index of its own.
    """
    from engine.store.history import Query

    query = Query(
        since=search.since,
        until=search.until - 1 if search.until else 0,  # the store's is inclusive
        visible=None if visible is None else tuple(sorted(visible)),
    )
    without: list[Query] = []
    states: Sequence[str] = ()
    for term in search.terms:
        if term.key == "state" and not term.negated:
            states = term.values
        elif term.key == "state":
            without += [Query(state=term.values), Query(delivery_state=term.values)]
        elif term.negated:
            without.append(_narrowed(Query(), term))
        else:
            query = _narrowed(query, term)
    query = replace(query, without=tuple(without))
    if not states:
        return [query]
    common = tuple(state for state in states if state in (MessageState.TRANSLATED, MessageState.FILTERED))
    ended = tuple(state for state in states if state in _ENDED)
    asked = [replace(query, state=state) for state in states if state in _RARE]
    asked += [replace(query, state=common)] if common else []
    asked += [replace(query, delivery_state=ended)] if ended else []
    rest = (DeliveryState.WAITING, DeliveryState.SENDING, DeliveryState.DELIVERED)
    return asked + [replace(query, delivery_state=str(state)) for state in rest if state in states]


def _narrowed(query: Query, term: Term) -> Query:
    from engine.ids import parse_id

    key, values = term.key, term.values
    match key:
        case "id":
            return replace(query, message_id=tuple(map(parse_id, values)))
        case "channel":
            return replace(query, channel=values)
        case "type":
            return replace(query, kind=values)
        case "control":
            return replace(query, control_id=values)
        case "destination":
            return replace(query, destination=values)
        case "error":
            return replace(query, error=(*query.error, values))
        case "is":
            return replace(query, flags=(*query.flags, values))
        case "since" | "until":
            return query
        case _ if is_text(key):
            return query
        case _:
            return replace(query, keys=(*query.keys, (key, values)))


# ── in the store ───────────────────────────────────────────────────────────────────────────────────────────────────


Looked = tuple[list["MessageRow"], int, int]
"""Rows, newest first; and where time was up, the id and the instant up to which all was looked at."""


def _pages(history: History, asked: Sequence[Query], limit: int, before: int, after: int, until: float) -> Looked:
    """What any of these find. Where one has come less far than the others, it is how far all have come."""
    rows: dict[int, MessageRow] = {}
    reached = reached_at = 0
    for n, query in enumerate(asked):
        seconds = (until - time.monotonic()) / (len(asked) - n)
        page = history.page(query, limit, before, after, max(seconds, 0.1))
        rows.update((row.id, row) for row in page.rows)
        if page.reached and (not reached or (page.reached < reached if after else page.reached > reached)):
            reached, reached_at = page.reached, page.reached_at
    found = [rows[number] for number in sorted(rows, reverse=True)]
    if reached:
        found = [row for row in found if (row.id <= reached if after else row.id >= reached)]
    found = found[-limit:] if after else found[:limit]
    return (found, 0, 0) if len(found) == limit else (found, reached, reached_at)


# ── in the index of texts ──────────────────────────────────────────────────────────────────────────────────────────


def _opened(texts: Texts | None) -> TextIndex:
    from engine.textindex import NoIndex

    if texts is None:
        raise NoIndex("there is no index of texts here: words are not looked for")
    return texts()


def _by_text(
    history: History, index: TextIndex, search: Search, asked: Sequence[Query], limit: int, before: int, after: int, until: float
) -> Looked:
    """The index knows only the way from the newest back; for the page before, those nearest to `after` are kept."""
    from engine.store.reading import TookTooLong
    from engine.textindex import Interrupted, Phrase

    phrases: list[Phrase] = [Phrase(words, stage) for words, stage in search.texts]
    bounds = history.bounds(asked[0])
    below, lowest = before, max(bounds.lowest, after + 1 if after else 0)
    if bounds.highest:
        below = min(below or bounds.highest + 1, bounds.highest + 1)
    rows: deque[MessageRow] = deque(maxlen=limit if after else None)
    chunk, reached = CHUNK, 0
    while True:
        try:
            ids = index.find(phrases, below, chunk)
            wanted = tuple(number for number in ids if number >= lowest)
            within = [replace(query, message_id=both) for query in asked if (both := _both(query, wanted))]
            left = len(wanted) if after else limit - len(rows)
            rows.extend(_pages(history, within, left, 0, 0, until)[0])
        except (Interrupted, TookTooLong):
            if not reached:
                raise
            break
        if len(ids) < chunk or len(wanted) < len(ids) or (len(rows) >= limit and not after):
            return list(rows), 0, 0
        below = reached = ids[-1]
        chunk = min(chunk * 2, 2000)
        if time.monotonic() > until:
            break
    edge = history.find(_only(reached), 1)
    return list(rows), reached, edge[0].received_at if edge else 0


def _both(query: Query, wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Ids that the index has found, and that the query names where it names any."""
    named = query.message_id if isinstance(query.message_id, tuple) else (query.message_id,) if query.message_id else ()
    return tuple(number for number in wanted if number in set(named)) if named else wanted


def _only(number: int) -> Query:
    from engine.store.history import Query

    return Query(message_id=number)
