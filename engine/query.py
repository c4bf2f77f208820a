"""The search language, the same in terminal and console: `mrn:12345 channel:charges state:parked since:2h type:DFT^P03`.

Terms stand side by side and all must hold. A term is `key:value`, with quotation marks where the value has spaces; a key
is one of `KEYS` or a business key from some channel's `index:`. A message's id may stand alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from engine.errors import WardlineError
from engine.escape import visible
from engine.ids import parse_id
from engine.model import SECOND, DeliveryState, MessageState
from engine.text import did_you_mean, listed

if TYPE_CHECKING:
    from engine.store.history import History, MessageRow, Query

KEYS = {
    "id": "the message with this id",
    "channel": "what came in through a channel",
    "state": "messages in this state, or with a delivery in it",
    "type": "the kind of message: type:DFT^P03",
    "control": "the sender's own id: MSH-10, ISA13, Bundle.identifier",
    "destination": "messages with a delivery to a destination",
    "since": "received from then on: 2h, 3d, 2026-11-21, 2026-11-21T10:30",
    "until": "received until then; a date means to the end of that day",
}
STATES = tuple(dict.fromkeys([*map(str, MessageState), *map(str, DeliveryState)]))
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

_TERM = re.compile(r"""\s*(?:(?P<key>[A-Za-z][\w.-]*):)?(?:"(?P<quoted>[^"]*)(?P<closed>"?)|(?P<plain>[^\s"]*))(?P<rest>\S*)""")
_IDENTITY = re.compile(r"([0-9A-Za-z]{10,11})(?:-[0-9]{1,4})?")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_AGE = re.compile(r"(\d{1,6})([smhdw])")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class QueryError(WardlineError):
    """A query that cannot be read. `term` is what is wrong in it; the text says what would be right."""

    exit_code = 2

    def __init__(self, problem: str, term: str) -> None:
        super().__init__(f"{visible(term, 60)}: {problem}")
        self.term = term


class Search(NamedTuple):
    """A query, read. What was not asked for is empty; instants are microseconds since 1970, `until` not included."""

    id: int = 0
    channel: str = ""
    state: str = ""
    type: str = ""
    control: str = ""
    destination: str = ""
    since: int = 0
    until: int = 0
    keys: tuple[tuple[str, str], ...] = ()  # business keys: (name, value)


def parse(text: str, now: int, timezone: str = "UTC", names: Iterable[str] | None = None) -> Search:
    """Read a query. `now` is in microseconds; `timezone` is what dates without an offset are in; `names` are the business
    keys of the site, where they are known. Raises QueryError.
    """
    known = None if names is None else sorted(set(names))
    found: dict[str, object] = {}
    keys: dict[tuple[str, str], None] = {}
    for key, value, term in _terms(text):
        if key not in KEYS:
            _check_business_key(key, value, term, known)
            keys[key, value] = None
        elif key in found:
            raise QueryError(f"{key}: stands twice, and a message has only one", term)
        elif not value:
            raise QueryError(f"nothing stands after {key}:, which asks for {KEYS[key]}", term)
        else:
            found[key] = _read(key, value, term, now, timezone)
    search = Search(**found, keys=tuple(keys))  # type: ignore[arg-type]
    if search.until and search.since >= search.until:
        raise QueryError("nothing can be later than since: and earlier than until:", text.strip())
    return search


def _terms(text: str) -> Iterable[tuple[str, str, str]]:
    """(key, value, the term as it was written)."""
    at, text = 0, text.strip()
    while at < len(text):
        found = _TERM.match(text, at)
        if found is None or found.end() == at:  # cannot be: a term matches whatever stands there
            raise QueryError("cannot be read", text[at:])
        term, at = found[0].strip(), found.end()
        if found["quoted"] is not None and not found["closed"]:
            raise QueryError('the closing " is missing', term)
        if found["rest"]:
            raise QueryError("a quotation mark stands inside a word; put the whole value in quotation marks", term)
        value = (found["plain"] if found["quoted"] is None else found["quoted"]).strip()
        if _UNSTORABLE.search(value):
            raise QueryError("holds characters that no message can be found by", term)
        if found["key"]:
            yield found["key"], value, term
        elif _is_id(value):
            yield "id", value, term
        else:
            raise QueryError(
                "a term is key:value. Free text search comes with the console; "
                f"a sender's message id is found by control:{visible(value, 20) or 'ID'}",
                term,
            )


def _is_id(text: str) -> bool:
    try:
        return bool(_IDENTITY.fullmatch(text) and message_id(text))
    except ValueError:
        return False


def message_id(text: str) -> int:
    """The message that a person means by an id, or by the identity under which a delivery left: `8000000000-2`.

    Raises ValueError.
    """
    identity = _IDENTITY.fullmatch(text.strip())
    return parse_id(identity[1] if identity else text)


def _check_business_key(key: str, value: str, term: str, names: Sequence[str] | None) -> None:
    if names is None:  # any name may be one, but not one that was meant to be another
        if hint := did_you_mean(key, KEYS):
            raise QueryError(f"no such key.{hint}", term)
    elif key not in names:
        own = f"; the channels index {listed(names)}" if names else "; no channel has an index: of its own"
        raise QueryError(f"no such key.{did_you_mean(key, [*KEYS, *names])} There are {listed(KEYS)}{own}", term)
    if not value:
        raise QueryError(f"nothing stands after {key}:", term)


def _read(key: str, value: str, term: str, now: int, timezone: str) -> object:
    if key == "id":
        try:
            return message_id(value)
        except ValueError as error:
            raise QueryError(str(error), term) from None
    if key == "state":
        if value.lower() not in STATES:
            raise QueryError(f"no such state.{did_you_mean(value, STATES)} There are {listed(STATES)}", term)
        return value.lower()
    if key in ("since", "until"):
        return _instant(value, term, now, ZoneInfo(timezone), end_of_day=key == "until")
    return value


def _instant(value: str, term: str, now: int, zone: tzinfo, end_of_day: bool) -> int:
    if age := _AGE.fullmatch(value):
        return max(1, now - int(timedelta(**{UNITS[age[2]]: int(age[1])}).total_seconds()) * SECOND)
    try:
        if _DAY.fullmatch(value):
            day = date.fromisoformat(value) + timedelta(days=end_of_day)
            moment = datetime(day.year, day.month, day.day, tzinfo=zone)
        else:
            moment = datetime.fromisoformat(value)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        return max(1, round(moment.timestamp() * SECOND))
    except (ValueError, OverflowError):
        text = "no time. Write an age as 30m, 2h, 3d or 1w, a day as 2026-11-21, or an instant as 2026-11-21T10:30"
        raise QueryError(text, term) from None


# ── asking the store ───────────────────────────────────────────────────────────────────────────────────────────────


def find(
    history: History, search: Search, limit: int = 50, before: int = 0, configured: Collection[str] = ()
) -> list[MessageRow]:
    """Messages that match, newest first; `before`: only older ones than this id, for the next page.

    Raises QueryError for a channel or destination that the store has never seen and that is not among the `configured` names.
    """
    check_names(history, search, configured)
    found = {row.id: row for query in queries(search) for row in history.find(query, limit, before)}
    return [found[number] for number in sorted(found, reverse=True)[:limit]]


def check_names(history: History, search: Search, configured: Collection[str] = ()) -> None:
    """Raises QueryError, as `find`."""
    for key, value, seen in zip(("channel", "destination"), (search.channel, search.destination), history.names(), strict=True):
        known = sorted({*seen, *configured})
        if value and known and value not in known:
            raise QueryError(
                f"no message has had this {key}.{did_you_mean(value, known)} Seen so far: {listed(known)}", f"{key}:{value}"
            )


def queries(search: Search) -> list[Query]:
    """What the store is asked: `parked` is a state of messages and of deliveries, and people mean both."""
    from engine.store.history import Query

    query = Query(
        message_id=search.id,
        channel=search.channel,
        kind=search.type,
        control_id=search.control,
        keys=search.keys,
        destination=search.destination,
        since=search.since,
        until=search.until - 1 if search.until else 0,  # the store's is inclusive
    )
    asked = []
    if not search.state or search.state in list(MessageState):
        asked.append(replace(query, state=search.state))
    if search.state in list(DeliveryState):
        asked.append(replace(query, delivery_state=search.state))
    return asked
