"""A row more in the file of a code table: everything else of the file stays as it is, to the byte."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from engine.errors import ConfigurationError
from engine.mapping.codes import VALID, CodeTable, named, parse_table
from engine.text import did_you_mean, listed

_BOM: Final = b"\xef\xbb\xbf"
_CONTROL = re.compile("[\x00-\x1f\x7f]")


class Added(NamedTuple):
    content: bytes  # of the whole file
    line: int  # of the new row
    row: str  # as it stands there
    table: CodeTable  # as it is now


def with_row(content: bytes, name: str, file: str, cells: Mapping[str, str], keys: Sequence[tuple[str, ...]] = ()) -> Added:
    """`content` with a row at its end, written as the file writes its rows.

    `keys`: the columns in which expressions look; none known: the first one of a table of two. Raises ValueError for cells
    that do not fit the columns and for a row that another one hides; ConfigurationError where the table itself is wrong.
    """
    try:
        text = content.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: byte {error.start + 1} is not UTF-8. Save the file as UTF-8.") from None
    table, problems = parse_table(text, name, file)
    if table is None:
        raise ConfigurationError(problems)
    row = _row(table, cells)
    written = _written(text, table.header, row)
    end = _line_end(text)
    before = text if not text or text.endswith(("\n", "\r")) else text + end
    after, problems = parse_table(before + written + end, name, file)
    if after is None:
        raise ValueError("; ".join(str(problem) for problem in problems))
    last = len(after.rows) - 1
    for columns in keys or [after.columns[:1]] * (len(after.columns) <= 2) or [after.columns]:
        hiding = after.answering(columns, last)
        if hiding is not None:
            key = named(columns, tuple(after.rows[last][after.columns.index(column)] for column in columns))
            days = f" ({after.spans[hiding]})" if after.dated else ""
            raise ValueError(
                f"line {after.lines[hiding]} of {file}{days} answers for {key} already, so a row at the end would never be "
                "reached. Change that line, or write the new one above it."
            )
    bom = _BOM if content.startswith(_BOM) else b""
    return Added(bom + (before + written + end).encode(), after.lines[last], written, after)


def _row(table: CodeTable, cells: Mapping[str, str]) -> list[str]:
    for column, cell in cells.items():
        if column not in table.header:
            hint = did_you_mean(column, table.header) or f" It has {listed(table.header)}."
            raise ValueError(f"{table.label} has no column '{column}'.{hint}")
        if _CONTROL.search(cell):
            raise ValueError(f"{column}: a cell is one line without control characters.")
    missing = [column for column in table.header if column not in cells and column not in VALID]
    if missing:
        raise ValueError(f"{listed(missing)} of {table.label} must be given, if only as {missing[0]}= for nothing.")
    return [cells.get(column, "").strip() for column in table.header]


def _written(text: str, header: Sequence[str], row: Sequence[str]) -> str:
    """With every cell in quotes where the file's first line has them so."""
    first = text.lstrip("\r\n").split("\n", 1)[0].strip("\r")
    everything = first == _line(header, csv.QUOTE_ALL) and first != _line(header, csv.QUOTE_MINIMAL)
    return _line(row, csv.QUOTE_ALL if everything else csv.QUOTE_MINIMAL)


def _line(cells: Sequence[str], quoting: int) -> str:
    stream = io.StringIO()
    csv.writer(stream, quoting=quoting, lineterminator="").writerow(cells)  # type: ignore[arg-type]  # typeshed has literals
    return stream.getvalue()


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n" if "\n" in text else "\r" if "\r" in text else "\n"
