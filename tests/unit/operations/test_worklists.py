"""Worklists: as few lines as there are causes, and who has which of them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from engine.operations.worklists import FILE, KEPT, Assignments, cause, grouped, of_cause
from engine.store.rows import ParkedRow


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (
            "dft-to-charge charge.department: FT1[2]-13.1 is required and was not sent (mappings/dft-to-charge.yaml:53:15)",
            ("dft-to-charge charge.department", "mappings/dft-to-charge.yaml:53:15"),
        ),
        (
            "adt let mrn: PID-3[17] 'X 4711 (old)' is not a number (mappings/adt.yaml:3:8)",
            ("adt let mrn", "mappings/adt.yaml:3:8"),
        ),
        ("m lines[12].code: codes/gl.csv has no row for A (inline)", ("m lines[*].code", "inline")),
        ("AE: HTTP 422 account 4411 is closed", ("AE: HTTP 422 account … is closed", "")),
        ("PID-3.1 'ab''c' is no \"id\" at all", ("PID-3.1 …… is no … at all", "")),
        ("", ("", "")),
    ],
)
def test_a_cause_is_what_reasons_have_in_common(reason: str, expected: tuple[str, str]) -> None:
    assert cause(reason) == expected


def row(reason: str, things: int, first: int, oldest: int, newest: int, **other: str) -> ParkedRow:
    channel, destination = other.get("channel", "adt"), other.get("destination", "")
    return ParkedRow(channel, destination, other.get("kind", "mapping"), reason, things, first, first + 9, oldest, newest, 1)


def test_four_thousand_of_one_cause_are_one_line() -> None:
    rows = [
        row(f"m name: PID-5 'PATIENT {n}' is too long (mappings/m.yaml:4:2)", 1, 1000 - n, 50 + n, 50 + n) for n in range(1000)
    ]
    rows += [row("m name: PID-5 is too long (mappings/m.yaml:4:2)", 1, 3, 7, 7, channel="oru")]
    first, second = grouped(rows)
    assert (first.channel, first.things, first.key == second.key) == ("oru", 1, False)
    assert (second.things, second.first, second.oldest, second.newest, second.in_doubt) == (1000, 1, 50, 1049, 1000)
    assert second.reason == rows[999].reason, "the newest one's"
    ids = of_cause(second, [(5, rows[0].reason), (6, "other: thing"), (7, rows[9].reason)])
    assert ids == [5, 7]


class Place:
    def __init__(self, directory: Path) -> None:
        self.now = 1
        self.path = directory / FILE
        self.assignments = Assignments(directory, lambda: self.now)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_last_word_counts_and_nobody_is_a_word(place: Place) -> None:
    place.assignments.assign("k", "ann", "asked the lab", "bob")
    place.assignments.assign("l", "", "only a note", "bob")
    assert place.assignments.all() == {"k": ("ann", "asked the lab", "bob", 1), "l": ("", "only a note", "bob", 1)}
    assert place.path.stat().st_mode & 0o777 == 0o600
    place.assignments.assign("k", "", "", "ann")
    assert set(place.assignments.all()) == {"l"}
    place.now += KEPT
    place.assignments.assign("m", "eve", "", "eve")
    assert set(place.assignments.all()) == {"m"}, "what nobody touched for a month goes"


def test_many_at_once_lose_nothing(place: Place) -> None:
    threads = [threading.Thread(target=place.assignments.assign, args=(f"key {n}", "ann", "", "ann")) for n in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(place.assignments.all()) == 30
    assert [path.name for path in place.path.parent.iterdir()] == [place.path.name]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"k": 1}', b"\0\0", b'{"k":["too","few"]}'])
def test_a_file_that_is_no_list_counts_as_none(place: Place, content: bytes) -> None:
    place.path.parent.mkdir()
    place.path.write_bytes(content)
    assert place.assignments.all() == {}
    place.assignments.assign("k", "ann", "", "ann")
    assert set(place.assignments.all()) == {"k"}
