"""Edited copies: whatever was not touched comes back to the byte, and what cannot come back is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.operations.edited import MOST_LINES, NotEditable, differences, edited, editing

MSH = b"MSH|^~\\&|EHR|GENERAL|WARDLINE|GENERAL|20261101||ADT^A01|7|P|2.5.1||||||"
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\x0b\x0c\ufeff\ufffe\uffff"), max_size=30)
ends = st.sampled_from(["\r", "\n", "\r\n"])


def through_a_form(text: str) -> str:
    """What a browser makes of it: it sends CR LF, and whoever reads it takes them for line ends."""
    return re.sub(r"\r\n|\r|\n", "\r\n", text)


@given(st.lists(st.tuples(texts, ends), max_size=8), texts)
def test_what_is_not_edited_comes_back_to_the_byte(lines: list[tuple[str, str]], last: str) -> None:
    content = ("".join(line + end for line, end in lines) + last).encode()
    shown = editing(content)
    assert "\r" not in shown.text
    assert edited(shown, through_a_form(shown.text)) == content


@given(st.lists(ends, min_size=4, max_size=4), st.integers(0, 4))
def test_a_line_that_is_edited_leaves_the_others_as_they_were(chosen: list[str], at: int) -> None:
    lines = [f"OBX|{n}|TX|before" for n in range(5)]
    content = "".join(line + end for line, end in zip(lines, [*chosen, ""], strict=True)).encode()
    lines[at] = "OBX|edited"
    found = edited(editing(content), through_a_form("\n".join(lines))).decode()
    assert re.split(r"\r\n|\r|\n", found) == lines
    # an end is kept with the line that has it; the edited one's may become the usual one
    kept = re.findall(r"\r\n|\r|\n", found)
    assert [end for n, end in enumerate(kept) if n != at] == [end for n, end in enumerate(chosen) if n != at]


def test_hl7_keeps_its_carriage_returns_and_a_new_line_gets_one() -> None:
    shown = editing(MSH + b"\rPID|1\rPV1|1\r")
    assert shown.lines[1:] == ("PID|1", "PV1|1", "")
    assert edited(shown, shown.text.replace("PID|1", "PID|1||4711\nNK1|1")) == MSH + b"\rPID|1||4711\rNK1|1\rPV1|1\r"
    assert edited(shown, shown.text.replace("PID|1\n", "")) == MSH + b"\rPV1|1\r"


@pytest.mark.parametrize(
    ("declared", "codec", "name"),
    [("8859/1", "iso8859-1", "Müller"), ("UNICODE UTF-8", "utf-8", "Müller"), ("", "latin-1", "Müller")],
)
def test_the_character_set_stays(declared: str, codec: str, name: str) -> None:
    content = MSH + declared.encode() + b"\rPID|1||" + name.encode(codec) + b"\r"
    shown = editing(content)
    assert (name in shown.text, shown.codec) == (True, codec)
    assert edited(shown, shown.text.replace("PID|1", "PID|2")) == content.replace(b"PID|1", b"PID|2")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (MSH + b"UNICODE UTF-8\rPID|\xff\r", "MSH-18: says UNICODE UTF-8, but byte 0xFF"),
        (MSH + b"EBCDIC\rPID|1\r", "MSH-18: 'EBCDIC' is no character set"),
        (MSH + b"\rPID|\x00\r", "U\\+0000, which a form does not keep"),
        (b"\r" * MOST_LINES, "5,001 lines"),
        (b"x" * ((1 << 20) + 1), "1,048,577 bytes"),
        # two ways to write the same: decoding and encoding would choose the shorter one
        (MSH.replace(b"||||||", b"||||||ISO IR87") + b"\rPID|\x1b$B\x1b(B\r", "cannot be given back"),
    ],
)
def test_what_cannot_be_given_back_is_not_edited(content: bytes, text: str) -> None:
    with pytest.raises(NotEditable, match=text):
        editing(content)


@pytest.mark.parametrize(
    ("declared", "old", "new", "text"),
    [
        ("8859/1", "PID|1", "PID|1||\N{EURO SIGN}", "line 2: '€' is not in the message's character set"),
        ("8859/1", "8859/1", "8859/15", "leave MSH-18 as it is"),
        ("8859/1", "8859/1", "EBCDIC", "no character set"),
        ("UNICODE UTF-8", "PID|1", "PID|\0", "U\\+0000"),
    ],
)
def test_what_was_typed_must_fit(declared: str, old: str, new: str, text: str) -> None:
    shown = editing(MSH + declared.encode() + "\rPID|1||Ä¤\r".encode("iso8859-1" if declared == "8859/1" else "utf-8"))
    with pytest.raises(NotEditable, match=text):
        edited(shown, shown.text.replace(old, new))


def test_differences_name_what_went_and_what_came() -> None:
    was, now = editing(b"A\rB\rC\r"), editing(b"A\rX\rC\rD\r")
    assert [(one.sign, one.line) for one in differences(was, now)] == [
        (" ", "A"), ("-", "B"), ("+", "X"), (" ", "C"), ("+", "D"), (" ", ""),
    ]  # fmt: skip
