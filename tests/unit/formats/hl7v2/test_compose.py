"""Segments written all at once, against the same rows added one by one."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ContentError
from engine.formats.hl7v2 import Hl7v2Options
from engine.formats.hl7v2.compose import composer
from engine.formats.hl7v2.format import Hl7v2
from engine.values import EMPTY, NULL

FORMAT = Hl7v2(Hl7v2Options())
OMITTED = object()
OTHER = FORMAT.parse(b"MSH|^~\\&|A|B|||2026||DFT^P03|1|P|2.5.1\rPID|1||1^^^A&B&C~2|x\\T\\y|^^z\r")
FOREIGN = FORMAT.parse(b"MSH|!*?%|A|B|||2026||DFT!P03|1|P|2.5.1\rPID|1||1!!!A%B*2|x?T?y\r")
VALUES = [
    EMPTY, OMITTED, NULL, "", "x", "two words", "a|b^c~d&e\\f", "line\rend", '""', "é", Decimal("12.50"), 7, True, date(2026, 3, 1),
    ["a", "b^"], {"no": "form"}, *(message[path] for message in (OTHER, FOREIGN) for path in ("PID-3", "PID-3.4", "PID-4", "PID-5")),
]  # fmt: skip
MESSAGES = [
    b"MSH|^~\\&|\r",
    b"MSH|^~\\&|A",
    b"MSH|!*?%|A|B|||2026||DFT!P03|1|P|2.5.1\rPID|1\r",
    b"MSH|^~\\&|A\nPID|1\r\nPV1|1\n",
    b"MSH|^~\\&|A\rPID|1\r\r\r",
    b"MSH|^|A\rPID|1\r",
]
PLACES = sorted((field, *parts) for field in (1, 2, 3, 5) for parts in ((), (1,), (2,), (4,), (1, 1), (1, 2), (2, 1), (4, 3)))
POSITIONS = st.lists(st.sampled_from(PLACES), min_size=1, max_size=7, unique=True).map(
    lambda places: [".".join(map(str, place)) for place in sorted(places)]
)
ROWS = st.lists(st.tuples(st.sampled_from(["PID", "FT1", "ZZ1"]), POSITIONS), min_size=1, max_size=3)


def by_row(document: Any, rows: list[tuple[str, list[str]]], values: list[Any]) -> None:
    left = iter(values)
    for name, positions in rows:
        given = {position: next(left) for position in positions}
        document.add(name, {position: value for position, value in given.items() if value is not EMPTY and value is not OMITTED})


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(MESSAGES), ROWS, st.data())
def test_all_at_once_is_what_row_by_row_gives(content: bytes, rows: list[tuple[str, list[str]]], data: st.DataObject) -> None:
    texts = [[data.draw(st.sampled_from([None, None, "", "x", "a^b", '""'])) for _ in positions] for _, positions in rows]
    values = [text if text is not None else data.draw(st.sampled_from(VALUES)) for row in texts for text in row]
    compose = composer([(*row, text) for row, text in zip(rows, texts, strict=True)], (EMPTY, OMITTED))
    if compose is None:
        return
    wanted = [value for value, text in zip(values, chain(*texts), strict=True) if text is None]
    expected, found = FORMAT.edit(FORMAT.parse(content)), FORMAT.edit(FORMAT.parse(content))
    try:
        by_row(expected, rows, values)
    except ContentError:
        with pytest.raises(ContentError):
            compose(found, wanted)
        assert FORMAT.render(found) == content, "what fails changes nothing"
        return
    compose(found, wanted)
    assert FORMAT.render(found) == FORMAT.render(expected)
    for path in ("PID[*]-3.1", "FT1[*]-1", "ZZ1[*]-5", "ZZ1-2.4.3"):
        assert found[path] == expected[path]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", EMPTY, "b", EMPTY, EMPTY], "PID|1||^b"),
        ([EMPTY, EMPTY, EMPTY, EMPTY, "z"], "PID|||||z"),
        ([EMPTY, "a", EMPTY, "", ""], "PID|||&a||"),
        ([EMPTY, EMPTY, EMPTY, EMPTY, EMPTY], "PID"),
        (["1", "a", "b", "", EMPTY], "PID|1||&a^b|"),
    ],
)
def test_as_many_delimiters_as_the_last_part_needs(values: list[Any], expected: str) -> None:
    compose = composer([("PID", ["1", "3.1.2", "3.2", "4", "5"], [None] * 5)], (EMPTY,))
    document = FORMAT.edit(FORMAT.parse(b"MSH|^~\\&|\r"))
    assert compose is not None
    compose(document, values)
    assert FORMAT.render(document).decode() == f"MSH|^~\\&|\r{expected}\r"


@pytest.mark.parametrize(
    "positions",
    [["1", "3.1", "3.4", "5.1.1", "5.1.2", "5.2.1"], ["1"], ["3", "18.1"], [f"1.{n}" for n in range(1, 31)], ["999"]],
)
def test_rows_in_order_are_written_at_once(positions: list[str]) -> None:
    assert composer([("PID", positions, [None] * len(positions))], ()) is not None


@pytest.mark.parametrize(
    ("name", "positions"),
    [
        ("PID", ["3", "1"]),
        ("PID", ["3", "3.1"]),
        ("PID", ["3.1", "3.1.2"]),
        ("PID", ["3[2].1"]),
        ("PID", ["x"]),
        ("PID", []),
        ("MSH", ["3"]),
        ("pid", ["3"]),
        ("PID", [f"1.{n}" for n in range(1, 32)]),
    ],
)
def test_rows_that_say_more_are_left_to_be_added_one_by_one(name: str, positions: list[str]) -> None:
    assert composer([(name, positions, [None] * len(positions))], ()) is None


def test_senders_who_turn_their_delimiters_make_only_so_many_functions() -> None:
    compose = composer([("PID", ["1"], [None])], ())
    assert compose is not None
    marks = [f"{one}{two}" for one in "!#$%*+,:;" for two in "<=>?@/"]
    done = 0
    for mark in marks:
        document = FORMAT.edit(FORMAT.parse(f"MSH|{mark}\\&|\r".encode()))
        try:
            compose(document, ["x"])
        except ContentError:
            continue
        assert FORMAT.render(document).endswith(b"\rPID|x\r")
        done += 1
    assert 0 < done < len(marks)
