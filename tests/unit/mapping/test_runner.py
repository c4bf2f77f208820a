"""The runner of tests that stand in mapping files, and of those in channel files."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.contracts import Channel, Route
from engine.mapping import Library
from engine.mapping.cases import Case
from engine.strictyaml import Map, Text, load
from engine.testing.mappings import ChannelCase, Result, run, run_channel
from tests.unit.mapping.material import ADT, FACTS, TABLES, MakeSite, hl7

MAPPING = """\
mapping: m
from: hl7v2
to: json
set:
  id: =PID-3[.5='MR'].1 | required
  sex: =PID-8 | code('sex')
  born: =PID-7 | date
  count: =PID-3 | count
  gone: =null
  names:
    for_each: PID-5
    set: {family: =.1}
"""


def results(site: MakeSite, tmp_path: Path, tests: str, mapping: str = MAPPING) -> list[Result]:
    (tmp_path / "samples").mkdir(exist_ok=True)
    (tmp_path / "samples" / "adt.hl7").write_bytes(hl7(ADT))
    library = site({"m.yaml": f"{mapping}tests:\n{tests}", **TABLES})
    assert [str(problem) for problem in library.problems] == []
    return run(library, tmp_path)


def test_what_is_named_must_match_and_the_rest_is_free(site: MakeSite, tmp_path: Path) -> None:
    tests = "  - given: samples/adt.hl7\n    expect: [{id: '100', sex: female, count: 2, gone: null, born: 1980-02-03}]\n"
    (result,) = results(site, tmp_path, tests)
    assert result.passed
    assert (result.subject, result.test, result.where) == ("m", "samples/adt.hl7", "mappings/m.yaml:14")


@pytest.mark.parametrize(
    ("expect", "difference"),
    [
        ("[{id: '101'}]", "id: expected 101, got 100"),
        ("[{id: ''}]", "id: expected (nothing), got 100"),
        ("[{other: x}]", "other: expected x, got (nothing)"),
        ("[{names: [{family: Worthing}, {family: Brackne}]}]", "names[2].family: expected Brackne, got Bracknell"),
        ("[{names: [{family: Worthing}]}]", "names: expected 1 items, got 2 items"),
        ("[{gone: x}]", "gone: expected x, got null"),
        ("[{id: {a: b}}]", "id: expected a: …, got 100"),
        ("[{}, {}]", "results: expected 2, got 1"),
        ("[]", "results: expected 0, got 1"),
        ("[x]", "result: expected x, got"),
    ],
)
def test_what_differs_is_named(site: MakeSite, tmp_path: Path, expect: str, difference: str) -> None:
    (result,) = results(site, tmp_path, f"  - given: samples/adt.hl7\n    expect: {expect}\n")
    assert not result.passed
    assert str(result.differences[0]).startswith(difference)


def test_content_may_stand_in_the_file(site: MakeSite, tmp_path: Path) -> None:
    inline = "  - given: |\n" + "".join(f"      {line}\n" for line in ADT.strip().split("\n")) + "    expect: [{id: '100'}]\n"
    (result,) = results(site, tmp_path, inline)
    assert result.passed
    assert result.test == "test 1"


def test_a_parking_is_expected_by_a_part_of_its_text(site: MakeSite, tmp_path: Path) -> None:
    tests = (
        "  - given: |\n      MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5.1\n      PID|1||100\n    parks: PID-3[.5='MR'].1 is required\n"
        "  - given: |\n      MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5.1\n      PID|1||100\n    parks: something else\n"
        "  - given: samples/adt.hl7\n    parks: anything\n"
        "  - given: |\n      MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5.1\n    expect: [{}]\n"
    )
    right, other, fine, unexpected = results(site, tmp_path, tests)
    assert right.passed
    assert "…something else…" in str(other.differences[0])
    assert fine.error == "expected to park with 'anything', and it gave 1 results"
    assert "is required and was not sent" in unexpected.error


def test_a_message_is_expected_by_its_paths(site: MakeSite, tmp_path: Path) -> None:
    mapping = "mapping: m\nfrom: hl7v2\nto: hl7v2\nset: {PID-5.1: =PID-5.1 | upper}\n"
    tests = "  - given: samples/adt.hl7\n    expect: [{PID-5.1: WORTHING, 'PID-3[*].1': ['700', '100'], PID-8: M}]\n"
    (result,) = results(site, tmp_path, tests, mapping)
    assert [str(difference) for difference in result.differences] == ["PID-8: expected M, got F"]


def test_select_and_progress(site: MakeSite, tmp_path: Path) -> None:
    library = site(
        {
            "a.yaml": MAPPING.replace("mapping: m", "mapping: a")
            + "tests: [{given: 'MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5.1', parks: required}]\n",
            **TABLES,
        }
    )
    told: list[Result] = []
    assert run(library, tmp_path, ["b"], told.append) == []
    assert run(library, tmp_path, ["a"], told.append) == told
    assert [result.passed for result in told] == [True]


def test_a_site_s_time_zone_counts(site: MakeSite, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "engine.yaml").write_text("organization: X\ntimezone: Europe/Berlin\n")
    mapping = "mapping: m\nfrom: hl7v2\nto: json\nset: {at: =MSH-7 | datetime, by: =site.organization}\n"
    tests = '  - given: samples/adt.hl7\n    expect: [{at: "2026-01-03T10:15:00+01:00", by: X}]\n'
    (result,) = results(site, tmp_path, tests, mapping)
    assert result.passed


# ── channels ───────────────────────────────────────────────────────────────────────────────────────────────────────


def channel(library: Library) -> Channel:
    format_ = library.formats["hl7v2"]
    return Channel(
        "adt", "", "mllp", None, format_,
        routes=(
            Route("patients", "mpi", library.chain(["m"], format_), library.expression("=PID-8 == 'F'", format_, condition=True)),
            Route("copy", "archive"),
        ),
        accept=(library.expression("=MSH-9.1 == 'ADT'", format_, condition=True),),
        skip=(("test patient", library.expression("=PID-5.1 is matching('^ZZ')", format_, condition=True)),),
    )  # fmt: skip


def case(content: str, **expect: str) -> ChannelCase:
    routes = load(f"routes: {expect['routes']}", "channels/adt.yaml")["routes"] if "routes" in expect else None
    text = Text(hl7(content).decode())
    plain = Case("c", text, None, None, Text(expect["parks"]) if "parks" in expect else None, None, Map())
    named = {key: Text(expect[key]) for key in ("filtered", "rejected") if key in expect}
    return ChannelCase(plain, routes, **named)


def test_a_channel_is_judged_and_mapped(site: MakeSite) -> None:
    library = site({"m.yaml": MAPPING, **TABLES})
    cases = [
        case(ADT, routes="{patients: [{id: '100'}], copy: [{PID-5.1: Worthing}]}"),
        case(ADT.replace("|F|", "|M|"), routes="{patients: [], copy: [{}]}"),
        case(ADT.replace("Worthing^Ann^Q", "ZZ"), filtered="test patient"),
        case(ADT.replace("ADT^A01", "ORU^R01"), rejected="MSH-9.1"),
        case("PID|1", rejected=""),
        case(ADT.replace("^MR", ""), parks="is required"),
    ]
    assert [(result.passed, result.differences, result.error) for result in run_channel(channel(library), cases, FACTS)] == [
        (True, (), "")
    ] * 6
    wrong = [
        case(ADT, routes="{patients: [{id: '101'}]}"),
        case(ADT, filtered="test patient"),
        case(ADT, routes="{nowhere: []}"),
        case(ADT, parks="x"),
    ]
    told = run_channel(channel(library), wrong, FACTS)
    assert [str(result.differences[0]) if result.differences else result.error for result in told] == [
        "patients id: expected 101, got 100",
        "verdict: expected filtered, got accepted",
        "nowhere: expected a route, got there is no such route",
        "expected to park with 'x', and every route gave its results",
    ]
