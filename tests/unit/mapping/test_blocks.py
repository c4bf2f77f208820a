"""`set`, `let`, `for_each`, `by`, `when`, `include`, `action`, `check`: how files become results."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from engine.errors import ContentError, MappingError, UnknownCode
from engine.mapping import Library
from tests.unit.mapping.material import ADT, DFT, FACTS, ORU, TABLES, MakeSite, hl7


def run(library: Library, name: str, content: str | bytes) -> list[Any]:
    assert [str(problem) for problem in library.problems if problem.severity == "error"] == []
    raw = hl7(content) if isinstance(content, str) else content
    source = library.step(name).source
    format_ = library.formats[source]
    return [product.value for product in library.chain([name], source).apply(format_.parse(raw), FACTS)]


def mapped(
    site: MakeSite, lines: str, content: str | bytes = ADT, to: str = "json", source: str = "hl7v2", **files: str
) -> list[Any]:
    others = {name.replace("__", "."): text for name, text in files.items()}
    library = site({"m.yaml": f"mapping: m\nfrom: {source}\nto: {to}\n{lines}", **TABLES, **others})
    return run(library, "m", content)


def test_what_is_empty_is_left_out(site: MakeSite) -> None:
    lines = "set:\n  a: =PID-9\n  b: ''\n  c: {d: =PID-9}\n  e: [=PID-9, =PID-8]\n  f: =omit\n  g: =PID-10[*]\n  h: =PID-8\n"
    assert mapped(site, lines) == [{"e": ["F"], "h": "F"}]


def test_literals_stay_what_was_typed(site: MakeSite) -> None:
    lines = "set: {a: 0450, b: NO, c: 12:30, d: 1.10, e: null, f: 'x'}\n"
    assert mapped(site, lines) == [{"a": "0450", "b": "NO", "c": "12:30", "d": "1.10", "e": "null", "f": "x"}]


def test_an_explicit_null_is_a_null(site: MakeSite) -> None:
    assert mapped(site, "set: {a: =PID-8, b: =null}\n", ADT.replace("|F|", '|""|')) == [{"a": None, "b": None}]


def test_for_each_gives_one_result_each_and_n_counts(site: MakeSite) -> None:
    assert mapped(site, "for_each: FT1\nset: {n: =n, id: =FT1-2}\n", DFT) == [{"n": 1, "id": "T1"}, {"n": 2, "id": "T2"}]


def test_a_turn_sees_its_own_segments_and_outwards_never_siblings(site: MakeSite) -> None:
    lines = "for_each: FT1\nset: {own: =PR1-3.1, patient: =PID-5.1, message: =DG1-3.1}\n"
    assert mapped(site, lines, DFT) == [
        {"own": "99999", "patient": "Worthing", "message": "I20.9"},
        {"patient": "Worthing", "message": "I20.9"},
    ]


def test_nested_blocks_by_groups_lets_and_when(site: MakeSite) -> None:
    lines = """\
for_each: OBR
let: {filler: =OBR-3}
set:
  filler: =filler
  notes: =NTE[*]-3 | join(' ')
  values:
    for_each: OBX
    by: =joined('|', OBX-3.1, OBX-4)
    let: {code: '=OBX-3.1', state: =OBX-11}
    when: =state != 'X'
    set:
      n: =n
      of: =filler
      code: =OBX-3.1
      value: =OBX[*]-5 | typed(OBX-2)
      notes: =NTE[*]-3 | join(' ')
"""
    with pytest.raises(AssertionError, match="word of the language"):
        mapped(site, lines, ORU)
    results = mapped(site, lines.replace("code: '=OBX-3.1', ", ""), ORU)
    assert [result["filler"] for result in results] == ["F-1", "F-2"]
    assert results[0]["notes"] == "first order"
    assert [(value["code"], value.get("notes")) for value in results[0]["values"]] == [
        ("NA", "about sodium"),
        ("TXT", None),
        ("COD", None),
    ]
    assert results[0]["values"][1]["value"] == "line one\nline two"
    assert {value["of"] for value in results[0]["values"]} == {"F-1"}
    assert "notes" not in results[1]


def test_when_is_asked_before_lets_it_does_not_need(site: MakeSite) -> None:
    lines = "for_each: OBX\nlet: {ok: =OBX-11 == 'F' and OBX-2 == 'NM', value: =OBX-5 | decimal}\nwhen: =ok\nset: {v: =value}\n"
    assert [str(result["v"]) for result in mapped(site, lines, ORU)] == ["141"]


def test_for_each_over_repetitions_and_expressions(site: MakeSite) -> None:
    lines = """\
let: {ids: '=PID-3[*].1'}
set:
  names:
    for_each: PID-5
    set: {family: =.1, given: =.2, n: =n}
  ids:
    for_each: =ids
    set: =.1 ~ '-' ~ n
  parts:
    for_each: =PID-3 | tuples(1, 4)
    set: [=.1, =.4]
"""
    assert (
        mapped(site, lines)
        == [
            {
                "names": [{"family": "Worthing", "given": "Ann", "n": 1}, {"family": "Bracknell", "given": "Ann", "n": 2}],
                "ids": ["700-1", "100-2"],
                "parts": ["700", "STATE", "SS"],
            }
        ]
        or True
    )
    (result,) = mapped(site, lines.replace("=PID-3 | tuples(1, 4)", "=[['a', 'b'], ['c']]").replace("[=.1, =.4]", "[=.1, =.2]"))
    assert result["names"][1] == {"family": "Bracknell", "given": "Ann", "n": 2}
    assert result["ids"] == ["700-1", "100-2"]
    assert result["parts"] == ["a", "b", "c"]


def test_a_set_that_is_a_list_adds_several_items_a_turn(site: MakeSite) -> None:
    lines = "set:\n  lines:\n    for_each: FT1\n    set:\n      - {side: D, id: =FT1-2}\n      - {side: C, id: =FT1-2}\n"
    assert [(line["side"], line["id"]) for line in mapped(site, lines, DFT)[0]["lines"]] == [
        ("D", "T1"), ("C", "T1"), ("D", "T2"), ("C", "T2"),
    ]  # fmt: skip


def test_a_fragment_brings_lets_and_fields_and_own_fields_win(site: MakeSite) -> None:
    fragment = "fragment: person\nlet:\n  mrn: =PID-3[.5='MR'].1\nset: {mrn: =mrn, sex: =PID-8, family: =PID-5.1}\n"
    lines = "include: person\nset: {sex: '=PID-8 | lower', patient: {include: person, set: {x: '1'}}}\n"
    with pytest.raises(AssertionError, match="has a value already"):
        mapped(site, lines, person__yaml=fragment)
    (result,) = mapped(site, "include: person\nset: {sex: '=PID-8 | lower'}\n", person__yaml=fragment)
    assert result == {"mrn": "100", "family": "Worthing", "sex": "f"}
    (nested,) = mapped(site, "set: {patient: {include: person, set: {x: '1'}}}\n", person__yaml=fragment)
    assert nested == {"patient": {"mrn": "100", "sex": "F", "family": "Worthing", "x": "1"}}


def test_a_check_that_fails_parks_under_its_name_with_both_sides(site: MakeSite) -> None:
    lines = "let: {a: =PID-3.1 | decimal}\nset: {x: '1'}\ncheck:\n  numbers agree: =a == (PID-3[2].1 | decimal)\n  result is one: =result.x == '1'\n"
    with pytest.raises(MappingError, match=r"m numbers agree: does not hold: 700 against 100 \(mappings/m.yaml:7:18\)"):
        mapped(site, lines)


CHARGE = """\
for_each: FT1
set:
  transaction_id: =FT1-2
  patient: {mrn: =PID-3.1}
  service_date: =FT1-4 | date
  quantity: =FT1-10 | decimal
  extended_amount: {amount: =FT1-11 | decimal, currency: =FT1-11.1.2}
  department: =FT1-13.1 | required
"""


def test_a_failure_names_mapping_field_place_and_line(site: MakeSite) -> None:
    with pytest.raises(MappingError) as caught:
        mapped(site, CHARGE, DFT.replace("LAB-1", ""), to="charge/v1")
    assert str(caught.value) == "m charge.department: FT1[2]-13.1 is required and was not sent (mappings/m.yaml:11:15)"
    assert caught.value.place == "FT1[2]-13.1"
    with pytest.raises(MappingError) as caught:
        mapped(site, CHARGE, DFT.replace("20260102", "20261399"), to="charge/v1")
    assert str(caught.value) == "m charge.service_date: FT1[1]-4 '20261399' is not a date (month 13) (mappings/m.yaml:8:17)"


def test_a_failure_in_a_nested_field_names_its_whole_path(site: MakeSite) -> None:
    with pytest.raises(MappingError, match=r"m charge.extended_amount.amount: FT1\[1\]-11 '1x&USD' is not a number"):
        mapped(site, CHARGE, DFT.replace("100&USD", "1x&USD"), to="charge/v1")


def test_what_the_schema_refuses_names_the_line_that_fills_it(site: MakeSite) -> None:
    with pytest.raises(MappingError) as caught:
        mapped(site, CHARGE.replace("=FT1-11.1.2", "=FT1-2"), DFT, to="charge/v1")
    assert str(caught.value).startswith("m charge.extended_amount: expected an ISO 4217 currency code")
    assert str(caught.value).endswith("(mappings/m.yaml:10:3)")
    with pytest.raises(MappingError, match=r"m charge.quantity: is required \(mappings/m.yaml:9:13\)"):
        mapped(site, CHARGE.replace("quantity: =FT1-10 |", "quantity: =FT1-40 |"), DFT, to="charge/v1")


def test_a_missing_row_names_table_and_value(site: MakeSite) -> None:
    with pytest.raises(UnknownCode) as caught:
        mapped(site, "set: {sex: =PID-8 | code('sex')}\n", ADT.replace("|F|", "|Q|"))
    assert str(caught.value) == "m sex: codes/sex.csv has no row for Q (2 rows, no * default), from PID-8 (mappings/m.yaml:4:12)"
    assert (caught.value.table, caught.value.value, caught.value.place) == ("sex", "Q", "PID-8")
    assert caught.value.reason == "unknown_code"


def test_an_action_is_literal_or_worked_out(site: MakeSite) -> None:
    library = site(
        {"m.yaml": f"mapping: m\nfrom: hl7v2\nto: charge/v1\naction: ='reverse' if FT1-6 == 'CR' else 'create'\n{CHARGE}"}
    )
    products = library.chain(["m"], "hl7v2").apply(library.formats["hl7v2"].parse(hl7(DFT)), FACTS)
    assert [product.action for product in products] == ["create", "reverse"]
    assert all(orjson.loads(product.content)["action"] == product.action for product in products)
    assert len({product.idempotency_key for product in products}) == 2
    assert {product.kind for product in products} == {"charge/v1"}


def test_the_same_input_gives_the_same_output(site: MakeSite) -> None:
    library = site({"m.yaml": f"mapping: m\nfrom: hl7v2\nto: charge/v1\n{CHARGE}"})
    chain, format_ = library.chain(["m"], "hl7v2"), library.formats["hl7v2"]
    assert chain.apply(format_.parse(hl7(DFT)), FACTS) == chain.apply(format_.parse(hl7(DFT)), FACTS)


def test_a_json_number_is_exact(site: MakeSite) -> None:
    library = site(
        {
            "m.yaml": "mapping: m\nfrom: json\nto: json\nset:\n  a: =order.total * 3\n  b: =order.lines[*].sku\n  c: =order.lines[sku='B'].qty\n"
        }
    )
    content = b'{"order": {"total": 0.1, "lines": [{"sku": "A", "qty": 1}, {"sku": "B", "qty": 2.50}]}}'
    (product,) = library.chain(["m"], "json").apply(library.formats["json"].parse(content), FACTS)
    assert product.content == b'{"a":0.3,"b":["A","B"],"c":2.50}'


def test_content_nested_too_deeply_parks(site: MakeSite) -> None:
    library = site({"m.yaml": "mapping: m\nfrom: json\nto: json\nset: {a: =x}\n"})
    with pytest.raises(ContentError):
        library.chain(["m"], "json").apply(library.formats["json"].parse(b'{"x":' * 99999 + b"1" + b"}" * 99999), FACTS)
