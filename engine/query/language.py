"""The search language, the same in terminal and console: `mrn:12345 channel:charges state:parked since:2h "chest pain"`.

Terms stand side by side and all must hold. A term is `key:value`; a key is one of `KEYS` or a business key from some
channel's `index:`. Several values, by commas, mean any of them; a `-` before the key means none of them. A value in
quotation marks is taken as it is (`""` stands for one quotation mark). What has no key is text to be found in the contents,
a phrase where it stands in quotation marks; a message's id may stand alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from engine.errors import WardlineError
from engine.escape import visible
from engine.ids import format_id, parse_id
from engine.model import SECOND, DeliveryState, MessageState
from engine.text import did_you_mean, listed

TEXT: Final = "text"
KEYS: Final = {
    "id": "the message with this id",
    "channel": "what came in through a channel",
    "state": "messages in this state, or with a delivery in it",
    "type": "the kind of message: type:DFT^P03, or type:DFT for all DFT^…",
    "control": "the sender's own id: MSH-10, ISA13, Bundle.identifier",
    "destination": "messages with a delivery to a destination",
    "error": "words in why a message was filtered, rejected or parked, or why a delivery failed",
    "is": "what a message has been through: is:replayed",
    "since": "received from then on: 2h, 3d, 2026-11-21, 2026-11-21T10:30",
    "until": "received until then; a date means to the end of that day",
    TEXT: "words in any content; words without a key mean the same",
    "text.in": "words in what came in",
    "text.canonical": "words in what a mapping made of it",
    "text.out": "words in what went out",
    "text.answer": "words in what a destination answered",
}
FLAGS: Final = {
    "duplicate": "came again, was answered as before and not processed a second time",
    "in-doubt": "an attempt to deliver it ended without an answer: the receiver may have it",
    "replayed": "was taken once more by somebody, as a new message",
    "replay": "is such a new message",
    "resent": "has a delivery that somebody sent once more",
    "batch": "came as a batch, whose messages are messages of their own",
}
STATES: Final = tuple(dict.fromkeys([*map(str, MessageState), *map(str, DeliveryState)]))
UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
MOST_TERMS: Final = 40
MOST_VALUES: Final = 1000  # in a whole query

_ONCE: Final = ("id", "channel", "state", "type", "control", "destination", "since", "until")
_ALONE: Final = ("since", "until")  # neither lists nor their opposite
_HEAD = re.compile(r"(?P<minus>-?)(?:(?P<key>[A-Za-z][\w.-]*):)?")
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_ITEM = re.compile(r'[^\s",]*')
_WORD = re.compile(r'[^\s"]*')
_IDENTITY = re.compile(r"([0-9A-Za-z]{10,11})(?:-[0-9]{1,4})?")
_SPACES = re.compile(r"\s*")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_AGE = re.compile(r"(\d{1,6})([smhdw])")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class QueryError(WardlineError):
    """A query that cannot be read. `term` is what is wrong in it; the text says what would be right."""

    exit_code = 2

    def __init__(self, problem: str, term: str) -> None:
        super().__init__(f"{visible(term, 60)}: {problem}")
        self.term, self.problem = term, problem


class Term(NamedTuple):
    """One condition: any of `values`, or with `negated` none of them. Ids are written as people read them."""

    key: str  # one of KEYS, or a business key
    values: tuple[str, ...]
    negated: bool = False

    def __str__(self) -> str:
        if self.key == TEXT:
            (value,) = self.values
            return value if _is_bare(value) else _quoted(value)
        values = ",".join(value if _is_plain(value, self.key) else _quoted(value) for value in self.values)
        return f"{'-' * self.negated}{self.key}:{values}"


class Search(NamedTuple):
    """A query, read. Instants are microseconds since 1970, 0 where none was named; `until` is not included."""

    terms: tuple[Term, ...] = ()
    since: int = 0
    until: int = 0

    def __str__(self) -> str:
        """The query, written so that it is read as the same."""
        return " ".join(map(str, self.terms))

    def values(self, key: str) -> tuple[str, ...]:
        """Those that are asked for; empty where the key was not used or only with a `-`."""
        return tuple(value for term in self.terms if term.key == key and not term.negated for value in term.values)

    @property
    def texts(self) -> list[tuple[str, str]]:
        """(words, stage) to be found in contents; stage '' is any."""
        found = ((term, term.key.partition(".")) for term in self.terms if is_text(term.key))
        return [(term.values[0], stage) for term, (_, _, stage) in found]

    def hint(self) -> str:
        """What somebody may have meant who has found nothing; '' where there is nothing to say."""
        for term in self.terms:
            if term.key == "id" and not term.negated:
                return f"No message has the id {term.values[0]}. To find it in contents, write text:{term.values[0]}"
            if term.key == TEXT and (identity := _IDENTITY.fullmatch(term.values[0])) and term.values[0].isupper():
                return f"{identity[0]} was looked for in contents. If it is a message's id, write id:{identity[0]}"
        return ""


def is_text(key: str) -> bool:
    return key == TEXT or (key.startswith(f"{TEXT}.") and key in KEYS)


def parse(text: str, now: int, timezone: str = "UTC", names: Iterable[str] | None = None) -> Search:
    """Read a query. `now` is in microseconds; `timezone` is what dates without an offset are in; `names` are the business
    keys of the site, where they are known. Raises QueryError.
    """
    known = None if names is None else sorted(set(names))
    terms: dict[Term, None] = {}
    instants = {"since": 0, "until": 0}
    for term, written in _terms(text.strip()):
        key = term.key
        if key not in KEYS:
            _check_business_key(term, written, known)
        if not all(term.values):
            raise QueryError(_nothing_after(key), written)
        if any(_UNSTORABLE.search(value) for value in term.values):
            raise QueryError("holds characters that no message can be found by", written)
        if key in _ONCE and any(each.key == key and each.negated == term.negated for each in terms):
            raise QueryError(_twice(key), written)
        if term.negated and (key in _ALONE or is_text(key)):
            raise QueryError(f"{key}: cannot be left out, only asked for: take the - away", written)
        terms[_read(term, written)] = None
        if key in instants:
            instants[key] = _instant(term.values[0], written, now, ZoneInfo(timezone), end_of_day=key == "until")
        if len(terms) > MOST_TERMS:
            raise QueryError(f"a query has at most {MOST_TERMS} terms", written)
        if sum(len(each.values) for each in terms) > MOST_VALUES:
            raise QueryError(f"a query has at most {MOST_VALUES:,} values", written)
    search = Search(tuple(terms), **instants)
    if search.until and search.since >= search.until:
        raise QueryError("nothing can be later than since: and earlier than until:", text.strip())
    return search


def listing(key: str, values: Iterable[str]) -> str:
    """A term for a list that somebody has pasted, one value to a line or between commas, tabs or semicolons.

    Raises QueryError where there is none, or more than MOST_VALUES.
    """
    found = dict.fromkeys(value for line in values for part in re.split(r"[\r\n\t,;]", line) if (value := part.strip(' "')))
    if not found:
        raise QueryError("the list is empty: paste one value to a line", key)
    if len(found) > MOST_VALUES:
        raise QueryError(f"{len(found):,} values are too many for one search: at most {MOST_VALUES:,}", key)
    return str(Term(key, tuple(found)))


def message_id(text: str) -> int:
    """The message that a person means by an id, or by the identity under which a delivery left: `8000000000-2`.

    Raises ValueError.
    """
    identity = _IDENTITY.fullmatch(text.strip())
    return parse_id(identity[1] if identity else text)


# ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _terms(text: str) -> Iterator[tuple[Term, str]]:
    """Terms, each with how it was written."""
    at = 0
    while at < len(text):
        start = at
        head = _HEAD.match(text, at)
        assert head is not None  # it matches nothing at all
        key, minus = head["key"] or "", bool(head["minus"])
        values, at = _values(text, head.end(), start, lists=bool(key) and not is_text(key))
        written = text[start:at]
        if not key and minus:
            raise QueryError('only a key:value can be left out; text that begins with - stands in quotation marks: "-5"', written)
        if key:
            yield Term(key, values, minus), written
        elif _is_id(values[0]) and not written.startswith('"'):
            yield Term("id", values), written
        else:
            yield Term(TEXT, values), written
        spaces = _SPACES.match(text, at)
        at = spaces.end() if spaces else at


def _values(text: str, at: int, start: int, lists: bool) -> tuple[tuple[str, ...], int]:
    """What stands from `at` on, and where it ends."""
    values: dict[str, None] = {}
    while True:
        quoted = _QUOTED.match(text, at)
        found = quoted or (_ITEM if lists else _WORD).match(text, at)
        assert found is not None  # it matches nothing at all
        if quoted is None and text[at : at + 1] == '"':
            raise QueryError('the closing " is missing', text[start:])
        values[quoted[1].replace('""', '"').strip() if quoted else found[0]] = None
        at = found.end()
        if not lists or text[at : at + 1] != ",":
            break
        at += 1
    if at < len(text) and not text[at].isspace():
        rest = _WORD.match(text, at + 1)
        written = text[start : rest.end() if rest else at]
        raise QueryError("a quotation mark stands inside a word; put the whole value in quotation marks", written)
    return tuple(values), at


def _read(term: Term, written: str) -> Term:
    """With its values as everybody writes them."""
    if term.key == "id":
        try:
            return term._replace(values=tuple(format_id(message_id(value)) for value in term.values))
        except ValueError as error:
            raise QueryError(str(error), written) from None
    for key, known in (("state", STATES), ("is", tuple(FLAGS))):
        if term.key == key:
            values = tuple(value.lower() for value in term.values)
            for value in values:
                if value not in known:
                    what = "no such state" if key == "state" else "a message can be"
                    there = f"There are {listed(known)}" if key == "state" else listed(known, "or")
                    raise QueryError(f"{what}.{did_you_mean(value, known)} {there}".replace("be. ", "be "), written)
            return term._replace(values=values)
    if term.key in _ALONE and len(term.values) > 1:
        raise QueryError("takes one instant", written)
    return term


def _is_id(text: str) -> bool:
    """Ten or eleven letters and digits, but no word of plain letters."""
    try:
        return bool(_IDENTITY.fullmatch(text) and any(map(str.isdigit, text.partition("-")[0])) and message_id(text))
    except ValueError:
        return False


def _is_bare(value: str) -> bool:
    """Text that needs no quotation marks to be read as text."""
    head = _HEAD.match(value)
    return bool(value) and _WORD.fullmatch(value) is not None and not _is_id(value) and not (head and head[0])


def _is_plain(value: str, key: str) -> bool:
    return bool(value) and bool((_WORD if is_text(key) else _ITEM).fullmatch(value))


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def _check_business_key(term: Term, written: str, names: Sequence[str] | None) -> None:
    key = term.key
    as_text = "" if term.negated else f"; to find it in contents, put it in quotation marks: {_quoted(visible(written, 40))}"
    if names is None:  # any name may be one, but not one that was meant to be another
        if hint := did_you_mean(key, KEYS):
            raise QueryError(f"no such key.{hint}", written)
    elif key not in names:
        own = f"; the channels index {listed(names)}" if names else "; no channel has an index: of its own"
        raise QueryError(f"no such key.{did_you_mean(key, [*KEYS, *names])} There are {listed(KEYS)}{own}{as_text}", written)


def _nothing_after(key: str) -> str:
    return f"nothing stands after {key}:" + (f", which asks for {KEYS[key]}" if key in KEYS else "")


def _twice(key: str) -> str:
    if key in _ALONE:
        return f"{key}: stands twice"
    return f"{key}: stands twice, and a message has only one; for any of several write {key}:one,other"


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
