from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hl7 as python_hl7
import pytest

from engine.errors import ContentError, PathError
from engine.formats.hl7v2.format import Hl7v2
from engine.values import EMPTY, NULL, Composite, component

ADT = r"""
    MSH|^~\&|EHR|HOSP^1.2.3^ISO|LAB|WARD|20260101||ADT^A01^ADT_A01|M1|P|2.5.1
    EVN|A01|20260101
    PID|1||111^^^HOSP&1.2.3&ISO^MR~222^^^SSA^SS~333||DOE&VAN^JANE^^^""|""|19700101|F|||A\T\B^C\F\D|||||||ACC1
    OBX|1|NM|GLU^Glucose^LN||7.1|mmol/L|||||F
    OBX|2|TX|NOTE||first~second||||||X
    OBX|3|ST|EMPTY||
    ZPI|local|^x
"""


@pytest.fixture(scope="module")
def adt(read: Callable[[str], Any]) -> Any:
    return read(ADT)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("MSH-1", "|"), ("MSH-2", r"^~\&"), ("MSH-3", "EHR"), ("MSH-4", "HOSP"), ("MSH-4.2", "1.2.3"), ("MSH-9.2", "A01"),
        ("PID-3", "111"), ("PID-3.1", "111"), ("PID-3.4", "HOSP"), ("PID-3.4.2", "1.2.3"), ("PID-3[2]", "222"),
        ("PID-3[2].5", "SS"), ("PID-3[.5='SS'].1", "222"), ("PID-3[.4.2='1.2.3'].1", "111"), ("PID-3[.5=''].1", "333"),
        ("PID-3[3].1", "333"), ("PID-3[*].1", ["111", "222", "333"]), ("PID-3[*].5", ["MR", "SS"]), ("PID-5.1", "DOE"),
        ("PID-5.1.2", "VAN"), ("PID-5.2.1", "JANE"), ("PID-11", "A&B"), ("PID-11.2", "C|D"), ("PID-18", "ACC1"),
        ("OBX-5", "7.1"), ("OBX[2]-5", "first"), ("OBX[2]-5[2]", "second"), ("OBX[*]-5", ["7.1", "first"]),
        ("OBX[*]-5[*]", ["7.1", "first", "second"]), ("OBX[-11='X']-3", "NOTE"), ("OBX[-3.1='GLU']-6", "mmol/L"),
        ("OBX[*]-3.1", ["GLU", "NOTE", "EMPTY"]), ("ZPI-1", "local"), ("ZPI-2.2", "x"), ("OBX", "OBX"), ("ZPI-2", ""),
    ],
)  # fmt: skip
def test_paths_give(adt: Any, path: str, value: object) -> None:
    assert adt[path] == value


@pytest.mark.parametrize("path", ["PID-99", "PID-3[4]", "PID-3[.5='ZZ'].1", "PID-3.9", "PID-3.4.9", "NTE-3", "OBX[4]-5", "OBX[3]-5",
                                  "OBX[-11='Q']-5", "PID-5.3", "MSH-30", "PID-18.2", "PID-18.1.2", "EVN-3", "NTE"])  # fmt: skip
def test_what_is_not_there_is_empty(adt: Any, path: str) -> None:
    assert adt[path] is EMPTY


def test_null_is_not_empty(adt: Any) -> None:
    assert adt["PID-6"] is NULL
    assert adt["PID-6.1"] is NULL
    assert adt["PID-5.5"] is NULL
    assert component(adt["PID-5"], 5) is NULL


def test_plain_text_is_plain_and_text_with_parts_is_composite(adt: Any) -> None:
    assert type(adt["PID-18"]) is str
    assert type(adt["PID-3.1"]) is str
    name = adt["PID-5"]
    assert isinstance(name, Composite)
    assert (str(name), name.raw) == ("DOE", 'DOE&VAN^JANE^^^""')
    assert (name.component(1), name.component(1, 2), name.component(2), name.component(9)) == ("DOE", "VAN", "JANE", EMPTY)
    assert adt["PID-3"].raw == "111^^^HOSP&1.2.3&ISO^MR~222^^^SSA^SS~333"
    assert adt["PID-3"].component(4, 2) == "1.2.3"
    assert adt["PID-3[2]"].raw == "222^^^SSA^SS"
    # A data type used as a component counts its components as subcomponents: a converter sees the same parts.
    assert [component(adt["PID-3.4"], n) for n in (1, 2, 3, 4)] == ["HOSP", "1.2.3", "ISO", EMPTY]
    assert [component(adt["MSH-4"], n) for n in (1, 2, 3, 4)] == ["HOSP", "1.2.3", "ISO", EMPTY]
    assert adt["PID-11.1"].raw == r"A\T\B"


def test_a_whole_segment_is_a_value(adt: Any) -> None:
    segment = adt["OBX[2]"]
    assert segment.raw == "OBX|2|TX|NOTE||first~second||||||X"
    assert (segment.component(3), segment.component(5), segment.component(99), segment.width) == ("NOTE", "first", EMPTY, 11)
    assert segment.component(5).raw == "first~second"
    assert adt["MSH"].component(1) == "|"
    assert adt["MSH"].component(9).component(2) == "A01"


def test_leaves_are_the_first_text_of_every_part(adt: Any) -> None:
    assert adt["PID-3"].leaves() == ["111", "", "", "HOSP", "MR"]
    assert adt["PID-3.4"].leaves() == ["HOSP", "1.2.3", "ISO"]
    assert adt["PID-5"].leaves() == ["DOE", "JANE", "", "", ""]
    assert adt["OBX[2]"].leaves() == ["2", "TX", "NOTE", "", "first", "", "", "", "", "", "X"]


def test_all_gives_every_match(adt: Any) -> None:
    assert adt.all("OBX-5") == ["7.1", "first", "second"]
    assert adt.all("PID-3.1") == ["111", "222", "333"]
    assert adt.all("OBX-3.1") == ["GLU", "NOTE", "EMPTY"]
    assert adt.all("NTE-3") == []
    assert [each.component(2) for each in adt.all("OBX")] == ["NM", "TX", "ST"]


@pytest.mark.parametrize(
    ("path", "place"),
    [("PID-3.1", "PID-3.1"), ("OBX-5", "OBX[1]-5"), ("OBX[-11='X']-5", "OBX[2]-5"), ("PID-3[.5='SS'].1", "PID-3[2].1"),
     ("PID-3[.5='ZZ'].1", "PID-3[.5='ZZ'].1"), ("NTE-3", "NTE-3"), ("OBX[3]", "OBX[3]")],
)  # fmt: skip
def test_places_are_absolute(adt: Any, path: str, place: str) -> None:
    assert adt.place(path) == place


def test_relative_paths_need_a_repetition(adt: Any) -> None:
    with pytest.raises(PathError, match="for_each"):
        adt[".1"]
    turns = adt.turns("PID-3")
    assert [turn[".1"] for turn in turns] == ["111", "222", "333"]
    assert turns[0][".4.2"] == "1.2.3"
    assert turns[1][".9"] is EMPTY
    assert turns[1]["PID-18"] == "ACC1"
    assert turns[1].place(".4") == "PID-3[2].4"
    assert turns[0].all(".1") == ["111"]


def test_odd_delimiters(hl7: Hl7v2) -> None:
    document = hl7.parse(b"MSH#!@%*#A#B#C#D#2026##ADT!A01#M1#P#2.5\rPID#1##11!!!H*1.2@22\rNTE#1##a%F%b|c\r")
    assert [document[p] for p in ("MSH-1", "MSH-2", "MSH-9.2", "PID-3[2]", "PID-3.4.2", "NTE-3")] == [
        "#", "!@%*", "A01", "22", "1.2", "a#b|c",
    ]  # fmt: skip


def _sample(shared_data: Path) -> list[Path]:
    return sorted(path for path in shared_data.rglob("*") if path.suffix.lower() == ".hl7")


def test_every_real_message_is_read_and_given_back(hl7: Hl7v2, shared_data: Path) -> None:
    read = refused = 0
    for path in _sample(shared_data):
        content = path.read_bytes()
        try:
            document = hl7.parse(content)
        except ContentError:
            refused += 1
            continue
        assert hl7.render(document) == content, path
        assert list(document.nodes()), path
        for one in hl7.messages(content):
            part = hl7.parse(one)
            assert hl7.render(part) == one
            for kind in list(part.index):
                for turn in part.turns(kind):
                    turn["PID-3.1"], turn["NTE-3"], turn.place("OBX-5"), list(turn.nodes())
        read += 1
    assert read > 350
    assert refused < 30


def test_fields_read_as_an_independent_reader_reads_them(hl7: Hl7v2, shared_data: Path) -> None:
    """python-hl7 as oracle: every repetition, component and subcomponent, before unescaping."""
    compared = 0
    for path in _sample(shared_data)[::5]:
        try:
            document = hl7.parse(path.read_bytes())
        except ContentError:
            continue
        if document.index.get("MSH") is None or "FHS" in document.index or len(document.index["MSH"]) != 1:
            continue
        if not re.fullmatch(r"\^~\\&", document["MSH-2"]):
            continue  # python-hl7 knows no fifth delimiter
        text = "\r".join(document.syntax.field.join(segment) for segment in document.own_segments())
        for segment, ours in zip(python_hl7.parse(text), document.own_segments(), strict=True):
            name = str(segment[0])
            if name == "MSH":
                continue
            number = next(n for n, each in enumerate(document.index[name], 1) if each is ours)
            for field in range(1, len(segment)):
                for repetition, cell in enumerate(segment[field], 1):
                    theirs = [
                        [sub] if isinstance(sub, str) else list(sub) for sub in (cell if not isinstance(cell, str) else [cell])
                    ]
                    for at, subs in enumerate(theirs, 1):
                        for sub_at, sub in enumerate(subs, 1):
                            value = document[f"{name}[{number}]-{field}[{repetition}].{at}.{sub_at}"]
                            raw = '""' if value is NULL else getattr(value, "raw", str(value))
                            assert raw == str(sub), (path, name, field)
                            compared += 1
    assert compared > 10_000
