"""Who is held back, for how long, and in which order they go on."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from engine.model import Admission, Heading, Message
from engine.store import commit
from engine.store.commit import Job
from engine.store.pressure import MUCH, PATIENCE, Pressure
from engine.store.tail import OVERHEAD, Tail

HALF = MUCH // 2 - OVERHEAD


class Desk:
    """A tail, a pressure and what has gone on to the writer."""

    def __init__(self) -> None:
        self.tail, self.clock = Tail(floor=0), Clock()
        self.submitted: list[str] = []
        self.pressure = Pressure(self.tail, self.clock, lambda job: self.submitted.append(job.load.peer))

    def stored(self, number: int, channel: str = "adt", size: int = HALF) -> None:
        self.tail.add(Message(number, channel, b"x" * size, Heading("", "", ""), "", 0))

    def take(self, name: str, channel: str = "adt", size: int = 100) -> None:
        admission = Admission(channel, b"x" * size, name, Heading("", "", ""), 0, b"")
        self.pressure.take(Job(commit.TAKE, admission, Deferred(), 1, size))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_nobody_waits_while_little_is_untranslated(desk: Desk) -> None:
    desk.stored(1)
    desk.take("a")
    assert desk.submitted == ["a"]
    assert not desk.clock.getDelayedCalls()


def test_arrivals_wait_until_some_is_translated_and_keep_their_order(desk: Desk) -> None:
    desk.stored(1)
    desk.stored(2)
    desk.take("a", size=HALF)
    desk.take("b", size=HALF)
    desk.take("c", size=HALF)
    desk.pressure.ease()
    assert desk.submitted == []
    desk.tail.remove("adt", 1)
    desk.take("d")  # there is room, but others wait
    assert desk.submitted == []
    desk.pressure.ease()
    assert desk.submitted == ["a", "b"]  # as much as has gone, and what began before that was full
    desk.tail.remove("adt", 2)
    desk.pressure.ease()
    assert desk.submitted == ["a", "b", "c", "d"]
    desk.take("e")
    assert desk.submitted[-1] == "e"


def test_nobody_waits_longer_than_patience(desk: Desk) -> None:
    desk.stored(1)
    desk.stored(2)
    desk.take("a")
    desk.clock.advance(PATIENCE / 2)
    desk.take("b")
    desk.clock.advance(PATIENCE / 2)
    assert desk.submitted == ["a"]
    desk.clock.advance(PATIENCE / 2)
    assert desk.submitted == ["a", "b"]
    assert not desk.clock.getDelayedCalls()
    desk.take("c")
    desk.clock.advance(PATIENCE)
    assert desk.submitted == ["a", "b", "c"]


def test_one_channel_does_not_hold_up_another(desk: Desk) -> None:
    desk.stored(1)
    desk.stored(2)
    desk.take("a")
    desk.take("b", channel="oru")
    assert desk.submitted == ["b"]


def test_at_the_end_all_are_let_go(desk: Desk) -> None:
    desk.stored(1)
    desk.stored(2)
    desk.take("a")
    desk.take("b")
    assert [job.load.peer for job in desk.pressure.let_go()] == ["a", "b"]
    assert not desk.clock.getDelayedCalls()
    assert desk.pressure.let_go() == []
