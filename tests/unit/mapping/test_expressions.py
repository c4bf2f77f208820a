"""What expressions mean: empty values, numbers, comparison, text, functions, filters."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ContentError
from engine.mapping import operators
from engine.mapping.scope import OMIT
from engine.values import EMPTY, NULL
from tests.unit.mapping.material import ADT, DFT, ORU, Bench

NULLS = ADT.replace("|Worthing^Ann^Q^Jr^Dr^^L~Bracknell^Ann^^^^^M", '|""').replace("|19800203|", '|""|')

MEANINGS = [
    ("='PID-3.1 | date'", "PID-3.1 | date"),
    ("=PID-5.1", "Worthing"),
    ("=PID-5.1 ~ ', ' ~ PID-5.2", "Worthing, Ann"),
    ("=PID-3.1", "700"),
    ("=PID-3[.5='MR'].1", "100"),
    ("=PID-3[*].1", ["700", "100"]),
    ("=first(PID-3[.5='XX'].1, PID-3.1)", "700"),
    ("=first(PID-9, PID-10)", EMPTY),
    ("=joined('|', PID-3[*].1, PID-9, PV1-19.1)", "700|100|V-1"),
    ("=joined(', ', PID-9, PID-10)", EMPTY),
    ("=PID-8 == 'F'", True),
    ("=PID-8 != 'F'", False),
    ("=PID-9 == ''", True),
    ("=PID-9 == 'x'", False),
    ("=PID-9 > 5", False),
    ("=PID-8 in ['F', 'M']", True),
    ("=PID-8 not in ['F', 'M']", False),
    ("=PID-9 in ['F', 'M']", False),
    ("='th' in PID-5.1", True),
    ("=PID-8 == 'F' and PID-9 is empty", True),
    ("=not PID-9", True),
    ("=PID-9 ~ 'x'", "x"),
    ("=(PID-9 | decimal) * 3", EMPTY),
    ("='yes' if PID-8 == 'F' else 'no'", "yes"),
    ("='yes' if PID-8 == 'M'", EMPTY),
    ("=PID-9 | default('none')", "none"),
    ("=PID-8 | default('none')", "F"),
    ("=PID-8 | code('sex')", "female"),
    ("=PID-9 | code('sex')", EMPTY),
    ("=PID-8 is listed('sex')", True),
    ("=PID-5.1 is not listed('sex')", True),
    ("=PID-5.1 is matching('^Wor')", True),
    (r"=PID-3.1 is matching('\d{3}$')", True),
    ("=PID-9 is matching('.*')", False),
    ("=code('gl', department='RAD-1', revenue_code='0320').account", "400100"),
    ("=code('gl', department='RAD-1', revenue_code=PID-9).account", "400110"),
    ("=code('gl', department=PID-9, revenue_code='0450').cost_centre", "CC-ED"),
    ("=PID-7 | date", date(1980, 2, 3)),
    ("=PID-7 | date | text('%d.%m.%Y')", "03.02.1980"),
    ("=PID-3[*].1 | decimal", [Decimal(700), Decimal(100)]),
    ("=PID-3[*].1 | sum", Decimal(800)),
    ("=PID-3 | count", 2),
    ("=PID-3[*].1 | join('+')", "700+100"),
    ("=PID-3[*].1 | last", "100"),
    ("=['b', 'a', 'b'] | unique", ["b", "a"]),
    ("=PID-5.1 | upper", "WORTHING"),
    ("=PID-5.1 | lower | truncate(3)", "wor"),
    ("=PID-3.1 | pad(6)", "000700"),
    ("=PID-5.1 | replace('th', '-')", "Wor-ing"),
    ("=PID-5.1 | substring(2, 3)", "ort"),
    ("='a, b,,c' | split(',')", ["a", "b", "c"]),
    ("=-(PID-3.1 | decimal) | abs", Decimal(700)),
    ("=2.345 | round(2)", Decimal("2.35")),
    ("=-2.5 | round", Decimal(-3)),
    ("=PID-5 | raw", "Worthing^Ann^Q^Jr^Dr^^L~Bracknell^Ann^^^^^M"),
    ("=omit", OMIT),
    ("=null", NULL),
    ("=PID-7 | decimal | default(omit)", Decimal("19800203")),
    ("=PID-5.1 | decimal | default(omit)", OMIT),
    ("=PID-9 | date | default(omit)", OMIT),
    ("=message.id", "0000000042"),
    ("=message.type", ""),
    ("=site.organization", "General Hospital"),
    ("=today", date(2026, 1, 1)),
    ("=message.received | date", date(2026, 1, 1)),
    ("=message.received | text('%H:%M')", "07:00"),
    ("=1 < 2 < 3", True),
    ("=1 < 3 < 2", False),
    ("=0 if true else 1", 0),
    ("=first(0, 5)", 0),
    ("=-7 // 2", Decimal(-4)),
    ("=-7 % 3", Decimal(2)),
]


@pytest.mark.parametrize(("expression", "value"), MEANINGS, ids=[expression for expression, _ in MEANINGS])
def test_an_expression_means(bench: Bench, expression: str, value: object) -> None:
    result = bench(expression)
    assert result == value
    assert (result is EMPTY) == (value is EMPTY)


def test_text_without_equals_sign_is_a_constant(bench: Bench) -> None:
    assert bench("PID-3.1 is what it says") == "PID-3.1 is what it says"


def test_numbers_are_decimals_and_never_floats(bench: Bench) -> None:
    assert bench("=1/3") == Decimal(1) / Decimal(3)
    assert bench("=0.1 + 0.2 == 0.3") is True
    assert isinstance(bench("=7 / 2"), Decimal)
    assert bench("=(FT1[1]-10 | decimal) * (FT1[1]-12 | decimal)", DFT) == Decimal("100.00")


def test_explicit_null_stays_null_through_converters(bench: Bench) -> None:
    assert bench("=PID-7 | date", NULLS) is NULL
    assert bench("=PID-5 | name", NULLS) is NULL
    assert bench("=PID-7 is null", NULLS) is True
    assert bench("=PID-9 is null", NULLS) is False
    assert bench("=PID-7 ~ 'x'", NULLS) == "x"
    assert bench("=first(PID-7, PID-3.1)", NULLS) is NULL


def test_a_path_right_before_sum_means_every_match(bench: Bench) -> None:
    assert bench("=FT1-10 | sum", DFT) == 3
    assert bench("=FT1[*]-11 | decimal | sum", DFT) == Decimal("79.5")


def test_typed_follows_the_type_that_was_sent(bench: Bench) -> None:
    assert bench("=OBX[1]-5 | typed(OBX[1]-2)", ORU) == Decimal(141)
    assert bench("=OBX[4]-5 | typed(OBX[4]-2)", ORU) == {"code": "A", "display": "Alpha", "system": "L"}
    assert bench("=OBR[2]/OBX-5 | typed(OBR[2]/OBX-2)", ORU) == date(2026, 1, 1)
    assert bench("=['one', 'two'] | typed('TX')", ORU) == "one\ntwo"
    assert bench("=OBX[*]-5 | typed(OBX[*]-2)", ORU.replace("|x||||||X", "|5||||||X"))[-1] == date(2026, 1, 1)


REFUSED_VALUES = [
    ("=PID-5.1 | decimal", "PID-5.1 'Worthing' is not a number"),
    ("='1,200.50' | decimal", "take the separators out first"),
    ("='1e5' | decimal", "is not a number"),
    ("='NaN' | decimal", "is not a number"),
    ("='12.5' | int", "is not a whole number"),
    ("=PID-5.1 | date", "PID-5.1 'Worthing' is not a date"),
    ("='20261399' | date", "month 13"),
    ("=PID-9 | required", "PID-9 is required and was not sent"),
    ("=first(PID-9, PID-10) | required", "PID-9 or PID-10 is required and was not sent"),
    ("=PID-8 == 5", "compares text with a number"),
    ("=PID-8 > 5", "convert the text with | decimal"),
    ("=(PID-7 | date) == '1980-02-03'", "convert both with | date"),
    ("=1 / 0", "divides by zero"),
    ("='a' * 5", "* multiplies numbers, and 'a' is text"),
    ("='a' % 5", "is text"),
    ("=9 ** 99", "30 digits"),
    ("=2 ** 1000", "whole number from -100 to 100"),
    ("=2 ** 0.5", "whole number"),
    ("=[1] + [2]", "is a list"),
    ("=[1] ~ 'x'", "join it with"),
    ("=PID-8 ~ (PID-5 | name)", "is an object"),
    ("=PID-5.1 | abs", "convert it with | decimal"),
    ("=PID-5.1 | code('sex')", "codes/sex.csv has no row for Worthing (2 rows, no * default), from PID-5.1"),
    (
        "=code('gl', department='X', revenue_code='Y')",
        "codes/gl.csv has no row for department=X, revenue_code=Y (3 rows, no * default)",
    ),
]


@pytest.mark.parametrize(("expression", "text"), REFUSED_VALUES, ids=[expression for expression, _ in REFUSED_VALUES])
def test_a_value_that_cannot_be_used_is_refused_with_the_reason(bench: Bench, expression: str, text: str) -> None:
    with pytest.raises(ContentError) as caught:
        bench(expression)
    assert text in str(caught.value)


def test_the_place_of_the_fault_is_absolute(bench: Bench) -> None:
    with pytest.raises(ContentError) as caught:
        bench("=FT1[2]-7 | date", DFT)
    assert caught.value.place == "FT1[2]-7"
    with pytest.raises(ContentError) as caught:
        bench("=PID-3[*].5 | decimal")
    assert "'SS' is not a number" in str(caught.value)


def test_long_values_are_cut_in_error_texts(bench: Bench) -> None:
    with pytest.raises(ContentError) as caught:
        bench("=PID-5.1 | decimal", ADT.replace("Worthing^Ann^Q", "W" * 500))
    assert len(str(caught.value)) < 150


numbers = st.one_of(st.integers(-(10**9), 10**9), st.decimals(-(10**9), 10**9, places=4))


@given(numbers, numbers)
def test_arithmetic_is_that_of_decimals(a: int | Decimal, b: int | Decimal) -> None:
    assert operators.add(a, b) == Decimal(a) + Decimal(b)
    assert operators.subtract(a, b) == Decimal(a) - Decimal(b)
    assert operators.multiply(a, b) == Decimal(a) * Decimal(b)
    assert operators.less(a, b) == (a < b)
    assert operators.equal(a, b) == (a == b)


@given(st.one_of(numbers, st.just(NULL), st.just(EMPTY)))
def test_nothing_absorbs_arithmetic(value: object) -> None:
    for apply in (operators.add, operators.subtract, operators.multiply, operators.divide, operators.power):
        assert apply(EMPTY, value) is EMPTY
        assert apply(value, EMPTY) is EMPTY
    for compare in (operators.less, operators.at_most, operators.more, operators.at_least):
        assert compare(EMPTY, value) is False
        assert compare(value, EMPTY) is False
