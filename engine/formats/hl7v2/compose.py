"""Segments written all at once: one function for rows whose fields are known beforehand, in place of a call for each field.

It gives what `Editable.add`, row by row, would give. A row that says more than fields and their parts, each once and in
order, has no such function; and whatever the function raises, the caller adds row by row, which knows what to say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, NamedTuple, cast

from engine.contracts import Editable
from engine.errors import ContentError
from engine.formats.hl7v2.edit import Edit, cell_of, is_name
from engine.formats.hl7v2.structure import Segment
from engine.formats.hl7v2.syntax import Syntax
from engine.formats.hl7v2.values import NULL_TEXT
from engine.formats.hl7v2.writing import written
from engine.generated import function
from engine.values import Value

Compose = Callable[[Editable, Sequence[Value]], None]
Row = tuple[str, Sequence[str], Sequence[str | None]]
"""A segment's name, its positions, and the text of each that is the same in every message (None: a value)."""

_MOST: Final = 300  # positions of one row
_MOST_PARTS: Final = 30  # of one field
_MOST_SYNTAXES: Final = 16  # that functions are made for; senders choose theirs


class _Cell(NamedTuple):
    component: int
    sub: int
    level: int
    text: str | None
    variable: str


def composer(rows: Sequence[Row], absent: Collection[object]) -> Compose | None:
    """A function that adds `rows` at the end of a message, from their values in order; None where it cannot be made.

    Values that are one of `absent` are left out.
    """
    planned: list[tuple[str, dict[int, list[_Cell]]]] = []
    taken = 0
    for name, positions, texts in rows:
        fields = _fields(positions, texts, taken) if is_name(name) else None
        if fields is None:
            return None
        taken += len(positions)
        planned.append((name, fields))
    missing = tuple(absent)
    made: dict[Syntax, Callable[[Sequence[Value]], list[Segment]] | None] = {}  # None: it cannot be written for these

    def compose(document: Editable, values: Sequence[Value]) -> None:
        message = cast(Edit, document)
        if message.syntax not in made and len(made) < _MOST_SYNTAXES:
            made[message.syntax] = None
            made[message.syntax] = _written(planned, message.syntax, missing)
        segments = made.get(message.syntax)
        if segments is None:
            raise ContentError("there is no function for these delimiters")
        message.extend(segments(values))

    return compose


def _fields(positions: Sequence[str], texts: Sequence[str | None], first: int) -> dict[int, list[_Cell]] | None:
    """The cells of a row by field; None unless they are in order, and each in a place of its own."""
    found: dict[int, list[_Cell]] = {}
    before = (0, 0, 0)
    if not 0 < len(positions) <= _MOST:
        return None
    for number, (position, text) in enumerate(zip(positions, texts, strict=True), first):
        cell = cell_of(position)
        if cell is None:
            return None
        field, component, sub, level = cell
        others = found.setdefault(field, [])
        if (field, component, sub) <= before or (others and (not others[-1].component or _covers(others[-1], component, sub))):
            return None
        before = field, component, sub
        others.append(_Cell(component, sub, level, text, f"v{number}"))
    return found if max(map(len, found.values())) <= _MOST_PARTS else None


def _covers(before: _Cell, component: int, sub: int) -> bool:
    """Whether one is the whole of the component and the other a part of it."""
    return before.component == component and (not before.sub or not sub)


def _written(
    planned: Sequence[tuple[str, dict[int, list[_Cell]]]], syntax: Syntax, absent: tuple[object, ...]
) -> Callable[[Sequence[Value]], list[Segment]]:
    def told(value: Value, level: int) -> str | None:
        """A value as it stands in the message; None where it is left out."""
        if type(value) is str and value != NULL_TEXT:
            return syntax.escaped(value)
        for nothing in absent:
            if value is nothing:
                return None
        return written(value, level, syntax)

    writer = _Writer(syntax)
    writer.bound |= {"told": told, "cut": _cut}
    segments = [writer.segment(name, fields) for name, fields in planned]
    unpacked = f"{', '.join(writer.variables)}, = values" if writer.variables else "pass"
    body = "\n    ".join([unpacked, *writer.lines, f"return [{', '.join(segments)}]"])
    return function(f"def compose(values):\n    {body}", writer.bound)


class _Writer:
    def __init__(self, syntax: Syntax) -> None:
        self.syntax = syntax
        self.lines: list[str] = []
        self.variables: list[str] = []
        self.bound: dict[str, Any] = {"NOTHING": ""}
        self._names: dict[str, str] = {"": "NOTHING"}

    def _text(self, text: str) -> str:
        """The name under which a text is bound."""
        name = self._names.setdefault(text, f"t{len(self._names)}")
        self.bound[name] = text
        return name

    def segment(self, name: str, fields: dict[int, list[_Cell]]) -> str:
        pieces = [self._text(name)] + [self._text("")] * max(fields)
        for field, cells in fields.items():
            for cell in cells:
                self._cell(cell)
            whole = len(cells) == 1 and not cells[0].component
            pieces[field] = f"{cells[0].variable} or NOTHING" if whole else self._components(cells)
        made = f"s{len(self.lines)}"
        self.lines.append(f"{made} = [{', '.join(pieces)}]")
        *_, last = fields.values()
        texts = ", ".join(cell.variable for cells in fields.values() for cell in cells)
        self.bound[f"of_{made}"] = [field for field, cells in fields.items() for _ in cells]
        self.lines.append(f"if {' is None and '.join(cell.variable for cell in last)} is None: cut({made}, of_{made}, [{texts}])")
        return made

    def _cell(self, cell: _Cell) -> None:
        v = cell.variable
        if cell.text is not None:
            self.lines.append(f"{v} = {self._text(written(cell.text, cell.level, self.syntax))}")
            return
        self.variables.append(v)
        self.lines.append(f"if type({v}) is not str or not {v}.isalnum(): {v} = told({v}, {cell.level:d})")

    def _components(self, cells: list[_Cell]) -> str:
        components: dict[int, list[_Cell]] = {}
        for cell in cells:
            components.setdefault(cell.component, []).append(cell)
        found: list[tuple[int, str]] = []
        for number, parts in components.items():
            variable = parts[0].variable
            if parts[0].sub:
                made = self._laid_out([(cell.sub, cell.variable) for cell in parts], self.syntax.subcomponent)
                variable = f"c{len(self.lines)}"
                self.lines.append(f"{variable} = {made}")
            found.append((number, variable))
        return self._laid_out(found, self.syntax.component)

    def _laid_out(self, parts: list[tuple[int, str]], mark: str) -> str:
        """Numbered parts with as many delimiters as the last that says something needs (§2.5.3)."""
        made = "NOTHING"
        before, at = "", 1
        for number, variable in parts:
            between = f"{self._text(mark * (number - at))} + " if number > at else ""
            made = f"{before}{between}{variable} if {variable} else {made}"
            before, at = f"{before}{between}({variable} or NOTHING) + ", number
        return made


def _cut(segment: Segment, fields: list[int], texts: list[str | None]) -> None:
    """A segment ends with the last field that has a value, be it an empty one."""
    last = max((field for field, text in zip(fields, texts, strict=True) if text is not None), default=0)
    del segment[last + 1 :]
