from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ContentError, PathError
from engine.formats.hl7v2 import Hl7v2Options
from engine.formats.hl7v2.format import Hl7v2
from engine.values import EMPTY, NULL

FORMAT = Hl7v2(Hl7v2Options())
ORU = r"""
    MSH|^~\&|A|B|C|D|2026||ORU^R01^ORU_R01|1|P|2.5.1
    PID|1||111^^^H&1.2&ISO^MR~222^^^SSA^SS||DOE^JANE^^|||F
    PD1|x
    OBR|1|A1
    NTE|1||of order
    OBX|1|ST|GLU^Glucose||1||||||F
    NTE|1||of glucose
    OBX|2|ST|NA||2||||||X
    NTE|1||of sodium
    NTE|2||more
    ZOX|s
    OBX|3|ST|K||3||||||F
    ZZZ|end
"""


@pytest.fixture
def original(read: Callable[[str], Any]) -> Any:
    return read(ORU)


@pytest.fixture
def edit(original: Any) -> Any:
    return FORMAT.edit(original)


def lines(document: Any) -> list[str]:
    return FORMAT.render(document).decode().rstrip("\r").split("\r")


def line(document: Any, kind: str, number: int = 1) -> str:
    return [each for each in lines(document) if each.startswith(kind)][number - 1]


def test_the_message_itself_never_changes(original: Any, edit: Any) -> None:
    before = FORMAT.render(original)
    original["OBX-3"], edit["PID-5.1"]
    edit.assign("PID-5.1", "ROE")
    edit.drop("OBX")
    edit.add("NTE", {"1": "9"})
    assert FORMAT.render(original) == before
    assert original["PID-5.1"] == "DOE"
    assert edit["PID-5.1"] == "ROE"


def test_only_what_is_assigned_changes(original: Any, edit: Any) -> None:
    before = lines(original)
    edit.assign("PID-5.1", "ROE")
    after = lines(edit)
    assert [a for a, b in zip(after, before, strict=True) if a != b] == [before[1].replace("DOE^JANE^^", "ROE^JANE^^")]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("PID-5.1", "O|B^R~I&E\\N", r"O\F\B\S\R\R\I\T\E\E\N^JANE^^"),
        ("PID-5", "ROE", "ROE"),
        ("PID-5", NULL, '""'),
        ("PID-5.2", NULL, 'DOE^""^^'),
        ("PID-5.2", EMPTY, "DOE"),
        ("PID-5", EMPTY, ""),
        ("PID-5.7.2", "L", "DOE^JANE^^^^^&L"),
        ("PID-5[2].1", "ALIAS", "DOE^JANE^^~ALIAS"),
        ("PID-5[3]", "THIRD", "DOE^JANE^^~~THIRD"),
        ("PID-5", ["ONE", "TWO", EMPTY], "ONE~TWO~"),
        ("PID-5", Decimal("1.50"), "1.50"),
        ("PID-5", Decimal("1E+3"), "1000"),
        ("PID-5", 7, "7"),
        ("PID-5", True, "Y"),
        ("PID-5", date(2026, 3, 1), "20260301"),
        ("PID-5", datetime(2026, 3, 1, 9, 5, 7), "20260301090507"),
        ("PID-5", datetime(2026, 3, 1, 9, 5, 7, 120_000, timezone(timedelta(hours=-5))), "20260301090507.1200-0500"),
        ("PID-5", "two\nlines\r", r"two\.br\lines\X0D\ ".strip()),
        ("PID-5", '""', '""'),
    ],
)
def test_values_take_their_form(edit: Any, path: str, value: object, expected: str) -> None:
    edit.assign(path, value)
    assert line(edit, "PID").split("|")[5] == expected


def test_repetitions_by_condition(edit: Any) -> None:
    edit.assign("PID-3[.5='SS'].1", "333")
    assert edit["PID-3[*].1"] == ["111", "333"]
    edit.assign("PID-3[.5='PI'].1", "444")  # a new one
    assert line(edit, "PID").split("|")[3] == "111^^^H&1.2&ISO^MR~333^^^SSA^SS~444^^^^PI"
    edit.assign("PID-3[.5='XX'].1", EMPTY)  # nothing to empty
    assert len(edit.all("PID-3")) == 3


def test_composites_keep_their_structure(original: Any, edit: Any) -> None:
    edit.assign("PID-4", original["PID-3"])
    assert line(edit, "PID").split("|")[4] == "111^^^H&1.2&ISO^MR~222^^^SSA^SS"
    edit.assign("PID-4", original["PID-3[2]"])
    assert line(edit, "PID").split("|")[4] == "222^^^SSA^SS"
    edit.assign("MSH-4", original["PID-3.4"])  # subcomponents become components
    assert edit["MSH-4"].raw == "H^1.2^ISO"
    edit.assign("PID-5.1", edit["MSH-4"])  # and back
    assert edit["PID-5"].raw == "H&1.2&ISO^JANE^^"
    edit.assign("PID-6.1.1", original["OBX-3"])
    assert edit["PID-6"] == "GLU"


def test_composites_cross_delimiters() -> None:
    source = FORMAT.parse(b"MSH#!@%*#A#B#C#D#2026##ADT!A01#M1#P#2.5\rPID#1##11!!!H*1.2@22!a%S%b\r")
    target: Any = FORMAT.edit(FORMAT.parse(b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5\rPID|1\r"))
    target.assign("PID-3", source["PID-3"])
    assert target["PID-3"].raw == "11^^^H&1.2~22^a!b"
    target.assign("PV1", source["PID"])
    assert target["PV1-3"].raw == "11^^^H&1.2~22^a!b"


def test_missing_segments_are_created_where_the_structure_has_them(read: Callable[[str], Any]) -> None:
    edit: Any = FORMAT.edit(read("MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5\nEVN|A01\nPID|1\nPV1|1\nAL1|1\nIN1|1"))
    edit.assign("NK1-2", "KIN")
    edit.assign("DG1[2]-3", "R07")
    edit.assign("ZPI-1", "local")
    edit.assign("PD1-1", EMPTY)  # nothing is created for nothing
    assert [each[:3] for each in lines(edit)] == ["MSH", "EVN", "PID", "NK1", "PV1", "AL1", "DG1", "DG1", "IN1", "ZPI"]
    assert line(edit, "DG1", 2) == "DG1|||R07"


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_added_segments_end_as_the_others_do(wire: Callable[..., bytes], end: str, last: bool) -> None:
    content = wire("MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5\nPID|1", end)
    edit: Any = FORMAT.edit(FORMAT.parse(content if last else content[: -len(end)]))
    edit.add("NTE", {"1": "1", "3": "x"})
    assert FORMAT.render(edit) == content + f"NTE|1||x{end}".encode()


def test_segments_are_added_behind_others(edit: Any) -> None:
    edit.add("NTE", {"1": "1", "3.2": "a|b", "4[2]": Decimal(3)}, after="PID")
    edit.add("ZAA", {}, after="OBX")
    edit.add("ZBB", {"1": "x"}, after="OBX[2]")
    assert [each[:3] for each in lines(edit)] == [
        "MSH", "PID", "NTE", "PD1", "OBR", "NTE", "OBX", "NTE", "OBX", "NTE", "NTE", "ZOX", "ZBB", "OBX", "ZAA", "ZZZ",
    ]  # fmt: skip
    assert line(edit, "NTE") == r"NTE|1||^a\F\b|~3"
    with pytest.raises(ContentError, match="no PV1"):
        edit.add("NTE", {}, after="PV1")
    with pytest.raises(PathError):
        edit.add("note", {})


@pytest.mark.parametrize(
    ("path", "count", "kinds"),
    [
        ("Z*", 2, "MSH PID PD1 OBR NTE OBX NTE OBX NTE NTE OBX"),
        ("PD1", 1, "MSH PID OBR NTE OBX NTE OBX NTE NTE ZOX OBX ZZZ"),
        ("PV1", 0, "MSH PID PD1 OBR NTE OBX NTE OBX NTE NTE ZOX OBX ZZZ"),
        ("OBX[-11='X']", 1, "MSH PID PD1 OBR NTE OBX NTE OBX ZZZ"),  # its notes would be another's
        ("OBX[1]", 1, "MSH PID PD1 OBR NTE OBX NTE NTE ZOX OBX ZZZ"),
        ("OBX", 3, "MSH PID PD1 OBR NTE ZOX ZZZ"),
        ("NTE", 4, "MSH PID PD1 OBR OBX OBX ZOX OBX ZZZ"),
        ("OBX[2]/NTE", 2, "MSH PID PD1 OBR NTE OBX NTE OBX ZOX OBX ZZZ"),
        ("OBR[-2='A1']", 1, "MSH PID PD1"),
    ],
)
def test_dropping_segments(edit: Any, path: str, count: int, kinds: str) -> None:
    assert edit.drop(path) == count
    assert [each[:3] for each in lines(edit)] == kinds.split()


@pytest.mark.parametrize(
    ("path", "count", "field", "left"),
    [
        ("PID-3[.5='SS']", 1, 3, "111^^^H&1.2&ISO^MR"), ("PID-3[1]", 1, 3, "222^^^SSA^SS"), ("PID-3[*]", 2, 3, ""), ("PID-3", 1, 3, ""),
        ("PID-3.4", 2, 3, "111^^^^MR~222^^^^SS"), ("PID-3[2].5", 1, 3, "111^^^H&1.2&ISO^MR~222^^^SSA"), ("PID-3.4.2", 1, 3,
        "111^^^H&&ISO^MR~222^^^SSA^SS"), ("PID-9", 0, 9, ""), ("PID-3[.5='ZZ']", 0, 3, "111^^^H&1.2&ISO^MR~222^^^SSA^SS"),
    ],
)  # fmt: skip
def test_dropping_fields(edit: Any, path: str, count: int, field: int, left: str) -> None:
    assert edit.drop(path) == count
    assert (line(edit, "PID").split("|") + [""] * 9)[field] == left


def test_targets_give_each_place_with_the_turn_its_right_side_sees(edit: Any) -> None:
    targets = edit.targets("OBX[*]-3.1")
    assert [path for _, path in targets] == ["OBX[1]-3.1", "OBX[2]-3.1", "OBX[3]-3.1"]
    assert [turn["OBX-3.1"] for turn, _ in targets] == ["GLU", "NA", "K"]
    assert [turn["NTE[*]-3"] for turn, _ in targets] == [["of glucose"], ["of sodium", "more"], []]
    for turn, path in targets:
        edit.assign(path, str(turn["OBX-3.1"]).lower())
    assert edit["OBX[*]-3.1"] == ["glu", "na", "k"]
    assert targets[0][0]["OBX-3.1"] == "glu"  # a turn sees the change
    repeats = edit.targets("PID-3[*].4")
    assert [path for _, path in repeats] == ["PID[1]-3[1].4", "PID[1]-3[2].4"]
    assert [turn[".5"] for turn, _ in repeats] == ["MR", "SS"]
    assert edit.targets("OBR[1]/OBX[-11='X'][*]-5")[0][1] == "OBX[2]-5"
    assert edit.targets("PV1[*]-2") == []
    assert edit.targets("MSH-3") == [(edit, "MSH-3")]


def test_indexes_follow_changes(edit: Any) -> None:
    turn = edit.turns("OBX")[2]
    edit.drop("OBX[1]")
    assert edit["OBX[1]-3"] == "NA"
    assert [t["NTE-3"] for t in edit.turns("OBX")] == ["of sodium", EMPTY]
    assert turn["OBX-5"] == "3"
    assert turn.place("OBX-5") == "OBX[2]-5"


@pytest.mark.parametrize("path", ["MSH-1", "MSH-2", "OBX[*]-3", ".1"])
def test_what_cannot_be_assigned(edit: Any, path: str) -> None:
    with pytest.raises(PathError):
        edit.assign(path, "x")


@pytest.mark.parametrize(("path", "value"), [("PID-5", {"family": "x"}), ("PID-5.1", ["a", "b"]), ("OBX[300]-1", "x"), ("PID-3[300]", "x"),
                                             ("OBX[-11='Q']-5", "x"), ("OBR[1]/PV1-2", "x"), ("PID-5", object())])  # fmt: skip
def test_values_and_places_that_do_not_fit(edit: Any, path: str, value: object) -> None:
    with pytest.raises(ContentError):
        edit.assign(path, value)


def test_a_header_cannot_be_dropped(edit: Any) -> None:
    for path in ("MSH", "MSH[1]", "M*"):
        with pytest.raises(PathError, match="without its header"):
            edit.drop(path)


def test_identity_goes_to_msh_10(edit: Any) -> None:
    FORMAT.identify(edit, "8000000000-1")
    assert FORMAT.heading(FORMAT.render(edit)).control_id == "8000000000-1"


def test_characters_that_the_message_cannot_hold_are_refused_and_msh_18_helps() -> None:
    content = b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5||||||8859/1\rPID|||||M\xfcller\r"
    edit: Any = FORMAT.edit(FORMAT.parse(content))
    edit.assign("PID-5.2", "Łukasz")
    with pytest.raises(ContentError, match="no 'Ł'") as caught:
        FORMAT.render(edit)
    assert caught.value.place == "MSH-18"
    edit.assign("MSH-18", "UNICODE UTF-8")
    assert "Müller^Łukasz".encode() in FORMAT.render(edit)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="﷐﷑﷒﷓﷔"), min_size=1).filter(lambda text: text != '""')
PLACES = st.sampled_from(
    ["PID-5", "PID-5.2", "PID-5.2.3", "PID-3[2].1", "PID-3[.5='SS'].1", "OBX[3]-5", "OBX[-11='X']-3.2", "ZNN-4.1", "PV1-3.4.2"]
)


@given(TEXT, PLACES)
def test_what_is_assigned_is_read_back_even_after_the_wire(text: str, path: str) -> None:
    content = "".join(each.strip() + "\r" for each in ORU.strip().splitlines()).encode()
    edit: Any = FORMAT.edit(FORMAT.parse(content))
    edit.assign(path, text)
    assert edit[path] == text
    again = FORMAT.parse(FORMAT.render(edit))
    assert again[path] == text
    assert again["MSH-10"] == "1"
    assert again["OBX[2]-5"] == "2"
