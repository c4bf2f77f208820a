"""The bounded copies that spare the hot path its reads."""

from __future__ import annotations

from engine.model import Heading, Message
from engine.store import shelf as shelves
from engine.store.shelf import Shelf
from engine.store.statements import powers
from engine.store.tail import OVERHEAD, Tail


def message(number: int, channel: str = "adt", size: int = 100) -> Message:
    return Message(number, channel, b"x" * size, Heading("", "", ""), "", 0)


def numbers(messages: list[Message] | None) -> list[int] | None:
    return messages if messages is None else [one.id for one in messages]


def test_the_shelf_drops_its_first_when_it_is_full() -> None:
    shelf: Shelf[str] = Shelf(250 + 3 * shelves.OVERHEAD - 1)
    for number in range(4):
        shelf.put(number, f"item {number}", 100)
    assert [shelf.get(number) for number in range(4)] == [None, None, "item 2", "item 3"]
    assert shelf.used == 200 + 2 * shelves.OVERHEAD
    assert shelf.take(2) == "item 2"
    assert shelf.take(2) is None
    assert (len(shelf), shelf.used) == (1, 100 + shelves.OVERHEAD)
    shelf.put(9, "larger than the shelf", 3000)
    assert (len(shelf), shelf.used) == (0, 0)


def test_the_tail_knows_only_what_came_after_it_began() -> None:
    tail = Tail(floor=10)
    assert tail.after("adt", 9, 5) is None
    assert tail.after("adt", 10, 5) == []
    for number in (11, 13, 14):
        tail.add(message(number))
    assert numbers(tail.after("adt", 10, 2)) == [11, 13]
    assert numbers(tail.after("adt", 11, 9)) == [13, 14]
    assert tail.after("oru", 10, 9) == []
    tail.remove("adt", 13)
    tail.remove("adt", 99)
    tail.remove("never", 1)
    assert numbers(tail.after("adt", 10, 9)) == [11, 14]


def test_the_tail_gives_up_the_oldest_of_the_largest_channel() -> None:
    tail = Tail(floor=0, room=3 * (OVERHEAD + 100))
    for number in (1, 2, 3):
        tail.add(message(number))
    tail.add(message(4, "oru"))
    assert tail.after("adt", 0, 9) is None
    assert numbers(tail.after("adt", 1, 9)) == [2, 3]
    assert numbers(tail.after("oru", 0, 9)) == [4]


def test_asking_the_tables_once_is_enough() -> None:
    tail = Tail(floor=10)
    tail.add(message(12))
    tail.read("adt", 0, [message(4), message(12)], everything=True, turn=0)
    assert tail.after("adt", 3, 9) is None
    assert numbers(tail.after("adt", 4, 9)) == [12]
    tail.read("oru", 0, [], everything=True, turn=0)
    assert tail.after("oru", 0, 9) == []
    tail.read("crm", 0, [message(3, "crm")], everything=False, turn=0)
    assert tail.after("crm", 3, 9) is None


def test_an_answer_from_before_the_floor_rose_does_not_lower_it() -> None:
    tail = Tail(floor=0, room=OVERHEAD + 100)
    for number in (1, 2):
        tail.add(message(number))  # 1 falls out
    asked = tail.turn("adt")
    tail.add(message(3))  # 2 falls out, after the tables were read
    tail.read("adt", 0, [message(1)], everything=True, turn=asked)
    assert tail.after("adt", 1, 9) is None
    tail.read("adt", 1, [message(2), message(3)], everything=True, turn=tail.turn("adt"))
    assert numbers(tail.after("adt", 2, 9)) == [3]


def test_what_is_received_again_is_asked_of_the_tables() -> None:
    tail = Tail(floor=0)
    for number in (1, 2, 5):
        tail.add(message(number))
    tail.remove("adt", 1)
    tail.begin_above("adt", 2)  # 1 is released, and perhaps 2
    assert tail.after("adt", 0, 9) is None
    assert numbers(tail.after("adt", 2, 9)) == [5]
    tail.read("adt", 0, [message(1), message(2), message(5)], everything=True, turn=tail.turn("adt"))
    assert tail.after("adt", 1, 9) is None
    assert numbers(tail.after("adt", 2, 9)) == [5]
    tail.begin_above("adt", 8)  # a replay
    tail.add(message(7))  # which was taken before it, and is told of after it
    assert tail.after("adt", 6, 9) is None
    assert numbers(tail.after("adt", 8, 9)) == []


def test_an_answer_on_its_way_does_not_hide_what_was_released_meanwhile() -> None:
    tail = Tail(floor=10)
    asked = tail.turn("adt")
    tail.begin_above("adt", 4)
    tail.read("adt", 0, [], everything=True, turn=asked)
    assert tail.after("adt", 0, 9) is None


def test_any_number_of_values_is_covered_by_few_sizes() -> None:
    for count in range(1, 300):
        sizes = powers(count)
        assert count <= sum(sizes) < count + max(sizes)
        assert all(size & (size - 1) == 0 and size <= 64 for size in sizes)
