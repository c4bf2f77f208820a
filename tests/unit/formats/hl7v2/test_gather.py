"""The quick ways to read, each against the plain one: paths together, paths by their readers, turns by their shape."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.formats.hl7v2 import Hl7v2Options, select
from engine.formats.hl7v2.document import Turn
from engine.formats.hl7v2.format import Hl7v2
from engine.formats.hl7v2.gather import gathered
from engine.formats.hl7v2.paths import compiled
from engine.formats.hl7v2.values import Part
from engine.values import EMPTY

FORMAT = Hl7v2(Hl7v2Options())
PATHS = [
    "PID-3", "PID-3.1", "PID-3.4.2", "PID-3.1.1", "PID-5", "PID-5.2", "PID-3[.5='MR'].1", "PID-3[.5='MR']", "PID-3[.4.2='x'].1",
    "PID-3[.5.1='MR']", "PID-3[.1=''].2", "PID-3[*]", "PID-3[*].1", "PID-3[*].4.2", "PID[*]-3", "PID[*]-5.1", "PID[2]-3", "MSH-9",
    "MSH-9.2", "MSH-1", "MSH-2", "MSH-3[*]", "MSH[*]-2", "OBX-5", "OBX[*]-5", "PID", "PID-3[2].1", "OBX[*]-3.1", "ZZZ-1", "ZZZ-1[*]",
    "PID-3[.1='MR'].2", "PID-3[.1.1='x']", "OBX-5[.2='MR'].1.2", "OBX-5[*].2",
]  # fmt: skip
MARKS = ["|^~\\&", "#!@%*", "|^", "|^~\\&$"]
PIECES = st.lists(
    st.sampled_from(["", '""', "MR", "x", "a b", "{e}T{e}", "{c}", "{r}", "{s}", "{f}", "{e}", "é", "²"]), max_size=14
)


def message(marks: str, lines: list[tuple[str, list[str]]]) -> Any:
    field, component, repetition, escape, sub = [*marks, "\ufdd0", "\ufdd1", "\ufdd2"][:5]
    text = (
        f"MSH{marks}{field}A{repetition}B{component}C{field}{field}{field}{field}{field}{field}DFT{component}P03{field}1{field}P"
    )
    for name, pieces in lines:
        body = "".join(pieces).format(f=field, c=component, r=repetition, e=escape, s=sub)
        text += f"\r{name}{field}1{field}{field}{body}{field}{body}{field}{body}"
    return FORMAT.parse(text.encode())


def raw(value: Any) -> Any:
    if isinstance(value, list):
        return [raw(item) for item in value]
    return (type(value), str(value), value.raw, value.level) if isinstance(value, Part) else (type(value), str(value))


def plainly(view: Any, path: str) -> Any:
    """As the general case has it."""
    found = select.values(view, compiled(path), False)
    return found if compiled(path).many else found[0] if found else EMPTY


LINES = st.lists(st.tuples(st.sampled_from(["PID", "pid", "OBX", "PI", ""]), PIECES), max_size=4)


@given(st.sampled_from(MARKS), LINES, st.lists(st.sampled_from(PATHS), min_size=1, unique=True))
def test_paths_read_together_or_alone_are_what_the_general_case_reads(marks: str, lines: Any, paths: list[str]) -> None:
    view = message(marks, lines)
    expected = [raw(plainly(view, path)) for path in paths]
    assert [raw(view[path]) for path in paths] == expected
    assert [raw(value) for value in gathered(tuple(paths))(view)] == expected
    assert [raw(value) for value in gathered(tuple(PATHS))(view)] == [raw(plainly(view, path)) for path in PATHS]


def told(value: Any, enough: str) -> Any:
    """What whoever says `enough` makes of a value, however much of it came."""
    if isinstance(value, list) and not (enough == "parts" and all(type(item) is str for item in value)):
        return [told(item, enough) for item in value]
    if enough == "text":
        return ("text", str(value)) if isinstance(value, str) and value else raw(value)
    return ("leaves", value.leaves() if isinstance(value, Part) else value if isinstance(value, list) else raw(value))


SINGLE = [path for path in PATHS if "[*]" not in path]


@given(st.sampled_from(MARKS), LINES, st.sampled_from(["text", "parts"]))
def test_where_less_is_enough_it_says_the_same(marks: str, lines: Any, enough: str) -> None:
    view = message(marks, lines)
    found = gathered(tuple(SINGLE), (enough,) * len(SINGLE))(view)
    assert [told(value, enough) for value in found] == [told(plainly(view, path), enough) for path in SINGLE]


def test_less_comes_where_less_is_enough() -> None:
    view = message("|^~\\&", [("PID", ["a", "{c}", "b"])])
    text, parts, several, whole = gathered(("PID-3", "PID-3", "PID-3[*]", "PID-3"), ("text", "parts", "parts", ""))(view)
    assert (text, type(text)) == ("a", str)
    assert parts == ["a", "b"]
    assert several == [["a", "b"]]
    assert isinstance(whole, Part)


def test_a_repetition_is_told_by_its_first_leaf() -> None:
    view = message("|^~\\&", [("PID", ["a{c}b{r}MR{s}x{c}c{r}MR{c}d"])])
    assert [*gathered(("PID-3[.1='MR'].2", "PID-3[.1='a'].2", "PID-3[.2='b'].3"))(view)] == ["c", "b", EMPTY]


NAMES = ["PID", "PV1", "FT1", "PR1", "OBR", "OBX", "NTE", "ORC", "DG1", "IN1", "ZFT", "SPM", "pid", "XX", "", "MSH"]
KINDS = [*(name for name in NAMES if name.isupper() and len(name) == 3), "EVN"]


@given(st.sampled_from(["DFT^P03", "ORU^R01", "ADT^A01", "XYZ^Q99"]), st.lists(st.sampled_from(NAMES), max_size=12))
def test_a_name_in_a_turn_means_by_shape_what_it_means_by_structure(kind: str, names: list[str]) -> None:
    document: Any = FORMAT.parse(
        (f"MSH|^~\\&|A|B|||2026||{kind}|1|P|2.5.1\r" + "\r".join(f"{name}|1" for name in names)).encode()
    )
    for segment in document.own_segments():
        quick = document.narrowed(segment)
        plain = Turn(document, segment, document.group_of(segment))
        assert [[id(each) for each in quick.index[name]] for name in KINDS] == [
            [id(each) for each in plain.index[name]] for name in KINDS
        ]
        assert quick.group is plain.group
        assert quick.own["OBX"] == plain.own["OBX"]
        within = Turn(plain, segment, document.group_of(segment))
        assert [quick.narrowed(segment).index[name] for name in KINDS] == [within.index[name] for name in KINDS]


def test_messages_of_one_shape_but_another_structure_are_kept_apart() -> None:
    found = []
    for kind in ("ORU^R01", "DFT^P03", "ORU^R01"):
        document = FORMAT.parse(f"MSH|^~\\&|A|B|||2026||{kind}|1|P|2.5.1\rPID|1\rOBR|1\rOBX|1||a\rFT1|1\rOBX|2||b\r".encode())
        found.append([turn["OBX[*]-3"] for name in ("OBR", "FT1") for turn in document.turns(name)])
    assert found[0] == found[2] != found[1]


def test_a_message_that_changes_has_no_shape() -> None:
    document = FORMAT.parse(b"MSH|^~\\&|A|B|||2026||ORU^R01|1|P|2.5.1\rPID|1\rOBR|1\rOBX|1||a\rOBR|2\rOBX|1||b\r")
    edited: Any = FORMAT.edit(document)
    edited.add("OBX", {"3": "new"}, after="OBR[1]")
    assert [turn["OBX[*]-3"] for turn in edited.turns("OBR")] == [["a", "new"], ["b"]]
    assert [turn["OBX[*]-3"] for turn in document.turns("OBR")] == [["a"], ["b"]]
