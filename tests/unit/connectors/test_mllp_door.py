"""Who may come in, how much is said of those who may not, and how memory is shared out."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from engine.connectors.mllp.budget import FREE, Budget
from engine.connectors.mllp.door import MOST_SAID, NOT_ALLOWED, QUIET, TOO_MANY_CONNECTIONS, Door, Once, networks


class Guest:
    def __init__(self, host: str) -> None:
        self.host, self.finished = host, False

    def finish(self) -> None:
        self.finished = True


@pytest.mark.parametrize(
    ("host", "enters"),
    [
        ("10.20.30.40", True),
        ("10.20.255.255", True),
        ("10.21.0.0", False),
        ("192.168.1.7", True),
        ("192.168.1.8", False),
        ("::ffff:10.20.1.1", True),
        ("::ffff:10.21.1.1", False),
        ("fd12::1", True),
        ("fe80::1%eth0", False),
        ("::1", False),
    ],
)
def test_networks_are_told_apart(host: str, enters: bool) -> None:
    door = Door(networks(["10.20.0.0/16", " 192.168.1.7 ", "fd00::/8"]), 9, takeover=False)
    assert door.enter(Guest(host)) == ("" if enters else NOT_ALLOWED)


def test_there_is_room_for_so_many_and_again_when_one_leaves() -> None:
    door, guests = Door((), 2, takeover=False), [Guest("10.0.0.1") for _ in range(4)]
    assert [door.enter(guest) for guest in guests[:3]] == ["", "", TOO_MANY_CONNECTIONS]
    door.leave(guests[2])
    assert door.enter(guests[3]) == TOO_MANY_CONNECTIONS, "it had never been inside"
    door.leave(guests[0])
    assert door.enter(guests[3]) == ""


def test_a_takeover_concerns_the_host_alone() -> None:
    door, other = Door((), 3, takeover=True), Guest("10.0.0.2")
    first, second, third = (Guest("10.0.0.1") for _ in range(3))
    assert [door.enter(guest) for guest in (other, first, second, third)] == [""] * 4
    assert [guest.finished for guest in (other, first, second, third)] == [False, True, True, False]
    door.leave(first)  # it goes after it has been replaced
    last = Guest("10.0.0.1")
    assert door.enter(last) == ""
    assert third.finished
    full = Door((), 1, takeover=True)
    assert [full.enter(guest) for guest in (Guest("10.0.0.1"), Guest("10.0.0.2"))] == ["", TOO_MANY_CONNECTIONS]


def test_the_same_is_said_once_in_a_while_and_of_many_hosts_not_everything() -> None:
    clock = Clock()
    once = Once(clock)
    assert [once.may("a", "x"), once.may("a", "x"), once.may("a", "y"), once.may("b", "x")] == [True, False, True, True]
    clock.advance(QUIET - 1)
    assert not once.may("a", "x")
    clock.advance(1)
    assert once.may("a", "x")
    said = sum(once.may(f"host {number}", "x") for number in range(10 * MOST_SAID))
    assert said == MOST_SAID - 1
    clock.advance(QUIET)
    assert once.may("host 9999", "x"), "later again"


class Reader:
    def __init__(self, budget: Budget) -> None:
        self.counted, self.budget, self.reads = 0, budget, True

    def get(self, size: int) -> Reader:
        """Has `size` bytes of a frame that has not ended."""
        self.budget.count(self, size)
        self.reads = not self.budget.must_wait(self)
        return self

    def go_on(self) -> None:
        self.reads = not self.budget.must_wait(self)


def test_one_of_the_large_goes_on_when_they_are_too_many() -> None:
    budget = Budget(2_000_000)
    a, b, c, small = (Reader(budget) for _ in range(4))
    assert [a.get(600_000).reads, b.get(600_000).reads, c.get(600_000).reads] == [True, True, False]
    assert small.get(FREE).reads
    assert not a.get(600_001).reads, "b was the first to pass the limit, and goes on alone"
    assert b.get(1_000_000).reads
    b.get(0)
    assert c.reads, "the next in turn"
    assert a.reads != (budget.arriving > budget.limit)
    c.get(0)
    assert a.reads
    a.get(0)
    assert budget.arriving == 0
    assert not budget.waiting


def test_nobody_goes_on_while_too_much_is_unanswered() -> None:
    budget = Budget(2_000_000)
    a, b, c = (Reader(budget) for _ in range(3))
    b.get(900_000)
    c.get(900_000)
    budget.in_hand = 1_000_001
    assert [a.get(10).reads, b.get(900_001).reads, c.get(900_001).reads] == [False] * 3
    budget.in_hand = 1_000_000
    budget.relieve()
    assert a.reads
    assert [b.reads, c.reads].count(True) == 1, "of the large ones one, as ever"


def test_one_that_is_forgotten_holds_nobody_up() -> None:
    budget = Budget(2_000_000)
    a, b = Reader(budget).get(900_000), Reader(budget)
    b.get(900_000)
    a.get(900_001)
    assert (a.reads, b.reads) == (False, True)
    budget.forget(b)
    assert a.reads
    budget.forget(a)
    assert (budget.arriving, budget.waiting) == (0, False)
