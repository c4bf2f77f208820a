"""Code tables: `mappings/codes/NAME.csv`, a line of column names and then a row each.

`FT1-6 | code('charge-action')` looks in the first column; `code('gl', department=…, revenue_code=…)` in those named. One
column left over gives its text, several give the row as an object. `*` in a key matches anything, also nothing; the first
row that matches wins.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from engine.errors import Problem
from engine.mapping.faults import NoRow
from engine.text import counted
from engine.values import EMPTY, Value

LIMIT: Final = 64 << 20  # bytes of one table
REMEMBERED: Final = 4096  # answers kept for tables with `*`

Lookup = Callable[[tuple[str, ...]], Value]


class CodeTable:
    """One table, read and checked. `file` is its name in errors."""

    def __init__(self, name: str, file: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.name, self.file = name, file
        self.columns, self.rows = tuple(columns), [tuple(row) for row in rows]
        self._lookups: dict[tuple[str, ...], Lookup] = {}
        self._listed = frozenset(row[0] for row in self.rows)

    @property
    def label(self) -> str:
        """What analysts call it: `codes/gl.csv`."""
        return self.file.removeprefix("mappings/")

    def __contains__(self, value: object) -> bool:
        """Whether the first column lists `value` (`*` there lists everything)."""
        return value in self._listed or "*" in self._listed

    def lookup(self, keys: tuple[str, ...] = ()) -> Lookup:
        """A function from the texts of the key columns (none named: the first column) to what the row gives."""
        keys = keys or self.columns[:1]
        if keys not in self._lookups:
            self._lookups[keys] = self._prepare(keys)
        return self._lookups[keys]

    def exact(self) -> dict[str, Value] | None:
        """What `lookup()` gives for each text; None where a row has `*`."""
        if "*" in self._listed:
            return None
        width = len(self.columns)
        found: dict[str, Value] = {}
        for row in self.rows:
            given = {column: _cell(cell) for column, cell in zip(self.columns[1:], row[1:], strict=True)}
            found.setdefault(row[0], _cell(row[1]) if width == 2 else given)
        return found

    def gives(self, keys: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The columns that a lookup by `keys` leaves over."""
        keys = keys or self.columns[:1]
        return tuple(column for column in self.columns if column not in keys)

    def _prepare(self, keys: tuple[str, ...]) -> Lookup:
        places = [self.columns.index(key) for key in keys]
        rest = [(column, index) for index, column in enumerate(self.columns) if column not in keys]
        exact: dict[tuple[str, ...], tuple[int, Value]] = {}
        patterns: list[tuple[int, tuple[str, ...], Value]] = []
        for number, row in enumerate(self.rows):
            key = tuple(row[place] for place in places)
            result: Value = _cell(row[rest[0][1]]) if len(rest) == 1 else {column: _cell(row[index]) for column, index in rest}
            if "*" in key:
                patterns.append((number, key, result))
            else:
                exact.setdefault(key, (number, result))
        if not patterns:
            return lambda wanted: exact[wanted][1] if wanted in exact else self._missing(keys, wanted)
        return self._with_patterns(keys, exact, patterns)

    def _with_patterns(
        self,
        keys: tuple[str, ...],
        exact: dict[tuple[str, ...], tuple[int, Value]],
        patterns: list[tuple[int, tuple[str, ...], Value]],
    ) -> Lookup:
        remembered: dict[tuple[str, ...], Value] = {}

        def find(wanted: tuple[str, ...]) -> Value:
            if wanted in remembered:
                return remembered[wanted]
            found = exact.get(wanted)
            for number, pattern, result in patterns:
                if found is not None and found[0] < number:
                    break
                if all(part in ("*", text) for part, text in zip(pattern, wanted, strict=True)):
                    found = (number, result)
                    break
            if found is None:
                return self._missing(keys, wanted)
            if len(remembered) >= REMEMBERED:
                remembered.clear()
            remembered[wanted] = found[1]
            return found[1]

        return find

    def _missing(self, keys: tuple[str, ...], wanted: tuple[str, ...]) -> Value:
        asked = (
            ", ".join(f"{key}={_short(text)}" for key, text in zip(keys, wanted, strict=True))
            if len(keys) > 1
            else _short(wanted[0])
        )
        problem = f"{self.label} has no row for {asked} ({counted(len(self.rows), 'row')}, no * default)"
        raise NoRow(problem, self.name, ", ".join(wanted))


def _cell(text: str) -> Value:
    return text if text else EMPTY


def _short(text: str) -> str:
    return repr(text) if not text or text != text.strip() else text if len(text) <= 40 else text[:39] + "…"


def read_table(path: Path, file: str) -> tuple[CodeTable | None, list[Problem]]:
    """The table, or None with what is wrong. Warnings come with a table."""
    try:
        if path.stat().st_size > LIMIT:
            return None, [Problem(file, 0, 0, "is larger than 64 MiB.")]
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        return None, [Problem(file, 0, 0, f"cannot be read: {error.strerror}.")]
    except UnicodeDecodeError as error:
        return None, [Problem(file, 0, 0, f"byte {error.start + 1} is not UTF-8. Save the file as UTF-8.")]
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    problems: list[Problem] = []
    lines: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            if row and not (len(row) == 1 and not row[0].strip()):
                lines.append((reader.line_num, [cell.strip() for cell in row]))
    except csv.Error as error:
        return None, [Problem(file, reader.line_num, 1, f"is not CSV: {error}.")]
    if not lines:
        return None, [Problem(file, 0, 0, "is empty. Its first line names the columns: code,meaning")]
    columns = lines[0][1]
    problems += _columns(file, columns)
    for number, row in lines[1:]:
        if len(row) != len(columns):
            cells, named = counted(len(row), "cell"), counted(len(columns), "column")
            text = f"has {cells} where the first line names {named}. Quote a cell with a comma in it."
            problems.append(Problem(file, number, 1, text))
    if any(problem.severity == "error" for problem in problems):
        return None, problems
    problems += _unreachable(file, len(columns), lines[1:])
    return CodeTable(path.stem, file, columns, [row for _, row in lines[1:]]), problems


def _columns(file: str, columns: list[str]) -> list[Problem]:
    problems = [
        Problem(file, 1, 1, f"column {column or '(no name)'} cannot be named in a mapping: a name has letters, digits and _.")
        for column in columns
        if not column.isidentifier()
    ]
    problems += [
        Problem(file, 1, 1, f"column {column} stands here twice.") for column in {c for c in columns if columns.count(c) > 1}
    ]
    return problems


def _unreachable(file: str, width: int, lines: list[tuple[int, list[str]]]) -> list[Problem]:
    """Rows that an earlier one hides, where only the first column can be the key."""
    problems: list[Problem] = []
    if width != 2:
        return problems
    seen: dict[str, int] = {}
    for number, row in lines:
        hiding = seen.get(row[0]) or seen.get("*")
        if hiding:
            problems.append(Problem(file, number, 1, f"is never reached: line {hiding} matches first.", "warning"))
        seen.setdefault(row[0], number)
    return problems
