"""Code tables: several columns, days on which rows are valid, what a missing row says, where they are used, a row more."""

from __future__ import annotations

from datetime import date

import pytest

from engine.contracts import Facts
from engine.errors import ConfigurationError, ContentError, UnknownCode
from engine.mapping.codes import CodeTable, parse_table
from engine.mapping.faults import NoRow
from engine.mapping.rows import with_row
from engine.mapping.uses import Use, uses
from tests.unit.mapping.material import ADT, DFT, FACTS, MakeSite, hl7

FEES = """\
code,fee,valid_from,valid_to
A,10,,2025-12-31
A,11,2026-01-01,2026-01-31
A,12,2026-02-01,
B,20,2026-01-02,
"""
GL = """\
department,revenue_code,account,valid_from,valid_to
RAD-1,0320,1,2025-01-01,2025-12-31
RAD-1,0320,2,2026-01-01,
RAD-1,*,3,2026-01-02,2026-01-02
*,*,4,,2026-01-10
"""


def value(site: MakeSite, expression: str, tables: dict[str, str], content: str = DFT, facts: Facts = FACTS) -> object:
    library = site(tables)
    assert [str(problem) for problem in library.problems if problem.severity == "error"] == []
    format_ = library.formats["hl7v2"]
    return library.expression(expression, format_)(format_.parse(hl7(content)), facts)


# ── days ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("day", "fee"), [
    ("20200101", "10"), ("20251231", "10"), ("20260101", "11"), ("20260131", "11"), ("20260201", "12"), ("29991231", "12"),
])  # fmt: skip
def test_the_row_that_is_valid_on_the_day_answers(site: MakeSite, day: str, fee: str) -> None:
    message = DFT.replace("|20260102|", f"|{day}|", 1)
    assert value(site, "='A' | code('fees', on=FT1-4 | date)", {"fees.csv": FEES}, message) == fee
    assert value(site, "=code('fees', code='A', on=FT1-4 | date)", {"fees.csv": FEES}, message) == fee


def test_without_a_day_the_day_of_receipt_counts_in_the_sites_zone(site: MakeSite) -> None:
    almost = 1_769_921_999_000_000  # 2026-01-31 23:59:59 in New York, and February in UTC
    for instant, fee in ((almost, "11"), (almost + 1_000_000, "12")):
        assert value(site, "='A' | code('fees')", {"fees.csv": FEES}, facts=FACTS._replace(received_at=instant)) == fee


def test_the_same_facts_give_the_same_row(site: MakeSite) -> None:
    """The day is an input: nobody looks at a clock."""
    assert {value(site, "='A' | code('fees')", {"fees.csv": FEES}) for _ in range(3)} == {"11"}


def test_several_columns_with_days_and_stars(site: MakeSite) -> None:
    table = {"gl.csv": GL}
    found = [
        value(site, f"=code('gl', department=FT1-13.1, revenue_code='{code}', on='{day}' | date)", table)
        for code, day in (("0320", "2025-06-01"), ("0320", "2026-01-02"), ("0999", "2026-01-02"), ("0999", "2026-01-03"))
    ]
    assert found == ["1", "2", "3", "4"]


@pytest.mark.parametrize(("expression", "said"), [
    ("='C' | code('fees', on=FT1-4 | date)", "codes/fees.csv has no row for C that is valid on 2026-01-02 (4 rows, no * default)"),
    ("=FT1-13 | code('fees')", "codes/fees.csv has no row for RAD-1 that is valid on 2026-01-01 (4 rows, no * default), from FT1[1]-13"),
    ("='B' | code('fees')", "has no row for B that is valid on 2026-01-01"),
    ("='A' | code('fees', on=FT1-4)", "'20260102' is text, and on takes a day: convert it with | date"),
    ("='A' | code('fees', on=FT1-40 | date)", "the day for codes/fees.csv was not sent"),
    ("='A' | code('fees', on='2026' | date)", "is text, and on takes a day"),
])  # fmt: skip
def test_what_has_no_row_on_the_day_waits_or_parks(site: MakeSite, expression: str, said: str) -> None:
    with pytest.raises(ContentError) as caught:
        value(site, expression, {"fees.csv": FEES})
    assert said in str(caught.value)


@pytest.mark.parametrize(("rows", "problems"), [
    ("A,1,2026-01-01,\nA,2,2026-06-01,\n", ["3:1  the rows for A of line 2 (2026-01-01 to …) and line 3 (2026-06-01 to …) are valid"]),
    ("A,1,,\nB,1,,\nA,2,,2020-01-01\n", ["4:1  the rows for A of line 2 (… to …) and line 4 (… to 2020-01-01) are valid"]),
    ("A,1,2026-01-01,2026-01-01\nA,2,2026-01-01,2026-01-01\n", ["3:1  the rows for A of line 2"]),
    ("A,1,,2030-01-01\nA,2,2026-01-01,2026-01-02\nA,3,2027-01-01,2027-01-02\n", ["3:1  the rows for A of line 2", "4:1  the rows for A of line 2"]),
    ("A,1,2026-01-01,2025-12-31\n", ["2:1  ends (2025-12-31) before it begins (2026-01-01)"]),
    ("A,1,01.01.2026,\n", ["2:1  Invalid isoformat string: '01.01.2026'. A date is written YYYY-MM-DD"]),
    ("A,1,2026-02-30,\n", ["2:1  day is out of range for month. A date is written YYYY-MM-DD"]),
    ("*,1,,2026-01-01\n*,2,2026-01-01,\n", ["3:1  the rows for * of line 2"]),
])  # fmt: skip
def test_rows_that_contradict_one_another_are_refused_with_both_lines(rows: str, problems: list[str]) -> None:
    table, found = parse_table("code,fee,valid_from,valid_to\n" + rows, "fees", "mappings/codes/fees.csv")
    assert table is None
    assert len(found) == len(problems)
    for problem, expected in zip(found, problems, strict=True):
        assert str(problem).startswith(f"mappings/codes/fees.csv:{expected}")
        assert problem.severity == "error"


def test_in_a_table_of_several_columns_the_expression_says_which_rows_are_one_key(site: MakeSite) -> None:
    overlapping = GL.replace(",2025-01-01,2025-12-31", ",2025-01-01,2026-01-01")
    library = site(
        {
            "gl.csv": overlapping,
            "m.yaml": "mapping: m\nfrom: hl7v2\nto: json\nset:\n  a: =code('gl', department='a', revenue_code='b')\n",
        }
    )
    (problem,) = library.problems
    assert str(problem) == (
        "mappings/m.yaml:5:7  codes/gl.csv: the rows for department=RAD-1, revenue_code=0320 of line 2 (2025-01-01 to 2026-01-01) "
        "and line 3 (2026-01-01 to …) are valid on the same days. End one before the other begins."
    )


@pytest.mark.parametrize(("expression", "said"), [
    ("=PID-8 | code('sex', on=today)", "codes/sex.csv has no column valid_from or valid_to, so 'on' says nothing."),
    ("=code('sex', code=PID-8, on=today)", "codes/sex.csv has no column valid_from or valid_to, so 'on' says nothing."),
    ("=code('fees', on=today)", "code needs the columns to look in: code('fees', code=…)."),
    ("=code('fees', code=PID-8, fee=PID-9)", "every column of codes/fees.csv is named, so nothing is left to give."),
    ("=code('fees', code=PID-8, valid_from=today)", "codes/fees.csv has no column 'valid_from'."),
    ("=PID-8 | code('fees', at=today)", "code has no 'at'"),
])  # fmt: skip
def test_a_lookup_that_means_nothing_is_refused(site: MakeSite, expression: str, said: str) -> None:
    library = site({"fees.csv": FEES, "sex.csv": "code,sex\nF,female\n"})
    with pytest.raises(ConfigurationError) as caught:
        library.expression(expression, library.formats["hl7v2"])
    assert said in str(caught.value)


def test_dated_tables_work_in_templates(site: MakeSite) -> None:
    library = site({
        "fees.csv": FEES, "m.yaml": "mapping: m\nfrom: hl7v2\nto: text\nrender: {template: t.j2}\n",
        "mappings/t.j2": "{{ 'A' | code('fees', on=PID-7 | date) }} {{ 'A' | code('fees') }}",
    })  # fmt: skip
    (product,) = library.chain(["m"], "hl7v2").apply(library.formats["hl7v2"].parse(hl7(ADT)), FACTS)
    assert product.content == b"10 11"


def test_many_rows_of_one_key_are_read_soon() -> None:
    rows = "".join(f"A,{n},{date.fromordinal(700_000 + n)},{date.fromordinal(700_000 + n)}\n" for n in range(20_000))
    table, problems = parse_table("code,fee,valid_from,valid_to\n" + rows, "fees", "f.csv")
    assert problems == []
    assert table is not None
    assert table.lookup_on()(("A",), date.fromordinal(700_123)) == "123"


# ── what a missing row says ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("expression", "table", "unknown", "place"), [
    ("=FT1-13 | code('sex')", "sex", "RAD-1", "FT1[1]-13"),
    ("=first(FT1-40, FT1-13) | code('sex')", "sex", "RAD-1", "FT1[1]-13"),
    ("=code('gl', department=FT1-13.1, revenue_code=FT1-2)", "gl", "department=RAD-1, revenue_code=T1", "FT1[1]-13.1 or FT1[1]-2"),
    ("=FT1[*]-13.1 | code('sex')", "sex", "RAD-1", "FT1[1]-13.1"),
    ("='x' | code('sex')", "sex", "x", ""),
])  # fmt: skip
def test_an_unknown_code_carries_table_value_and_place(
    site: MakeSite, expression: str, table: str, unknown: str, place: str
) -> None:
    tables = {"sex.csv": "code,sex\nF,female\n", "gl.csv": "department,revenue_code,account\nX,Y,1\n"}
    with pytest.raises(UnknownCode) as caught:
        value(site, expression, tables)
    assert (caught.value.table, caught.value.value, caught.value.place) == (table, unknown, place)
    assert caught.value.reason == "unknown_code"


def test_in_a_template_too(site: MakeSite) -> None:
    library = site({
        "sex.csv": "code,sex\nF,female\n", "m.yaml": "mapping: m\nfrom: hl7v2\nto: text\nrender: {template: t.j2}\n",
        "mappings/t.j2": "\n{{ PV1-2 | code('sex') }}",
    })  # fmt: skip
    with pytest.raises(UnknownCode) as caught:
        library.chain(["m"], "hl7v2").apply(library.formats["hl7v2"].parse(hl7(ADT)), FACTS)
    assert (caught.value.table, caught.value.value, caught.value.place) == ("sex", "I", "PV1-2")
    assert "codes/sex.csv has no row for I (1 row, no * default), in t.j2 line 2, from PV1-2" in str(caught.value)


def test_a_value_without_end_is_cut_in_what_is_kept() -> None:
    table = CodeTable("t", "mappings/codes/t.csv", ["a", "b", "c"], [("1", "2", "3")])
    with pytest.raises(NoRow, match=r"codes/t\.csv has no row for") as caught:
        table.lookup(("a", "b"))(("x" * 5_000, "y"))
    assert caught.value.key == f"a={'x' * 200}, b=y"
    assert len(str(caught.value)) < 200


# ── where they are used ────────────────────────────────────────────────────────────────────────────────────────────


def test_every_use_has_its_file_and_line(site: MakeSite) -> None:
    library = site({
        "sex.csv": "code,sex\nF,female\n",
        "m.yaml": "mapping: m\nfrom: hl7v2\nto: json\nset:\n  a: =PID-8 | code('sex')\n  b: |\n    =first(\n      code(\"sex\", code=PID-8))\n  c: code('sex')\n",
        "mappings/t.j2": "x\n{{ PID-8 | code('sex') }}\n",
        "channels/c.yaml": "channel: c\nskip:\n  no: =not (MSH-4 is listed('sex'))\n",
        "channels/broken.yaml": "channel: [\n",
    })  # fmt: skip
    assert uses(library.directory) == [
        Use("sex", "channels/c.yaml", 3), Use("sex", "mappings/m.yaml", 5), Use("sex", "mappings/m.yaml", 8), Use("sex", "mappings/t.j2", 2),
    ]  # fmt: skip


# ── a row more ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("before", "after"), [
    (b"code,sex\nF,female\n", b"code,sex\nF,female\nN,non-binary\n"),
    (b"code,sex\nF,female", b"code,sex\nF,female\nN,non-binary\n"),
    (b"code,sex\r\nF,female\r\n", b"code,sex\r\nF,female\r\nN,non-binary\r\n"),
    (b"code,sex\r\nF,female", b"code,sex\r\nF,female\r\nN,non-binary\r\n"),
    (b"\xef\xbb\xbfcode,sex\nF,female\n", b"\xef\xbb\xbfcode,sex\nF,female\nN,non-binary\n"),
    (b'"code","sex"\n"F","female"\n', b'"code","sex"\n"F","female"\n"N","non-binary"\n'),
    (b"code, sex\nF, female\n\n", b"code, sex\nF, female\n\nN,non-binary\n"),
])  # fmt: skip
def test_a_row_is_added_as_the_file_is_written(before: bytes, after: bytes) -> None:
    added = with_row(before, "sex", "mappings/codes/sex.csv", {"sex": "non-binary", "code": "N"})
    assert added.content == after
    assert added.line == after.rstrip(b"\r\n").count(b"\n") + 1
    assert added.table.lookup()(("N",)) == "non-binary"


def test_what_needs_quotes_gets_them() -> None:
    added = with_row(b"code,sex\nF,female\n", "sex", "f.csv", {"code": 'a"b', "sex": "x, y"})
    assert added.row == '"a""b","x, y"'
    assert added.table.lookup()(('a"b',)) == "x, y"


@pytest.mark.parametrize(("content", "cells", "keys", "said"), [
    ("code,sex\nF,female\n", {"code": "F", "sex": "x"}, [], "line 2 of f.csv answers for F already"),
    ("code,sex\nF,female\n*,x\n", {"code": "N", "sex": "x"}, [], "line 3 of f.csv answers for N already"),
    ("code,sex\nF,female\n", {"code": "N"}, [], "sex of f.csv must be given, if only as sex= for nothing."),
    ("code,sex\nF,female\n", {"code": "N", "sxe": "x"}, [], "f.csv has no column 'sxe'. Did you mean 'sex'?"),
    ("code,sex\nF,female\n", {"code": "N\nX,y", "sex": "x"}, [], "code: a cell is one line without control characters."),
    ("code,sex\nF\n", {"code": "N", "sex": "x"}, [], "has 1 cell where the first line names 2 columns"),
    ("", {"code": "N"}, [], "is empty"),
    ("a,b,c\n1,2,3\n", {"a": "1", "b": "2", "c": "3"}, [], "answers for a=1, b=2, c=3 already"),
    ("a,b,c\n1,2,3\n", {"a": "1", "b": "2", "c": "4"}, [("a", "b")], "line 2 of f.csv answers for a=1, b=2 already"),
    ("a,b,c\n1,*,3\n", {"a": "1", "b": "2", "c": "4"}, [("a", "b")], "line 2 of f.csv answers for a=1, b=2 already"),
    ("a,b,c\n1,2,3\n", {"a": "1", "b": "9", "c": "4"}, [("a", "b"), ("a",)], "line 2 of f.csv answers for 1 already"),
    (FEES, {"code": "A", "fee": "13"}, [], "are valid on the same days"),
    (FEES, {"code": "A", "fee": "13", "valid_from": "2026-03-01"}, [], "are valid on the same days"),
    (FEES, {"code": "C", "fee": "13", "valid_from": "1.1.2026"}, [], "A date is written YYYY-MM-DD"),
    (GL, {"department": "X", "revenue_code": "1", "account": "5"}, [("department", "revenue_code")], "(… to 2026-01-10) answers for"),
])  # fmt: skip
def test_a_row_that_does_not_fit_is_refused(content: str, cells: dict[str, str], keys: list[tuple[str, ...]], said: str) -> None:
    with pytest.raises((ValueError, ConfigurationError)) as caught:
        with_row(content.encode(), "t", "f.csv", cells, keys)
    assert said in str(caught.value)


def test_a_row_for_other_days_is_taken() -> None:
    added = with_row(FEES.encode(), "fees", "f.csv", {"code": "B", "fee": "19", "valid_to": "2026-01-01"})
    assert added.row == "B,19,,2026-01-01"
    assert added.table.lookup_on()(("B",), date(2020, 1, 1)) == "19"
