"""Every filter of the language: `value | name(…)`. What is not here does not exist.

`each`: applied to each item of a list; nothing stays nothing and an explicit null stays null, so its function sees neither.
`gathers`: a path right before it means every match rather than the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final, NamedTuple

from engine.mapping import composites, dates, lookups
from engine.mapping.codes import CodeTable
from engine.mapping.faults import Refused, Unreadable
from engine.mapping.operators import EXACT, LONGEST, add, bounded, in_range, kind, nothing, text
from engine.mapping.scope import Arguments, Scope
from engine.values import EMPTY, NULL, Composite, Value, component, is_empty

Apply = Callable[[Scope, Value], Value]


class Direct(NamedTuple):
    """What a filter does to one value that is something, without its scope. It gives the same, or raises anything at all."""

    convert: Callable[[Any], Value]
    texts: bool  # to plain texts only


def directly(apply: Apply, convert: Callable[[Any], Value], *, texts: bool = False) -> Apply:
    apply.__dict__["direct"] = Direct(convert, texts)
    return apply


def direct_of(apply: Apply) -> Direct | None:
    found: Direct | None = getattr(apply, "direct", None)
    return found


class Filter(NamedTuple):
    usage: str
    about: str
    build: Callable[[Arguments], Apply]
    each: bool = True
    gathers: bool = False


def _plain(convert: Callable[[Value], Value], usage: str, about: str) -> Filter:
    def build(arguments: Arguments) -> Apply:
        arguments.expect(0, 0, usage)
        return directly(lambda scope, value: convert(value), convert)

    return Filter(usage, about, build)


def _date(arguments: Arguments) -> Apply:
    arguments.expect(0, 1, "| date or | date('%d/%m/%Y')")
    if arguments.given:
        pattern = _pattern(arguments)
        return lambda scope, value: dates.read_pattern(text(value), pattern).date()

    def apply(scope: Scope, value: Value) -> Value:
        if isinstance(value, str):
            return dates.read_date(value)
        if hasattr(value, "date"):
            return value.date()
        if kind(value) == "a date":
            return value
        raise Refused(f"is {kind(value)} and cannot be read as a date")

    return directly(apply, dates.read_date, texts=True)


def _datetime(arguments: Arguments) -> Apply:
    arguments.expect(0, 1, "| datetime or | datetime('%d/%m/%Y %H:%M')")
    if arguments.given:
        pattern = _pattern(arguments)
        return lambda scope, value: dates.read_pattern(text(value), pattern).replace(tzinfo=dates.zone(scope.facts.timezone))

    def apply(scope: Scope, value: Value) -> Value:
        if isinstance(value, str):
            return dates.read_time(value, scope.facts.timezone)
        if kind(value) in ("a date", "a time"):
            return value
        raise Refused(f"is {kind(value)} and cannot be read as a time")

    return apply


def _decimal(arguments: Arguments) -> Apply:
    arguments.expect(0, 0, "| decimal")
    return directly(lambda scope, value: dates.to_decimal(value), dates.read_decimal, texts=True)


def _pattern(arguments: Arguments) -> str:
    try:
        return dates.checked_pattern(arguments.text(0, "a pattern"))
    except ValueError as error:
        raise Unreadable(str(error), arguments.given[0].at) from None


def _written(arguments: Arguments) -> Apply:
    arguments.expect(0, 1, "| text or | text('%d/%m/%Y')")
    if not arguments.given:
        return lambda scope, value: text(value)
    pattern = _pattern(arguments)

    def apply(scope: Scope, value: Value) -> Value:
        if kind(value) not in ("a date", "a time"):
            raise Refused(f"is {kind(value)}; a pattern writes a date: convert it with | date first", value)
        return value.strftime(pattern)

    return apply


def code(table: CodeTable, at: int) -> Callable[[Value], Value]:
    """A converter from a text to what its row in `table` gives."""
    if not table.gives():
        raise Unreadable(f"{table.label} has one column, so it gives nothing: use it with is listed('{table.name}').", at)
    lookup = table.lookup()
    return lambda value: lookup((text(value),))


def _code(arguments: Arguments) -> Apply:
    arguments.expect(1, 1, "| code('table'), or code('table', column=value, …) for several columns", ("on",))
    table = arguments.table(0)
    if table.dated:
        find = lookups.dated(table, (), arguments)
        return lambda scope, value: find(scope, (text(value),))
    lookups.undated(table, arguments)
    convert = code(table, arguments.at)
    exact = table.exact()
    apply: Apply = lambda scope, value: convert(value)  # noqa: E731  # as the others
    return apply if exact is None else directly(apply, exact.__getitem__, texts=True)


def _phone(arguments: Arguments) -> Apply:
    arguments.expect(0, 1, "| phone or | phone('home')")
    convert = composites.phone(arguments.text(0, "a use") if arguments.given else "")
    return lambda scope, value: convert(value)


def _typed(arguments: Arguments) -> Apply:
    """OBX-5 as OBX-2 says (HL7 table 0125); lines of text become one text."""
    arguments.expect(1, 1, "OBX[*]-5 | typed(OBX-2)")
    which = arguments.given[0].fn

    def apply(scope: Scope, value: Value) -> Value:
        named = which(scope)
        items = value if isinstance(value, list) else [value]
        names = [text(name) for name in named] if isinstance(named, list) else [text(named)] * len(items)
        pairs = [(name, item) for name, item in zip(names, items, strict=False) if not nothing(item)]
        if all(name in ("TX", "FT", "ST", "") for name, _ in pairs):
            return bounded("\n".join(text(item) for _, item in pairs)) if pairs else EMPTY
        converted = [_as_type(name, item, scope) for name, item in pairs]
        return converted if len(converted) > 1 else converted[0]

    return apply


def _as_type(name: str, value: Value, scope: Scope) -> Value:
    if value is NULL:
        return value
    if name in ("NM", "SI"):
        return dates.to_decimal(value)
    if name in ("CE", "CWE", "CNE", "CF"):
        return composites.coded(value)
    if name == "DT":
        return dates.read_date(text(value))
    if name in ("TS", "DTM"):
        return dates.read_time(text(value), scope.facts.timezone)
    if name == "SN":
        return "".join(text(component(value, number)) for number in range(1, 5))
    shape = {"CX": composites.identifier, "XPN": composites.name, "XAD": composites.address, "PL": composites.location}.get(name)
    return shape(value) if shape else raw(value)


def raw(value: Value) -> Value:
    """The whole as it was sent, with its separators."""
    return value.raw if isinstance(value, Composite) else value


def _required(arguments: Arguments) -> Apply:
    arguments.expect(0, 0, "| required")

    def apply(scope: Scope, value: Value) -> Value:
        if value is NULL:
            raise Refused("is required and was sent as an explicit null")
        if is_empty(value) or (isinstance(value, list) and nothing(value)):
            raise Refused("is required and was not sent")
        return value

    return apply


def _join(arguments: Arguments) -> Apply:
    arguments.expect(0, 1, "| join(', ')")
    separator = arguments.text(0, "what stands between") if arguments.given else ""

    def apply(scope: Scope, value: Value) -> Value:
        parts = [text(item) for item in _items(value) if not is_empty(item)]
        return bounded(separator.join(parts)) if parts else EMPTY

    return apply


def _items(value: Value) -> list[Value]:
    return value if isinstance(value, list) else [] if nothing(value) else [value]


def _list(function: Callable[[list[Value]], Value], usage: str, about: str, gathers: bool = True) -> Filter:
    def build(arguments: Arguments) -> Apply:
        arguments.expect(0, 0, usage)
        return lambda scope, value: function(_items(value))

    return Filter(usage, about, build, each=False, gathers=gathers)


def _sum(items: list[Value]) -> Value:
    total: Any = 0
    for index, item in enumerate(items):
        if not is_empty(item) and item is not NULL:
            try:
                total = add(total, dates.to_decimal(item))
            except Refused as fault:
                fault.index = index
                raise
    return total


def _unique(items: list[Value]) -> Value:
    firsts: dict[Any, Value] = {}
    for item in items:
        firsts.setdefault(_same(item), item)
    return list(firsts.values())


def _same(value: Value) -> Any:
    """What is equal for equal values and can be looked up, so that a long list does not cost its square."""
    if isinstance(value, dict):
        return frozenset((key, _same(item)) for key, item in value.items())
    return tuple(map(_same, value)) if isinstance(value, list) else value


def _round(arguments: Arguments) -> Apply:
    arguments.expect(0, 1, "| round or | round(2)")
    unit = Decimal(1).scaleb(-arguments.number(0, 0, 0, 10))
    return lambda scope, value: Decimal(_numeric(value, "rounded")).quantize(unit, ROUND_HALF_UP, EXACT)


def _numeric(value: Value, verb: str) -> Any:
    if kind(value) != "a number":
        raise Refused(f"is {kind(value)} and cannot be {verb}: convert it with | decimal", value)
    return in_range(value)


def _replace(arguments: Arguments) -> Apply:
    arguments.expect(2, 2, "| replace('old', 'new')")
    old, new = arguments.text(0, "what to replace"), arguments.text(1, "what to put there")
    if not old:
        raise Unreadable("replace needs something to replace.", arguments.given[0].at)
    return lambda scope, value: _replaced(text(value), old, new)


def _replaced(value: str, old: str, new: str) -> str:
    if len(value) + value.count(old) * len(new) > LONGEST:
        raise Refused(f"gives a text of more than {LONGEST:,} characters")
    return value.replace(old, new)


def _truncate(arguments: Arguments) -> Apply:
    arguments.expect(1, 1, "| truncate(40)")
    length = arguments.number(0, 0, 1, 100_000)
    return lambda scope, value: text(value)[:length]


def _substring(arguments: Arguments) -> Apply:
    arguments.expect(1, 2, "| substring(start) or | substring(start, length), counted from 1")
    start = arguments.number(0, 1, 1, 100_000) - 1
    length = arguments.number(1, 100_000, 1, 100_000)
    return lambda scope, value: text(value)[start : start + length] or EMPTY


def _pad(arguments: Arguments) -> Apply:
    arguments.expect(1, 2, "| pad(10) or | pad(10, ' ')")
    width = arguments.number(0, 0, 1, 1000)
    fill = arguments.text(1, "one character") if len(arguments.given) > 1 else "0"
    if len(fill) != 1:
        raise Unreadable("pad fills with one character.", arguments.given[1].at)
    return lambda scope, value: text(value).rjust(width, fill)


def _split(arguments: Arguments) -> Apply:
    arguments.expect(1, 1, "| split(',')")
    separator = arguments.text(0, "a separator")
    if not separator:
        raise Unreadable("split needs a separator.", arguments.given[0].at)
    return lambda scope, value: [part.strip() for part in text(value).split(separator, 9_999) if part.strip()]


def parts(value: Value) -> list[Value]:
    """The fields of a segment or the components of a field, as far as any is there; a list is its own parts."""
    if isinstance(value, list):
        return value
    found = [component(value, number) for number in range(1, min(getattr(value, "width", 100), 1000) + 1)]
    while found and nothing(found[-1]):
        found.pop()
    return found


def _tuples(arguments: Arguments) -> Apply:
    arguments.expect(2, 2, "segment | tuples(start, width)")
    start, width = arguments.number(0, 1, 1, 100), arguments.number(1, 1, 1, 100)

    def apply(scope: Scope, value: Value) -> Value:
        rows: list[Value] = []
        for segment in _items(value):
            fields = parts(segment)[start - 1 :]
            fields += [EMPTY] * (-len(fields) % width)
            windows = (fields[at : at + width] for at in range(0, len(fields), width))
            rows += [window for window in windows if not all(map(nothing, window))]
        return rows

    return apply


def _pairs(arguments: Arguments) -> Apply:
    arguments.expect(1, 1, "segment | pairs(start)")
    start = arguments.number(0, 1, 1, 100)

    def apply(scope: Scope, value: Value) -> Value:
        fields = parts(value)[start - 1 :]
        return {text(fields[at]): fields[at + 1] for at in range(0, len(fields) - 1, 2) if not is_empty(fields[at])}

    return apply


def _column(arguments: Arguments) -> Apply:
    arguments.expect(1, 1, "rows | column(2)")
    index = arguments.number(0, 1, 1, 100) - 1

    def apply(scope: Scope, value: Value) -> Value:
        return [row[index] if isinstance(row, list) and index < len(row) else EMPTY for row in _items(value)]

    return apply


def _resolve(arguments: Arguments) -> Apply:
    arguments.expect(0, 0, "reference | resolve")

    def apply(scope: Scope, value: Value) -> Value:
        find = getattr(scope.m, "resolve", None)
        if find is None:
            raise Refused("cannot be resolved: this format has no references")
        return find(value)

    return apply


FILTERS: Final[Mapping[str, Filter]] = {
    "abs": _plain(lambda v: abs(_numeric(v, "made positive")), "| abs", "a number without its sign"),
    "address": _plain(composites.address, "| address", "XAD → lines, city, state, postal_code, country, use"),
    "code": Filter("| code('table'), | code('table', on=…)", "the row of a code table; without one the message waits", _code),
    "coded": _plain(composites.coded, "| coded", "CE, CWE → code, display, system"),
    "column": Filter("| column(2)", "one column of tuples", _column, each=False),
    "count": _list(len, "| count", "how many there are"),
    "date": Filter("| date, | date('%d/%m/%Y')", "a date; as exact as it was sent", _date),
    "datetime": Filter("| datetime", "an instant with its offset, the site's where none was sent", _datetime),
    "decimal": Filter("| decimal", "an exact number", _decimal),
    "identifier": _plain(composites.identifier, "| identifier", "CX, XCN, EI → value, system, type"),
    "int": _plain(dates.to_int, "| int", "a whole number"),
    "join": Filter("| join(', ')", "a list as one text; empty items are left out", _join, each=False, gathers=True),
    "last": _list(lambda items: items[-1] if items else EMPTY, "| last", "the last item of a list"),
    "location": _plain(composites.location, "| location", "PL → point_of_care, room, bed, facility"),
    "lower": _plain(lambda v: text(v).lower(), "| lower", "in small letters"),
    "name": _plain(composites.name, "| name", "XPN, XCN → family, given, prefix, suffix, use"),
    "pad": Filter("| pad(10), | pad(10, ' ')", "filled on the left to a width", _pad),
    "pairs": Filter("| pairs(6)", "qualifier and value pairs of a segment, by qualifier", _pairs, each=False),
    "phone": Filter("| phone, | phone('home')", "XTN → system, value, use", _phone),
    "raw": _plain(raw, "| raw", "the whole as it was sent, with its separators"),
    "replace": Filter("| replace('old', 'new')", "text with each occurrence replaced", _replace),
    "required": Filter("| required", "parks the message where nothing was sent", _required, each=False),
    "resolve": Filter("| resolve", "the resource a reference points at, within the message", _resolve, each=False),
    "round": Filter("| round(2)", "rounded half up", _round),
    "split": Filter("| split(',')", "a list of the parts of a text", _split),
    "substring": Filter("| substring(1, 3)", "part of a text, counted from 1", _substring),
    "sum": _list(_sum, "| sum", "the sum of a list; texts are read as numbers"),
    "text": Filter("| text, | text('%d/%m/%Y')", "as text; dates by a pattern", _written),
    "trim": _plain(lambda v: text(v).strip() or EMPTY, "| trim", "without blanks around it"),
    "truncate": Filter("| truncate(40)", "at most so many characters", _truncate),
    "tuples": Filter("| tuples(3, 2)", "groups of fields of a segment, as rows", _tuples, each=False),
    "typed": Filter("OBX[*]-5 | typed(OBX-2)", "a value as the type it was sent with", _typed, each=False),
    "unique": _list(_unique, "| unique", "a list without repetitions"),
    "upper": _plain(lambda v: text(v).upper(), "| upper", "in capitals"),
}
"""`default` is not here: it decides whether its value is needed, so the compiler has it."""

DEFAULT_USAGE: Final = "| default(x)"
FILTER_NAMES: Final = frozenset({*FILTERS, "default"})
