"""What a spreadsheet must never take for a formula."""

from __future__ import annotations

import csv
import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.query.lines import COLUMNS, Line, as_csv
from engine.store.rows import MessageRow

ROW = MessageRow(1, "adt", "parked", "", "", 1_767_000_000_000_000, "", "", "", "", "", "", 0, 0, 0, 0, 0)


class Nothing:
    """A store that knows no more of its messages than their rows."""

    def keys_of(self, messages: Any) -> dict[int, Any]:
        return {}

    def deliveries_of(self, messages: Any) -> dict[int, Any]:
        return {}


_text = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.tuples(_text, _text, _text)))
def test_every_cell_comes_back_and_none_is_a_formula(found: list[tuple[str, str, str]]) -> None:
    rows = [ROW._replace(control_id=control, reason=reason, peer=peer) for control, reason, peer in found]
    written = b"".join(as_csv(Nothing(), iter([rows]))).decode()  # type: ignore[arg-type]
    table = list(csv.reader(io.StringIO(written, newline="")))
    assert tuple(table[0]) == COLUMNS
    assert len(table) == len(rows) + 1
    for cells, row in zip(table[1:], rows, strict=True):
        for name, value in (("control_id", row.control_id), ("reason", row.reason), ("peer", row.peer)):
            cell = cells[COLUMNS.index(name)]
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
            assert cell in (value, f"'{value}")


def test_a_line_tells_the_first_reason_there_is() -> None:
    line = Line(ROW._replace(reason="its own"), [], [])
    assert line.reason == "its own"
    assert list(line.data()) == list(COLUMNS)
