"""Decimals and money keep every digit from text to text."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from engine.canonical import ENTITIES
from engine.canonical.money import MAX_DIGITS, UNITS, at_scale, decimal, digits, unit_of
from engine.errors import ContentError
from tests.unit.canonical.examples import FACTS, smallest

CHARGE = ENTITIES["charge/v1"]
AMOUNTS = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**14), max_value=10**14)


def charged(amount: Any, currency: str = "USD") -> Any:
    return CHARGE.validate(smallest("charge/v1", extended_amount={"amount": amount, "currency": currency}))


@pytest.mark.parametrize(
    ("given_", "currency", "shown"),
    [
        ("10", "USD", "10.00"),
        ("10.5", "USD", "10.50"),
        ("10.005", "USD", "10.005"),
        ("10.0500000", "USD", "10.05"),
        ("-0.10", "EUR", "-0.10"),
        ("-0", "EUR", "0.00"),
        ("+7", "EUR", "7.00"),
        (".5", "EUR", "0.50"),
        (" 3 ", "EUR", "3.00"),
        ("10", "JPY", "10"),
        ("10.00", "JPY", "10"),
        ("10.5", "JPY", "10.5"),
        ("1", "KWD", "1.000"),
        ("1", "CLF", "1.0000"),
        (100, "USD", "100.00"),
        (Decimal("1E+3"), "USD", "1000.00"),
        (Decimal("1E-7"), "USD", "0.0000001"),
        (Decimal("-0E+5"), "USD", "0.00"),
        (Decimal("0E-9"), "USD", "0.00"),
        ("99999999999999999999.99", "USD", "99999999999999999999.99"),
    ],
)
def test_amounts_take_the_scale_of_their_currency(given_: Any, currency: str, shown: str) -> None:
    checked = charged(given_, currency)
    assert type(checked["extended_amount"]["amount"]) is Decimal
    assert CHARGE.envelope(checked, "", FACTS)["payload"]["extended_amount"] == {"amount": shown, "currency": currency}


@pytest.mark.parametrize(
    "wrong",
    [
        1.5,
        1.0,
        float("nan"),
        "1,000.00",
        "1 000",
        "$5",
        "1e3",
        "1_000",
        "NaN",
        "Infinity",
        "",
        "12.",
        "--1",
        "٣",  # digits of another script
        "0x10",
        True,
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("1E+40"),
        Decimal("1E-40"),
        "1" * 21,
        10**40,
        ["1"],
    ],
)
def test_what_is_no_exact_number_is_refused(wrong: Any) -> None:
    with pytest.raises(ContentError) as caught:
        charged(wrong)
    assert caught.value.place == "charge.extended_amount.amount"


@pytest.mark.parametrize("wrong", ["usd", "XYZ", "", "DEM", "US", "XAU"])
def test_a_currency_must_be_one_in_use(wrong: str) -> None:
    with pytest.raises(ContentError, match=r"^charge\.extended_amount: expected an ISO 4217 currency code"):
        charged("1", wrong)


def test_money_needs_both_its_parts() -> None:
    for part in ("amount", "currency"):
        money = {"amount": "1", "currency": "USD"}
        del money[part]
        with pytest.raises(ContentError) as caught:
            CHARGE.validate(smallest("charge/v1", extended_amount=money))
        assert str(caught.value) == f"charge.extended_amount.{part}: is required"


def test_the_money_a_mapping_made_is_not_changed_in_place() -> None:
    money = {"amount": Decimal(1), "currency": "USD"}
    CHARGE.validate(smallest("charge/v1", extended_amount=money))
    assert money == {"amount": Decimal(1), "currency": "USD"}
    assert str(money["amount"]) == "1"


@given(AMOUNTS, st.sampled_from(sorted(UNITS)))
def test_no_amount_is_ever_changed(amount: Decimal, currency: str) -> None:
    kept = charged(digits(amount), currency)["extended_amount"]["amount"]
    assert kept == amount
    assert -int(kept.as_tuple().exponent) >= -int(unit_of(currency).as_tuple().exponent)
    assert "E" not in digits(kept)
    assert decimal(digits(kept)) == kept


@given(AMOUNTS, st.sampled_from(sorted(UNITS)))
def test_scaling_twice_is_scaling_once(amount: Decimal, currency: str) -> None:
    once = at_scale(amount, unit_of(currency))
    assert at_scale(once, unit_of(currency)).as_tuple() == once.as_tuple()


@given(st.decimals())
def test_any_decimal_is_either_kept_exactly_or_refused(number: Decimal) -> None:
    try:
        kept = decimal(number)
    except PydanticCustomError:
        assert not number.is_finite() or len(number.as_tuple().digits) > MAX_DIGITS or abs(int(number.as_tuple().exponent)) > 14
    else:
        assert kept == number
        assert decimal(kept) == number
        assert not digits(kept).startswith("-0") or number != 0


@given(st.text(max_size=40))
def test_any_text_is_read_as_python_reads_it_or_refused(text: str) -> None:
    try:
        kept = decimal(text)
    except PydanticCustomError:
        return
    assert kept == Decimal(text)


@given(st.lists(AMOUNTS.map(abs), min_size=1, max_size=8), st.data())
def test_a_journal_balances_exactly_or_is_refused(amounts: list[Decimal], data: st.DataObject) -> None:
    """Any split of the same sum balances; the smallest difference does not."""
    total = sum(amounts, Decimal(0))
    lines = [{"account": "1", "side": "D", "amount": digits(amount)} for amount in amounts]
    credit = {"account": "2", "side": "C", "amount": digits(total)}
    checked = ENTITIES["journal/v1"].validate({"ledger": "G", "currency": "EUR", "lines": [*lines, credit]})
    assert checked["total_dr"] == checked["total_cr"] == total
    off = data.draw(st.sampled_from([Decimal("0.0001"), Decimal("0.01"), Decimal(1)]))
    credit["amount"] = digits(total + off)
    with pytest.raises(ContentError, match="debits are"):
        ENTITIES["journal/v1"].validate({"ledger": "G", "currency": "EUR", "lines": [*lines, credit]})
