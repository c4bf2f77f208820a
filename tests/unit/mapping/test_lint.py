"""Expressions that are refused before a message comes: where exactly, and with which advice."""

from __future__ import annotations

import pytest

from engine.mapping import Library
from tests.unit.mapping.material import ADT, TABLES, Bench, MakeSite

WRONG = [
    # expression, column of the problem (1 is the =), part of its text
    ("=PID-3.1 && PID-4", 10, "&& is written and"),
    ("=PID-3.1 || PID-4", 10, "|| is written first(a, b)"),
    ("=PID-8 ? 1 : 2", 8, "a if condition else b"),
    ("=PID-8 = 'F'", 8, "= is written =="),
    ("=PID-8 === 'F'", 10, ""),
    ("=PID-8 <> 'F'", 8, "<> is written !="),
    ("=!PID-8", 2, "! is written not"),
    ("={{ PID-8 }}", 2, "leave out {{ }}"),
    ("={% if x %}", 2, "belong in a template"),
    ("=PID-8 == F", 11, "there is no name or path 'F'"),
    ("=PID-8 == ‘F’", 11, "straight quotes"),
    ("=PID-8 == True", 11, "True is written true"),
    ("=None", 2, "omit"),
    ("=x for x in y", 2, "there is no name or path 'x'"),
    ("=PID-8 for x", 8, "for_each"),
    ("=PID-8 AND PID-9", 8, "AND is written and"),
    ("=lambda: 1", 2, "no functions to define"),
    ("=PID-5.1 PID-5.2", 10, "something is missing"),
    ("='a' 'b'", 6, "~ joins texts"),
    ("='a", 2, "never closed"),
    ("=(PID-5.1", 2, "never closed"),
    ("=[PID-5.1", 2, "never closed"),
    ("=PID-5.1)", 9, "closes nothing"),
    ("=PID-5.1 ~", 10, "a value is missing"),
    ("=PID-5.1, PID-5.2", 9, "only inside brackets"),
    ("=", 2, "an expression is expected"),
    ("=PID-3.1 | datte", 12, "Did you mean 'date'?"),
    ("=PID-3.1 | xyz", 12, "wardline describe lists them"),
    ("=PID-3.1 | first", 12, "first is a function: write first(…)"),
    ("=frist(PID-3.1, PID-4)", 2, "Did you mean 'first'?"),
    ("=upper(PID-3.1)", 2, "value | upper"),
    ("=PID-3.1 is defined", 13, "There are empty, listed, matching, null"),
    ("=first()", 2, "first is written first(a, b, …)"),
    ("=joined(PID-5.1, PID-5.2)", 9, "begins with what stands between"),
    ("=PID-5.1 | truncate", 12, "truncate is written"),
    ("=PID-5.1 | truncate(PID-3.1)", 21, "a whole number from 1"),
    ("=PID-5.1 | trim('x')", 12, "trim is written | trim"),
    ("=PID-5.1 | replace('', 'x')", 20, "something to replace"),
    ("=PID-8 | code('sexx')", 15, "Did you mean 'sex'?"),
    ("=PID-8 | code(PID-9)", 15, "as a text in quotes"),
    ("=PID-8 | code('our-facilities')", 10, "one column"),
    ("=PID-8 is listed('nowhere')", 18, "mappings/codes/nowhere.csv"),
    ("=code('gl', departmnt=PID-8)", 23, "Did you mean 'department'?"),
    ("=code('gl')", 2, "needs the columns to look in"),
    ("=code(PID-8)", 7, "as a text in quotes"),
    ("=message.recieved", 2, "Did you mean 'received'?"),
    ("=site.secrets", 2, "site.organization"),
    ("=today.year", 7, "today has no parts"),
    ("=PID-3.1[0]", 9, "[ ] after a value"),
    ("=PID-3.4.1.1", 11, "subcomponent"),
    ("=PID-0", 6, "count from 1"),
    ("=PID.3", 5, "a field is written PID-3"),
    ("=PID-3-1", 7, "PID-3.1"),
    ("=.1", 2, "for_each"),
    ("=1e5", 2, "neither a number nor a path"),
    ("=PID-7 | date('%1000000d')", 15, "%d %m %Y"),
    ("=PID-5.1 is matching('(a+)+$')", 22, "a repeat within a repeat"),
    ("=PID-5.1 is matching('(')", 22, "cannot be read"),
    ("=PID-5.1 is matching(PID-3.1)", 22, "as a text in quotes"),
    ("=first(*PID-3)", 7, "no meaning"),
    ("=PID-5.1 ~ @x", 12, "@ is not used"),
]


@pytest.mark.parametrize(("expression", "column", "text"), WRONG, ids=[expression for expression, _, _ in WRONG])
def test_a_wrong_expression_is_refused_at_its_place(bench: Bench, expression: str, column: int, text: str) -> None:
    at, said = bench.refusal(expression)
    assert text in said
    assert at == column, said
    assert "jinja" not in said.lower()
    assert "chunk" not in said
    assert "token" not in said


TRAPS = [
    ("=PID-7 or PID-9 | date", "Write first(PID-7, PID-9) | date."),
    ("=PID-5.1 ~ ', ' ~ PID-5.2 | upper", "Write (PID-5.1 ~ ', ' ~ PID-5.2) | upper"),
    ("=PID-7 if PID-8 == 'F' else PID-29 | date", "Write (PID-7 if PID-8 == 'F' else PID-29) | date"),
    ("=-PID-1 | decimal", "Write -(PID-1 | decimal)."),
    ("=PID-1 * PID-2 | decimal", "Write (PID-1 | decimal) * (PID-2 | decimal)."),
    ("=PID-1 - PID-2 | decimal", "Write (PID-1 | decimal) - (PID-2 | decimal)."),
    ("=first(PID-1, PID-2 ~ PID-3 | upper)", "Write (PID-2 ~ PID-3) | upper"),
    ("=PID-7 or PID-9", "A fallback is written first(a, b)."),
    ("=first(PID-7 or PID-9, 'x')", "A fallback is written first(a, b)."),
    ("=PID-1 + PID-2", "Join texts with ~, or convert with | decimal."),
]


@pytest.mark.parametrize(("expression", "advice"), TRAPS, ids=[expression for expression, _ in TRAPS])
def test_a_trap_is_refused_with_the_right_form(bench: Bench, expression: str, advice: str) -> None:
    assert advice in bench.refusal(expression)[1]


NO_TRAPS = [
    "=(PID-7 | date) if PID-8 == 'F' else (PID-29 | date)",
    "=PID-5.1 | upper ~ ', ' ~ PID-5.2 | upper",
    "=PID-5.1 ~ (PID-5.2 | upper)",
    "=first(PID-7, PID-29) | date",
    "=PID-8 == 'F' or PID-8 == 'M'",
    "=PID-8 is empty or PID-5.1 is matching('^ZZ')",
    "='a' if PID-8 or PID-9 else 'b'",
    "=not (PID-8 or PID-9)",
    "=2 * PID-3.1 | decimal",
    "=-(PID-3.1 | decimal)",
    "=PID-3.1 | decimal - 1",
]


@pytest.mark.parametrize("expression", NO_TRAPS)
def test_what_is_clear_is_no_trap(bench: Bench, expression: str) -> None:
    bench(expression)


def test_or_between_conditions_is_fine_where_only_the_truth_counts(bench: Bench) -> None:
    assert bench("=PID-8 or PID-9", condition=True) == "F"


# ── files ──────────────────────────────────────────────────────────────────────────────────────────────────────────

GOOD = """\
mapping: m
from: hl7v2
to: charge/v1
for_each: FT1
set:
  transaction_id: =FT1-2
  patient: {mrn: =PID-3.1}
  service_date: =FT1-4 | date
  quantity: =FT1-10 | decimal
  extended_amount: {amount: =FT1-11 | decimal, currency: USD}
  department: =FT1-13.1 | required
"""

FILES = [
    # line to put in place of another, its replacement, line:column and text of the one problem
    (
        "department: =FT1-13.1 | required",
        "departmnt: =FT1-13.1",
        "11:3",
        "charge has no field 'departmnt'. Did you mean 'department'?",
    ),
    ("{mrn: =PID-3.1}", "{mnr: =PID-3.1}", "7:13", "charge.patient has no field 'mnr'. Did you mean 'mrn'?"),
    ("=FT1-2", "FT1-2", "6:19", "Did you mean '=FT1-2'?"),
    ("=FT1-4 | date", "FT1-4 | date", "8:17", "Did you mean '=FT1-4 | date'?"),
    ("for_each: FT1", "for_eech: FT1", "4:1", "Did you mean 'for_each'?"),
    ("from: hl7v2", "from: hl7", "2:7", "Did you mean 'hl7v2'?"),
    ("to: charge/v1", "to: charg/v1", "3:5", "Did you mean 'charge/v1'?"),
    ("to: charge/v1", "to: xml", "3:5", "render"),
    ("for_each: FT1", "for_each: FT1-", "4:14", "for_each takes a path or an expression"),
    ("{amount: =FT1-11 | decimal, currency: USD}", "120", "10:20", "an object with fields is expected"),
    (
        "{amount: =FT1-11 | decimal, currency: USD}",
        "{amount: =FT1-11 | decimal, currency: UDS}",
        "10:58",
        "not one of its values",
    ),
    ("=FT1-10 | decimal", "=FT1-10 | decimall", "9:23", "Did you mean 'decimal'?"),
    ("  quantity: =FT1-10 | decimal", "  modifiers: {a: b}\n  quantity: =FT1-10 | decimal", "9:3", "is a list: use for_each"),
    ("for_each: FT1", "for_each: FT1\nlet: {FT1: x}", "5:7", "would hide the path FT1"),
    ("for_each: FT1", "for_each: FT1\nlet: {n: x}", "5:7", "word of the language"),
    ("for_each: FT1", "for_each: FT1\nwhen: FT1-2", "5:7", "begins with ="),
    ("for_each: FT1", "for_each: FT1\ninclude: nothing", "5:10", "there is no fragment 'nothing'"),
    ("for_each: FT1", "by: =FT1-2", "4:1", "by stands beside for_each"),
    ("for_each: FT1", "for_each: FT1\ncheck: {x: '1'}", "5:12", "begins with ="),
    ("for_each: FT1", "for_each: FT1\ndrop: [ZXX]", "5:1", "result is a message"),
    (
        "for_each: FT1",
        "for_each: FT1\ntests: [{given: samples/none.hl7, expect: []}]",
        "5:17",
        "there is no file samples/none.hl7",
    ),
    ("for_each: FT1", "for_each: FT1\ntests: [{given: 'MSH|x', expct: []}]", "5:26", "Did you mean 'expect'?"),
]


@pytest.mark.parametrize(("old", "new", "place", "text"), FILES, ids=[new for _, new, _, _ in FILES])
def test_a_wrong_file_is_refused_at_its_place(site: MakeSite, old: str, new: str, place: str, text: str) -> None:
    library = site({"m.yaml": GOOD.replace(old, new, 1)})
    first = next(problem for problem in library.problems if text in problem.text)
    assert f"{first.line}:{first.column}" == place, str(first)
    assert first.severity == "error"


def test_a_good_file_has_no_problem(site: MakeSite) -> None:
    assert site({"m.yaml": GOOD}).problems == ()


@pytest.mark.parametrize(
    "literal", ["A01", "GENERAL", "PID", "3", "1.5", "0320", "'RAD-1'", "12:30", "a.b.c", "2026-01-31", "x/y"]
)
def test_a_plain_text_is_no_path(site: MakeSite, literal: str) -> None:
    assert site({"m.yaml": f"mapping: m\nfrom: hl7v2\nto: json\nset: {{a: {literal}}}\n"}).problems == ()


@pytest.mark.parametrize("literal", ["PID-3.1", "RAD-1", "OBX[2]-5", "FT1-4 | date", "first(PID-3, PID-2)"])
def test_a_text_that_looks_like_a_path_is_asked_about(site: MakeSite, literal: str) -> None:
    (problem,) = site({"m.yaml": f"mapping: m\nfrom: hl7v2\nto: json\nset:\n  a: {literal}\n"}).problems
    assert f"Did you mean '={literal}'?" in problem.text


def test_every_problem_is_told_at_once_and_in_order(site: MakeSite) -> None:
    library = site({"m.yaml": GOOD.replace("| date", "| dete").replace("quantity", "quantty").replace("=PID-3.1", "=PID-3.1 &&")})
    assert [problem.line for problem in library.problems] == [7, 8, 9]


def test_a_comma_inside_braces_is_caught(site: MakeSite) -> None:
    library = site({"m.yaml": GOOD.replace("{mrn: =PID-3.1}", "{mrn: =first(PID-3.1, PID-2)}"), **TABLES})
    assert any("a comma ended this value inside { }" in problem.text and problem.line == 7 for problem in library.problems)


def test_a_hash_and_a_colon_are_caught(site: MakeSite) -> None:
    library = site({"m.yaml": GOOD.replace("=FT1-2", "='# ' ~ FT1-2 #x").replace("=FT1-13.1 | required", "='a: ' ~ FT1-13.1")})
    assert any("Quote it" in problem.text or "quotes" in problem.text for problem in library.problems)


def test_a_let_that_nothing_uses_is_a_warning(site: MakeSite) -> None:
    library = site({"m.yaml": GOOD.replace("for_each: FT1", "for_each: FT1\nlet: {spare: =FT1-2}")})
    (problem,) = library.problems
    assert (problem.severity, problem.line, problem.column) == ("warning", 5, 7)


def test_code_tables_are_checked(site: MakeSite) -> None:
    library = site({
        "wide.csv": "code,meaning\nA,one,two\n",
        "twice.csv": "code,meaning\nA,1\nA,2\n",
        "named.csv": "code,the meaning\nA,1\n",
        "empty.csv": "",
        "quoted.csv": 'code,meaning\nA,"x\n',
    })  # fmt: skip
    told = {problem.file.rpartition("/")[2]: (problem.line, problem.severity, problem.text) for problem in library.problems}
    assert told["wide.csv"][:2] == (2, "error")
    assert "3 cells where the first line names 2 columns" in told["wide.csv"][2]
    assert told["twice.csv"] == (3, "warning", "is never reached: line 2 matches first.")
    assert "the meaning cannot be named" in told["named.csv"][2]
    assert told["empty.csv"][1] == "error"
    assert "is not CSV" in told["quoted.csv"][2]


def test_a_canonical_path_is_checked_against_the_entity(site: MakeSite) -> None:
    library = site(
        {"j.yaml": "mapping: j\nfrom: charge/v1\nto: json\nset:\n  a: =charge.extended_amount.amuont\n  b: =chrge.id\n"}
    )
    texts = [str(problem) for problem in library.problems]
    assert "charge.extended_amount has no field 'amuont'. Did you mean 'amount'?" in texts[0]
    assert "mappings/j.yaml:5:" in texts[0]
    assert "there is no name or path 'chrge'" in texts[1]


def test_a_mapping_with_errors_is_not_run(site: MakeSite) -> None:
    library: Library = site({"m.yaml": GOOD.replace("| date", "| dete")})
    with pytest.raises(Exception, match="has errors of its own"):
        library.chain(["m"], "hl7v2")
    assert ADT


@pytest.mark.parametrize(("line", "said"), [
    ("service_date: tomorrow", "'tomorrow' does not fit here: expected a date such as 2026-01-31."),
    ("service_date: 2026-02-30", "'2026-02-30' does not fit here: expected a date such as 2026-01-31."),
    ("quantity: two", "'two' does not fit here: expected a decimal number such as 12.50."),
    ("quantity: 1e3", "'1e3' does not fit here: expected a decimal number such as 12.50."),
    ("service_date: 2026-01-31", ""), ("service_date: '20260131'", ""), ("quantity: 2", ""), ("quantity: -1.50", ""), ("quantity: ''", ""),
])  # fmt: skip
def test_a_literal_is_checked_against_the_schema(site: MakeSite, line: str, said: str) -> None:
    field = line.partition(":")[0]
    text = "".join(f"  {line}\n" if one.strip().startswith(f"{field}:") else f"{one}\n" for one in GOOD.splitlines())
    assert [problem.text for problem in site({"m.yaml": text}).problems] == ([said] if said else [])


def test_what_no_result_can_be_without_is_named(site: MakeSite) -> None:
    text = "".join(f"{line}\n" for line in GOOD.splitlines() if "department" not in line and "service_date" not in line)
    library = site({"m.yaml": text.replace("{mrn: =PID-3.1}", "{name: =PID-5 | name}")})
    assert [(problem.text, problem.severity) for problem in library.problems] == [
        ("charge needs 'department', and nothing sets it.", "error"),
        ("charge needs 'service_date', and nothing sets it.", "error"),
        ("charge.patient needs 'mrn', and nothing sets it.", "error"),
    ]


def test_a_fragment_may_set_what_is_needed(site: MakeSite) -> None:
    line = next(line for line in GOOD.splitlines() if "department" in line)
    assert site({
        "m.yaml": GOOD.replace(f"{line}\n", "").replace("set:\n", "include: common\nset:\n", 1),
        "common.yaml": f"fragment: common\nset:\n{line}\n",
    }).problems == ()  # fmt: skip


def test_what_yaml_refuses_hides_nothing_else(site: MakeSite) -> None:
    """But the lines it reads in another way than they were meant are not blamed twice, and nothing of the file runs."""
    text = GOOD.replace("{mrn: =PID-3.1}", "{mrn: =first(PID-3.1, PID-2)}").replace("| date", "| dete")
    library = site({"m.yaml": text})
    lines = [problem.line for problem in library.problems]
    assert len(lines) == len(set(lines)) == 2
    assert "a comma ended this value inside { }" in library.problems[0].text
    assert "there is no filter 'dete'" in library.problems[1].text
    with pytest.raises(Exception, match="has errors of its own"):
        library.chain(["m"], "hl7v2")


def test_a_fragment_that_yaml_refuses_is_not_included(site: MakeSite) -> None:
    library = site({
        "m.yaml": "mapping: m\nfrom: hl7v2\nto: json\ninclude: common\nset: {a: =PID-3.1}\n",
        "common.yaml": "fragment: common\nset:\n  b: 1\n  b: 2\n",
    })  # fmt: skip
    assert any("'b' stands here a second time" in problem.text for problem in library.problems)
    with pytest.raises(Exception, match="has errors of its own"):
        library.chain(["m"], "hl7v2")
