"""A message against the standard's tables of its version: which segments, fields and components it must have and may have, how
often, of what type, and from which table.

The tables of fields, types and values are hl7apy's, imported when first asked for and compiled once for each kind of
segment; those of structures are our own. Time grows with the message and with nothing else. Lengths are not looked at:
hl7apy does not have them, and from 2.7 on most are no longer normative; a profile sets them.

What the standard forbids is an error. A value that is not in a table is a warning: tables are extended by every site, and
a profile says which are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from engine.formats.hl7v2 import select
from engine.formats.hl7v2.names import known_version, table_values, tables_of
from engine.formats.hl7v2.structure import Instance, Segment, standard_structure
from engine.formats.hl7v2.syntax import Syntax
from engine.formats.hl7v2.values import HEADERS, NULL_TEXT
from engine.text import counted

if TYPE_CHECKING:
    from engine.formats.hl7v2.document import Hl7Message


class Finding(NamedTuple):
    place: str  # `MSH-10`, or '' for the whole message
    text: str
    severity: str = "warning"  # or "error"
    code: str = "207"  # HL7 table 0357


ENVELOPE: Final = frozenset(("FHS", "BHS", "BTS", "FTS"))
MOST: Final = 1000  # findings of one message

_DATE = r"\d{4}(?:(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])?)?"
_TIME = r"(?:[01]\d|2[0-3])(?:[0-5]\d(?:[0-5]\d(?:\.\d{1,4})?)?)?"
_ZONE = r"(?:[+-](?:0\d|1[0-4])[0-5]\d)?"
_TYPES: Final = {
    "DT": (re.compile(_DATE), "a date, YYYYMMDD"),
    "TM": (re.compile(_TIME + _ZONE), "a time, HHMMSS"),
    "NM": (re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)"), "a number"),
    "SI": (re.compile(r"\d+"), "a whole number"),
    "TS": (re.compile(rf"{_DATE}{_ZONE}|\d{{8}}{_TIME}{_ZONE}"), "a date and time, YYYYMMDDHHMMSS"),
}
_TYPES["DTM"] = _TYPES["TS"]
Type = tuple[re.Pattern[str], str] | None


class Part(NamedTuple):
    """A component of a type."""

    required: bool
    type: Type
    table: str  # its number, `0001`; '' for none
    values: frozenset[str]


class Rule(NamedTuple):
    """A field of a segment."""

    number: int
    required: bool
    most: int  # repetitions; 0: withdrawn; -1: any number
    parts: tuple[Part, ...]  # one where the type has no components
    varies: bool


@lru_cache(2048)
def rules_of(version: str, kind: str) -> tuple[Rule, ...] | None:
    """The fields of a segment; None where the version does not have it."""
    segment = tables_of(version).SEGMENTS.get(kind)
    if segment is None:
        return None
    rules: list[Rule] = []
    for entry in segment[1]:
        number = str(entry[0]).rpartition("_")[2]
        if not number.isdigit() or len(entry) < 3 or not entry[1] or len(entry[1]) < 5:
            continue  # its tables of the oldest versions have odd rows
        least, most = entry[2]
        parts = tuple(_parts(version, entry[1]))
        rules.append(Rule(int(number), least > 0, most, parts, entry[1][2] in ("varies", None)))
    return tuple(rules)


def _parts(version: str, reference: Any) -> Iterator[Part]:
    if reference[0] == "leaf":
        yield _leaf(version, reference, False)
        return
    for n, component in enumerate(reference[1]):
        # TS is a structure of one time and a precision that nobody sends.
        type_ = "TS" if reference[2] == "TS" and n == 0 else ""
        # Before 2.6 its tables have components that are required nowhere or everywhere.
        yield _leaf(version, component[1], component[2][0] > 0 and version >= "2.6", type_)


def _leaf(version: str, reference: Any, required: bool, type_: str = "") -> Part:
    table = str(reference[4] or "").removeprefix("HL7") if reference[0] == "leaf" else ""
    checked = _TYPES.get(type_ or str(reference[2])) if reference[0] == "leaf" else None
    return Part(required, checked, table, table_values(version, table) if table else frozenset())


def strict(message: Hl7Message) -> list[Finding]:
    """In the order of the message, what is missing from its structure last; at most `MOST`."""
    found: list[Finding] = []
    for finding in _all(message):
        found.append(finding)
        if len(found) >= MOST:
            found.append(Finding("", f"there is more: only the first {MOST} are told"))
            break
    return list(dict.fromkeys(found))


def _all(message: Hl7Message) -> Iterator[Finding]:
    version = known_version(str(message["MSH-12.1"]))
    own = set()
    seen: dict[str, int] = {}
    for segment in message.own_segments():
        kind = segment[0][:3].upper()
        own.add(id(segment))
        seen[kind] = seen.get(kind, 0) + 1
        where = kind if seen[kind] == 1 else f"{kind}[{seen[kind]}]"
        if kind[0] != "Z" and kind not in ENVELOPE:
            yield from _segment(message, segment, kind, where, version)
    for number, segment in enumerate(message.source.segments, 1):
        if id(segment) not in own and "".join(segment).strip("\x1c \t"):
            yield Finding("", f"line {number} is no segment", "error", "100")
    yield from _structure(message)
    if local := sorted(kind for kind in message.index if kind[0] == "Z"):
        yield Finding("", f"{', '.join(local)}: local segments, not validated")


def _segment(message: Hl7Message, segment: Segment, kind: str, where: str, version: str) -> Iterator[Finding]:
    rules = rules_of(version, kind)
    if rules is None:
        yield Finding(where, f"version {version} has no such segment", "error", "100")
        return
    syntax = message.syntax
    pieces = select.pieces_of(segment, syntax)
    shift = 1 if kind in HEADERS else 0
    for rule in rules:
        if rule.number <= 2 * shift:
            continue
        at = rule.number - shift
        raw = pieces[at] if len(pieces) > at else ""
        if raw:
            yield from _field(message, segment, raw, rule, f"{where}-{rule.number}")
        elif rule.required:
            yield Finding(f"{where}-{rule.number}", "is required and missing", "error", "101")
    last = max((rule.number for rule in rules), default=0)
    if last and any(pieces[last - shift + 1 :]):
        yield Finding(where, f"has more than the {counted(last, 'field')} that version {version} knows", "error", "100")


def _field(message: Hl7Message, segment: Segment, raw: str, rule: Rule, where: str) -> Iterator[Finding]:
    syntax = message.syntax
    if rule.most == 0:
        yield Finding(where, "was withdrawn in this version")
        return
    if raw == NULL_TEXT:
        return
    if rule.varies:
        rule = rule._replace(parts=_as_declared(segment, rule, syntax))
    cells = raw.split(syntax.repetition)
    if 0 < rule.most < len(cells):
        yield Finding(where, f"occurs {len(cells)} times, at most {rule.most} in this version", "error", "102")
    for number, cell in enumerate(cells, 1):
        here = where if number == 1 else f"{where}[{number}]"
        values = cell.split(syntax.component)
        if 0 < len(rule.parts) < len(values) and any(values[len(rule.parts) :]):
            yield Finding(here, f"has more than the {counted(len(rule.parts), 'component')} of this version", "error", "102")
        for n, part in enumerate(rule.parts, 1):
            value = values[n - 1] if len(values) >= n else ""
            yield from _value(value, part, here if len(rule.parts) == 1 else f"{here}.{n}", bool(cell), message)


def _as_declared(segment: Segment, rule: Rule, syntax: Syntax) -> tuple[Part, ...]:
    """OBX-5 is of the type that OBX-2 names; only those are looked at that have no components."""
    declared = select.field_text(segment, 2, syntax) if segment[0] == "OBX" and rule.number == 5 else ""
    return (Part(False, _TYPES.get(declared), "", frozenset()),) if declared in _TYPES else ()


def _value(raw: str, part: Part, where: str, there: bool, message: Hl7Message) -> Iterator[Finding]:
    syntax = message.syntax
    if not raw:
        if part.required and there:
            yield Finding(where, "is required and missing", "error", "101")
        return
    if raw == NULL_TEXT or (part.type is None and not part.values):
        return
    value = syntax.unescape(raw.partition(syntax.subcomponent)[0])
    if part.type and not part.type[0].fullmatch(value.strip()):
        yield Finding(where, f"{value[:40]!r} is not {part.type[1]}", "error", "102")
    if part.values and value not in part.values:
        yield Finding(where, f"{value[:40]!r} is not in table {part.table}", "warning", "103")


def _structure(message: Hl7Message) -> Iterator[Finding]:
    version, parts = str(message["MSH-12.1"]), [str(message[f"MSH-9.{n}"]) for n in (1, 2, 3)]
    known = standard_structure(version, *parts)
    if known is None:
        return
    root, _ = message.tree()
    foreign: dict[str, None] = {}
    for segment in root.segments():
        kind = segment[0][:3].upper()
        if kind not in root.group.kinds and kind[0] != "Z" and kind not in ENVELOPE:
            foreign[kind] = None
    for kind in foreign:
        yield Finding(kind, f"is no segment of {known[1]}", "error", "100")
    for instance in root.instances():
        yield from _missing(instance, known[1], message)


def _missing(instance: Instance, structure: str, message: Hl7Message) -> Iterator[Finding]:
    """The required segments and groups that an instance does not have."""
    kinds = {entry[0][:3].upper() for entry in instance.entries if not isinstance(entry, Instance)}
    groups = {entry.group for entry in instance.entries if isinstance(entry, Instance)}
    for item in instance.group.items:
        if item.optional:
            continue
        if item.group is not None:
            if item.group not in groups:
                yield Finding("", f"{structure} requires the group {item.group.name}{_in(instance, message)}", "error", "100")
        elif not item.names & kinds:
            wanted = " or ".join(sorted(item.names))
            place = wanted if len(item.names) == 1 else ""
            yield Finding(place, f"{structure} requires {wanted}{_in(instance, message)}", "error", "100")


def _in(instance: Instance, message: Hl7Message) -> str:
    if instance.parent is None:
        return ""
    return f" in the group {instance.group.name} that begins with {message.ordinal(instance.first())}"
