"""Explaining a mapping: the same results and the same errors as running it, and for each field where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine import registry
from engine.errors import WardlineError
from engine.mapping import Library
from engine.mapping.explain import Explained, Explanation, Row, explain
from engine.mapping.recording import MOST, Looked
from engine.testing import mappings as tests_of_mappings
from tests.unit.mapping.material import DFT, FACTS, ORU, TABLES, MakeSite, hl7

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = sorted([*(ROOT / "samples").rglob("*.hl7"), *(ROOT / "samples").rglob("*.json")])
SITE = Library.load(ROOT, registry.formats(), registry.entities())


def told(directory: Path, names: list[str], content: bytes) -> Explanation:
    return explain(directory, names, content, FACTS, registry.formats(), registry.entities())


def rows(result: Explained) -> dict[str, Row]:
    return {row.path: row for row in result.rows}


def one(explanation: Explanation) -> dict[str, Row]:
    """The fields of the only result of the last mapping."""
    assert explanation.fault is None, explanation.fault
    (result,) = explanation.steps[-1].results
    return rows(result)


# ── parity ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def unexplained(name: str, content: bytes) -> tuple[list[Any], str, str]:
    """Its products; or an error's text and place."""
    try:
        return [one[:5] for one in tests_of_mappings.apply(SITE, SITE.step(name), content, FACTS)], "", ""
    except WardlineError as error:
        return [], str(error), getattr(error, "place", "")


@pytest.mark.parametrize("name", SITE.names)
def test_every_mapping_gives_of_every_sample_what_it_gives_unexplained(name: str) -> None:
    own = [sample for sample in SAMPLES if sample.name[:3] in name]
    results = 0
    for sample in [*own, *SAMPLES[::9]]:
        content = sample.read_bytes()
        explained = told(ROOT, [name], content)
        products, error, place = unexplained(name, content)
        fault = explained.fault
        assert ((fault.text, fault.place) if fault else ("", "")) == (error, place)
        assert [one[:5] for one in explained.products] == products
        if explained.products:
            assert all(one.rows for one in explained.steps[-1].results)
        results += len(products)
    assert results


def test_a_chain_gives_what_it_gives_unexplained() -> None:
    names = ["dft-to-charge", "charge-to-journal"]
    content = (ROOT / "samples/hl7v2/dft_p03_two_charges.hl7").read_bytes()
    source = SITE.formats["hl7v2"]
    facts = FACTS._replace(heading=source.heading(content))
    products = SITE.chain(names, "hl7v2").apply(source.parse(content), facts)
    explained = told(ROOT, names, content)
    assert [one.content for one in explained.products] == [one.content for one in products]
    assert [step.mapping for step in explained.steps] == names
    assert [len(step.results) for step in explained.steps] == [2, 1]


# ── where a field comes from ───────────────────────────────────────────────────────────────────────────────────────


def test_a_field_says_its_line_and_what_it_read_where() -> None:
    explained = told(ROOT, ["dft-to-charge"], (ROOT / "samples/hl7v2/dft_p03_two_charges.hl7").read_bytes())
    second = rows(explained.steps[0].results[1])["charge.department"]
    assert second.value == "LAB-1"
    assert second.entry is not None
    assert second.entry.expression == "=FT1-13.1 | required"
    assert second.entry.file == "mappings/dft-to-charge.yaml"
    line = (ROOT / "mappings/dft-to-charge.yaml").read_text().splitlines()[second.entry.line - 1]
    assert line[second.entry.column - 1 :].startswith("=FT1-13.1 | required")
    assert [(read.path, read.place, read.value) for read in second.entry.reads] == [("FT1-13.1", "FT1[2]-13.1", "LAB-1")]


def test_a_code_table_says_which_row_answered() -> None:
    explained = told(ROOT, ["dft-to-charge"], (ROOT / "samples/hl7v2/dft_p03_two_charges.hl7").read_bytes())
    entry = rows(explained.steps[0].results[0])["charge.patient.sex"].entry
    assert entry is not None
    (looked,) = entry.looked
    lines = (ROOT / looked.file).read_text().splitlines()
    assert lines[looked.line - 1].split(",")[:2] == [looked.key, looked.value]


def test_what_a_let_read_its_field_has_read(site: MakeSite) -> None:
    lib = site(
        {
            "a.yaml": "mapping: a\nfrom: hl7v2\nto: json\nlet:\n  sex: =PID-8\n  both: =sex ~ PID-7\nset:\n  x: =both\n  y: text\n",
        }
    )
    found = one(told(lib.directory, ["a"], hl7(DFT)))
    assert found["x"].value == "F19800203"
    assert found["x"].entry is not None
    assert [(read.place, read.value, read.let) for read in found["x"].entry.reads] == [
        ("PID-8", "F", "both"),
        ("PID-7", "19800203", "both"),
    ]
    assert found["y"].entry is not None
    assert found["y"].entry.expression == "text"
    assert found["y"].entry.reads == []


NESTED = """\
mapping: a
from: hl7v2
to: json
set:
  who: {name: =PID-5.1, none: =PID-30}
  lines:
    for_each: OBX
    when: =OBX-11 != 'X'
    set:
      n: =n
      code: =OBX-3.1
  plain:
    - =PID-8
    - =PID-30
    - fixed
  each:
    for_each: =PID-3[*]
    set: =.1
"""


def test_places_in_a_result_are_those_of_what_is_delivered(site: MakeSite) -> None:
    lib = site({"a.yaml": NESTED})
    explained = told(lib.directory, ["a"], hl7(ORU))
    found = one(explained)
    delivered = json.loads(explained.products[0].content)
    for number, line in enumerate(delivered["lines"], 1):
        assert found[f"lines[{number}].code"].value == line["code"]
    assert [found[f"plain[{n}]"].value for n in (1, 2) if f"plain[{n}]" in found] == delivered["plain"][:2]
    assert found["who.none"].value is None
    assert found["who.none"].note == "left out: nothing was sent"


def test_a_skipped_turn_says_which_condition_and_what_it_read(site: MakeSite) -> None:
    lib = site({"a.yaml": "mapping: a\nfrom: hl7v2\nto: json\nfor_each: OBX\nwhen: =OBX-11 == 'never'\nset: {x: =OBX-3.1}\n"})
    explained = told(lib.directory, ["a"], hl7(ORU))
    (step,) = explained.steps
    assert explained.products == []
    assert step.results == []
    assert step.turns[0][0] == "OBX"
    assert [entry.n for entry in step.skipped] == list(range(1, step.turns[0][1] + 1))
    assert step.skipped[0].reads[0].path == "OBX-11"


def test_a_message_says_which_places_were_written_dropped_and_added(site: MakeSite) -> None:
    text = (
        "mapping: a\nfrom: hl7v2\nto: hl7v2\ndrop: [Z*]\nset:\n  MSH-3: US\n  OBX[*]-3.1: =OBX-3.1 | lower\n  PID-8: =omit\n"
        'segments:\n  - NTE: {1: "1", 3: =MSH-4}\n'
    )
    found = one(told(site({"a.yaml": text}).directory, ["a"], hl7(ORU)))
    assert found["MSH-3"].value == "US"
    assert found["OBX[1]-3.1"].entry is not None
    assert found["OBX[1]-3.1"].entry.reads[0].place.endswith("-3.1")
    assert found["PID-8"].value is None
    assert "dropped" in found["PID-8"].note
    assert [row.note for path, row in found.items() if path.startswith("NTE")] == ["added", "added"]


def test_a_result_without_lines_of_its_own_tells_what_its_template_read(site: MakeSite) -> None:
    files = {
        "a.yaml": "mapping: a\nfrom: hl7v2\nto: text\nrender: {template: a.txt.j2}\n",
        "a.txt.j2": "{{ PID-5.1 }} {{ PID-8 }}",
    }
    explained = told(site(files).directory, ["a"], hl7(DFT))
    (result,) = explained.steps[0].results
    assert [read.path for entry in result.reads for read in entry.reads] == ["PID-5.1", "PID-8"]
    assert explained.products[0].content == b"Worthing F"


# ── what goes wrong ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_fault_names_its_line_and_keeps_what_was_worked_out_before(site: MakeSite) -> None:
    lib = site({"a.yaml": "mapping: a\nfrom: hl7v2\nto: json\nset:\n  fine: =PID-8\n  wrong: =PID-5.1 | date\n  later: =PID-7\n"})
    explained = told(lib.directory, ["a"], hl7(DFT))
    assert explained.fault is not None
    assert (explained.fault.file, explained.fault.line, explained.fault.column) == ("mappings/a.yaml", 6, 10)
    assert explained.fault.place == "PID-5.1"
    assert [(entry.target, bool(entry.error)) for entry in explained.steps[0].unfinished] == [("fine", False), ("wrong", True)]


def test_a_table_without_the_row_says_what_was_looked_for(site: MakeSite) -> None:
    lib = site({**TABLES, "a.yaml": "mapping: a\nfrom: hl7v2\nto: json\nset:\n  x: =PID-5.1 | code('sex')\n"})
    explained = told(lib.directory, ["a"], hl7(DFT))
    assert explained.fault is not None
    assert explained.fault.reason == "unknown_code"
    assert explained.steps[0].unfinished[0].looked[0] == Looked("mappings/codes/sex.csv", "Worthing", 0, "")


def test_a_mapping_with_errors_is_told_as_check_tells_it(site: MakeSite) -> None:
    lib = site({"a.yaml": "mapping: a\nfrom: hl7v2\nto: json\nset:\n  x: =PID-8 | uper\n"})
    explained = told(lib.directory, ["a"], hl7(DFT))
    assert explained.problems == list(lib.problems)
    assert explained.fault is not None
    assert explained.fault.reason == "configuration"
    assert (explained.fault.file, explained.fault.line) == ("mappings/a.yaml", 5)


@pytest.mark.parametrize("content", [b"", b"nothing", b"MSH", b"\xff\xfe", b"{}"])
def test_content_that_cannot_be_read_is_a_fault(content: bytes) -> None:
    explained = told(ROOT, ["dft-to-charge"], content)
    assert explained.fault is not None
    assert explained.products == []


def test_a_message_with_very_many_turns_is_noted_in_part_and_mapped_whole(site: MakeSite) -> None:
    lib = site(
        {"a.yaml": "mapping: a\nfrom: hl7v2\nto: json\nset:\n  lines:\n    for_each: OBX\n    set: {a: =n, b: =OBX-3.1}\n"}
    )
    segments = "".join(f"OBX|{n}|ST|C{n}\r" for n in range(MOST))
    content = b"MSH|^~\\&|A|B|C|D|20260101||ORU^R01|1|P|2.5.1\r" + segments.encode()
    explained = told(lib.directory, ["a"], content)
    assert explained.cut
    assert len(json.loads(explained.products[0].content)["lines"]) == MOST


def test_what_is_told_is_ready_for_json() -> None:
    for sample in [one for one in SAMPLES if one.name.startswith("dft")][:6]:
        data: dict[str, Any] = orjson.loads(orjson.dumps(told(ROOT, ["dft-to-charge"], sample.read_bytes()).data()))
        assert set(data) == {"steps", "delivered", "fault", "problems", "cut"}
