"""MLLP framing: bytes in, frames and what was dropped out (bad-input corpus B001-B020)."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.connectors.mllp.framing import JUNK_LIMIT, KEPT, Deframer, Dropped, Loose, frame

MSH = b"MSH|^~\\&|EHR|HOSPITAL|||20260911||ADT^A08|1|P|2.5.1\rPID|1||7\r"
MAX = 200


def read(data: bytes, cut: int = 0, limit: int = MAX, tolerant: bool = False) -> list[bytes | Dropped]:
    """Everything that comes out of `data`, the close included; `cut` bytes at a time, 0 for all at once."""
    deframer = Deframer(limit, tolerant)
    events: list[bytes | Dropped] = []
    for at in range(0, len(data), cut or max(1, len(data))):
        events += deframer.receive(data[at : at + (cut or len(data))])
    return events + deframer.close()


def dropped(reason: str, content: bytes, fatal: bool = False) -> Dropped:
    return Dropped(reason, len(content), fatal, content[:KEPT])


CASES = {
    "one frame": (frame(MSH), [MSH]),
    "two frames in one segment (B003)": (frame(MSH) + frame(b"MSH|2"), [MSH, b"MSH|2"]),
    "no start block (B001)": (MSH, [dropped("NO_SB", MSH)]),
    "junk and NULs between frames (B002)": (
        frame(MSH) + b"\0\0noise" + frame(b"MSH|2"),
        [MSH, dropped("JUNK", b"\0\0noise"), b"MSH|2"],
    ),
    "junk before the first frame": (b"\0\0" + frame(MSH), [dropped("JUNK", b"\0\0"), MSH]),
    "junk after the last frame": (frame(MSH) + b"\0", [MSH, dropped("JUNK", b"\0")]),
    "end block without CR, then a new frame (B005)": (b"\x0bMSH|1\x1c" + frame(MSH), [dropped("RESTARTED", b"MSH|1\x1c"), MSH]),
    "a lone end block is content (B006)": (frame(b"MSH|a\x1cb"), [b"MSH|a\x1cb"]),
    "an end block and CR inside (B007)": (frame(b"MSH|a\x1c\rOBX|rest"), [b"MSH|a", dropped("JUNK", b"OBX|rest\x1c\r")]),
    "a start block inside is content (B008)": (frame(b"MSH|a\x0bb"), [b"MSH|a\x0bb"]),
    "a sender that began anew (B009)": (b"\x0bMSH|half" + frame(MSH), [dropped("RESTARTED", b"MSH|half"), MSH]),
    "began anew twice": (
        b"\x0bMSH|1\x0bMSH|22" + frame(MSH),
        [dropped("RESTARTED", b"MSH|1"), dropped("RESTARTED", b"MSH|22"), MSH],
    ),
    "an empty frame (B010)": (frame(b""), [b""]),
    "the largest frame (B012)": (frame(b"x" * MAX), [b"x" * MAX]),
    "the largest, begun anew at its edge": (b"\x0b" + b"x" * MAX + frame(MSH), [dropped("RESTARTED", b"x" * MAX), MSH]),
    "cut off by the end (B016)": (b"\x0bMSH|half", [dropped("INCOMPLETE", b"MSH|half")]),
    "line ends between frames (B018)": (frame(MSH) + b"\r\n\r\n" + frame(b"MSH|2") + b"\n", [MSH, b"MSH|2"]),
    "what only begins like HTTP": (b"GETS" + frame(MSH), [dropped("JUNK", b"GETS"), MSH]),
    "what only begins like TLS": (b"\x16\x03", [dropped("NO_SB", b"\x16\x03")]),
    "HTTP inside a conversation is only junk": (frame(MSH) + b"GET / HTTP", [MSH, dropped("JUNK", b"GET / HTTP")]),
    "endless junk": (b"z" * (JUNK_LIMIT + 9), [Dropped("NO_SB", JUNK_LIMIT + 1, True, b"z" * KEPT)]),
    "UTF-16 content passes (B026)": (frame(MSH.decode().encode("utf-16-le")[:MAX]), [MSH.decode().encode("utf-16-le")[:MAX]]),
}


TOLERANT = {
    "an end block without CR, then a new frame (B005)": (b"\x0bMSH|1\r\x1c" + frame(MSH), [Loose(b"MSH|1\r"), MSH]),
    "an end block with LF for CR": (b"\x0bMSH|1\r\x1c\n" + frame(MSH), [Loose(b"MSH|1\r"), MSH]),
    "every end block without CR": (b"\x0bMSH|1\x1c" * 3 + frame(MSH), [Loose(b"MSH|1")] * 3 + [MSH]),
    "the largest, without CR": (b"\x0b" + b"x" * MAX + b"\x1c\n" + frame(MSH), [Loose(b"x" * MAX), MSH]),
    "a lone end block is content (B006)": (frame(b"MSH|a\x1cb"), [b"MSH|a\x1cb"]),
    "a sender that began anew (B009)": (b"\x0bMSH|half" + frame(MSH), [dropped("RESTARTED", b"MSH|half"), MSH]),
    "an end block without CR at the very end": (b"\x0bMSH|1\r\x1c", [dropped("INCOMPLETE", b"MSH|1\r\x1c")]),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("cut", [0, 1, 2, 3, 7])
def test_what_comes_out_does_not_depend_on_where_the_chunks_were_cut(case: str, cut: int) -> None:
    data, expected = CASES[case]
    assert read(data, cut) == expected


@pytest.mark.parametrize("case", TOLERANT)
@pytest.mark.parametrize("cut", [0, 1, 2, 3, 7])
def test_what_a_tolerant_one_makes_of_it(case: str, cut: int) -> None:
    data, expected = TOLERANT[case]
    found = read(data, cut, tolerant=True)
    assert found == expected
    assert [type(event) for event in found] == [type(event) for event in expected]


TOO_LARGE = {
    "one byte more (B013)": frame(b"x" * (MAX + 1)),
    "nothing after it": frame(b"x" * 300) + frame(MSH),
    "an endless one (B014)": b"\x0b" + b"x" * 1000,
}


@pytest.mark.parametrize("case", TOO_LARGE)
@pytest.mark.parametrize("cut", [0, 1, 2, 3, 7])
def test_a_frame_too_large_is_the_last_thing_that_comes_out(case: str, cut: int) -> None:
    (found,) = read(TOO_LARGE[case], cut)
    assert isinstance(found, Dropped)
    assert found[:3] == ("FRAME_TOO_LARGE", MAX + 1, True)
    assert found.content.startswith(b"x" * MAX), "its beginning is kept"


FOREIGN = {
    "TLS (B019)": (b"\x16\x03\x01\x02\x00\x01\x00\x0b\x0bMSH", "TLS_ON_PLAIN"),
    "HTTP (B020)": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP_ON_MLLP"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n", "HTTP_ON_MLLP"),
}


@pytest.mark.parametrize("case", FOREIGN)
@pytest.mark.parametrize("cut", [0, 1, 2, 3, 7])
def test_another_protocol_is_recognised_by_its_first_bytes(case: str, cut: int) -> None:
    data, reason = FOREIGN[case]
    (found,) = read(data, cut)
    assert isinstance(found, Dropped)
    assert (found.reason, found.fatal) == (reason, True)
    assert data.startswith(found.content)
    assert found.size == len(found.content) >= 3
    if not cut:
        assert found.content == data, "all that had come is kept"


@pytest.mark.parametrize("end", [b"\r\x1c", b"\n\x1c", b"\r\x1c\n"])
def test_silence_after_an_end_block_ends_the_frame(end: bytes) -> None:
    for cut in range(1, 12):
        deframer = Deframer(MAX, tolerant=True)
        data = b"\x0bMSH|1" + end
        assert deframer.receive(data[:cut]) + deframer.receive(data[cut:]) == []
        assert deframer.loose
        assert deframer.settle() == [Loose(b"MSH|1" + end[:1])]
        assert not deframer.partial
        assert deframer.receive(b"\r" + frame(MSH)) == [MSH], "its CR comes late, and then the next"


def test_silence_ends_nothing_that_may_go_on() -> None:
    for data in (b"\x0bMSH|a\x1c", b"\x0bMSH|a\r", b"\x0bMSH|a\r\x1cb", b"junk\r\x1c", b"\r\x1c", b""):
        deframer = Deframer(MAX, tolerant=True)
        deframer.receive(data)
        assert not deframer.loose
        assert deframer.settle() == []
    strict = Deframer(MAX)
    strict.receive(b"\x0bMSH|a\r\x1c")
    assert not strict.loose
    assert strict.settle() == []


def test_junk_after_a_frame_can_be_taken_out_and_the_beginning_of_one_not() -> None:
    deframer = Deframer(MAX)
    deframer.receive(frame(MSH) + b"\0")
    assert deframer.skip() == [dropped("JUNK", b"\0")]
    assert not deframer.partial
    for data in (b"\x0bMSH", b""):
        deframer.receive(data)
        assert deframer.skip() == []
    never = Deframer(MAX)
    never.receive(b"MSH|no start block")
    assert never.skip() == []


def test_a_hundred_megabytes_in_small_pieces_take_two_copies_and_linear_time() -> None:
    size, piece = 100_000_000, b"A" * 65_536

    def seconds(pieces: int) -> float:
        deframer, began = Deframer(size), time.process_time()
        deframer.receive(b"\x0bMSH|")
        for _ in range(pieces):
            deframer.receive(piece)
        (content,) = deframer.receive(b"\x1c\r")
        assert len(content) == 4 + pieces * len(piece)
        return time.process_time() - began

    seconds(100)
    tracemalloc.start()
    seconds(size // len(piece))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2.5 * size
    assert seconds(1500) < 40 * max(seconds(150), 0.005), "ten times the bytes are not a hundred times the work"


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
    st.sampled_from(
        [
            b"\x0b",
            b"\x1c",
            b"\r",
            b"\n",
            b"MSH",
            b"MS",
            b"GET ",
            b"\x16\x03\x01",
            b"a" * 90,
            b"x",
            b"\x1c\r",
            b"\x1c\n",
            b"\r\x1c\x0bMSH",
        ]
    )
)


def _comparable(events: list[bytes | Dropped]) -> list[object]:
    """Of another protocol, and of a frame too large, how much is kept depends on the chunks."""
    return [event[:1] + event[2:3] if isinstance(event, Dropped) and event.fatal else (type(event), event) for event in events]


@given(data=pieces.map(b"".join), cuts=st.lists(st.integers(1, 40), min_size=1), tolerant=st.booleans())
@example(data=b"\x0b" + b"a" * 200 + b"\x0bMSH\x1c\r", cuts=[1], tolerant=False)
@example(data=b"\x0b" + b"a" * 200 + b"\x1c\n\x0bMSH\x1c\r", cuts=[1], tolerant=True)
def test_any_bytes_under_any_chunking_give_the_same(data: bytes, cuts: list[int], tolerant: bool) -> None:
    whole = Deframer(MAX, tolerant)
    expected = whole.receive(data) + whole.close()
    deframer, events, at, turn = Deframer(MAX, tolerant), [], 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        events += deframer.receive(data[at : at + size])
        at, turn = at + size, turn + 1
    assert _comparable(events + deframer.close()) == _comparable(expected)


contents = st.binary(max_size=MAX).filter(lambda content: b"\x1c\r" not in content and b"\x0bMSH" not in content)


@given(sent=st.lists(contents), size=st.integers(1, 500), tolerant=st.booleans())
def test_what_was_framed_comes_out_again(sent: list[bytes], size: int, tolerant: bool) -> None:
    assert read(b"".join(map(frame, sent)), size, tolerant=tolerant) == sent


@given(data=pieces.map(b"".join))
def test_nothing_that_comes_is_lost_without_a_word(data: bytes) -> None:
    """Every byte is in a frame, in what was dropped, or is framing itself."""
    events = read(data, 5)
    if not any(isinstance(event, Dropped) and event.fatal for event in events):
        told = sum(event.size if isinstance(event, Dropped) else len(event) for event in events)
        framing = sum(data.count(bytes([byte])) for byte in (0x0B, 0x1C, 0x0D, 0x0A))
        assert len(data) - framing <= told <= len(data)
