"""The sample messages are what they should be: ours, varied, byte for byte, and readable by an independent parser."""

from __future__ import annotations

import re
from pathlib import Path

import hl7
import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "hl7v2"
FILES = sorted(SAMPLES.glob("*.hl7"))
TEXTS = {path.stem: path.read_bytes() for path in FILES}


def fields(content: bytes, segment: bytes) -> list[list[bytes]]:
    separator = content[3:4]
    return [line.split(separator) for line in content.split(b"\r") if line.startswith(segment + separator)]


def header(name: str, number: int) -> str:
    return fields(TEXTS[name], b"MSH")[0][number - 1].decode("ascii") if len(fields(TEXTS[name], b"MSH")[0]) >= number else ""


def charset(name: str) -> str:
    return {"8859/1": "iso-8859-1"}.get(header(name, 18), "utf-8")


def test_there_are_enough_of_them() -> None:
    assert len(FILES) >= 25


@pytest.mark.parametrize("name", TEXTS)
def test_segments_end_with_a_carriage_return_and_nothing_else(name: str) -> None:
    content = TEXTS[name]
    assert content.endswith(b"\r")
    assert b"\n" not in content
    assert b"\r\r" not in content
    assert re.match(rb"MSH[^A-Za-z0-9\r]{5}", content)
    for line in content.split(b"\r")[:-1]:
        assert re.match(rb"[A-Z][A-Z0-9]{2}" + re.escape(content[3:4]), line), line


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_is_in_the_character_set_it_names(name: str) -> None:
    text = TEXTS[name].decode(charset(name))
    assert "\ufffd" not in text
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", text)


@pytest.mark.parametrize("name", TEXTS)
def test_an_independent_parser_reads_the_same(name: str) -> None:
    message = hl7.parse(TEXTS[name].decode(charset(name)))
    ours = [line[:3].decode() for line in TEXTS[name].split(b"\r") if line]
    assert [str(segment[0]) for segment in message] == ours
    assert str(message.segment("MSH")[10]) == header(name, 10)


def test_control_ids_are_all_different() -> None:
    ids = [(header(name, 3), header(name, 4), header(name, 10)) for name in TEXTS]
    assert len(set(ids)) == len(ids)


def test_the_variety_that_real_senders_have() -> None:
    everything = b"\r".join(TEXTS.values())
    assert {"2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8"} <= {header(name, 12) for name in TEXTS}
    for segment in (
        b"NK1",
        b"PV2",
        b"DG1",
        b"PR1",
        b"IN1",
        b"GT1",
        b"AL1",
        b"NTE",
        b"MRG",
        b"FT1",
        b"OBX",
        b"SPM",
        b"ZPI",
        b"ZLB",
        b"DRG",
    ):
        assert b"\r" + segment + b"|" in everything, segment
    assert b'|""|' in everything, "an explicit null"
    assert b"\\T\\" in everything
    assert b"\\.br\\" in everything
    assert any(len(content) and content[3:4] != b"|" for content in TEXTS.values()), "other delimiters"
    assert any(charset(name) != "utf-8" for name in TEXTS)
    kinds = {header(name, 9).partition("^")[2][:3] for name in TEXTS} | {header(name, 9)[:7] for name in TEXTS}
    assert {"ADT^A01", "ADT^A40", "DFT^P03", "DFT^P11", "ORU^R01", "SIU^S12"} <= kinds


def test_people_and_numbers_are_made_up() -> None:
    """Telephone numbers from the ranges kept for fiction, mail addresses at example.org, no other domains."""
    for name, content in TEXTS.items():
        text = content.decode(charset(name))
        for number in re.findall(r"\((\d{3})\)(\d{3})-(\d{4})", text):
            assert number[:2] == ("555", "555"), f"{name}: {number}"
            assert number[2].startswith("01"), f"{name}: {number}"
        for mail in re.findall(r"[\w.]+@[\w.]+", text):
            assert mail.endswith("@example.org"), f"{name}: {mail}"


def test_git_leaves_their_line_ends_alone() -> None:
    attributes = (SAMPLES.parents[1] / ".gitattributes").read_text("utf-8")
    assert re.search(r"^\*\.hl7 -text$", attributes, re.MULTILINE)
