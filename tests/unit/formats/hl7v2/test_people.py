"""What people see: the tree with the standard's names, problems, and files that hold several messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from engine.contracts import Node
from engine.errors import ContentError
from engine.formats.hl7v2.format import Hl7v2
from engine.formats.hl7v2.names import known_version
from engine.formats.hl7v2.strict import Finding


def flat(nodes: Iterable[Node]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for node in nodes:
        found[node.path] = (node.name, node.value)
        found |= flat(node.children)
    return found


def test_the_tree_has_the_standards_names_and_paths_that_work(read: Callable[[str], Any]) -> None:
    document = read(
        r"""
        MSH|^~\&|A|B|C|D|2026||ORU^R01^ORU_R01|1|P|2.5.1
        PID|1||111^^^H&1.2^MR~222||DOE^JANE\T\X||""
        OBX|1|CE|X||K^Text
        OBX|2|ST|Y||plain
        ZPI|local^x
        """
    )
    tree = flat(document.nodes())
    assert tree["PID"] == ("Patient Identification", "")
    assert tree["PID-3[1].4.2"] == ("Universal ID", "1.2")
    assert tree["PID-3[1].5"] == ("Identifier Type Code", "MR")
    assert tree["PID-3[2]"] == ("Patient Identifier List", "222")
    assert tree["PID-5.2"] == ("Given Name", "JANE&X")
    assert tree["PID-7"] == ("Date/Time of Birth".replace("/", " "), '""')
    assert tree["MSH-1"] == ("Field Separator", "|")
    assert tree["MSH-2"] == ("Encoding Characters", r"^~\&")
    assert tree["MSH-10"] == ("Message Control ID", "1")
    assert tree["OBX[1]-5.2"] == ("Text", "Text")
    assert tree["OBX[2]-5"] == ("Observation Value", "plain")
    assert tree["ZPI-1.2"] == ("ZPI-1.2", "x")
    for path, (_, value) in tree.items():
        if value not in ("", '""'):
            assert document[path] == value


def test_names_come_from_the_messages_version(read: Callable[[str], Any]) -> None:
    text = r"""
        MSH|^~\&|A|B|C|D|2026||ADT^A01|1|P|{}
        PID|1||1
    """
    assert flat(read(text.format("2.3")).nodes())["PID-3"][0] == "Patient ID Internal ID"
    assert flat(read(text.format("2.8")).nodes())["PID-3"][0] == "Patient Identifier List"
    assert [known_version(v) for v in ("2.6.1", "2.99", "", "x", "2.1")] == ["2.6", "2.8.2", "2.5.1", "2.5.1", "2.1"]


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        (r"MSH|^~\&|A|B|C|D|2026||ADT^A01||P|2.5", "MSH-10", "missing"),
        (r"MSH|^~\&|A|B|C|D|2026|||1|P|2.5", "MSH-9", "missing"),
        (r"MSH|^~\&|A|B|C|D|2026||ADT^A01|1|P", "MSH-12", "missing"),
        (r"MSH|^~\&|A|B|C|D|2026||ADT^A01|1|P|2.99", "MSH-12", "no version"),
        (r"MSH|^~\&|A|B|C|D|2026||ZZZ^Z01|1|P|2.5", "MSH-9", "no structure"),
        (r"MSH|^~\&|A|B|C|D|2026||ADT^A40^ADT_A40|1|P|2.5", "MSH-9.3", "which is ADT_A39"),
        (r"MSH|^~\&|A|B|C|D|2026||ADT^A01|1|P|2.5" + "\nPIDX|1", "", "line 2 is no segment"),
        (r"MSH|^~\&|A|B|C|D|2026||ADT^A01|1|P|2.5" + "\npid|1", "pid", "upper case"),
        (r"MSH|^~\&|A|B|C|D|2026||ADT^A01|1|P|2.5" + "\nPID|\x07", "PID", "0x07"),
        (r"MSH|^~|A|B|C|D|2026||ADT^A01|1|P|2.5", "MSH-2", "names 2 delimiters"),
    ],
)
def test_problems_name_their_place(hl7: Hl7v2, wire: Callable[..., bytes], text: str, place: str, said: str) -> None:
    assert any(each.place == place and said in each.text for each in hl7.problems(wire(text)))


def test_a_clean_message_has_no_problems(hl7: Hl7v2, wire: Callable[..., bytes]) -> None:
    assert (
        hl7.problems(wire("MSH|^~\\&|A|B|C|D|20260101||ADT^A01^ADT_A01|1|P|2.5.1||||||UNICODE UTF-8\nEVN||20260101\nPID|1")) == []
    )


def test_line_ends_and_undeclared_characters_are_told(hl7: Hl7v2, wire: Callable[..., bytes]) -> None:
    head = "MSH|^~\\&|A|B|C|D|20260101||ADT^A01^ADT_A01|1|P|2.5.1"
    assert ["segments end with LF" in each.text for each in hl7.problems(wire(head, "\n"))] == [True]
    assert [each.place for each in hl7.problems(head.encode() + b"\rNTE|1||\xe9\r")] == ["MSH-18"]


def test_strict_finds_what_the_standard_requires(hl7: Hl7v2, wire: Callable[..., bytes]) -> None:
    good = "MSH|^~\\&|A|B|C|D|20260101||ADT^A01^ADT_A01|1|P|2.5\nEVN||20260101\nPID|||1||DOE^J\nPV1||I\nZZZ|x"
    found = hl7.problems(wire(good), strict=True)
    assert [each for each in found if each.severity == "error"] == []
    assert any("ZZZ: local segments" in each.text for each in found)
    bad = hl7.problems(wire(good.replace("PID|||1||DOE^J", "PID|||||DOE^J")), strict=True)
    assert Finding("PID-3", "is required and missing", "error", "101") in bad


def test_every_real_message_can_be_validated(hl7: Hl7v2, shared_data: Path) -> None:
    """hl7apy raises nearly everything on real messages: each becomes a finding."""
    validated = 0
    for path in sorted(each for each in shared_data.rglob("*") if each.suffix.lower() == ".hl7")[::12]:
        content = hl7.messages(path.read_bytes())[0]
        try:
            hl7.parse(content)
        except ContentError:
            continue
        for finding in hl7.problems(content, strict=True):
            assert finding.text
            assert finding.severity in ("error", "warning")
        validated += 1
    assert validated > 25


def test_a_file_is_cut_into_its_messages(hl7: Hl7v2) -> None:
    one, two = b"MSH|^~\\&|A\rPID|1||MSH|x\r", b"MSH|^~\\&|B\rNTE|1||a MSH\r"
    assert hl7.messages(one + two) == [one, two]
    assert hl7.messages(one) == [one]
    assert hl7.messages(b"FHS|^~\\&|\rBHS|^~\\&|\r" + one + two + b"BTS|2\rFTS|1\r") == [one, two]
    assert hl7.messages(b"BHS|^~\\&|\r" + one + b"BTS|1\r") == [one]
    assert hl7.messages(b"\x0b" + one + b"\x1c\r\x0b" + two + b"\x1c\r") == [one + b"\x1c\r", two + b"\x1c\r"]
    assert hl7.messages(b"junk") == [b"junk"]
    assert hl7.messages(b"") == [b""]
    assert hl7.messages(one.replace(b"\r", b"\n") + b"MSHX|\n") == [one.replace(b"\r", b"\n") + b"MSHX|\n"]
