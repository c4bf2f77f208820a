"""The messages of bench and campaigns: realistic, different, and known beforehand."""

from __future__ import annotations

from itertools import islice

import hl7
import pytest

from engine.testing.charges import Deck, facts_of
from engine.testing.ledger import Ledger, attempted, read_ledger

DECK = Deck("C7R", accounts=50)


def test_a_message_has_the_size_and_the_fields_of_a_real_charge() -> None:
    content = DECK.charge(1234).content
    message = hl7.parse(content.decode())
    assert 1750 <= len(content) <= 2000
    assert [str(segment[0]) for segment in message] == ["MSH", "EVN", "PID", "PD1", "PV1", "PV2", "FT1", "DG1", "GT1", "IN1"]
    assert str(message["PID.18.1.1"]) == DECK.charge(1234).account
    assert str(message["PV1.19.1.1"]).startswith("V7")
    assert str(message["PV1.45.1.1"]) == "20260301113000-0500"
    assert str(message["FT1.25.1.1"]) == DECK.charge(1234).procedure
    assert sum(1 for field in message.segment("FT1")[1:] if str(field)) >= 20


@pytest.mark.parametrize("number", [0, 1, 49, 50, 999, 123_456])
def test_what_a_message_says_is_known_from_its_number(number: int) -> None:
    charge = DECK.charge(number)
    assert facts_of(charge.content) == list(charge.facts())
    assert DECK.number(charge.control_id) == number
    assert DECK.account(charge.control_id) == charge.account
    assert DECK.sequence(charge.control_id) == number // 50


def test_the_same_deck_gives_the_same_bytes_and_another_prefix_gives_others() -> None:
    assert Deck("C7R", 50).content(77) == DECK.content(77)
    assert Deck("C8R", 50).content(77)[0] != DECK.content(77)[0]


def test_control_ids_fit_msh_10() -> None:
    assert len(Deck("ABCDEFGHI").content(99_999_999)[0]) <= 20


def test_facts_of_something_else_are_empty() -> None:
    assert facts_of(b"{}") == [""] * 6
    assert facts_of(b"MSH|^~\\&|\rPID|1||4711") == ["", "", "4711", "", "", ""]


def test_a_control_id_of_another_run_is_refused() -> None:
    with pytest.raises(ValueError, match="not of the run 'C7R'"):
        DECK.number("X00000001")


@pytest.mark.parametrize("parts", [1, 4, 7, 50])
def test_each_account_is_sent_by_one_sender_in_its_order(parts: int) -> None:
    sent = [list(islice(DECK.turns(part, parts), 300)) for part in range(parts)]
    together = [number for numbers in sent for number in numbers]
    assert len(set(together)) == len(together)
    accounts = [{number % 50 for number in numbers} for numbers in sent]
    assert sum(map(len, accounts)) == len(set().union(*accounts))
    for numbers in sent:
        newest: dict[int, int] = {}
        for number in numbers:
            assert newest.get(number % 50, -1) == number // 50 - 1
            newest[number % 50] = number // 50


def test_senders_share_an_account_where_there_are_too_few() -> None:
    deck = Deck("ONE", accounts=1)
    sent = [list(islice(deck.turns(part, 4), 5)) for part in range(4)]
    assert sorted(number for numbers in sent for number in numbers) == list(range(20))


def test_a_ledger_has_what_was_flushed_and_ignores_a_torn_last_line(tmp_path: pytest.TempPathFactory) -> None:
    path = f"{tmp_path}/ledger"
    ledger = Ledger(path)
    entries = [attempted(f"L{number}", b"content", 0) for number in range(3)]
    for entry in entries:
        ledger.add(entry)
    ledger.close()
    with open(path, "ab") as file:
        file.write(b'{"is": "attempted", "control')
    assert list(read_ledger(path)) == entries
