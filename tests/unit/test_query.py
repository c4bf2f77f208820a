from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.escape import visible
from engine.ids import format_id
from engine.query import KEYS, QueryError, Search, parse

NOW = int(datetime(2026, 11, 21, 12, 0, tzinfo=UTC).timestamp()) * 1_000_000
HOUR = 3_600_000_000
NAMES = ["mrn", "account", "patient"]


def at(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[arg-type,misc]


def read(text: str, timezone: str = "UTC") -> Search:
    return parse(text, NOW, timezone, NAMES)


def refusal(text: str, names: list[str] | None = NAMES) -> str:
    with pytest.raises(QueryError) as caught:
        parse(text, NOW, "UTC", names)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_whole_language_in_one_line() -> None:
    assert read("mrn:12345 channel:charges state:parked since:2h type:DFT^P03 destination:billing-api control:4711") == Search(
        channel="charges",
        state="parked",
        type="DFT^P03",
        control="4711",
        destination="billing-api",
        since=NOW - 2 * HOUR,
        keys=(("mrn", "12345"),),
    )


def test_nothing_asks_for_everything() -> None:
    assert read("") == read("  \n") == Search()


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ('patient:"Doe, Jane"', [("patient", "Doe, Jane")]),
        ('patient:"Doe, Jane" mrn:7', [("patient", "Doe, Jane"), ("mrn", "7")]),
        ("mrn:7 account:8 mrn:9", [("mrn", "7"), ("account", "8"), ("mrn", "9")]),
        ("mrn:7 mrn:7", [("mrn", "7")]),
        ("account:urn:oid:1.2.3", [("account", "urn:oid:1.2.3")]),
        ("account:Größe", [("account", "Größe")]),
        ("account:'; DROP", None),
    ],
)
def test_business_keys(text: str, keys: list[tuple[str, str]] | None) -> None:
    if keys is None:
        assert "key:value" in refusal(text)
    else:
        assert read(text).keys == tuple(keys)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("since:90s", NOW - 90_000_000),
        ("since:30m", NOW - HOUR // 2),
        ("since:3d", NOW - 72 * HOUR),
        ("since:1w", NOW - 7 * 24 * HOUR),
        ("since:2026-11-21", at(2026, 11, 21)),
        ("since:2026-11-21T10:30", at(2026, 11, 21, 10, 30)),
        ("since:2026-11-21T10:30:15", at(2026, 11, 21, 10, 30, 15)),
        ("since:2026-11-21T10:30+02:00", at(2026, 11, 21, 8, 30)),
        ("since:2026-11-21T10:30Z", at(2026, 11, 21, 10, 30)),
        ('since:"2026-11-21 10:30"', at(2026, 11, 21, 10, 30)),
    ],
)
def test_since(text: str, expected: int) -> None:
    assert read(text).since == expected


def test_days_are_those_of_the_site() -> None:
    search = read("since:2026-11-21 until:2026-11-21", "America/New_York")
    assert (search.since, search.until) == (at(2026, 11, 21, 5), at(2026, 11, 22, 5))


def test_a_day_is_as_long_as_it_was() -> None:
    """On 1 November 2026 New York went back an hour."""
    search = read("since:2026-11-01 until:2026-11-01", "America/New_York")
    assert search.until - search.since == 25 * HOUR


@pytest.mark.parametrize("text", ["since:yesterday", "since:2h30", "until:2026-02-30", "since:21.11.2026", "since:2 h"])
def test_other_times_are_refused_with_examples(text: str) -> None:
    assert "2026-11-21T10:30" in refusal(text) or "key:value" in refusal(text)


def test_a_span_without_extent_is_refused() -> None:
    assert "later than since" in refusal("since:1h until:2h")


def test_an_id_may_stand_alone() -> None:
    number = 1 << 48
    assert read(format_id(number)).id == read(f"id:{format_id(number).lower()}").id == number
    assert "never part of one" in refusal("id:UUUU")


@pytest.mark.parametrize(
    ("text", "taught"),
    [
        ("chanel:adt", "Did you mean 'channel'?"),
        ("mnr:1", "Did you mean 'mrn'?"),
        ("colour:red", "the channels index account, mrn and patient"),
        ("state:praked", "Did you mean 'parked'?"),
        ("state:odd", "received, translated"),
        ("channel:", "nothing stands after channel:"),
        ("mrn:", "nothing stands after mrn:"),
        ("channel:a channel:b", "stands twice"),
        ("Doe", "control:Doe"),
        ('"chest pain"', "Free text search comes with the console"),
        ('patient:"Doe', 'closing " is missing'),
        ('patient:Doe"Jane"', "whole value in quotation marks"),
        ("mrn:\0", "no message can be found by"),
        ("mrn:\udce9", "no message can be found by"),
        ('patient:"Doe"x', "whole value in quotation marks"),
    ],
)
def test_errors_teach(text: str, taught: str) -> None:
    assert taught in refusal(text)


def test_unknown_keys_without_a_site() -> None:
    assert parse("visit:9", NOW).keys == (("visit", "9"),)
    assert "Did you mean 'channel'?" in refusal("chanel:adt", None)


def test_a_site_without_an_index_says_so() -> None:
    assert "no channel has an index" in refusal("mrn:1", [])


def test_i14_errors_show_no_escapes() -> None:
    assert refusal("\x1b[2Jx:1\x07 \x1b[31m").isprintable()


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        search = read(text)
    except QueryError as error:
        told = str(error)
    else:
        told = "".join(value for _, value in search.keys)
        told.encode()
    assert visible(told) == told or '"' in text


@given(st.text(st.characters(exclude_characters='"\0', exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_any_value_can_be_asked_in_quotation_marks(value: str) -> None:
    assert read(f'mrn:"{value}"').keys == (("mrn", value.strip()),)


def test_every_key_is_a_field() -> None:
    assert set(KEYS) | {"keys"} == set(Search._fields)
