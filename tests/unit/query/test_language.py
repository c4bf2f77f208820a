from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.escape import visible
from engine.ids import format_id
from engine.query import FLAGS, KEYS, MOST_VALUES, QueryError, Search, Term, listing, parse

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


def terms(text: str) -> list[tuple[str, ...]]:
    """(key, value, …), the key with a - where it is negated."""
    return [(f"{'-' * term.negated}{term.key}", *term.values) for term in read(text).terms]


def test_the_whole_language_in_one_line() -> None:
    line = 'mrn:12345 channel:charges,adt -state:parked since:2h type:DFT^P03 destination:billing control:4711 pain "chest pain"'
    assert terms(line) == [
        ("mrn", "12345"),
        ("channel", "charges", "adt"),
        ("-state", "parked"),
        ("since", "2h"),
        ("type", "DFT^P03"),
        ("destination", "billing"),
        ("control", "4711"),
        ("text", "pain"),
        ("text", "chest pain"),
    ]
    search = read(line)
    assert (search.since, search.until) == (NOW - 2 * HOUR, 0)
    assert search.texts == [("pain", ""), ("chest pain", "")]
    assert search.values("channel") == ("charges", "adt")
    assert search.values("state") == ()


def test_nothing_asks_for_everything() -> None:
    assert read("") == read("  \n") == Search()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('patient:"Doe, Jane"', [("patient", "Doe, Jane")]),
        ('patient:"Doe, Jane" mrn:7', [("patient", "Doe, Jane"), ("mrn", "7")]),
        ('patient:"Doe, Jane","Roe, John",X', [("patient", "Doe, Jane", "Roe, John", "X")]),
        ("mrn:7 account:8 mrn:9", [("mrn", "7"), ("account", "8"), ("mrn", "9")]),
        ("mrn:7 mrn:7", [("mrn", "7")]),
        ("mrn:7,8,7", [("mrn", "7", "8")]),
        ("-mrn:7,8", [("-mrn", "7", "8")]),
        ("account:urn:oid:1.2.3", [("account", "urn:oid:1.2.3")]),
        ("account:Größe", [("account", "Größe")]),
        ('account:"O""Neil"', [("account", 'O"Neil')]),
        ("account:'; DROP", [("account", "';"), ("text", "DROP")]),
    ],
)
def test_business_keys(text: str, expected: list[tuple[str, ...]]) -> None:
    assert terms(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chest pain", [("text", "chest"), ("text", "pain")]),
        ('"chest pain"', [("text", "chest pain")]),
        ('text:"chest pain" text:x', [("text", "chest pain"), ("text", "x")]),
        ("text.in:ketorolac text.answer:AE", [("text.in", "ketorolac"), ("text.answer", "AE")]),
        ("Doe,Jane", [("text", "Doe,Jane")]),
        ("text:a,b", [("text", "a,b")]),
        ("cholesterol PARACETAMO", [("text", "cholesterol"), ("text", "PARACETAMO")]),
        ('"8000000000"', [("text", "8000000000")]),
        ("text:8000000000", [("text", "8000000000")]),
        ("12:30", [("text", "12:30")]),
        ('"-5 mmol" "a:b"', [("text", "-5 mmol"), ("text", "a:b")]),
    ],
)
def test_words_without_a_key_are_text(text: str, expected: list[tuple[str, ...]]) -> None:
    assert terms(text) == expected


def test_states_and_flags_are_known() -> None:
    assert terms("state:PARKED,Rejected is:in-doubt,replayed -is:batch") == [
        ("state", "parked", "rejected"),
        ("is", "in-doubt", "replayed"),
        ("-is", "batch"),
    ]
    assert "Did you mean 'replayed'?" in refusal("is:replaied")
    assert [flag for flag in FLAGS if flag not in refusal("is:odd")] == []


def test_a_list_of_a_thousand_and_no_more() -> None:
    values = ",".join(map(str, range(MOST_VALUES)))
    assert len(read(f"mrn:{values}").terms[0].values) == MOST_VALUES
    assert "at most 1,000 values" in refusal(f"mrn:{values},x")
    assert "at most 1,000 values" in refusal(f"mrn:{values} account:1")
    assert "at most 40 terms" in refusal(" ".join(f"word{n}" for n in range(41)))


def test_a_pasted_list_becomes_a_term() -> None:
    assert listing("mrn", ["1\r\n2\n\n 3 ,4;5\t6\n1"]) == "mrn:1,2,3,4,5,6"
    assert listing("patient", ["Doe Jane"]) == 'patient:"Doe Jane"'
    for pasted, taught in (("\n ,", "one value to a line"), (",".join(map(str, range(1001))), "1,001 values are too many")):
        with pytest.raises(QueryError, match=taught):
            listing("mrn", [pasted])


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
    written = format_id(1 << 48)
    for text in (written, f"id:{written.lower()}", f"{written}-2", f"id:{written}-2"):
        assert terms(text) == [("id", written)]
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
        ("channel:a channel:b", "for any of several write channel:one,other"),
        ("channel:a,b channel:c", "write channel:one,other"),
        ("-channel:a -channel:b", "stands twice"),
        ("since:1h since:2h", "stands twice"),
        ("since:1h,2h", "one instant"),
        ("-since:1h", "take the - away"),
        ("-text:x", "take the - away"),
        ("-text.in:x", "take the - away"),
        ("-word", 'stands in quotation marks: "-5"'),
        ("mrn:1,,2", "nothing stands after mrn:"),
        ("mrn:1,", "nothing stands after mrn:"),
        ('""', "nothing stands after text:"),
        ("http://x", '"http://x"'),
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
    assert parse("visit:9", NOW).terms == (Term("visit", ("9",)),)
    assert "Did you mean 'channel'?" in refusal("chanel:adt", None)


def test_a_site_without_an_index_says_so() -> None:
    assert "no channel has an index" in refusal("mrn:1", [])


def test_i14_errors_show_no_escapes() -> None:
    assert refusal("state:\x1b[2J\x07 \x1b[31m").isprintable()


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        search = read(text)
    except QueryError as error:
        told = str(error)
        assert visible(told) == told
    else:
        str(search).encode()


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_any_value_can_be_asked_in_quotation_marks(value: str) -> None:
    quoted = value.replace('"', '""')
    assert terms(f'mrn:"{quoted}" "{quoted}"') == [("mrn", value.strip()), ("text", value.strip())]


_values = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1).map(str.strip).filter(bool)
_words = st.sampled_from(["a", "b,c", "8000000000", "-x", "mrn:1", "id:", 'q"q', "12:30", " two words ", "http://x", "text:"])


@given(
    st.lists(
        st.one_of(
            st.builds(
                Term,
                st.sampled_from(["mrn", "account"]),
                st.lists(_values | _words, min_size=1, unique_by=str.strip).map(tuple),
                st.booleans(),
            ),
            st.builds(Term, st.sampled_from(["text", "text.in", "text.answer"]), st.tuples(_values | _words), st.just(False)),
            st.builds(Term, st.just("error"), st.lists(_values, min_size=1, unique=True).map(tuple), st.booleans()),
            st.builds(
                Term, st.just("is"), st.lists(st.sampled_from(sorted(FLAGS)), min_size=1, unique=True).map(tuple), st.booleans()
            ),
        ),
        max_size=6,
        unique=True,
    )
)
def test_a_search_is_written_so_that_it_is_read_as_the_same(found: list[Term]) -> None:
    stripped = [term._replace(values=tuple(value.strip() for value in term.values)) for term in found]
    written = str(Search(tuple(stripped)))
    assert read(written).terms == tuple(dict.fromkeys(stripped))
    assert str(read(written)) == written or len(set(stripped)) < len(stripped)


@pytest.mark.parametrize(
    "text",
    [
        "since:2h state:parked,rejected",
        "id:8000000000 channel:a",
        'mrn:1,2 -type:ADT "chest pain" pain',
        "control:C1 until:2026-11-21",
    ],
)
def test_what_people_write_stays_as_they_wrote_it(text: str) -> None:
    assert str(read(text)) == text
    assert read(str(read(text))) == read(text)


def test_every_key_is_explained() -> None:
    assert all(KEYS.values())
