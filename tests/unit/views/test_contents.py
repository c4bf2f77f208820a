"""Contents as lines: nothing is lost, every path means what mappings mean by it, and nothing hostile breaks or slows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.formats.hl7v2 import Hl7v2Options
from engine.formats.hl7v2.format import Hl7v2
from engine.values import NULL, Composite
from engine.views import lines, marks, plain
from engine.views.content import READ, as_text, kind_of, opened
from engine.views.lines import Line, Reading, Section, covers, sections

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = sorted((ROOT / "samples" / "hl7v2").glob("*.hl7"))
HEAD = b"MSH|^~\\&|A|B|C|D|20260101||%s|1|P|2.5.1\r"
ISA = "ISA*00*          *00*          *ZZ*SENDER         *ZZ*RECEIVER       *260101*1200*^*00501*000000001*0*P*:~"


def read(content: bytes | str, content_type: str = "") -> Reading:
    body = content.encode() if isinstance(content, str) else content
    return opened(body, len(body), content_type)


def every(reading: Reading) -> list[Line]:
    return list(reading.lines(0))


def text_of(line: Line) -> str:
    return "".join(piece.text for piece in line.pieces)


def paths(reading: Reading) -> dict[str, str]:
    return {piece.path: piece.text for line in reading.lines(0) for piece in line.pieces if piece.path}


# ── HL7 v2 ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_hl7_shows_all_of_it_and_its_paths_are_those_of_mappings(sample: Path) -> None:
    content = sample.read_bytes()
    document = Hl7v2(Hl7v2Options()).parse(content)
    reading = read(content)
    assert reading.kind == "hl7v2"
    raws = ["".join(document.syntax.field.join(segment)) for segment in document.source.segments]
    assert [line.label[:3] + text_of(line) for line in every(reading)] == [raw for raw in raws if raw]
    for line in reading.lines(0):
        for piece in line.pieces:
            if not piece.path or piece.more or piece.path.endswith(("MSH-1", "MSH-2")):
                continue
            value = document[piece.path]
            if piece.role == "null":
                assert value is NULL
            else:
                assert str(value) == (piece.meant or piece.text), piece.path
                assert not isinstance(value, Composite) or value.raw == piece.text


def test_hl7_names_the_standard_and_keeps_what_has_none() -> None:
    reading = read(HEAD % b"ADT^A01" + b'PID|1||7^^^G^MR~8||A\\T\\B^""&x\rZPI|own\rNK1|1\rNK1|2\r\r')
    assert reading.title == "HL7 v2.5.1 ADT^A01"
    _, pid, own, first, second = every(reading)
    found = {piece.path: piece for piece in pid.pieces if piece.path}
    assert found["PID-3[1].1"].name == "Patient Identifier List › ID Number"
    assert found["PID-3[2]"].text == "8"
    assert (found["PID-5.1"].text, found["PID-5.1"].meant) == ("A\\T\\B", "A&B")
    assert found["PID-5.2.1"].role == "null"
    assert (own.label, own.name, own.pieces[1].path, own.pieces[1].name) == ("ZPI", "", "ZPI-1", "")
    assert (first.label, second.label, first.name) == ("NK1[1]", "NK1[2]", "Next of Kin / Associated Parties")


def test_hl7_groups_are_those_of_the_structure_and_hold_more_than_one() -> None:
    reading = read((ROOT / "samples" / "hl7v2" / "oru_r01_microbiology.hl7").read_bytes())
    header, patient = sections(reading.page().lines)
    assert isinstance(header, Line)
    assert isinstance(patient, Section)
    inner = [item.title if isinstance(item, Section) else item.label for item in patient.items]
    assert (patient.title, inner) == ("PATIENT_RESULT", ["PID", "ORDER_OBSERVATION[1]", "ORDER_OBSERVATION[2]"])


def test_a_place_is_found_and_what_is_empty_is_told_with_its_segment() -> None:
    reading = read((ROOT / "samples" / "hl7v2" / "dft_p03_missing_department.hl7").read_bytes())
    labels = [line.label for line in every(reading)]
    assert reading.find("PID-5.1") == (labels.index("PID"), "")
    assert reading.find("FT1[2]-13.1") == (labels.index("FT1[2]"), "FT1[2]")
    assert reading.find("PV1-3") is None
    assert reading.find("FT1[2]") == (labels.index("FT1[2]"), "")


def test_a_character_set_that_lies_does_not_hide_the_message() -> None:
    header = b"MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5.1||||||UNICODE UTF-8\r"
    reading = read(header + b"PID|1||M\xfcller\r")
    assert reading.kind == "hl7v2"
    assert paths(reading)["PID-3"] == "Müller"
    assert "MSH-18 cannot be right" in reading.notes[0]


# ── X12, JSON, XML, text ───────────────────────────────────────────────────────────────────────────────────────────


def test_x12_by_its_own_delimiters() -> None:
    reading = read(f"{ISA}\nGS*HC*S*R*20260101*1200*1*X*005010X222A1~\nST*837*0001~CLM*A1*100***11:B:1*Y^N~CLM*A2~SE*3*0001~")
    assert reading.kind == "x12"
    assert reading.title == "X12 00501 837"
    assert [line.label for line in every(reading)] == ["ISA", "GS", "ST", "CLM[1]", "CLM[2]", "SE"]
    found = paths(reading)
    assert (found["CLM[1]01"], found["CLM[1]05-2"], found["CLM[1]06[2]"], found["ISA16"]) == ("A1", "B", "N", ":")
    assert text_of(every(reading)[3]) == "*A1*100***11:B:1*Y^N"


@pytest.mark.parametrize("content", ["ISA", "ISA*00*1", "ISA*" * 30, ISA[:104], ISA[:-1] + ":", "ISA" + "*\n" * 20])
def test_x12_without_a_usable_header_is_text(content: str) -> None:
    assert read(content).kind == "text"


def test_json_is_pretty_with_paths_and_as_it_was_written() -> None:
    reading = read('{"schema":"charge/v1","n":1.50,"a":[{"b":"x\\ny"},null],"odd key":true,"n":2,"e":{},"l":[]}')
    assert reading.title == "JSON, charge/v1"
    found = paths(reading)
    assert found["a[1].b"] == '"x\\ny"'
    assert (found["a[2]"], found["['odd key']"], found["n"], found["e"], found["l"]) == ("null", "true", "2", "{}", "[]")
    assert json.loads("".join(text_of(line) for line in every(reading))) == {
        "schema": "charge/v1", "n": 2, "a": [{"b": "x\ny"}, None], "odd key": True, "e": {}, "l": []
    }  # fmt: skip
    assert [piece.text for line in every(reading) for piece in line.pieces if piece.role == "number"] == ["1.50", "2"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(json_values.filter(lambda value: isinstance(value, (dict, list))))
def test_json_lines_hold_the_whole_document(value: object) -> None:
    reading = read(json.dumps(value))
    assert json.loads("".join(text_of(line) for line in every(reading))) == value


def test_xml_is_pretty_with_paths() -> None:
    reading = read('<c:doc xmlns:c="urn:x" a="1"><i n="A">one</i><i/> tail <!-- note --><p>a&lt;b</p></c:doc>')
    assert reading.kind == "xml"
    found = paths(reading)
    assert (found["/c:doc/@a"], found["/c:doc/i[1]/@n"], found["/c:doc/p"]) == ("1", "A", "</p>")
    assert [text_of(line) for line in every(reading)] == [
        '<c:doc xmlns:c="urn:x" a="1">', '<i n="A">one</i>', "<i/>", "tail", "<!-- note -->", "<p>a<b</p>", "</c:doc>"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        '<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><d>&b;</d>',
        '<!DOCTYPE d SYSTEM "file:///etc/passwd"><d/>',
        '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><d>&x;</d>',
        "<d><e></d>",
        "<d>" * 300 + "</d>" * 300,
    ],
)
def test_xml_with_a_document_type_or_worse_is_text(content: str) -> None:
    reading = read(content)
    assert reading.kind == "text"
    assert "root:" not in "".join(map(text_of, every(reading)))
    assert reading.notes


def test_text_keeps_line_ends_and_bytes_that_are_no_text() -> None:
    reading = read(b"one\r\ntwo\rthree\n\xff\x00end" + b"x" * 5000)
    found = every(reading)
    assert "".join(map(text_of, found)).encode("utf-8", "surrogateescape") == b"one\r\ntwo\rthree\n\xff\x00end" + b"x" * 5000
    assert [piece.text for piece in found[0].pieces] == ["one", "\r\n"]
    assert max(len(text_of(line)) for line in found) <= plain.WIDEST + 2


def test_hexadecimal_rows() -> None:
    rows = plain.hexadecimal(bytes(range(20)) + b"AB", 32)
    assert rows[0] == (32, "00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f", "." * 16)
    assert rows[1] == (48, "10 11 12 13 41 42", "....AB")


def test_the_content_decides_what_it_is() -> None:
    kinds = {
        b"MSH|": "hl7v2",
        b"\x0bMSH|": "hl7v2",
        ISA.encode(): "x12",
        b' {"': "json",
        b"<a": "xml",
        b"": "text",
        b"ISAAC": "text",
    }
    assert {begin: kind_of(begin) for begin in kinds} == kinds
    assert kind_of(b"<html", "application/json") == "json"  # and then cannot be read as it, and is text
    assert read("<html>", "application/json").kind == "text"
    assert read(b"\xef\xbb\xbf{}").kind == "json"


# ── bounds ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_page_is_bounded_and_the_next_one_goes_on() -> None:
    segments = b"".join(b"OBX|%d|NM|x^y^z||%d\r" % (n, n) for n in range(1, 1000))
    reading = read(HEAD % b"ORU^R01" + b"OBR|1\r" + segments)
    seen: list[Line] = []
    start: int | None = 0
    while start is not None:
        page = reading.page(start)
        assert len(page.lines) <= lines.LINES
        assert sum(len(piece.path + piece.text) for line in page.lines for piece in line.pieces) <= lines.WEIGHT
        seen += page.lines
        start = page.next
    assert [line.label for line in seen] == ["MSH", "OBR", *(f"OBX[{n}]" for n in range(1, 1000))]


def test_one_enormous_line_is_cut_and_says_so() -> None:
    wide = read(HEAD % b"ADT^A01" + b"PID|" + b"x^" * 3000 + b"\r")
    assert every(wide)[1].more == 1
    assert len(every(wide)[1].pieces) == lines.PIECES_OF_LINE
    long = read(HEAD % b"MDM^T02" + b"OBX|1|ED|||" + b"A" * 100_000 + b"\r")
    value = every(long)[1].pieces[-1]
    assert (len(value.text), value.more) == (lines.TEXT, 100_000 - lines.TEXT)


def test_the_beginning_of_something_larger_is_told_and_ends_with_a_whole_segment() -> None:
    content = HEAD % b"ORU^R01" + b"OBX|1|NM|x||12345\r" * 10
    reading = opened(content[:-8], 10**8)
    assert reading.partial
    assert "100,000,000 bytes" in reading.notes[0]
    assert [line.label for line in every(reading)][-1] == "OBX[9]"
    assert opened(b'{"a": [1, 2', 10**8).kind == "text"
    assert as_text(b"{}", 2).kind == "text"
    assert READ < 1 << 23


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"' + "k" * 300 + '":' * 1 + '{"a":' * 90 + "1" + "}" * 91,
        "[" * 150 + "]" * 150,
        '"' * 1000,
        '{"a": ' + "9" * 100_000 + "}",
    ],
)
def test_hostile_json_ends_soon(content: str) -> None:
    reading = read(content)
    assert sum(len(piece.path) for line in reading.lines(0) for piece in line.pieces) < 1_000_000


def test_paths_do_not_grow_without_end() -> None:
    deep = '{"' + "k" * 250 + '":'
    reading = read(deep * 90 + "1" + "}" * 90)
    assert max(len(piece.path) for line in reading.lines(0) for piece in line.pieces) <= lines.PATH + 1


beginnings = st.sampled_from(
    [b"", b"MSH|^~\\&|", b"MSH", b"FHS|^~\\&|\r", ISA.encode(), b"{", b"[", b"<", b"<?xml", b"\xef\xbb\xbf"]
)
delimiters = st.lists(
    st.sampled_from([b"|", b"^", b"~", b"&", b"\\", b"\r", b"\n", b"MSH|", b"OBX", b"*", b":", b"\xff", b"<a>", b'"'])
)


@settings(max_examples=300)
@given(beginnings, st.binary(max_size=200) | delimiters.map(b"".join))
def test_nothing_that_comes_is_unshowable(begin: bytes, rest: bytes) -> None:
    content = begin + rest
    reading = opened(content, len(content))
    for line in reading.page().lines:
        for piece in line.pieces:
            assert "".join(run.text for run in marks.runs(piece.text)).isprintable()


# ── marks ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_marks_of_what_does_not_print() -> None:
    assert marks.plain("a\r\n\t\x1b\x7f b") == "a⟨CR⟩⟨LF⟩⟨TAB⟩⟨ESC⟩⟨DEL⟩ b"
    assert marks.plain("x\u202ey\u200b\xa0z\udcff") == "x⟨U+202E⟩y⟨U+200B⟩⟨U+00A0⟩z⟨FF⟩"
    assert [run.meaning for run in marks.runs("a\u202e")] == ["", "right-to-left override"]
    assert marks.runs("") == []


@given(st.text(alphabet=st.characters()))
def test_marked_text_prints_and_can_be_turned_back(text: str) -> None:
    found = marks.runs(text)
    assert "".join(run.text for run in found).isprintable()
    if not any("\udc80" <= character <= "\udcff" for character in text):
        assert "".join(chr(run.code) if run.meaning else run.text for run in found) == text


def test_covers() -> None:
    assert covers("PID-5", "PID-5.1")
    assert covers("PID-5", "PID-5[2].1")
    assert covers("a.b", "a.b[1]")
    assert not covers("PID-5", "PID-50")
    assert not covers("", "PID-5")
    assert not covers("PID-5.1", "PID-5")
