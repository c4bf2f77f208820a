"""What a sender makes of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.testing.files import Item, Skipped, item, items, read_acknowledgement, split

A = b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5\rPID|1\r"
B = b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|2|P|2.5\rPID|2\r"


@pytest.mark.parametrize(
    "content",
    [
        A,
        A.rstrip(),
        A + b"\n\n",
        b"\xef\xbb\xbf" + A,
        b"\r\n" + A,
        A.replace(b"\r", b"\n"),
        A.replace(b"\r", b"\r\n"),
        b"junk\r" + A,
    ],
)
def test_a_file_with_one_message_is_sent_byte_for_byte(content: bytes) -> None:
    assert split(content) == [content]


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_several_messages_are_sent_one_by_one_without_the_blank_lines_between(end: bytes) -> None:
    first, second = A.replace(b"\r", end), B.replace(b"\r", end)
    assert split(first + end + end + second) == [first, second]
    assert split(first + second.rstrip()) == [first, second.rstrip()]


def test_what_stands_before_the_first_of_several_goes_with_it() -> None:
    assert split(b"junk\r" + A + B) == [b"junk\r" + A, B]
    assert split(b"\xef\xbb\xbf" + A + B) == [A, B]


@pytest.mark.parametrize("head", [b"FHS|^~\\&|\rBHS|^~\\&|\r", b"BHS|^~\\&|\r"])
def test_a_batch_stays_whole(head: bytes) -> None:
    batch = head + A + B + b"BTS|2\r"
    assert split(batch) == [batch]


def test_msh_within_a_line_begins_no_message() -> None:
    content = A + b"NTE|1||see MSH|9\rMSHX|no\r"
    assert split(content) == [content]


def test_separators_are_the_messages_own() -> None:
    assert split(A + b"MSH#*~\\&#A\r") == [A, b"MSH#*~\\&#A\r"]
    assert item("", b"MSH#^~\\&#A#B#C#D#2026##ADT^A01#77#P#2.5\r").control_id == b"77"


@pytest.mark.parametrize(
    ("tail", "answer"),
    [
        (b"ADT^A01|1|P|2.5", "always"),
        (b"ADT^A01|1|P|2.5|||AL|NE", "always"),
        (b"ADT^A01|1|P|2.5|||NE|NE", "maybe"),
        (b"ADT^A01|1|P|2.5|||ER|", "maybe"),
        (b"ADT^A01|1|P|2.5||||AL", "maybe"),
        (b"ACK|1|P|2.5", "never"),
        (b"ACK^V04^ACK|1|P|2.5", "never"),
        (b"MCF|1|P|2.5", "never"),
        (b"ACKX|1|P|2.5", "always"),
        (b"", "always"),
    ],
)
def test_which_answer_a_message_wants(tail: bytes, answer: str) -> None:
    assert item("", b"MSH|^~\\&|A|B|C|D|2026||" + tail + b"\rPID|1\r").answer == answer


def test_a_batch_and_what_has_no_msh_are_answered_without_a_known_id() -> None:
    assert item("", b"FHS|^~\\&|\r" + A) == Item("", b"FHS|^~\\&|\r" + A, None, "always")
    assert item("", b"PID|1||4711\r").control_id is None
    assert item("", b"MSH|^~\\&|A\r").control_id == b""


def test_directories_are_walked_and_what_is_no_hl7_is_skipped_with_a_word(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name, content in {
        "a.hl7": A, "b.txt": A + B, "below/c.dat": B, "d.json": b"{}", "e.hl7": b"\r\n", "f.hl7": b"PID|1\r", "g.md": b"",
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
    found = list(items([tmp_path, tmp_path / "a.hl7"]))
    names = [one.source.removeprefix(f"{tmp_path}/") for one in found if isinstance(one, Item)]
    assert names == ["a.hl7", "b.txt#1", "b.txt#2", "below/c.dat", "f.hl7", "a.hl7"]
    skipped = {one.source.removeprefix(f"{tmp_path}/"): one.reason for one in found if isinstance(one, Skipped)}
    assert skipped == {"d.json": "no HL7 v2: begins with neither MSH, FHS nor BHS", "e.hl7": "empty", "g.md": "empty"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"MSH|^~\\&|X\rMSA|AA|77\r", ("AA", b"77", "")),
        (b"MSH|^~\\&|X\nMSA|AR|77|busy\n", ("AR", b"77", "busy")),
        (b"MSH|^~\\&|X\rMSA|AE|77\rERR|||101^Required^HL70357|E||||FT1-13 is required\r", ("AE", b"77", "FT1-13 is required")),
        (b"MSH|^~\\&|X\rMSA|AE|77\rERR|||101^Required field\r", ("AE", b"77", "101 Required field")),
        (b"MSH#*~\\&#X\rMSA#CA#7|7\r", ("CA", b"7|7", "")),
        (b"no acknowledgement", ("", b"", "")),
        (b"", ("", b"", "")),
    ],
)
def test_what_an_acknowledgement_says(content: bytes, expected: tuple[str, bytes, str]) -> None:
    assert tuple(read_acknowledgement(content)) == expected


def test_every_hl7_file_of_the_shared_collection_becomes_messages(shared_data: Path) -> None:
    found = list(items([shared_data]))
    messages = [one for one in found if isinstance(one, Item)]
    hl7_files = [path for path in shared_data.rglob("*") if path.suffix.lower() == ".hl7"]
    sources = {one.source.partition("#")[0] for one in messages}
    empty = {one.source for one in found if isinstance(one, Skipped) and one.reason == "empty"}
    assert {str(path) for path in hl7_files} <= sources | empty
    assert len(messages) >= 550
