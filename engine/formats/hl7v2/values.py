"""Texts that have parts: what a path gives where a field, component or segment holds more than one plain text."""

from __future__ import annotations

from typing import Final

from engine.formats.hl7v2.syntax import Syntax
from engine.values import EMPTY, NULL, Composite, Value

SEGMENT: Final = 0
FIELD: Final = 1
REPETITION: Final = 2
COMPONENT: Final = 3
LEAF: Final = 4

NULL_TEXT: Final = '""'  # the explicit null, §2.5.3


class Part(Composite):
    """Text of a message that has parts or escapes. As `str` it is the first leaf, unescaped; `raw` is all of it, as sent.

    `level` says what it is. Parts of a field or a repetition are components, of a component subcomponents (a data type
    used as a component counts its own components as subcomponents, §2.5.3.5, so a converter sees the same parts at either
    level), of a segment fields. `width` is how many parts there are.
    """

    __slots__ = ("level", "raw", "syntax")

    level: int
    syntax: Syntax

    @property
    def parts(self) -> list[str]:
        """The raw parts one level down; of a field those of its first repetition; of a segment its name and its fields."""
        syntax = self.syntax
        if self.level == SEGMENT:
            return fields_of(self.raw.split(syntax.field), syntax)
        if self.level in (FIELD, REPETITION):
            return self.raw.partition(syntax.repetition)[0].split(syntax.component)
        if self.level == COMPONENT:
            return self.raw.split(syntax.subcomponent)
        return [self.raw]

    @property
    def width(self) -> int:
        return len(self.parts) - 1 if self.level == SEGMENT else len(self.parts)

    def component(self, number: int, sub: int = 1) -> Value:
        parts = self.parts
        if self.level == SEGMENT:
            if not 0 < number < len(parts):
                return EMPTY
            if parts[0] in HEADERS and number <= 2:
                return parts[number]
            return part(parts[number], FIELD, self.syntax)
        if self.level == COMPONENT and number == 1:
            number, sub = sub, 1
        if not 0 < number <= len(parts):
            return EMPTY
        subs = parts[number - 1].split(self.syntax.subcomponent)
        if not 0 < sub <= len(subs) or not subs[sub - 1]:
            return EMPTY
        return NULL if subs[sub - 1] == NULL_TEXT else self.syntax.unescape(subs[sub - 1])

    def leaves(self) -> list[str]:
        if self.level == SEGMENT:
            fields = (self.component(number) for number in range(1, self.width + 1))
            return [str(field) for field in fields]
        raw, syntax = self.raw, self.syntax
        if syntax.escape not in raw and syntax.subcomponent not in raw and NULL_TEXT not in raw:
            return self.parts
        separator, special, unescape = self.syntax.subcomponent, self.syntax.special, self.syntax.unescape
        found: list[str] = []
        for raw in self.parts:
            if special(raw) is None:
                found.append("" if raw == NULL_TEXT else raw)
            else:
                leaf = raw.partition(separator)[0]
                found.append("" if leaf == NULL_TEXT else unescape(leaf))
        return found


HEADERS: Final = frozenset(("MSH", "FHS", "BHS"))
"""Segments whose field 1 is the field separator itself, so that field n stands at n - 1 between separators."""


def fields_of(pieces: list[str], syntax: Syntax) -> list[str]:
    """Pieces between field separators so that index n is field n."""
    return [pieces[0], syntax.field, *pieces[1:]] if pieces[0] in HEADERS else pieces


def part(raw: str, level: int, syntax: Syntax) -> Value:
    """The value of `raw`, which is a field, a repetition, a component or a leaf."""
    if not raw:
        return EMPTY
    if syntax.special(raw) is None:
        return NULL if raw == NULL_TEXT else raw
    return composed(raw, level, syntax)


def composed(raw: str, level: int, syntax: Syntax) -> Value:
    """The value of `raw`, which has parts or escapes, or is an explicit null."""
    leaf = _first_leaf(raw, level, syntax)
    if leaf == NULL_TEXT:
        if raw == NULL_TEXT:
            return NULL
        leaf = ""
    value = Part(syntax.unescape(leaf) if syntax.escape in leaf else leaf)
    value.raw, value.level, value.syntax = raw, level, syntax
    return value


def _first_leaf(raw: str, level: int, syntax: Syntax) -> str:
    if level < COMPONENT:
        raw = raw.partition(syntax.component)[0]
        if syntax.repetition in raw:
            raw = raw.partition(syntax.repetition)[0]
    return raw.partition(syntax.subcomponent)[0] if level < LEAF and syntax.subcomponent in raw else raw


def leading(raw: str, level: int, syntax: Syntax) -> Value:
    """As `composed`; or, where it says something, the first leaf alone."""
    leaf = _first_leaf(raw, level, syntax)
    return leaf if leaf and leaf != NULL_TEXT and syntax.escape not in leaf else composed(raw, level, syntax)


def leaves(raw: str, level: int, syntax: Syntax) -> Value:
    """As `composed` for a field or a repetition; or, where its components are plain, a list of them."""
    if syntax.escape in raw or syntax.subcomponent in raw or NULL_TEXT in raw:
        return composed(raw, level, syntax)
    if level == FIELD and syntax.repetition in raw:
        raw = raw.partition(syntax.repetition)[0]  # the parts of a field are those of its first repetition
    return raw.split(syntax.component)


def segment_value(pieces: list[str], syntax: Syntax) -> Part:
    """A whole segment for functions: as text its name, part n is field n."""
    value = Part(pieces[0][:3])
    value.raw, value.level, value.syntax = syntax.field.join(pieces), SEGMENT, syntax
    return value
