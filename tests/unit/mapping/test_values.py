"""Converters: dates, numbers, HL7 data types, code tables, patterns."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import registry
from engine.mapping import composites, dates
from engine.mapping.codes import CodeTable
from engine.mapping.faults import NoRow, Refused
from engine.mapping.regex import matching
from engine.values import EMPTY, NULL, Value
from tests.unit.mapping.material import hl7

DATES = [
    ("20260131", date(2026, 1, 31)),
    (" 20260131 ", date(2026, 1, 31)),
    ("20260131101500", date(2026, 1, 31)),
    ("20260131101500.1234-0500", date(2026, 1, 31)),
    ("2026-01-31", date(2026, 1, 31)),
    ("2026-01-31T10:15:00Z", date(2026, 1, 31)),
    ("2026", "2026"),
    ("202601", "2026-01"),
    ("2026-01", "2026-01"),
    ("20240229", date(2024, 2, 29)),
]


@pytest.mark.parametrize(("text", "value"), DATES)
def test_a_date_is_as_exact_as_it_was_sent(text: str, value: object) -> None:
    assert dates.read_date(text) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("20002316", "month 23"), ("20260230", "day 30 of month 02"), ("20230229", "day 29"), ("0000", "year 0000"),
        ("202613", "month 13"), ("yesterday", "expected YYYYMMDD"), ("2026013", "expected"), ("31/01/2026", "expected"),
        ("٢٠٢٦٠١٣١", "expected"), ("2026-13-01", "month 13"), ("20260131T", "expected"),
    ],
)  # fmt: skip
def test_what_is_not_a_date_says_why(text: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        dates.read_date(text)


def test_a_time_has_the_offset_sent_or_the_site_s() -> None:
    zone = "America/New_York"
    assert dates.read_time("20260131101500-0800", zone) == datetime.fromisoformat("2026-01-31T10:15:00-08:00")
    assert dates.read_time("20260131101500", zone) == datetime.fromisoformat("2026-01-31T10:15:00-05:00")
    assert dates.read_time("202607011015", zone) == datetime.fromisoformat("2026-07-01T10:15:00-04:00")
    assert dates.read_time("2026013110", zone) == datetime.fromisoformat("2026-01-31T10:00:00-05:00")
    assert dates.read_time("20260131101500.5+0000", zone) == datetime.fromisoformat("2026-01-31T10:15:00.500+00:00")
    assert dates.read_time("2026-01-31T10:15:00Z", zone) == datetime.fromisoformat("2026-01-31T10:15:00+00:00")


def test_a_date_never_becomes_midnight() -> None:
    assert type(dates.read_time("20260131", "UTC")) is date
    assert dates.read_time("2026", "UTC") == "2026"


@pytest.mark.parametrize(
    "text", ["20260131250000", "20260131106000", "20260131101561", "20260131101500+9900", "2026-01-31T99:00"]
)
def test_what_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="is not a time"):
        dates.read_time(text, "UTC")


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)), st.integers(-720, 840))
def test_any_instant_survives(moment: datetime, minutes: int) -> None:
    moment = moment.replace(microsecond=moment.microsecond // 100 * 100)
    sign, minutes_ = "-" if minutes < 0 else "+", abs(minutes)
    text = f"{moment:%Y%m%d%H%M%S}.{moment.microsecond // 100:04}{sign}{minutes_ // 60:02}{minutes_ % 60:02}"
    read = dates.read_time(text, "UTC")
    assert isinstance(read, datetime)
    assert read.replace(tzinfo=None) == moment
    assert read.utcoffset() == timedelta(minutes=minutes)


@given(st.text(max_size=30))
def test_any_text_is_a_date_or_refused(text: str) -> None:
    for convert in (dates.read_date, dates.read_decimal, lambda t: dates.read_time(t, "UTC")):
        with suppress(Refused):
            convert(text)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**12), max_value=10**12))
def test_any_number_survives(number: Decimal) -> None:
    assert dates.read_decimal(format(number, "f")) == number


# ── HL7 data types ─────────────────────────────────────────────────────────────────────────────────────────────────


HL7 = registry.formats()["hl7v2"].build()


def field(raw: str) -> Value:
    message = hl7("MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5.1\nZZZ|" + raw)
    return HL7.parse(message)["ZZZ-1"]


SHAPES: list[tuple[Any, str, object]] = [
    (composites.identifier, "100^^^GENERAL^MR^FAC", {"value": "100", "system": "GENERAL", "type": "MR", "facility": "FAC"}),
    (composites.identifier, "100", {"value": "100"}),
    (composites.identifier, "100^4^M11^GENERAL&1.2.3&ISO^AN", {"value": "100", "system": "GENERAL", "type": "AN"}),
    (composites.identifier, "100^^^&1.2.3&ISO", {"value": "100", "system": "1.2.3"}),
    (composites.identifier, "8801^Prism^Lane^^^^^^GENERAL^^^^NPI", {"value": "8801", "system": "GENERAL", "type": "NPI"}),
    (composites.identifier, "F-1^LAB^1.2.840.1^ISO", {"value": "F-1", "system": "LAB"}),
    (composites.identifier, "^^^GENERAL", EMPTY),
    (composites.name, "Worthing^Ann^Q^Jr^Dr^^L", {"family": "Worthing", "given": ["Ann", "Q"], "suffix": "Jr", "prefix": "Dr", "use": "legal"}),
    (composites.name, "Worthing", {"family": "Worthing"}),
    (composites.name, "^Ann", {"given": ["Ann"]}),
    (composites.name, "van der Berg&van der&Berg^Ann", {"family": "van der Berg", "given": ["Ann"]}),
    (composites.name, "8801^Prism^Lane^Q^III^Dr", {"family": "Prism", "given": ["Lane", "Q"], "suffix": "III", "prefix": "Dr"}),
    (composites.name, "O\\T\\Neill^Ann", {"family": "O&Neill", "given": ["Ann"]}),
    (composites.address, "1 Road^Flat 2^Town^NY^00001^USA^H^^County", {
        "lines": ["1 Road", "Flat 2"], "city": "Town", "state": "NY", "postal_code": "00001", "country": "USA", "county": "County",
        "use": "home",
    }),
    (composites.address, "1 Road&Road&1^^Town", {"lines": ["1 Road"], "city": "Town"}),
    (composites.address, "&Road&1^^Town^^^^ZZ", {"lines": ["1 Road"], "city": "Town", "use": "zz"}),
    (composites.phone(), "^PRN^PH^^1^555^5550100^9", {"system": "phone", "value": "+1 555 5550100", "use": "home", "extension": "9"}),
    (composites.phone(), "(555)555-0100", {"system": "phone", "value": "(555)555-0100"}),
    (composites.phone("home"), "(555)555-0100", {"system": "phone", "value": "(555)555-0100", "use": "home"}),
    (composites.phone("home"), "^WPN^FX^^^^^^^^^555-0100", {"system": "fax", "value": "555-0100", "use": "work"}),
    (composites.phone("home"), "^PRN^CP^^^555^5550100", {"system": "phone", "value": "555 5550100", "use": "mobile"}),
    (composites.phone("home"), "^NET^Internet^ann@example.org", {"system": "email", "value": "ann@example.org"}),
    (composites.phone(), "^PRN^PH", EMPTY),
    (composites.coded, "A^Alpha^L^B^Beta^M", {"code": "A", "display": "Alpha", "system": "L"}),
    (composites.coded, "^^^B^Beta^M", {"code": "B", "display": "Beta", "system": "M"}),
    (composites.coded, "A^Alpha^L^^^^2.1^^as typed", {"code": "A", "display": "Alpha", "system": "L", "version": "2.1", "original": "as typed"}),
    (composites.coded, "^Words only", {"display": "Words only"}),
    (composites.coded, "A", {"code": "A"}),
    (composites.location, "4W^412^B^GENERAL&1.2&ISO^O^N^MAIN^4^West", {
        "point_of_care": "4W", "room": "412", "bed": "B", "facility": "GENERAL", "status": "O", "type": "N", "building": "MAIN",
        "floor": "4", "description": "West",
    }),
]  # fmt: skip


@pytest.mark.parametrize(("convert", "raw", "value"), SHAPES, ids=[raw for _, raw, _ in SHAPES])
def test_a_data_type_becomes_its_canonical_shape(convert: Any, raw: str, value: object) -> None:
    assert convert(field(raw)) == value


def test_an_object_passes_and_a_number_does_not() -> None:
    assert composites.name({"family": "X"}) == {"family": "X"}
    with pytest.raises(Refused, match="cannot be read as a name"):
        composites.name(Decimal(5))


def test_an_explicit_null_in_a_part_is_no_text() -> None:
    assert composites.name(field('Worthing^""')) == {"family": "Worthing"}
    assert field('""') is NULL


@given(st.text(st.characters(min_codepoint=32, max_codepoint=1000), max_size=60))
def test_any_field_converts_or_is_refused(raw: str) -> None:
    raw = raw.replace("\\", "")
    value = field(raw)
    if value in (EMPTY, NULL) or not isinstance(value, str):
        return
    for convert in (
        composites.identifier,
        composites.name,
        composites.address,
        composites.coded,
        composites.location,
        composites.phone(),
    ):
        result = convert(value)
        assert result is EMPTY or all(isinstance(part, (str, list)) and part for part in result.values())


# ── code tables ────────────────────────────────────────────────────────────────────────────────────────────────────

rows = st.lists(st.tuples(*[st.sampled_from(["A", "B", "C", "*", ""])] * 2, st.text("xyz", min_size=1, max_size=3)), max_size=12)


@given(rows, st.sampled_from(["A", "B", "Z", ""]), st.sampled_from(["A", "C", "Z", ""]))
def test_the_first_row_that_matches_wins(table: list[tuple[str, ...]], one: str, two: str) -> None:
    expected = next((r[2] for r in table if r[0] in ("*", one) and r[1] in ("*", two)), None)
    lookup = CodeTable("t", "codes/t.csv", ["k1", "k2", "v"], table).lookup(("k1", "k2"))
    for _ in range(2):  # the second answer is remembered
        if expected is None:
            with pytest.raises(NoRow):
                lookup((one, two))
        else:
            assert lookup((one, two)) == expected


def test_an_empty_cell_is_nothing() -> None:
    assert CodeTable("t", "codes/t.csv", ["k", "v"], [("A", "")]).lookup()(("A",)) is EMPTY


# ── patterns ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("^ZZ|TEST", "MY TEST", True), (r"^\d{3}-\d{2}-\d{4}$", "123-45-6789", True), (r"^(\d{3}-){2}\d", "123-456-7", True),
        ("[A-Z]+", "abc", False), ("^(?i:zz)", "zz top", True), ("a?b?c?", "", False), ("^(AB|CD)$", "CD", True),
    ],
)  # fmt: skip
def test_a_pattern_is_searched(pattern: str, text: str, found: bool) -> None:
    assert matching(pattern)(text) is found


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+",
        "(a*)*",
        "(ab|a)*c",
        "(a{1,5})+",
        "(.*)*",
        "((a+)b)+",
        "(a)\\1",
        "(?P<x>a)(?P=x)",
        ".*.*.*.*",
        "a" * 201,
        "(",
        "[",
        "a{99999999999}",
    ],
)
def test_a_risky_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        matching(pattern)
