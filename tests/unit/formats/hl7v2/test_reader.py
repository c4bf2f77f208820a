from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ContentError
from engine.formats.hl7v2 import Hl7v2Options
from engine.formats.hl7v2.format import Hl7v2

FORMAT = Hl7v2(Hl7v2Options())
HEAD = rb"MSH|^~\&|A|B|C|D|2026||ADT^A01|1|P|2.5"


@pytest.mark.parametrize(
    "content",
    [
        HEAD,
        HEAD + b"\r",
        HEAD + b"\rPID|1\r",
        HEAD + b"\nPID|1\n",
        HEAD + b"\r\nPID|1\r\n",
        HEAD + b"\rPID|1\nPV1|1\r\nNTE|\r\r\n\n",
        HEAD + b"\r\r\rPID|1\r\r",
        b"\x0b" + HEAD + b"\rPID|1\r\x1c\r",
        b"\r\n  " + HEAD + b"\rPID|1",
        HEAD + b"\rNTE|1||caf\xe9\rOBX|1\r",  # no UTF-8: latin-1
        HEAD + b"\rpid|1\rPIDX|2\rPI|3\rP D|4\r|\r\x00\r",
        b"MSH#!@%*#A#B\rPID#1\r",
        b"FHS|^~\\&|A\rBHS|^~\\&|A\r" + HEAD + b"\rBTS|1\rFTS|1\r",
    ],
)
def test_everything_is_given_back_byte_for_byte(content: bytes) -> None:
    document = FORMAT.parse(content)
    assert FORMAT.render(document) == content
    edited: Any = FORMAT.edit(document)
    edited.source.content = None  # as if something had been changed
    assert FORMAT.render(edited) == content


@given(st.binary(max_size=400), st.sampled_from([HEAD + b"\r", b"MSH|^~\\&|", b"MSH", b"\x0bMSH|^~\\&|A\n", b"FHS|^~\\&"]))
def test_random_bytes_behind_a_header_are_read_losslessly_or_refused(tail: bytes, head: bytes) -> None:
    content = head + tail
    with contextlib.suppress(ContentError):
        FORMAT.heading(content)
    try:
        document = FORMAT.parse(content)
    except ContentError:
        return
    assert FORMAT.render(document) == content
    edited: Any = FORMAT.edit(document)
    edited.source.content = None
    assert FORMAT.render(edited) == content
    list(document.nodes())
    document.tree()
    for kind in list(document.index):
        assert len(document.turns(kind)) == len(document.index[kind])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "there is nothing in it"),
        (b"\r\n", "there is nothing in it"),
        (b"<ADT_A01/>", "begins with `<`, looks like XML"),
        (b'{"resourceType": "Patient"}', "begins with `{`, looks like JSON"),
        (b"[1]", "looks like JSON"),
        (b"ISA*00*", "looks like X12"),
        (b"UNB+UNOA", "looks like EDIFACT"),
        (b"\xef\xbb\xbf" + HEAD, "UTF-8 byte order mark"),
        (HEAD.decode().encode("utf-16"), "it is UTF-16"),
        (HEAD.decode().encode("utf-16-le"), "it is UTF-16"),
        (b"PID|1||2", "begins with segment PID"),
        (b"msh|^~\\&|", "segment names are upper case"),
        (b"hello", "begins with b'hello'"),
    ],
)
def test_other_content_is_refused_by_what_it_looks_like(content: bytes, said: str) -> None:
    for verb in (FORMAT.parse, FORMAT.heading):
        with pytest.raises(ContentError, match=said.replace("[", r"\[")):
            verb(content)


def test_a_line_feed_in_data_is_data_where_segments_end_with_cr() -> None:
    document = FORMAT.parse(HEAD + b"\rNTE|1||first\nsecond\rPV1|1\r")
    assert document["NTE-3"] == "first\nsecond"
    assert document["PV1-1"] == "1"


def test_names_of_other_lengths_are_no_segments_and_lower_case_ones_are() -> None:
    document = FORMAT.parse(HEAD + b"\rPIDX|wrong\rpid|lower\rOBX|MSH|x\rPID|upper\rPV1")
    assert document["PID-1"] == "lower"
    assert document.all("PID-1") == ["lower", "upper"]
    assert document["OBX-1"] == "MSH"
    assert document["PV1"] == "PV1"


# ── headings ──


def test_heading_has_the_cheap_facts() -> None:
    content = rb"MSH|^~\&|EHR^1.2^ISO|^2.16^ISO|C|D|2026||DFT^P03^DFT_P03|M\T\1|T^A|2.5^DEU" + b"\r"
    assert FORMAT.heading(content) == ("DFT^P03", "M&1", "EHR|2.16", "2.5", "T")
    assert FORMAT.heading(b"\x0b" + content) == FORMAT.heading(content)
    assert FORMAT.heading(b"MSH#!@%*#A#B#C#D#2026##ACK#7").kind == "ACK"


@pytest.mark.parametrize(
    ("content", "place"),
    [(b"MSH|", "MSH-2"), (b"MSH", "MSH-1"), (rb"MSH|^~\&", "MSH-10"), (rb"MSH|^~\&|||||||ADT^A01||P", "MSH-10"),
     (b"MSH||||", "MSH-2"), (rb"FHS|^~\&|A", "FHS"), (rb"BHS|^~\&|A", "BHS")],
)  # fmt: skip
def test_heading_refuses_by_place(content: bytes, place: str) -> None:
    with pytest.raises(ContentError) as caught:
        FORMAT.heading(content)
    assert caught.value.place == place


# ── character sets ──


def charset(name: str, tail: bytes) -> bytes:
    return HEAD + b"||||||" + name.encode() + b"\rPID|||||" + tail + b"\r"


@pytest.mark.parametrize(
    ("name", "raw", "text"),
    [
        ("", "Müller".encode(), "Müller"),
        ("", "Müller".encode("latin-1"), "Müller"),
        ("UNICODE UTF-8", "Łukasz".encode(), "Łukasz"),
        ("8859/1", "Müller".encode("latin-1"), "Müller"),
        ("8859/2", "Łukasz".encode("iso8859-2"), "Łukasz"),
        ("8859/15", "€".encode("iso8859-15"), "€"),
        ("ASCII", b"Muller", "Muller"),
        ("GB 18030-2000", "张".encode("gb18030"), "张"),
        ("BIG-5", "許".encode("big5"), "許"),  # its second byte is a backslash: cut after decoding
        ("~ISO IR87", "山田".encode("iso2022_jp"), "山田"),
        ("ASCII~UNICODE UTF-8", "Łukasz".encode(), "Łukasz"),
    ],
)
def test_characters_are_what_msh_18_says(name: str, raw: bytes, text: str) -> None:
    content = charset(name, raw)
    document = FORMAT.parse(content)
    assert document["PID-5"] == text
    assert FORMAT.render(document) == content


@pytest.mark.parametrize(
    ("name", "raw", "said"),
    [
        ("ASCII", b"M\xfcller", "byte 0xFC at offset"),
        ("UNICODE UTF-8", b"M\xfcller", "byte 0xFC"),
        ("KLINGON", b"x", "no character set"),
        ("8859", b"x", "did you mean 8859/1"),
        ("UNICODE UTF-16", b"x", "send UNICODE UTF-8"),
        ("UNICODE UTF-8", b"\xc0\x80", "byte 0xC0"),  # overlong
        ("UNICODE UTF-8", b"\xed\xa0\x80", "byte 0xED"),  # a surrogate
    ],
)
def test_contradictory_and_unknown_character_sets_are_refused(name: str, raw: bytes, said: str) -> None:
    with pytest.raises(ContentError, match=said) as caught:
        FORMAT.parse(charset(name, raw))
    assert caught.value.place == "MSH-18"


def test_the_charset_option_overrules_msh_18() -> None:
    told = Hl7v2(Hl7v2Options(charset="8859/2"))
    assert told.parse(charset("ASCII", "Łukasz".encode("iso8859-2")))["PID-5"] == "Łukasz"
    with pytest.raises(ContentError):
        Hl7v2(Hl7v2Options(charset="no such"))


# ── size ──


def test_large_messages_are_read_in_linear_time() -> None:
    start = time.process_time()
    many = FORMAT.parse(HEAD + b"\r" + b"OBX|1|ST|A^B||x\r" * 10_000)
    assert len(many["OBX[*]-5"]) == 10_000
    assert len(many.turns("OBX")) == 10_000
    mixed = FORMAT.parse(HEAD + b"\r" + b"OBX|1\robx|2\r" * 5_000)
    assert len(mixed.all("OBX")) == 10_000
    wide = FORMAT.parse(HEAD + b"\rPID|||" + b"a^b~" * 100_000 + b"\rZZZ|" + b"^" * 100_000 + b"\r")
    assert wide["PID-3.2"] == "b"
    assert len(wide["PID-3[*].1"]) == 100_000
    assert time.process_time() - start < 10
