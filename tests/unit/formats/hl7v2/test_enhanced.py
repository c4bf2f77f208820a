"""Enhanced mode: who is answered, over which way, and with which letters (§2.9.3, HL7 table 0155)."""

from __future__ import annotations

from itertools import product

import pytest

from engine.formats.hl7v2 import Acknowledge, Hl7v2Options
from engine.formats.hl7v2.format import Hl7v2
from engine.model import Delivered, Receipt, Verdict

FORMAT = Hl7v2(Hl7v2Options())
AT = 1_763_721_600_123_456
STORED = Receipt(Verdict.ACCEPTED, 1 << 50, AT)
FOLLOWED = STORED._replace(follows=True)
REFUSED = Receipt(Verdict.REFUSED, 1 << 50, AT, "the patient id is missing", "PID-3", "101")
UNSUPPORTED = REFUSED._replace(code="200", place="MSH-9")
BUSY = Receipt(Verdict.UNAVAILABLE, 0, AT)

# Whether a condition of the table asks for an answer: to what was accepted, to what was not.
ASKS = {"": (False, False), "AL": (True, True), "NE": (False, False), "ER": (False, True), "SU": (True, False)}


def adt(accept: str = "", application: str = "", kind: str = "ADT^A01^ADT_A01", more: str = "") -> bytes:
    return (
        rf"MSH|^~\&|EHR|HOSP|LAB|WARD|20260101||{kind}|M1|P|2.5.1|||{accept}|{application}".encode()
        + b"\rPID|1\r"
        + more.encode()
    )


def code(answer: bytes | None) -> str:
    return "" if answer is None else next(line for line in answer.decode().split("\r") if line.startswith("MSA")).split("|")[1]


@pytest.mark.parametrize(("accept", "application"), list(product(ASKS, ASKS)))
def test_who_is_answered_how(accept: str, application: str) -> None:
    content = adt(accept, application)
    for receipt, later, letters in (
        (STORED, False, ("CA", "AA")), (FOLLOWED, True, ("CA", "AA")), (REFUSED, False, ("CE", "AE")),
        (UNSUPPORTED, False, ("CR", "AR")), (BUSY, False, ("CE", "AR")),
    ):  # fmt: skip
        bad = receipt.verdict is not Verdict.ACCEPTED
        if not accept and not application:
            expected = letters[1]  # original mode
        elif ASKS[accept][bad]:
            expected = letters[0]
        else:
            expected = letters[1] if ASKS[application][bad] and not later else ""
        assert code(FORMAT.acknowledge(content, receipt)) == expected, receipt


@pytest.mark.parametrize("condition", ["al", " AL ", "XX"])
def test_a_condition_that_is_not_quite_of_the_table_asks_for_an_answer(condition: str) -> None:
    assert code(FORMAT.acknowledge(adt(condition), STORED)) == "CA"


def test_a_null_is_no_condition() -> None:
    assert FORMAT.acknowledge(adt('""', "NE"), STORED) is None


def test_an_accept_acknowledgement_asks_for_nothing_and_delivers() -> None:
    answer = FORMAT.acknowledge(adt("AL", "AL"), FOLLOWED)
    assert answer is not None
    assert len(answer.split(b"\r")[0].split(b"|")) == 12  # MSH-15 and MSH-16 are beyond its end
    assert isinstance(FORMAT.judge(adt("AL", "AL"), answer), Delivered)


# ── the application acknowledgement ──


def test_it_is_a_message_of_its_own_that_asks_to_be_accepted() -> None:
    answer = FORMAT.answer(adt("AL", "AL"), STORED, "8000000000-A")
    assert answer == (b"MSH|^~\\&|LAB|WARD|EHR|HOSP|20251121104000+0000||ACK^A01^ACK|8000000000-A|P|2.5.1|||AL|NE\rMSA|AA|M1\r")
    refused = FORMAT.answer(adt("AL", "AL"), REFUSED, "8000000000-E")
    assert refused is not None
    assert b"|8000000000-E|P|2.5.1|||AL|NE\rMSA|AE|M1|PID-3" in refused
    assert b"\rERR||PID^1^3|101^" in refused


@pytest.mark.parametrize("application", ASKS)
def test_it_is_given_where_msh_16_asks(application: str) -> None:
    for receipt, bad in ((STORED, False), (REFUSED, True)):
        asked = FORMAT.answer(adt("NE", application), receipt, "1-A") is not None
        assert asked == ASKS[application][bad]


def test_it_keeps_the_character_set() -> None:
    content = adt("AL", "AL").replace(b"|AL|AL", b"|AL|AL||8859/1")
    answer = FORMAT.answer(content, STORED, "1-A")
    assert answer is not None
    assert answer.split(b"\r")[0].endswith(b"|2.5.1|||AL|NE||8859/1")
    assert FORMAT.parse(answer)["MSH-18"] == "8859/1"


def test_an_acknowledgement_gets_at_most_an_accept_acknowledgement_and_there_it_ends() -> None:
    ours = FORMAT.answer(adt("AL", "AL"), STORED, "1-A")
    assert ours is not None
    accepted = FORMAT.acknowledge(ours, STORED)
    assert code(accepted) == "CA"
    assert isinstance(FORMAT.judge(ours, accepted or b""), Delivered)
    assert FORMAT.acknowledge(accepted or b"", STORED) is None
    assert FORMAT.answer(ours, STORED, "2-A") is None
    for kind, more in (("ACK^A01^ACK", "MSA|CA|M0\r"), ("ACK", ""), ("MCF^Q02", "MSA|CA|M0\r")):
        assert FORMAT.acknowledge(adt("AL", "AL", kind, more), STORED) is None
        assert FORMAT.acknowledge(adt("AL", "AL", kind, more), REFUSED) is None
    assert FORMAT.acknowledge(adt("", "AL", "ACK^A01^ACK", "MSA|AA|M0\r"), STORED) is None


# ── other codes for a sender ──


def test_a_channel_says_which_negative_answers_its_sender_gets() -> None:
    own = Hl7v2(Hl7v2Options(acknowledge=Acknowledge(unsupported="AE", refused="AE", unreadable="AR", busy="AE")))
    unreadable = REFUSED._replace(reason="it is not UTF-8", place="MSH-18", code="102")
    assert code(own.acknowledge(adt(), UNSUPPORTED)) == "AE"
    assert code(own.acknowledge(adt(), REFUSED)) == "AE"
    assert code(own.acknowledge(adt(), BUSY)) == "AE"
    assert code(own.acknowledge(b"MSH|", unreadable)) == "AR"
    assert code(own.acknowledge(adt().replace(b"|M1|", b"||"), REFUSED._replace(place="MSH-10"))) == "AR"
    undecodable = adt().replace(b"2.5.1|||", b"2.5.1||||||UNICODE UTF-8|") + b"\xff\r"
    assert code(own.acknowledge(undecodable, unreadable)) == "AR"
    assert code(own.acknowledge(adt("AL"), UNSUPPORTED)) == "CE"
    assert code(own.acknowledge(adt("AL"), BUSY)) == "CE"
    silent = Hl7v2(Hl7v2Options(acknowledge=Acknowledge(busy="none")))
    assert silent.acknowledge(adt(), BUSY) is None
    assert silent.acknowledge(adt("AL"), BUSY) is None
    assert code(silent.acknowledge(adt(), STORED)) == "AA"


# ── several faults ──


def test_each_fault_is_told_with_its_place() -> None:
    receipt = REFUSED._replace(
        also=(("'X' is not one of the values that were agreed", "PID-8", "103"), ("odd", "OBX[2]-5", "999"))
    )
    answer = (FORMAT.acknowledge(adt(), receipt) or b"").decode().split("\r")
    assert [line.split("|")[2] for line in answer if line.startswith("ERR")] == ["PID^1^3", "PID^1^8", "OBX^2^5"]
    assert [line.split("|")[3][:3] for line in answer if line.startswith("ERR")] == ["101", "103", "207"]
    old = (FORMAT.acknowledge(adt().replace(b"2.5.1", b"2.4"), receipt) or b"").decode().split("\r")
    (error,) = [line for line in old if line.startswith("ERR")]
    assert [each[:7] for each in error.partition("|")[2].split("~")] == ["PID^1^3", "PID^1^8", "OBX^2^5"]


def test_there_is_a_limit_to_what_is_told() -> None:
    receipt = REFUSED._replace(also=tuple(("missing", f"PID-{n}", "101") for n in range(4, 400)))
    answer = FORMAT.acknowledge(adt(), receipt) or b""
    assert answer.count(b"\rERR|") == 10
