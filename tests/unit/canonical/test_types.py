"""Dates and instants stay as exact as they were sent."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.canonical import ENTITIES
from engine.errors import ContentError
from tests.unit.canonical.examples import FACTS, smallest

CHARGE, PATIENT, ENCOUNTER = (ENTITIES[name] for name in ("charge/v1", "patient/v1", "encounter/v1"))


@pytest.mark.parametrize("given_", [date(2026, 1, 31), "2026-01-31", "20260131", " 2026-01-31 "])
def test_a_date_is_read_from_a_date_or_iso_text(given_: Any) -> None:
    assert CHARGE.validate(smallest("charge/v1", service_date=given_))["service_date"] == date(2026, 1, 31)


@pytest.mark.parametrize(
    "wrong",
    [
        "2026-02-30",
        "31.01.2026",
        "2026-01",
        "2026",
        "2026-W05-1",
        "1769817600",
        "2026-01-31T00:00",
        "",
        20260131,
        datetime(2026, 1, 31),
    ],
)
def test_what_is_no_full_date_is_refused(wrong: Any) -> None:
    with pytest.raises(ContentError) as caught:
        CHARGE.validate(smallest("charge/v1", service_date=wrong))
    assert caught.value.place == "charge.service_date"


@pytest.mark.parametrize(
    ("given_", "shown"),
    [("1980", "1980"), ("1980-02", "1980-02"), ("1980-02-03", "1980-02-03"), (date(1980, 2, 3), "1980-02-03")],
)
def test_a_birth_date_is_as_exact_as_it_is_known(given_: Any, shown: str) -> None:
    checked = PATIENT.validate(smallest("patient/v1", birth_date=given_))
    assert PATIENT.envelope(checked, "", FACTS)["payload"]["birth_date"] == shown


@pytest.mark.parametrize("wrong", ["1980-13", "80", "1980-00", "1980-2"])
def test_a_partial_date_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ContentError):
        PATIENT.validate(smallest("patient/v1", birth_date=wrong))


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        ("2026-01-31", "2026-01-31"),
        (date(2026, 1, 31), "2026-01-31"),
        ("2026-01", "2026-01"),
        ("2026-01-31T10:30:00-05:00", "2026-01-31T10:30:00-05:00"),
        (datetime(2026, 1, 31, 10, 30, tzinfo=UTC), "2026-01-31T10:30:00+00:00"),
        (datetime(2026, 1, 31, 10, 30, tzinfo=timezone(timedelta(hours=5, minutes=45))), "2026-01-31T10:30:00+05:45"),
    ],
)
def test_an_instant_keeps_its_offset_and_a_date_never_becomes_midnight(given_: Any, shown: str) -> None:
    checked = ENCOUNTER.validate(smallest("encounter/v1", occurred_at=given_))
    made = ENCOUNTER.envelope(checked, "", FACTS)
    assert made["payload"]["occurred_at"] == shown
    assert made["effective_at"] == shown


@pytest.mark.parametrize("wrong", ["2026-01-31T25:00:00Z", "yesterday", "2026-01-31 at ten o'clock", 5, ""])
def test_what_is_no_time_is_refused(wrong: Any) -> None:
    with pytest.raises(ContentError) as caught:
        ENCOUNTER.validate(smallest("encounter/v1", occurred_at=wrong))
    assert caught.value.place == "encounter.occurred_at"


@given(st.dates())
def test_every_date_survives_the_journey(day: date) -> None:
    checked = CHARGE.validate(smallest("charge/v1", service_date=day.isoformat()))
    assert CHARGE.envelope(checked, "", FACTS)["payload"]["service_date"] == day.isoformat()


def test_text_is_kept_to_the_letter() -> None:
    odd = "Ann \N{RIGHT-TO-LEFT OVERRIDE}\\T\\ <b>'{{7*7}}' =cmd|\r\n\t"
    checked = PATIENT.validate(smallest("patient/v1", name=[{"family": odd}]))
    assert checked["name"][0]["family"] == odd


def test_subclasses_of_text_become_plain_text() -> None:
    class Composite(str):
        raw = "100200^^^GENERAL^MR"

    checked = PATIENT.validate(smallest("patient/v1", id=Composite("100200")))
    assert type(checked["id"]) is str
