"""Results that are messages: copies with changes, segments that are added, messages made from something else."""

from __future__ import annotations

import pytest

from engine.errors import ConfigurationError, MappingError, UnknownCode
from tests.unit.mapping.material import ADT, FACTS, ORU, TABLES, MakeSite, hl7, one_problem

LIS = "code,lis\nNA,2951-2\nTXT,T-1\nCOD,C-1\nDAY,D-1\n"


def edited(site: MakeSite, lines: str, content: str = ORU) -> list[str]:
    library = site({"m.yaml": f"mapping: m\nfrom: hl7v2\nto: hl7v2\n{lines}", "lis-tests.csv": LIS, **TABLES})
    assert [str(problem) for problem in library.problems] == []
    raw = hl7(content)
    (product,) = library.chain(["m"], "hl7v2").apply(library.formats["hl7v2"].parse(raw), FACTS)
    assert product.content_type == "application/hl7-v2"
    return product.content.decode().strip("\r").split("\r")


def test_a_copy_with_no_change_differs_in_its_identity_only(site: MakeSite) -> None:
    before = ORU.strip().split("\n")
    after = edited(site, "set: {}\n")
    assert after[1:] == before[1:]
    assert after[0] == before[0].replace("|M3|", "|0000000042-1|")


def test_an_identity_that_the_mapping_sets_stays(site: MakeSite) -> None:
    assert "|MINE|" in edited(site, "set: {MSH-10: MINE}\n")[0]


def test_drop_set_and_segments(site: MakeSite) -> None:
    lines = """\
drop: [Z*, PD1, "OBX[-11='X']"]
set:
  MSH-3: WARDLINE
  MSH-5.1: LIS
  PID-5.1: =PID-5.1 | upper
  PID-3[.5='SS']: =omit
  OBX[*]-3.1: =OBX-3.1 | code('lis-tests')
segments:
  - NTE: {1: "1", 3: "=joined(' ', 'via', MSH-4)"}
    after: PID
"""
    result = edited(site, lines)
    assert [line[:3] for line in result] == [
        "MSH",
        "PID",
        "NTE",
        *["OBR", "NTE", "OBX", "NTE", "OBX", "OBX", "OBX", "OBR", "OBX"],
    ]
    assert result[0].startswith("MSH|^~\\&|WARDLINE|NORTH|LIS|")
    assert result[1] == "PID|1||100^^^GENERAL^MR||WORTHING^Ann"
    assert result[2] == "NTE|1||via NORTH"
    assert [line.split("|")[3] for line in result if line.startswith("OBX")] == [
        "2951-2^Sodium^L", "T-1^Text^L", "T-1^Text^L", "C-1^Coded^L", "D-1^Day^L",
    ]  # fmt: skip


def test_the_original_does_not_change(site: MakeSite) -> None:
    library = site({"m.yaml": "mapping: m\nfrom: hl7v2\nto: hl7v2\ndrop: [OBX]\nset: {PID-5.1: X}\n"})
    format_ = library.formats["hl7v2"]
    document = format_.parse(hl7(ORU))
    library.chain(["m"], "hl7v2").apply(document, FACTS)
    assert format_.render(document) == hl7(ORU)


def test_values_are_escaped_and_null_is_written(site: MakeSite) -> None:
    result = edited(site, "set: {PID-5.1: 'a|b^c&d', PID-7: =null, PID-8: =PID-9}\n", ADT)
    pid = next(line for line in result if line.startswith("PID")).split("|")
    assert pid[5].startswith("a\\F\\b\\S\\c\\T\\d^Ann")
    assert pid[7] == '""'
    assert pid[8] == ""


def test_rows_of_segments_repeat_and_can_be_left_out(site: MakeSite) -> None:
    lines = """\
set: {}
segments:
  - for_each: OBX
    when: =OBX-11 == 'F'
    let: {what: =OBX-3.2}
    segments:
      - ZOB: {1: =n, 2: =what}
  - ZNO: {1: x}
    when: =PID-9 == 'x'
"""
    added = [line for line in edited(site, lines) if line.startswith(("ZOB", "ZNO"))]
    assert added == ["ZOB|1|Sodium", "ZOB|2|Text", "ZOB|3|Text", "ZOB|4|Coded", "ZOB|6|Day"]


def test_a_row_that_fails_names_its_place(site: MakeSite) -> None:
    with pytest.raises(UnknownCode, match=r"m OBX\[\*\]-3.1: codes/lis-tests.csv has no row for BAD"):
        edited(site, "set: {OBX[*]-3.1: x}\n".replace("{OBX[*]-3.1: x}", "\n  OBX[*]-3.1: =OBX-3.1 | code('lis-tests')"))
    with pytest.raises(MappingError, match=r"m NTE-3: PID-9 is required and was not sent"):
        edited(site, "set: {}\nsegments:\n  - NTE: {3: =PID-9 | required}\n")


def test_a_message_is_made_from_plain_data(site: MakeSite) -> None:
    lines = """\
mapping: m
from: json
to: hl7v2
set:
  MSH-3: WARDLINE
  MSH-9: ORM^O01
  MSH-10: =order.id
segments:
  - PID: {3: =order.patient}
  - for_each: order.lines
    segments:
      - OBR: {1: =n, 4: =order.lines.code}
"""
    library = site({"m.yaml": lines})
    assert library.problems == ()
    content = b'{"order": {"id": "O-1", "patient": "100", "lines": [{"code": "A"}, {"code": "B"}]}}'
    (product,) = library.chain(["m"], "json").apply(library.formats["json"].parse(content), FACTS)
    result = product.content.decode().split("\r")
    assert result[0].startswith("MSH|^~\\&|WARDLINE")
    assert "|ORM^O01|O-1" in result[0] or "O-1" in result[0]
    assert result[1:4] == ["PID|||100", "OBR|1|||A", "OBR|2|||B"]


def test_for_each_makes_no_copies(site: MakeSite) -> None:
    library = site({"m.yaml": "mapping: m\nfrom: hl7v2\nto: hl7v2\nfor_each: OBX\nset: {}\n"})
    assert "use [*] on the left side" in one_problem(library)


def test_wrong_left_sides_are_told(site: MakeSite) -> None:
    library = site({"m.yaml": "mapping: m\nfrom: hl7v2\nto: hl7v2\ndrop: [=PID-3]\nset: {PID-0: x, pid: y}\n"})
    assert [problem.line for problem in library.problems] == [4, 5, 5]
    assert all("path" in problem.text for problem in library.problems)
    with pytest.raises(ConfigurationError):
        library.chain(["m"], "hl7v2")
