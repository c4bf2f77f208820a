from __future__ import annotations

import re
from typing import Any

import hl7 as python_hl7
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.formats.hl7v2 import Hl7v2Options
from engine.formats.hl7v2.format import Hl7v2
from engine.ids import format_id
from engine.model import Busy, Delivered, Receipt, Refused, Unknown, Verdict

FORMAT = Hl7v2(Hl7v2Options())
AT = 1_763_721_600_123_456  # 2025-11-21T10:40:00.123456Z
STORED = Receipt(Verdict.ACCEPTED, 1 << 50, AT)


def adt(version: str = "2.5.1", msh_9: str = "ADT^A01^ADT_A01", msh_10: str = "MSG 1", tail: str = "") -> bytes:
    return rf"MSH|^~\&|EHR^1.2^ISO|HOSP|LAB|WARD|20260101||{msh_9}|{msh_10}|T^A|{version}{tail}".encode() + b"\rPID|1\r"


def refused(code: str, place: str = "PID-3", reason: str = "PID-3: the patient id is missing") -> Receipt:
    return Receipt(Verdict.REFUSED, 1 << 50, AT, reason, place, code)


def fields(answer: bytes | None, name: str) -> list[str]:
    assert answer is not None
    assert answer.endswith(b"\r")
    return next(line for line in answer.decode().split("\r") if line.startswith(name)).split("|")


def test_a_stored_message_is_answered_aa() -> None:
    assert FORMAT.acknowledge(adt(), STORED) == (
        b"MSH|^~\\&|LAB|WARD|EHR^1.2^ISO|HOSP|20251121104000+0000||ACK^A01^ACK|" + format_id(1 << 50).encode() + b"|T^A|2.5.1\r"
        b"MSA|AA|MSG 1\r"
    )


def test_the_same_input_gives_the_same_bytes_and_other_input_another_id() -> None:
    assert FORMAT.acknowledge(adt(), STORED) == FORMAT.acknowledge(adt(), STORED)
    unstored = Receipt(Verdict.UNAVAILABLE, 0, AT)
    ids = {fields(FORMAT.acknowledge(content, receipt), "MSH")[9]
           for content in (adt(), adt(msh_10="2")) for receipt in (unstored, unstored._replace(received_at=AT + 5))}  # fmt: skip
    assert len(ids) == 4
    assert all(0 < len(each) <= 20 for each in ids)


@pytest.mark.parametrize(
    ("version", "msh_9", "answered"),
    [("2.1", "ADT^A01", "ACK"), ("2.2", "ADT^A01", "ACK"), ("2.3", "ADT^A01", "ACK"), ("2.3.1", "ADT^A01", "ACK^A01^ACK"),
     ("2.4", "ADT^A01", "ACK^A01^ACK"), ("2.8", "ORU^R01^ORU_R01", "ACK^R01^ACK"), ("2.5", "ADT", "ACK"), ("2.5^DEU", "ADT^A01", "ACK^A01^ACK")],
)  # fmt: skip
def test_the_type_of_the_answer(version: str, msh_9: str, answered: str) -> None:
    answer = fields(FORMAT.acknowledge(adt(version, msh_9), STORED), "MSH")
    assert (answer[8], answer[11]) == (answered, version)


def test_delimiters_and_character_set_are_the_senders() -> None:
    content = b"MSH#!@%*#A!1#B#C#D#2026##ADT!A01#id|^1#P#2.5######8859/1\r"
    answer = FORMAT.acknowledge(content, refused("101", "PID-3[2].1", "PID-3[2].1: M\u00fcller is # no id"))
    assert answer is not None
    lines = answer.split(b"\r")
    assert lines[0].startswith(b"MSH#!@%*#C#D#A!1#B#20251121104000+0000##ACK!A01!ACK#")
    assert lines[0].endswith(b"#P#2.5######8859/1")
    assert lines[1] == b"MSA#AE#id|^1#PID-3[2].1: M\xfcller is %F% no id"
    assert lines[2].startswith(b"ERR##PID!1!3!2!1#101!Required field missing!HL70357#E####PID-3[2].1: M\xfcller")


@pytest.mark.parametrize("control", ["x" * 199, "x" * 10_000, "a^b~c&d\\e", "<script>", "../../x", "é😀", " 1 ", "{{7*7}}"])
def test_msa_2_is_msh_10_exactly_as_sent(control: str) -> None:
    assert fields(FORMAT.acknowledge(adt(msh_10=control), STORED), "MSA") == ["MSA", "AA", control]
    raw = adt(msh_10="MARK").replace(b"MARK", b"\xff\xfe\x80")
    answer = FORMAT.acknowledge(raw, STORED)
    assert answer is not None
    assert b"MSA|AA|\xff\xfe\x80\r" in answer


@pytest.mark.parametrize(
    ("receipt", "code", "error"),
    [
        (refused("101"), "AE", "101"), (refused("102"), "AE", "102"), (refused("207"), "AE", "207"), (refused("0"), "AE", "207"),
        (refused("999"), "AE", "207"), (refused("200"), "AR", "200"), (refused("201"), "AR", "201"), (refused("202"), "AR", "202"),
        (refused("203"), "AR", "203"), (Receipt(Verdict.UNAVAILABLE, 0, AT, "the store is full", "", "207"), "AR", "207"),
    ],
)  # fmt: skip
def test_refusals(receipt: Receipt, code: str, error: str) -> None:
    answer = FORMAT.acknowledge(adt(), receipt)
    assert fields(answer, "MSA")[1:3] == [code, "MSG 1"]
    assert fields(answer, "ERR")[3].split("^")[0] == error
    assert fields(answer, "ERR")[4] == "E"
    if receipt.verdict is Verdict.UNAVAILABLE:
        assert fields(answer, "MSA")[3] == "busy"


@pytest.mark.parametrize(
    ("version", "msa", "err"),
    [
        ("2.2", "PID-3: the patient id is missing", "ERR|PID^1^3^101"),
        ("2.3", "PID-3: the patient id is missing", "ERR|PID^1^3^101&Required field missing&HL70357"),
        ("2.4", "PID-3: the patient id is missing", "ERR|PID^1^3^101&Required field missing&HL70357"),
        (
            "2.5",
            "PID-3: the patient id is missing",
            "ERR||PID^1^3|101^Required field missing^HL70357|E||||PID-3: the patient id is missing",
        ),
        ("2.7", None, "ERR||PID^1^3|101^Required field missing^HL70357|E||||PID-3: the patient id is missing"),
    ],
)
def test_errors_have_the_form_of_the_version(version: str, msa: str | None, err: str) -> None:
    answer = FORMAT.acknowledge(adt(version), refused("101"))
    assert "|".join(fields(answer, "ERR")) == err
    assert fields(answer, "MSA")[3:] == ([msa] if msa else [])


@pytest.mark.parametrize(
    ("place", "location"),
    [
        ("", ""),
        ("PID", "PID^1"),
        ("OBX[2]-5", "OBX^2^5"),
        ("OBR[2]/OBX[3]-5.1.2", "OBX^3^5^1^1^2"),
        ("charge.quantity", ""),
        ("PID-3.4", "PID^1^3^1^4"),
    ],
)
def test_locations(place: str, location: str) -> None:
    assert fields(FORMAT.acknowledge(adt(), refused("207", place, "no")), "ERR")[2] == location


def test_long_and_hostile_reasons_stay_in_their_field() -> None:
    reason = "line one\r\nMSA|AA|forged\x0b\x1c" + "|" * 300
    answer = FORMAT.acknowledge(adt("2.5"), refused("102", "", reason))
    assert answer is not None
    assert answer.count(b"\r") == 3
    assert not {b"\x0b", b"\x1c", b"\n"} & {answer[n : n + 1] for n in range(len(answer))}
    assert len(fields(answer, "MSA")[3]) <= 80
    assert len(fields(answer, "ERR")[8]) <= 250


@pytest.mark.parametrize("msh_9", ["ACK", "ACK^A01", "ACK^A01^ACK", "MCF", "MCF^A01"])
def test_an_acknowledgement_is_never_answered(msh_9: str) -> None:
    for receipt in (STORED, refused("101"), Receipt(Verdict.UNAVAILABLE)):
        assert FORMAT.acknowledge(adt(msh_9=msh_9), receipt) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"junk", b"<xml/>", b"MSH", b"MSH|", b"MSH||||", b"MSH|^~\\&", b"MSH\x00\x01", b"MSHABCDE", b"\xef\xbb\xbf" + adt(), b"\x0b" + adt(),
     b"FHS|^~\\&|A|B|C|D|2026||name||F1|\rMSH", b"MSH|" + b"\xff" * 50, b"MSH|^~\\&|" + b"x" * 100_000, b"MSH^~|\\&^A"],
)  # fmt: skip
def test_what_cannot_be_read_is_answered_as_far_as_it_can_be(content: bytes) -> None:
    answer = FORMAT.acknowledge(content, refused("100", "", "it cannot be read"))
    assert answer is not None
    assert FORMAT.heading(answer).kind.startswith("ACK")
    assert FORMAT.parse(answer)["MSA-1"] == "AE"


def test_what_can_be_read_of_a_batch_or_behind_a_byte_order_mark_is_used() -> None:
    batch = FORMAT.acknowledge(b"FHS|^~\\&|A|B|C|D|2026||name||F1\rBHS|", refused("100"))
    assert fields(batch, "MSH")[2:6] == ["C", "D", "A", "B"]
    assert fields(batch, "MSA")[2] == "F1"
    assert fields(FORMAT.acknowledge(b"\xef\xbb\xbf" + adt(), refused("100")), "MSA")[2] == "MSG 1"


@given(st.binary(max_size=300), st.booleans(), st.sampled_from([STORED, refused("101"), Receipt(Verdict.UNAVAILABLE)]))
def test_any_bytes_are_answered_with_a_message_or_nothing(content: bytes, header: bool, receipt: Receipt) -> None:
    answer = FORMAT.acknowledge((b"MSH|^~\\&|" if header else b"") + content, receipt)
    if answer is not None:
        assert answer.startswith(b"MSH")
        assert answer.count(b"\rMSA") == 1
        assert not re.search(rb"[\x0b\x1c]", answer.replace(content, b"")) or re.search(rb"[\x0b\x1c]", content)


@pytest.mark.parametrize("version", ["2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8"])
def test_acknowledgements_are_valid_to_independent_readers(version: str) -> None:
    for receipt in (STORED, refused("101"), refused("200", "MSH-9", "not for here"), Receipt(Verdict.UNAVAILABLE, 0, AT)):
        answer = FORMAT.acknowledge(adt(version), receipt)
        assert answer is not None
        parsed: Any = python_hl7.parse(answer.decode())
        assert str(parsed["MSA"][0][2]) == "MSG 1"
        assert [each for each in FORMAT.problems(answer, strict=True) if each.severity == "error"] == []


# ── the peer's answer ──


def reply(code: str = "AA", control: str = "MSG 1", err: str = "", msh_9: str = "ACK^A01^ACK", tail: str = "\r") -> bytes:
    return rf"MSH|^~\&|LAB|WARD|EHR|HOSP|20260101||{msh_9}|9|P|2.5.1".encode() + f"\rMSA|{code}|{control}{err}{tail}".encode()


@pytest.mark.parametrize("answer", [
    reply(), reply("CA"), reply(tail=""), reply(tail="|\r"), reply(tail="\r\x1c"), reply(tail="\x1c"), reply(tail="|all well\r\n"),
    reply().replace(b"\r", b"\n"), reply().replace(b"\r", b"\r\n"), b"\x0b" + reply(), reply(msh_9="ORR^O02"), reply(msh_9=""),
    b"MSH#*~\\&#LAB#WARD#EHR#HOSP#2026##ACK#9#P#2.5\rMSA#AA#MSG 1\r",
])  # fmt: skip
def test_a_matching_positive_answer_is_success(answer: bytes) -> None:
    assert FORMAT.judge(adt(), answer) == Delivered(answer)


def test_the_same_id_in_other_delimiters_is_the_same() -> None:
    answer = b"MSH#*~\\&#LAB#WARD#EHR#HOSP#2026##ACK#9#P#2.5\rMSA#AA#A^1\r"
    assert isinstance(FORMAT.judge(adt(msh_10=r"A\S\1"), answer), Delivered)
    assert isinstance(FORMAT.judge(adt(msh_10="A^1"), reply(control="A^1")), Delivered)
    assert isinstance(FORMAT.judge(adt(msh_10=r"A\S\1"), reply(control="A^1")), Unknown)


@pytest.mark.parametrize(
    ("answer", "outcome", "said"),
    [
        (reply("AE"), Refused, "AE"),
        (reply("CE", err="|bad patient DOE"), Refused, "CE"),
        (reply("AE", err="|x\rERR||PID^1^3|101^Required^HL70357|E"), Refused, "AE 101 Required field missing at PID-3"),
        (reply("AE", err="\rERR|OBX^2^5^102&x"), Refused, "AE 102 Data type error at OBX[2]-5"),
        (reply("AR"), Refused, "AR"),
        (reply("CR", err="\rERR||MSH^1^12|203|E"), Refused, "CR 203 Unsupported version id at MSH-12"),
        (reply("AR", err="\rERR|||207^busy|E"), Busy, "AR 207"),
        (reply("CR", err="\rERR|||206|E\x1c"), Busy, "CR 206"),
        (reply("AR", err="\rERR|^^^207&busy"), Busy, "AR 207"),
        (reply("AR", err="||||207^busy"), Busy, "AR 207"),
        (reply("AE", err="\rERR|||207|E"), Refused, "AE 207"),
    ],
)
def test_negative_answers(answer: bytes, outcome: type, said: str) -> None:
    judged: Any = FORMAT.judge(adt(), answer)
    assert type(judged) is outcome
    assert judged.reason.startswith(said)
    assert judged.reply == answer
    assert "DOE" not in judged.reason  # the peer's words may name a patient: they stay in the reply


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "no HL7 v2 message (0 bytes)"),
        (b"\x06", "no HL7 v2 message"),
        (b"<html>", "no HL7 v2 message"),
        (reply(control="MSG 2"), "is to 'MSG 2' (MSA-2), what we sent is 'MSG 1' (MSH-10)"),
        (reply(control=""), "is to nothing (MSA-2)"),
        (reply(control="MSG 1 "), "is to 'MSG 1 '"),
        (reply(control="MSG"), "is to 'MSG'"),
        (reply("ZZ"), "MSA-1 is 'ZZ'"),
        (reply(""), "MSA-1 is nothing"),
        (reply("aa"), "MSA-1 is 'aa'"),
        (reply() + reply(), "2 MSA segments"),
        (adt(), "is 'ADT^A01^ADT_A01' (MSH-9) and acknowledges nothing"),
        (b"MSH|^~\\&|a\rMSA", "acknowledges nothing"),
        (b"MSA|AA|MSG 1\r", "no HL7 v2 message"),
    ],
)
def test_what_cannot_be_credited_is_unknown(answer: bytes, said: str) -> None:
    judged = FORMAT.judge(adt(), answer)
    assert isinstance(judged, Unknown)
    assert said in judged.reason


def test_no_answer_can_be_credited_to_a_message_without_an_id() -> None:
    judged = FORMAT.judge(adt(msh_10=""), reply(control=""))
    assert isinstance(judged, Unknown)
    assert "no MSH-10" in judged.reason
    assert isinstance(FORMAT.judge(b"junk", reply()), Unknown)


@given(st.binary(max_size=200), st.sampled_from([b"", b"MSH|^~\\&|", b"MSH|^~\\&|A\rMSA|AA|", b"MSH|^~\\&|A\rMSA|"]))
def test_random_answers_are_never_success(tail: bytes, head: bytes) -> None:
    answer = head + tail
    judged = FORMAT.judge(adt(msh_10="a-very-particular-id"), answer)
    assert not isinstance(judged, Delivered)


def test_our_own_answers_are_understood() -> None:
    content = adt()
    for receipt, outcome in (
        (STORED, Delivered),
        (refused("101"), Refused),
        (refused("200"), Refused),
        (Receipt(Verdict.UNAVAILABLE), Busy),
    ):
        answer = FORMAT.acknowledge(content, receipt)
        assert answer is not None
        assert type(FORMAT.judge(content, answer)) is outcome
