"""Deliveries that stand in several lanes: a merge of two patients must come after both histories and before both futures."""

from __future__ import annotations

import random

import pytest

from engine.model import DestinationState
from engine.store.history import History
from tests.contract.store.helpers import START, Site, contents, delivered, number, outgoing, retried


async def test_a40_a_merge_waits_for_both_people_and_both_wait_for_it(site: Site) -> None:
    for content, lanes in (
        ("admit old", ["old"]),
        ("admit new", ["new"]),
        ("merge old into new", ["new", "old"]),
        ("charge on old", ["old"]),
        ("charge on new", ["new"]),
        ("charge on other", ["other"]),
    ):
        await site.record(outgoing(content, *lanes))
    old, new, other = await site.due()
    assert contents([old, new, other]) == [b"admit old", b"admit new", b"charge on other"]
    await site.deliver(new)
    assert await site.due() == []
    assert await site.store.next_due("erp") == 0
    await site.deliver(old)
    (merge,) = await site.due()
    assert merge.content == b"merge old into new"
    with History(site.url) as history:
        assert history.order_keys(merge.id) == ["new", "old"]
    await site.settle(retried(merge, START + 1_000_000))
    assert await site.due() == []
    assert await site.store.next_due("erp") == START + 1_000_000
    site.now += 1_000_000
    (merge,) = await site.due()
    assert (merge.content, merge.attempts) == (b"merge old into new", 2)
    assert await site.due() == []
    await site.deliver(merge)
    assert sorted(contents(await site.due())) == [b"charge on new", b"charge on old"]


async def test_a_merge_in_doubt_after_a_crash_still_comes_first(site: Site) -> None:
    await site.record(outgoing("merge", "a", "b"))
    await site.record(outgoing("after", "b"), outgoing("also after", "a"))
    assert contents(await site.due()) == [b"merge"]
    await site.reopen()
    (merge,) = await site.due()
    assert (merge.content, merge.attempts, merge.in_doubt) == (b"merge", 2, True)
    assert await site.due() == []
    await site.deliver(merge)
    assert sorted(await site.drain()) == [b"after", b"also after"]


async def test_an_order_key_given_twice_counts_once(site: Site) -> None:
    await site.record(outgoing("one", "a", "a"))
    await site.record(outgoing("two", "a"))
    assert await site.drain() == [b"one", b"two"]


async def test_no_order_keys_is_the_channels_one_lane(site: Site) -> None:
    await site.record(outgoing("one")._replace(order_keys=()), outgoing("two", ""))
    assert contents(await site.due(window=1)) == [b"one"]


async def test_a_window_stops_before_a_merge_and_a_merge_takes_none(site: Site) -> None:
    for content, lanes in (("0", "a"), ("1", "a"), ("merge", "ab"), ("2", "a"), ("3", "a")):
        await site.record(outgoing(content, *lanes))
    first = await site.due()
    assert contents(first) == [b"0", b"1"]
    for one in first:
        await site.deliver(one)
    (merge,) = await site.due()
    assert merge.content == b"merge"
    await site.deliver(merge)
    assert contents(await site.due()) == [b"2", b"3"]


async def test_lanes_of_other_channels_and_destinations_are_other_lanes(site: Site) -> None:
    await site.record(outgoing("adt", "p"))
    await site.record(outgoing("oru", "p"), channel="oru")
    await site.record(outgoing("crm", "p", destination="crm"))
    assert sorted(contents(await site.due())) == [b"adt", b"oru"]
    assert contents(await site.due("crm")) == [b"crm"]


@pytest.mark.parametrize("seed", range(6))
async def test_merges_in_any_order_never_lock_each_other_up(site: Site, seed: int) -> None:
    chance = random.Random(seed)
    people = [f"p{n}" for n in range(4)]
    expected: dict[str, list[bytes]] = {one: [] for one in people}
    for n in range(40):
        lanes = chance.sample(people, chance.choice([1, 1, 2, 2, 3, 4]))
        content = f"{n}:{','.join(lanes)}"
        for one in lanes:
            expected[one].append(content.encode())
        await site.record(outgoing(content, *lanes))
        if chance.random() < 0.4:
            await _some(site, chance, expected)
        if chance.random() < 0.05:
            await site.reopen()
    while any(expected.values()):
        assert await _some(site, chance, expected), f"nothing goes on, {expected} still wait"
    with History(site.url) as history:
        assert history.counts().lanes == {}
    assert number(site, "SELECT count(*) FROM crossing") == 0


async def _some(site: Site, chance: random.Random, expected: dict[str, list[bytes]]) -> bool:
    """Begin some, end some of them; each must be the next one of every person it is about."""
    begun = await site.due(room=chance.randrange(1, 5), window=chance.choice([1, 3]))
    for one in begun:
        lanes = one.content.decode().partition(":")[2].split(",")
        assert all(expected[person][0] == one.content for person in lanes), (one.content, expected)
        for person in lanes:
            expected[person].pop(0)
        await site.deliver(one)
    return bool(begun)


async def test_pausing_while_a_merge_is_under_way(site: Site) -> None:
    await site.record(outgoing("merge", "a", "b"), outgoing("after", "b"))
    (merge,) = await site.due()
    await site.store.steer("erp", DestinationState.PAUSED)
    await site.settle(delivered(merge))
    assert await site.due() == []
    await site.store.steer("erp", DestinationState.RUNNING)
    assert await site.drain() == [b"after"]
