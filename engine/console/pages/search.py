"""Finding messages: over all channels at once, in one language, without ever loading a body."""

from __future__ import annotations

import re
from functools import partial
from typing import Literal

from pydantic import Field

from engine.console.answers import Denied, Done, Download, Invalid, NotFound
from engine.console.doors import Scope, door
from engine.console.models import Asked, Instant, MessageId, Nothing, Told
from engine.console.rendering import url
from engine.console.rights import Right
from engine.console.saved import LONGEST_NAME, Saved, Searches
from engine.console.searching import read_query, texts_of, visible
from engine.console.visit import Visit
from engine.errors import WardlineError
from engine.query import STATES, QueryError, Search, Term, completions, every, find, listing
from engine.query.lines import Line, as_csv, as_jsonl, lines
from engine.store.reading import SearchStopped

LONGEST = 60_000  # characters of a query: a thousand keys of some length
FORM = ("channel", "state", "type", "destination", "is", "since", "until", "error")  # keys that have a field in the form
NO_TEXT = "you may not read contents on any channel, and so not look for words in them"


class SearchAsked(Asked):
    q: str = Field("", max_length=LONGEST)
    before: MessageId = 0  # only older ones: the next page
    after: MessageId = 0  # only newer ones: the page before
    limit: int = Field(40, ge=1, le=500)  # of a page, so that it stays light


class Tally(Told):
    """The deliveries of a message in one state."""

    state: str
    count: int
    destinations: list[str]


class Key(Told):
    """A business key of a message."""

    name: str
    value: str


class FoundMessage(Told):
    id: MessageId
    received_at: Instant
    channel: str
    type: str
    control_id: str
    state: str
    park_reason: str
    reason: str
    keys: list[Key]  # where one may read what the channel's messages hold
    deliveries: list[Tally]
    in_doubt: bool  # one of the deliveries may have arrived without an answer
    original: MessageId
    replay_of: MessageId
    part_of: MessageId


class Results(Told):
    messages: list[FoundMessage]
    older: MessageId  # `before` of the next page; null: there is none
    newer: MessageId  # `after` of the page before
    searched_back_to: Instant  # time was up: nothing received before that was looked at; null: everything was
    indexed_up_to: Instant  # words were looked for in what was received until then


class SavedSearch(Told):
    key: str
    name: str
    query: str
    owner: str
    shared: bool


class Page(Told):
    """The search page: what was asked, what was found, and the form beside it."""

    q: str
    results: Results | None
    problem: str  # why there are none
    hint: str
    texts: bool  # words were looked for
    form: dict[str, str]  # values of the form's fields, as they stand in the query
    channels: list[str]
    destinations: list[str]
    types: list[str]
    states: list[str]
    keys: list[str]  # names of business keys
    saved: list[SavedSearch]
    may_act: bool
    limit: int
    first: bool  # the page of the newest


@door("GET", "/messages", Right.SEE, Scope.SOME, "search", page="messages.html", fragment="_found.html")
def messages(visit: Visit, asked: SearchAsked) -> Page:
    """Messages that match, newest first."""
    results, problem, search = None, "", Search()
    try:
        search = read_query(visit, asked.q)
        results = _results(visit, search, asked)
    except SearchStopped:
        raise
    except WardlineError as error:
        problem = str(error)
    channels, destinations = visit.home.seen(visit.history)
    may_see = visit.channels(Right.SEE)
    return Page(
        q=asked.q,
        results=results,
        problem=problem,
        hint=search.hint() if results and not results.messages else "",
        texts=bool(search.texts),
        form={key: _written(search, key) for key in FORM},
        channels=[name for name in channels if may_see is None or name in may_see],
        destinations=[name for name in destinations if _may_name(visit, may_see, name)],
        types=sorted(visit.history.kinds()),
        states=list(STATES),
        keys=sorted({*visit.site.index, *visit.history.key_names()}),
        saved=[_told(one) for one in Searches(visit.home.directory, visit.home.now).of(visit.who.name)],
        may_act=visit.who.somewhere(Right.ACT),
        limit=asked.limit,
        first=not asked.before and not asked.after,
    )


@door("GET", "", Right.SEE, Scope.SOME, "search", api="/messages")
def messages_for_programs(visit: Visit, asked: SearchAsked) -> Results:
    """Messages that match, newest first; the next page is `before` the answer's `older`."""
    try:
        return _results(visit, read_query(visit, asked.q), asked)
    except SearchStopped:
        raise
    except WardlineError as error:
        raise Invalid(("q", str(error))) from error


def _results(visit: Visit, search: Search, asked: SearchAsked) -> Results:
    where = visible(visit, search)
    if search.texts and where is not None and not where:
        raise QueryError(NO_TEXT, "text")
    channels, destinations = visit.home.seen(visit.history)
    with texts_of(visit) as texts:
        found = find(
            visit.history,
            search,
            asked.limit,
            asked.before,
            asked.after,
            visible=where,
            configured={*channels, *destinations},
            texts=texts,
        )
    shown = lines(visit.history, found.rows, partial(visit.may, Right.READ))
    visit.note(query=asked.q[:1000], found=len(shown))
    return Results(
        messages=[_found(line) for line in shown],
        older=found.older,
        newer=found.newer,
        searched_back_to=found.reached_at,
        indexed_up_to=found.indexed_up_to,
    )


def _found(line: Line) -> FoundMessage:
    row, tallies = line.row, dict[str, list[str]]()
    for one in line.deliveries:
        tallies.setdefault(one.state, []).append(one.destination)
    return FoundMessage(
        id=row.id,
        received_at=row.received_at,
        channel=row.channel,
        type=row.kind,
        control_id=row.control_id,
        state=row.state,
        park_reason=row.park_reason,
        reason=line.reason,
        keys=[Key(name=name, value=value) for name, value in line.keys],
        deliveries=[Tally(state=state, count=len(to), destinations=sorted(set(to))) for state, to in tallies.items()],
        in_doubt=any(one.in_doubt and one.state != "delivered" for one in line.deliveries),
        original=row.original,
        replay_of=row.replay_of,
        part_of=row.part_of,
    )


# ── writing a query ────────────────────────────────────────────────────────────────────────────────────────────────


class FormAsked(Asked):
    """The form beside the query: what its fields say stands instead of what the query says of the same keys."""

    q: str = Field("", max_length=LONGEST)
    channel: str = ""
    state: str = ""
    type: str = ""
    destination: str = ""
    is_: str = Field("", alias="is")
    since: str = ""
    until: str = ""
    error: str = ""
    key: str = ""  # a business key, or control
    value: str = ""


@door("GET", "/messages/form", None, Scope.OWN, "")
def form(visit: Visit, asked: FormAsked) -> Done:
    """The query that the form and the query make together."""
    _may_see(visit)
    try:
        search = read_query(visit, asked.q)
    except WardlineError:
        return Done(url("/messages", q=asked.q))  # where it says what is wrong
    kept = [str(term) for term in search.terms if term.negated or term.key not in FORM]
    added = [_term(visit, key, value) for key in FORM if (value := getattr(asked, "is_" if key == "is" else key).strip())]
    if asked.key and asked.value.strip():
        added.append(_term(visit, asked.key, asked.value.strip()))
    return Done(url("/messages", q=" ".join(dict.fromkeys([*kept, *added]))))


class ListAsked(Asked):
    key: str
    values: str
    q: str = Field("", max_length=LONGEST)


@door("POST", "/messages/list", None, Scope.OWN, "", body=256 << 10)
def pasted(visit: Visit, asked: ListAsked) -> Done:
    """A query for any of up to 1,000 values that somebody has pasted."""
    _may_see(visit)
    try:
        term = listing(asked.key, [asked.values])
        rest = [str(one) for one in read_query(visit, asked.q).terms if one.key != asked.key]
        read_query(visit, term)
    except WardlineError as error:
        raise Invalid(("values", str(error))) from error
    return Done(url("/messages", q=" ".join([term, *rest])))


class CompleteAsked(Asked):
    begun: str = Field("", max_length=1000)


class Offer(Told):
    text: str  # stands instead of what was begun
    hint: str


@door("GET", "", None, Scope.OWN, "", api="/messages/complete")
def complete(visit: Visit, asked: CompleteAsked) -> list[Offer]:
    """What may stand where somebody is typing a query."""
    _may_see(visit)
    may_see = visit.channels(Right.SEE)
    found = completions(visit.history, asked.begun, visit.site.index, may_see)
    if re.match("-?destination:", asked.begun):
        found = [one for one in found if _may_name(visit, may_see, re.split("[:,]", one.text)[-1])]
    return [Offer(text=one.text, hint=one.hint) for one in found]


def _may_name(visit: Visit, may_see: frozenset[str] | None, destination: str) -> bool:
    """Whether one may know of a destination: something that one sees is delivered to it."""
    return may_see is None or not may_see.isdisjoint(visit.users_of(destination))


def _may_see(visit: Visit) -> None:
    """Of doors that show nothing of a message, and are not worth a row of the trail each time."""
    if visit.who.due or not visit.who.somewhere(Right.SEE):
        raise Denied("The right to see messages is not yours on any channel.", Right.SEE)


def _term(visit: Visit, key: str, value: str) -> str:
    """As it stands in a field: a list where it is one, else a value as it is."""
    try:
        (term,) = read_query(visit, f"{key}:{value}").terms
    except (WardlineError, ValueError):
        term = Term(key, (value,))
    return str(term)


def _written(search: Search, key: str) -> str:
    return next((str(term).removeprefix(f"{key}:") for term in search.terms if term.key == key and not term.negated), "")


# ── a file of it ───────────────────────────────────────────────────────────────────────────────────────────────────


class ExportAsked(Asked):
    q: str = Field("", max_length=LONGEST)
    format: Literal["csv", "jsonl"] = "csv"


@door("GET", "/messages/export", Right.SEE, Scope.SOME, "export", api="/messages/export")
def export(visit: Visit, asked: ExportAsked) -> Download:
    """The lines of up to 100,000 messages that match, as CSV or as a JSON object to a line; never a body."""
    try:
        search = read_query(visit, asked.q)
        where = visible(visit, search)
        if search.texts and where is not None and not where:
            raise QueryError(NO_TEXT, "text")
        history = visit.history
        with texts_of(visit) as texts:  # what is wrong with it is said now, and not in the file
            find(history, search, 1, visible=where, texts=texts)
    except SearchStopped:
        raise
    except WardlineError as error:
        raise Invalid(("q", str(error))) from error
    visit.note(query=asked.q[:1000], format=asked.format)
    way, kind = (as_csv, "text/csv; charset=utf-8") if asked.format == "csv" else (as_jsonl, "application/x-ndjson")

    def chunks() -> object:
        with texts_of(visit) as texts:
            yield from way(history, every(history, search, visible=where, texts=texts), partial(visit.may, Right.READ))

    return Download(f"messages.{asked.format}", kind, chunks())  # type: ignore[arg-type]


# ── saved searches ─────────────────────────────────────────────────────────────────────────────────────────────────


class SaveAsked(Asked):
    name: str = Field(min_length=1, max_length=LONGEST_NAME)
    q: str = Field(min_length=1, max_length=LONGEST)
    shared: bool = False


class KeyAsked(Asked):
    key: str = Field(max_length=40)


@door("GET", "", None, Scope.OWN, "", api="/messages/saved")
def saved(visit: Visit, asked: Nothing) -> list[SavedSearch]:
    """One's own saved searches, and those that others share."""
    _may_see(visit)
    return [_told(one) for one in Searches(visit.home.directory, visit.home.now).of(visit.who.name)]


@door("POST", "/messages/saved", Right.SEE, Scope.SOME, "save search", api="/messages/saved", status=201)
def save(visit: Visit, asked: SaveAsked) -> Done[SavedSearch]:
    """Keep a search under a name; one of the same name is replaced."""
    try:
        read_query(visit, asked.q)
    except WardlineError as error:
        raise Invalid(("q", str(error))) from error
    made = Searches(visit.home.directory, visit.home.now).keep(visit.who.name, asked.name.strip(), asked.q.strip(), asked.shared)
    visit.note(made.key, query=made.query[:1000], shared=made.shared)
    note = f"Saved as {made.name}" + (", for everybody." if made.shared else ".")
    return Done(url("/messages", q=made.query), note, _told(made), 201)


@door("POST", "/messages/saved/{key}/forget", Right.SEE, Scope.SOME, "forget search", api="/messages/saved/{key}/forget")
def forget(visit: Visit, asked: KeyAsked) -> Done:
    """One's own; whoever lets people in may forget what others share."""
    searches = Searches(visit.home.directory, visit.home.now)
    if not searches.forget(visit.who.name, asked.key, anybody=visit.who.everywhere(Right.PEOPLE)):
        raise NotFound("There is no saved search of this name that is yours.")
    visit.note(asked.key)
    return Done("/messages", "Forgotten.")


def _told(one: Saved) -> SavedSearch:
    return SavedSearch(key=one.key, name=one.name, query=one.query, owner=one.owner, shared=one.shared)
