"""Faults are pure: what is written, which messages it meets, what it changes."""

from __future__ import annotations

import pytest

from engine.testing.faults import GARBAGE, HTTP, MLLP, Fault, Faults, Flapping, Turn, When, parse_fault

PLAIN = Turn()


def turns(*texts: str, count: int = 12, protocol: str = MLLP, seed: int = 0) -> list[Turn]:
    faults = Faults(texts, protocol, seed)
    return [faults.turn(number) for number in range(1, count + 1)]


def met(*texts: str, count: int = 12, seed: int = 0) -> list[int]:
    return [number for number, turn in enumerate(turns(*texts, count=count, seed=seed), 1) if turn != PLAIN]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("silent", list(range(1, 13))),
        ("silent/4", [4, 8, 12]),
        ("silent@3", [3]),
        ("silent@2-5", [2, 3, 4, 5]),
    ],
)
def test_which_messages_a_fault_meets(text: str, numbers: list[int]) -> None:
    assert met(text) == numbers


def test_by_chance_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    first = met("drop/~10", count=1000, seed=1)
    assert first == met("drop/~10", count=1000, seed=1)
    assert first != met("drop/~10", count=1000, seed=2)
    assert 60 < len(first) < 150


def test_one_fault_does_not_disturb_the_chance_of_another() -> None:
    alone = [turn.drop for turn in turns("drop/~3", count=100)]
    assert [turn.drop for turn in turns("drop/~3", "half/~2", count=100)] == alone


@pytest.mark.parametrize(
    ("text", "turn"),
    [
        ("ae", PLAIN._replace(code="AE")),
        ("ar:206", PLAIN._replace(code="AR", error="206")),
        ("busy", PLAIN._replace(code="AR", error="207", status=503, retry_after=1)),
        ("busy:5s", PLAIN._replace(code="AR", error="207", status=503, retry_after=5)),
        ("wrong-id", PLAIN._replace(wrong_id=True)),
        ("garbage:commit", PLAIN._replace(instead=GARBAGE["commit"])),
        ("twice", PLAIN._replace(times=2)),
        ("silent", PLAIN._replace(times=0)),
        ("delay:1500ms", PLAIN._replace(delay=1.5)),
        ("late:40s", PLAIN._replace(late=40.0)),
        ("unread", PLAIN._replace(unread=True)),
        ("drop", PLAIN._replace(drop=True)),
    ],
)
def test_what_a_fault_changes(text: str, turn: Turn) -> None:
    assert turns(text, count=1) == [turn]


def test_faults_are_combined_and_counted() -> None:
    faults = Faults(["delay:1s", "ae/2", "drop@2"])
    assert [faults.turn(1), faults.turn(2)] == [PLAIN._replace(delay=1.0), PLAIN._replace(delay=1.0, code="AE", drop=True)]
    assert faults.met == {"delay:1s": 2, "ae/2": 1, "drop@2": 1}


def test_a_part_is_never_the_whole_and_never_nothing() -> None:
    assert all(0 < turn.share < 1 for turn in turns("half", count=50))


def test_a_fault_of_another_protocol_is_left_out() -> None:
    assert turns("ae", "status:500", count=1, protocol=HTTP) == [PLAIN._replace(status=500)]


def test_flapping() -> None:
    assert Faults(["down:5s/30s"]).flapping == Flapping(5.0, 30.0)
    assert Faults(["ae"]).flapping is None


def test_a_fault_as_it_is_written() -> None:
    assert parse_fault("ar:207/~10") == Fault("ar:207/~10", "ar", "207", When(10, True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dealy:3s", "Did you mean 'delay'"),
        ("delay", "write delay:3s"),
        ("delay:3", "has no unit"),
        ("silent:3s", "silent takes no value"),
        ("ae:x", "table 0357"),
        ("status:999", "a status such as 500"),
        ("garbage:soup", "one of text, frame, commit"),
        ("silent@5-2", "2 is before 5"),
        ("silent/0", "a fault is written NAME"),
        ("silent 5", "a fault is written NAME"),
        ("down:5s", "write it like down:5s/30s"),
        ("down:30s/5s", "leaves no time"),
    ],
)
def test_what_cannot_be_understood_is_told_with_what_was_expected(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        Faults([text])
