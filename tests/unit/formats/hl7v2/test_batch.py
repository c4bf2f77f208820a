"""Batches: what is cut, what is refused as not whole, and the batch of answers (§2.10.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ContentError
from engine.formats.hl7v2 import Hl7v2Options
from engine.formats.hl7v2.batch import MOST_MESSAGES
from engine.formats.hl7v2.format import Hl7v2
from engine.ids import format_id
from engine.model import Receipt, Verdict
from engine.testing.files import read_acknowledgement

FORMAT = Hl7v2(Hl7v2Options())
AT = 1_763_721_600_000_000
FHS, BHS = b"FHS|^~\\&|A|B|C|D|||night.hl7||F7\r", b"BHS|^~\\&|A|B|C|D|||charges||B7\r"


def one(control: str, tail: str = "") -> bytes:
    return rf"MSH|^~\&|A|B|C|D|2026||DFT^P03|{control}|P|2.5.1{tail}".encode() + b"\rPID|1||7\r"


A, B, C = one("1"), one("2"), one("3")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (A, []), (A + b"NTE|1||MSH|^~\\&|\r", []), (b"\x0b" + A, []), (b"", []), (b"junk", []), (b"PID|1\r" + A + B, []),
        (A + B, [A, B]), (b"\r\n" + A + B, [A, B]), (A + b"\r\n" + B, [A + b"\r\n", B]),
        (BHS + A + b"BTS|1\r", [A]), (BHS + A + B + b"BTS\r", [A, B]), (BHS + A + B + b"BTS|2|done", [A, B]),
        (FHS + BHS + A + B + b"BTS|2\r" + BHS + C + b"BTS|1\rFTS|2\r", [A, B, C]),
        (FHS + A + B + b"FTS|1\r", [A, B]), (FHS + A + B + b"FTS|2\r", [A, B]), (FHS + BHS + A + b"BTS|1\r\nFTS\r\n", [A]),
        (A + B.replace(b"|", b"#"), []),  # another separator is data
        (b"BHS#^~\\&#A\rMSH#^~\\&#A\rBTS#1\r", [b"MSH#^~\\&#A\r"]),
    ],
)  # fmt: skip
def test_what_is_a_batch_and_what_is_one_message(content: bytes, found: list[bytes]) -> None:
    assert FORMAT.split(content) == found


@pytest.mark.parametrize(
    ("content", "place", "said"),
    [
        (BHS + A + B, "BTS", "end of the batch was lost"), (BHS + A + b"BTS|2\r", "BTS-1", "'2' messages are announced, and 1 came"),
        (BHS + A + b"BTS|many\r", "BTS-1", "'many'"), (FHS + BHS + A + b"BTS|1\r", "FTS", "end of the file was lost"),
        (FHS + BHS + A + b"BTS|1\rFTS|2\r", "FTS-1", "'2' batches are announced, and 1 came"),
        (BHS + A + BHS + B + b"BTS|1\r", "BTS", "batch 1 is not whole"), (FHS + BHS + A + b"FTS|1\r", "BTS", "has no BTS"),
        (BHS + A + b"BTS|1\r" + B, "MSH", "behind BTS"), (FHS + A + b"FTS|1\r" + B, "MSH", "behind FTS"),
        (BHS + b"PID|1\r" + A + b"BTS|1\r", "BHS", "belong to no message"), (BHS + A + FHS + b"BTS|1\r", "FHS", "within a file"),
        (BHS + b"BTS|0\r", "", "holds no message"), (FHS + b"FTS|0\r", "", "holds no message"),
        (BHS + A + b"BTS|" + b"9" * 5000 + b"\r", "BTS-1", "'99999999999999999999'"),
    ],
)  # fmt: skip
def test_what_is_not_whole_is_refused_with_the_place(content: bytes, place: str, said: str) -> None:
    with pytest.raises(ContentError, match=said) as caught:
        FORMAT.split(content)
    assert caught.value.place == place


def test_there_is_a_limit_to_the_messages_of_a_batch() -> None:
    with pytest.raises(ContentError, match="at most"):
        FORMAT.split(b"MSH|\r" * (MOST_MESSAGES + 1))


@given(
    st.lists(
        st.sampled_from([A, B, FHS, BHS, b"BTS|1\r", b"BTS|2\r", b"FTS|1\r", b"PID|1\r", b"\r", b"\n", b"MSH", b"\x00"]),
        max_size=8,
    )
)
def test_whatever_comes_is_cut_without_loss_or_refused(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    try:
        found = FORMAT.split(content)
    except ContentError:
        return
    at = 0
    for message in found:
        assert message.startswith(b"MSH|")
        at = content.index(message, at) + len(message)
    whole = [piece for piece in pieces if piece in (A, B)]
    if content.startswith((b"FHS", b"BHS")) and found:
        assert len(found) == len(whole)


# ── the answer ──


def receipts(*verdicts: Verdict) -> tuple[Receipt, ...]:
    return tuple(
        Receipt(verdict, (1 << 50) + n, AT, *(() if verdict is Verdict.ACCEPTED else ("no", "PID-3", "101")))
        for n, verdict in enumerate(verdicts, 1)
    )


YES, NO, BUSY = Verdict.ACCEPTED, Verdict.REFUSED, Verdict.UNAVAILABLE


def test_a_batch_is_answered_by_a_batch_that_names_it() -> None:
    content = FHS + BHS + A + B + b"BTS|2\r" + BHS.replace(b"B7", b"B8") + C + b"BTS|1\rFTS|2\r"
    answer = FORMAT.acknowledge(content, Receipt(YES, 1 << 50, AT, parts=receipts(YES, NO, YES)))
    assert answer is not None
    lines = answer.split(b"\r")
    assert [line[:3] for line in lines] == [
        b"FHS", b"BHS", b"MSH", b"MSA", b"MSH", b"MSA", b"ERR", b"BTS", b"BHS", b"MSH", b"MSA", b"BTS", b"FTS", b"",
    ]  # fmt: skip
    base = format_id((1 << 50) + 1).encode()
    assert lines[0] == b"FHS|^~\\&|C|D|A|B|20251121104000+0000||night.hl7||" + base + b"-F|F7"
    assert lines[1].endswith(b"||charges||" + base + b"-B1|B7")
    assert lines[8].endswith(b"-B2|B8")
    assert [lines[n] for n in (3, 7, 10, 11, 12)] == [b"MSA|AA|1", b"BTS|2", b"MSA|AA|3", b"BTS|1", b"FTS|2"]
    assert lines[5].startswith(b"MSA|AE|2|")
    assert FORMAT.split(answer) == [b"\r".join(lines[a:b]) + b"\r" for a, b in ((2, 4), (4, 7), (9, 11))]


def test_messages_that_came_without_headers_are_answered_without() -> None:
    answer = FORMAT.acknowledge(A + B, Receipt(YES, 1 << 50, AT, parts=receipts(YES, YES)))
    assert answer is not None
    assert [line[:3] for line in answer.split(b"\r")] == [b"MSH", b"MSA", b"MSH", b"MSA", b""]


def test_only_those_are_answered_that_ask_for_it() -> None:
    silent, loud = one("1", "|||NE|NE"), one("2", "|||AL|NE")
    parts = Receipt(YES, 1 << 50, AT, parts=receipts(YES, YES))
    answer = FORMAT.acknowledge(BHS + silent + loud + b"BTS|2\r", parts)
    assert answer is not None
    assert answer.endswith(b"\rMSA|CA|2\rBTS|1\r")
    assert FORMAT.acknowledge(silent + silent, parts) is None
    empty = FORMAT.acknowledge(BHS + silent + silent + b"BTS|2\r", parts)
    assert empty is not None
    assert [line[:5] for line in empty.split(b"\r")] == [b"BHS|^", b"BTS|0", b""]  # acknowledges all of them
    assert read_acknowledgement(empty).code == "AA"


def test_what_could_not_be_stored_is_refused_message_by_message() -> None:
    busy = Receipt(BUSY, 0, AT)
    answer = FORMAT.acknowledge(A + B, busy._replace(parts=(busy, busy)))
    assert answer is not None
    assert answer.count(b"MSA|AR|") == 2


def test_a_broken_batch_gets_one_answer_that_names_it() -> None:
    answer = FORMAT.acknowledge(BHS + A, Receipt(NO, 1 << 50, AT, "there is none", "BTS", "100"))
    assert answer is not None
    assert b"\rMSA|AE|B7|BTS: there is none\r" in answer
    assert b"\rERR||BTS^1|100^" in answer
