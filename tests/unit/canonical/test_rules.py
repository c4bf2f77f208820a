"""The rules that belong to one entity."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine.canonical import ENTITIES
from engine.errors import ContentError
from tests.unit.canonical.examples import smallest

JOURNAL, PATIENT = ENTITIES["journal/v1"], ENTITIES["patient/v1"]


def lines(*sides_and_amounts: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"account": str(n), "side": side, "amount": amount} for n, (side, amount) in enumerate(sides_and_amounts)]


def test_totals_are_filled_in_at_the_scale_of_the_currency() -> None:
    checked = JOURNAL.validate(smallest("journal/v1", lines=lines(("D", "10"), ("D", "0.5"), ("C", "10.50"))))
    assert (str(checked["total_dr"]), str(checked["total_cr"])) == ("10.50", "10.50")
    assert [str(line["amount"]) for line in checked["lines"]] == ["10.00", "0.50", "10.50"]


def test_totals_that_were_given_must_be_right() -> None:
    same = lines(("D", "5"), ("C", "5"))
    assert JOURNAL.validate(smallest("journal/v1", lines=same, total_dr="5", total_cr="5.0"))["total_cr"] == 5
    with pytest.raises(ContentError, match=r"total_cr is not the sum of its lines, 5\.00"):
        JOURNAL.validate(smallest("journal/v1", lines=same, total_cr="6"))


def test_an_unbalanced_journal_is_refused_with_both_sums() -> None:
    with pytest.raises(ContentError, match=r"^journal: debits are 120.10, credits 120.09$"):
        JOURNAL.validate(smallest("journal/v1", lines=lines(("D", "120.10"), ("C", "120.09"))))


def test_the_side_says_the_direction_so_no_amount_is_negative() -> None:
    with pytest.raises(ContentError, match=r"lines\[2\].amount is negative"):
        JOURNAL.validate(smallest("journal/v1", lines=lines(("D", "5"), ("C", "-5"), ("C", "10"))))


def test_an_amount_of_nothing_balances() -> None:
    assert JOURNAL.validate(smallest("journal/v1", lines=lines(("C", "0"), ("D", "0"))))["total_dr"] == Decimal("0.00")


@pytest.mark.parametrize("count", [0, 1])
def test_a_journal_has_two_sides(count: int) -> None:
    with pytest.raises(ContentError) as caught:
        JOURNAL.validate(smallest("journal/v1", lines=lines(("D", "5"))[:count]))
    assert caught.value.place == "journal.lines"


def test_a_side_is_debit_or_credit() -> None:
    with pytest.raises(ContentError, match=r"^journal\.lines\[2\]\.side: expected 'D' or 'C', got 'H'$"):
        JOURNAL.validate(smallest("journal/v1", lines=lines(("D", "5"), ("H", "5"))))


def test_a_journal_of_a_currency_without_cents() -> None:
    checked = JOURNAL.validate(smallest("journal/v1", currency="JPY", lines=lines(("D", "500"), ("C", "500"))))
    assert str(checked["total_dr"]) == "500"


@pytest.mark.parametrize("name", ["identifiers", "name"])
@pytest.mark.parametrize("value", [..., None, []])
def test_a_person_has_identifiers_and_a_name(name: str, value: Any) -> None:
    with pytest.raises(ContentError, match=f"^patient: {name} is required, except in a merge$"):
        PATIENT.validate(smallest("patient/v1", **{name: value}))


def test_a_merge_only_names_the_records() -> None:
    merge = {"id": "100200", "merged": [{"value": "100199", "system": "GENERAL"}, {"value": "100198"}]}
    assert PATIENT.validate(merge) == merge
    assert PATIENT.validate({"id": "100199", "merged_into": {"id": "100200"}})["merged_into"] == {"id": "100200"}


def test_sex_is_a_word_that_every_receiver_knows() -> None:
    with pytest.raises(ContentError, match=r"^patient\.sex: expected 'female', 'male', 'other' or 'unknown', got 'F'$"):
        PATIENT.validate(smallest("patient/v1", sex="F"))


def test_an_encounter_has_a_state_from_the_list() -> None:
    with pytest.raises(ContentError, match=r"^encounter\.status: "):
        ENTITIES["encounter/v1"].validate(smallest("encounter/v1", status="open"))


def test_truth_and_whole_numbers_may_come_as_text() -> None:
    assert PATIENT.validate(smallest("patient/v1", deceased="false"))["deceased"] is False
    with pytest.raises(ContentError, match=r"^patient\.deceased: expected true or false, got 'maybe'$"):
        PATIENT.validate(smallest("patient/v1", deceased="maybe"))
    ranked = [{"code": {"code": "J18.9"}, "rank": "x"}]
    with pytest.raises(ContentError, match=r"^encounter\.diagnoses\[1\]\.rank: expected a whole number, got 'x'$"):
        ENTITIES["encounter/v1"].validate(smallest("encounter/v1", diagnoses=ranked))
