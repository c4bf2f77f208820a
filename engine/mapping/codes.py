"""Code tables: `mappings/codes/NAME.csv`, a line of column names and then a row each.

`FT1-6 | code('charge-action')` looks in the first column; `code('gl', department=…, revenue_code=…)` in those named. One
column left over gives its text, several give the row as an object. `*` in a key matches anything, also nothing; the first
row that matches wins.

A table with a column `valid_from` or `valid_to` (ISO dates, both days included, empty for open) is *dated*: only the rows that
are valid on the day of the lookup are in it. Two rows of one key that are valid on the same day are refused.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple

from engine.errors import Problem
from engine.mapping.faults import NoRow
from engine.strictyaml import read_bytes
from engine.text import counted
from engine.values import EMPTY, Value

LIMIT: Final = 64 << 20  # bytes of one table
REMEMBERED: Final = 4096  # answers kept for tables with `*`
LONGEST_KEY: Final = 200  # characters of a value that has no row
VALID: Final = ("valid_from", "valid_to")

Lookup = Callable[[tuple[str, ...]], Value]
DatedLookup = Callable[[tuple[str, ...], date], Value]


class Span(NamedTuple):
    """The days on which a row is valid."""

    first: date = date.min
    last: date = date.max

    def __str__(self) -> str:
        return f"{self.first if self.first > date.min else '…'} to {self.last if self.last < date.max else '…'}"


class Overlap(ValueError):
    """Two rows of one key are valid on the same day."""

    def __init__(self, text: str, line: int) -> None:
        super().__init__(text)
        self.line = line


class CodeTable:
    """One table, read and checked. `file` is its name in errors, `lines` are those of its rows there."""

    def __init__(
        self, name: str, file: str, columns: Sequence[str], rows: Sequence[Sequence[str]], lines: Sequence[int] = ()
    ) -> None:
        self.name, self.file = name, file
        kept = [index for index, column in enumerate(columns) if column not in VALID]
        self.columns = tuple(columns[index] for index in kept)
        self.dated = len(kept) < len(columns)
        self.header, self.cells = tuple(columns), [tuple(row) for row in rows]  # as the file has them
        self.rows = [tuple(row[index] for index in kept) for row in rows] if self.dated else self.cells
        self.spans = [span_of(dict(zip(columns, row, strict=True))) for row in rows] if self.dated else [Span()] * len(self.rows)
        self.lines = tuple(lines) or tuple(range(2, len(self.rows) + 2))
        self._lookups: dict[tuple[str, ...], Lookup] = {}
        self._dated: dict[tuple[str, ...], DatedLookup] = {}
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

    @property
    def keys(self) -> list[tuple[str, ...]]:
        """The columns in which expressions look, each set of them once."""
        return list({**self._lookups, **self._dated})

    def answering(self, keys: tuple[str, ...], row: int) -> int | None:
        """The first row above `row` that answers for the same texts in `keys` on a day of its own; None where none does."""
        places = [self.columns.index(key) for key in keys]
        wanted, span = tuple(self.rows[row][place] for place in places), self.spans[row]
        for number in range(row):
            other = self.spans[number]
            if _matches(tuple(self.rows[number][place] for place in places), wanted) and (
                span.first <= other.last and other.first <= span.last
            ):
                return number
        return None

    def overlaps(self, keys: tuple[str, ...]) -> list[Overlap]:
        """Rows that are the same in `keys` and valid on the same day."""
        found: list[Overlap] = []
        for key, numbers in self._by(keys).items():
            longest, *later = sorted(numbers, key=lambda number: self.spans[number].first)
            for number in later:
                if self.spans[number].first <= self.spans[longest].last:
                    one, other = sorted((number, longest))
                    text = (
                        f"the rows for {named(keys, key)} of line {self.lines[one]} ({self.spans[one]}) and line "
                        f"{self.lines[other]} ({self.spans[other]}) are valid on the same days. End one before the other begins."
                    )
                    found.append(Overlap(text, self.lines[other]))
                longest = max(longest, number, key=lambda number: self.spans[number].last)
        return found

    def _by(self, keys: tuple[str, ...]) -> dict[tuple[str, ...], list[int]]:
        """The rows, as their numbers, by what they have in `keys`."""
        places = [self.columns.index(key) for key in keys]
        of_key: dict[tuple[str, ...], list[int]] = {}
        for number, row in enumerate(self.rows):
            of_key.setdefault(tuple(row[place] for place in places), []).append(number)
        return of_key

    def lookup_on(self, keys: tuple[str, ...] = ()) -> DatedLookup:
        """As `lookup`, among the rows that are valid on a day. Raises Overlap."""
        keys = keys or self.columns[:1]
        if keys not in self._dated:
            for overlap in self.overlaps(keys):
                raise overlap
            self._dated[keys] = self._prepare_dated(keys)
        return self._dated[keys]

    def _prepare_dated(self, keys: tuple[str, ...]) -> DatedLookup:
        of_key = self._by(keys)
        patterns = [(key, number) for key, numbers in of_key.items() if "*" in key for number in numbers]
        results = [self._result(row, keys) for row in self.rows]
        remembered: dict[tuple[tuple[str, ...], date], Value] = {}

        def find(wanted: tuple[str, ...], day: date) -> Value:
            if (wanted, day) in remembered:
                return remembered[wanted, day]
            matching = (number for key, number in patterns if _matches(key, wanted))
            among = (number for number in (*of_key.get(wanted, ()), *matching) if _within(day, self.spans[number]))
            if (found := min(among, default=None)) is None:
                return self._missing(keys, wanted, day)
            if len(remembered) >= REMEMBERED:
                remembered.clear()
            remembered[wanted, day] = results[found]
            return results[found]

        return find

    def _result(self, row: tuple[str, ...], keys: tuple[str, ...]) -> Value:
        rest = {column: _cell(cell) for column, cell in zip(self.columns, row, strict=True) if column not in keys}
        return next(iter(rest.values())) if len(rest) == 1 else rest

    def exact(self) -> dict[str, Value] | None:
        """What `lookup()` gives for each text; None where a row has `*`, and for a dated table."""
        if "*" in self._listed or self.dated:
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
        exact: dict[tuple[str, ...], tuple[int, Value]] = {}
        patterns: list[tuple[int, tuple[str, ...], Value]] = []
        for number, row in enumerate(self.rows):
            key = tuple(row[place] for place in places)
            result = self._result(row, keys)
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
                if _matches(pattern, wanted):
                    found = (number, result)
                    break
            if found is None:
                return self._missing(keys, wanted)
            if len(remembered) >= REMEMBERED:
                remembered.clear()
            remembered[wanted] = found[1]
            return found[1]

        return find

    def _missing(self, keys: tuple[str, ...], wanted: tuple[str, ...], day: date | None = None) -> Value:
        asked = named(keys, tuple(map(_short, wanted)))
        on = f" that is valid on {day}" if day else ""
        problem = f"{self.label} has no row for {asked}{on} ({counted(len(self.rows), 'row')}, no * default)"
        key = named(keys, tuple(text[:LONGEST_KEY] for text in wanted))
        raise NoRow(problem, self.name, key, wanted[0] if len(wanted) == 1 else None)


def named(keys: tuple[str, ...], texts: tuple[str, ...]) -> str:
    """`RAD-9` where there is one column, `department=RAD-9, revenue_code=0320` where there are several."""
    return texts[0] if len(keys) == 1 else ", ".join(f"{key}={text}" for key, text in zip(keys, texts, strict=True))


def _matches(pattern: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    return all(part in ("*", text) for part, text in zip(pattern, wanted, strict=True))


def _within(day: date, span: Span) -> bool:
    return span.first <= day <= span.last


def span_of(cells: dict[str, str]) -> Span:
    """The days of a row. Raises ValueError."""
    first, last = cells.get(VALID[0], ""), cells.get(VALID[1], "")
    span = Span(date.fromisoformat(first) if first else date.min, date.fromisoformat(last) if last else date.max)
    if span.last < span.first:
        raise ValueError(f"ends ({span.last}) before it begins ({span.first})")
    return span


def _cell(text: str) -> Value:
    return text if text else EMPTY


def _short(text: str) -> str:
    return repr(text) if not text or text != text.strip() else text if len(text) <= 40 else text[:39] + "…"


def read_table(path: Path, file: str) -> tuple[CodeTable | None, list[Problem]]:
    """The table, or None with what is wrong. Warnings come with a table."""
    try:
        return parse_table(read_bytes(path, LIMIT).decode("utf-8-sig"), path.stem, file)
    except OSError as error:
        return None, [Problem(file, 0, 0, f"cannot be read: {error.strerror}.")]
    except UnicodeDecodeError as error:
        return None, [Problem(file, 0, 0, f"byte {error.start + 1} is not UTF-8. Save the file as UTF-8.")]


def parse_table(text: str, name: str, file: str) -> tuple[CodeTable | None, list[Problem]]:
    """As `read_table`, of its text."""
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
        else:
            problems += _misdated(file, number, dict(zip(columns, row, strict=True)))
    if any(problem.severity == "error" for problem in problems):
        return None, problems
    table = CodeTable(name, file, columns, [row for _, row in lines[1:]], [number for number, _ in lines[1:]])
    if table.dated:
        known = len(table.columns) <= 2  # of several columns, whoever looks says which ones are the key
        problems += [Problem(file, one.line, 1, f"{one}") for one in (table.overlaps(table.columns[:1]) if known else ())]
        return (None if problems else table), problems
    return table, _unreachable(file, len(columns), lines[1:])


def _misdated(file: str, number: int, cells: dict[str, str]) -> Iterable[Problem]:
    if not cells.keys() & set(VALID):
        return
    try:
        span_of(cells)
    except ValueError as error:
        yield Problem(file, number, 1, f"{error}. A date is written YYYY-MM-DD; an empty cell leaves that side open.")


def _columns(file: str, columns: list[str]) -> list[Problem]:
    problems = [
        Problem(file, 1, 1, f"column {column or '(no name)'} cannot be named in a mapping: a name has letters, digits and _.")
        for column in columns
        if not column.isidentifier()
    ]
    kept = [column for column in columns if column not in VALID]
    if len(kept) < len(columns) and "on" in kept:
        problems.append(Problem(file, 1, 1, "on names the day in a table with valid_from or valid_to: rename that column."))
    if not kept:
        problems.append(Problem(file, 1, 1, "a column to look in is missing: code,meaning,valid_from,valid_to"))
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
