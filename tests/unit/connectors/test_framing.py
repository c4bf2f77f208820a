"""MLLP framing: bytes in, frames and what was dropped out (bad-input corpus B001-B020)."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.connectors.mllp.framing import JUNK_LIMIT, Deframer, Dropped, frame

MSH = b"MSH|^~\\&|EHR|HOSPITAL|||20260911||ADT^A08|1|P|2.5.1\rPID|1||7\r"
MAX = 200


def read(data: bytes, cut: int = 0, limit: int = MAX) -> list[bytes | Dropped]:
    """Everything that comes out of `data`, the close included; `cut` bytes at a time, 0 for all at once."""
    deframer = Deframer(limit)
    events: list[bytes | Dropped] = []
    for at in range(0, len(data), cut or max(1, len(data))):
        events += deframer.receive(data[at : at + (cut or len(data))])
    return events + deframer.close()


CASES = {
    "one frame": (frame(MSH), [MSH]),
    "two frames in one segment (B003)": (frame(MSH) + frame(b"MSH|2"), [MSH, b"MSH|2"]),
    "no start block (B001)": (MSH, [Dropped("NO_SB", len(MSH))]),
    "junk and NULs between frames (B002)": (frame(MSH) + b"\0\0noise" + frame(b"MSH|2"), [MSH, Dropped("JUNK", 7), b"MSH|2"]),
    "junk before the first frame": (b"\0\0" + frame(MSH), [Dropped("JUNK", 2), MSH]),
    "junk after the last frame": (frame(MSH) + b"\0", [MSH, Dropped("JUNK", 1)]),
    "end block without CR, then a new frame (B005)": (b"\x0bMSH|1\x1c" + frame(MSH), [Dropped("RESTARTED", 6), MSH]),
    "a lone end block is content (B006)": (frame(b"MSH|a\x1cb"), [b"MSH|a\x1cb"]),
    "an end block and CR inside (B007)": (frame(b"MSH|a\x1c\rOBX|rest"), [b"MSH|a", Dropped("JUNK", 10)]),
    "a start block inside is content (B008)": (frame(b"MSH|a\x0bb"), [b"MSH|a\x0bb"]),
    "a sender that began anew (B009)": (b"\x0bMSH|half" + frame(MSH), [Dropped("RESTARTED", 8), MSH]),
    "began anew twice": (b"\x0bMSH|1\x0bMSH|22" + frame(MSH), [Dropped("RESTARTED", 5), Dropped("RESTARTED", 6), MSH]),
    "an empty frame (B010)": (frame(b""), [b""]),
    "the largest frame (B012)": (frame(b"x" * MAX), [b"x" * MAX]),
    "one byte more (B013)": (frame(b"x" * (MAX + 1)), [Dropped("FRAME_TOO_LARGE", MAX + 1, True)]),
    "nothing after one too large": (frame(b"x" * 300) + frame(MSH), [Dropped("FRAME_TOO_LARGE", MAX + 1, True)]),
    "an endless one (B014)": (b"\x0b" + b"x" * 1000, [Dropped("FRAME_TOO_LARGE", MAX + 1, True)]),
    "the largest, begun anew at its edge": (b"\x0b" + b"x" * MAX + frame(MSH), [Dropped("RESTARTED", MAX), MSH]),
    "cut off by the end (B016)": (b"\x0bMSH|half", [Dropped("INCOMPLETE", 8)]),
    "line ends between frames (B018)": (frame(MSH) + b"\r\n\r\n" + frame(b"MSH|2") + b"\n", [MSH, b"MSH|2"]),
    "TLS on a plain port (B019)": (b"\x16\x03\x01\x02\x00\x01\x00\x0b\x0bMSH", [Dropped("TLS_ON_PLAIN", 3, True)]),
    "HTTP on an MLLP port (B020)": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", [Dropped("HTTP_ON_MLLP", 4, True)]),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n", [Dropped("HTTP_ON_MLLP", 4, True)]),
    "what only begins like HTTP": (b"GETS" + frame(MSH), [Dropped("JUNK", 4), MSH]),
    "what only begins like TLS": (b"\x16\x03", [Dropped("NO_SB", 2)]),
    "HTTP inside a conversation is only junk": (frame(MSH) + b"GET / HTTP", [MSH, Dropped("JUNK", 10)]),
    "endless junk": (b"z" * (JUNK_LIMIT + 9), [Dropped("NO_SB", JUNK_LIMIT + 1, True)]),
    "UTF-16 content passes (B026)": (frame(MSH.decode().encode("utf-16-le")[:MAX]), [MSH.decode().encode("utf-16-le")[:MAX]]),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("cut", [0, 1, 2, 3, 7])
def test_what_comes_out_does_not_depend_on_where_the_chunks_were_cut(case: str, cut: int) -> None:
    data, expected = CASES[case]
    assert read(data, cut) == expected


def test_a_frame_split_at_every_byte_is_one_frame() -> None:  # B004
    data = frame(MSH)
    for at in range(1, len(data)):
        deframer = Deframer(MAX)
        assert deframer.receive(data[:at]) == []
        assert deframer.partial
        assert deframer.receive(data[at:]) == [MSH]
        assert not deframer.partial


def test_a_frame_is_given_as_soon_as_it_is_complete_and_the_rest_is_kept() -> None:
    deframer = Deframer(MAX)
    assert deframer.receive(frame(MSH) + b"\x0bMSH|be") == [MSH]
    assert deframer.receive(b"gun\x1c\r") == [b"MSH|begun"]


def test_bytes_after_a_fatal_event_are_not_kept() -> None:
    deframer = Deframer(MAX)
    assert [event.fatal for event in deframer.receive(b"GET / HTTP/1.1\r\n")] == [True]  # type: ignore[union-attr]
    assert deframer.receive(frame(MSH)) == []
    assert not deframer.partial
    assert deframer.close() == []


def test_starts_without_ends_do_not_pile_up() -> None:
    deframer = Deframer(MAX)
    for _ in range(1000):
        deframer.receive(b"\x0bMSH|" + b"x" * 100)
    assert len(deframer._buffer) < 2 * MAX


# A few bytes that mean something to the framing, among ordinary ones.
pieces = st.lists(
    st.sampled_from([b"\x0b", b"\x1c", b"\r", b"\n", b"MSH", b"MS", b"GET ", b"\x16\x03\x01", b"a" * 90, b"x", b"\x1c\r"])
)


@given(data=pieces.map(b"".join), cuts=st.lists(st.integers(1, 40), min_size=1))
@example(data=b"\x0b" + b"a" * 200 + b"\x0bMSH\x1c\r", cuts=[1])
def test_any_bytes_under_any_chunking_give_the_same(data: bytes, cuts: list[int]) -> None:
    whole = Deframer(MAX)
    expected = whole.receive(data) + whole.close()
    deframer, events, at, turn = Deframer(MAX), [], 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        events += deframer.receive(data[at : at + size])
        at, turn = at + size, turn + 1
    assert events + deframer.close() == expected


contents = st.binary(max_size=MAX).filter(lambda content: b"\x1c\r" not in content and b"\x0bMSH" not in content)


@given(sent=st.lists(contents), size=st.integers(1, 500))
def test_what_was_framed_comes_out_again(sent: list[bytes], size: int) -> None:
    assert read(b"".join(map(frame, sent)), size) == sent
