"""Turns, windows, outcomes and what follows from them."""

from __future__ import annotations

import pytest

from engine.model import (
    Busy,
    Close,
    Delivery,
    DeliveryState,
    DestinationState,
    Hold,
    Misconfigured,
    Refused,
    Retry,
    Settlement,
    Unknown,
    Unreached,
)
from engine.store import lanes
from engine.store.history import AttemptRow, History
from engine.store.settling import REPLY
from tests.contract.store.helpers import START, Site, contents, delivered, outgoing, retried, withdrawn

FIRST = 1_000_000


async def test_each_lane_gives_its_head_and_heads_of_lanes_come_oldest_first(site: Site) -> None:
    for n in range(3):
        await site.record(outgoing(f"a{n}", "a"), outgoing(f"b{n}", "b"), outgoing(f"c{n}", "c"))
    assert contents(await site.due(room=2, window=1)) == [b"a0", b"b0"]
    assert contents(await site.due(room=9, window=1)) == [b"c0"]
    assert await site.due(window=1) == []


async def test_a_delivery_carries_all_a_connector_needs(site: Site) -> None:
    site.now += FIRST
    taken = await site.record(outgoing(b"{}", "p", idempotency_key="fact-1", identity="T-1"))
    expected = Delivery(
        0, taken.message_id, "adt", "route", "erp", b"{}", "application/json", "T-1", "fact-1", 0, 1, site.now, False
    )
    (warm,) = await site.due()
    assert warm._replace(id=0, lane=0) == expected
    await site.settle(withdrawn(warm))
    (cold,) = await site.due()
    assert cold == warm


async def test_a_window_of_one_lane_is_adjacent_and_in_order(site: Site) -> None:
    for n in range(5):
        await site.record(outgoing(f"a{n}", "a"))
        await site.record(outgoing(f"b{n}", "b"))
    assert contents(await site.due(room=6, window=4)) == [b"a0", b"a1", b"a2", b"a3", b"b0", b"b1"]
    assert await site.due() == []


async def test_room_is_shared_among_lanes_before_any_gets_a_window(site: Site) -> None:
    for n in range(4):
        await site.record(*(outgoing(f"{lane}{n}", lane) for lane in "abc"))
    begun = contents(await site.due(room=4, window=16))
    assert sorted(begun) == [b"a0", b"a1", b"b0", b"c0"]


async def test_i6_the_next_of_a_lane_waits_for_the_end_of_the_one_before(site: Site) -> None:
    for n in range(3):
        await site.record(outgoing(f"{n}", "a"))
    (first,) = await site.due(window=1)
    assert await site.due() == []
    await site.settle(retried(first, START + FIRST))
    assert await site.due() == []
    assert await site.store.next_due("erp") == START + FIRST
    site.now = START + FIRST
    (again,) = await site.due(window=1)
    assert (again.id, again.attempts, again.in_doubt, again.identity) == (first.id, 2, True, first.identity)
    await site.deliver(again)
    assert contents(await site.due(window=1)) == [b"1"]


async def test_a_failed_head_takes_its_window_back(site: Site) -> None:
    for n in range(4):
        await site.record(outgoing(f"{n}", "a"))
    one, two, three, four = await site.due()
    await site.settle(delivered(one), retried(two, START + FIRST, Unreached("refused")), withdrawn(three), withdrawn(four))
    assert await site.due() == []
    assert await site.store.next_due("erp") == START + FIRST
    site.now += FIRST
    again = await site.due()
    assert [(each.id, each.attempts, each.in_doubt) for each in again] == [
        (two.id, 2, False),
        (three.id, 1, False),
        (four.id, 1, False),
    ]
    with History(site.url) as history:
        assert [row.n for row in history.attempts(three.id)] == [1]  # the one under way; the withdrawn one left nothing


async def test_a_window_is_settled_one_by_one(site: Site) -> None:
    for n in range(4):
        await site.record(outgoing(f"{n}", "a"))
    begun = await site.due(window=3)
    for one in begun:
        assert await site.due() == []
        await site.deliver(one)
    assert await site.drain() == [b"3"]
    with History(site.url) as history:
        assert history.counts().lanes == {}


async def test_a_window_settled_out_of_order_still_delivers_each_once(site: Site) -> None:
    for n in range(5):
        await site.record(outgoing(f"{n}", "a"))
    one, two, three = await site.due(window=3)
    await site.deliver(two)
    await site.settle(retried(one, 0))
    assert await site.due() == []  # three is still under way
    await site.deliver(three)
    assert await site.drain() == [b"0", b"3", b"4"]


async def test_what_joins_a_lane_while_it_is_under_way_is_not_lost(site: Site) -> None:
    await site.record(outgoing("0", "a"))
    (first,) = await site.due()
    await site.record(outgoing("1", "a"))
    await site.record(outgoing("2", "a"))
    await site.deliver(first)
    assert await site.drain() == [b"1", b"2"]


@pytest.mark.parametrize(
    ("outcome", "word", "in_doubt"),
    [
        (Refused("AE: no such ward", b"MSA|AE"), "refused", False),
        (Unreached("connection refused"), "unreached", False),
        (Unknown("time-out", b"half"), "unknown", True),
        (Busy("429", 2.5, b"slow down"), "busy", False),
        (Misconfigured("401", b"who"), "misconfigured", False),
    ],
)
async def test_every_outcome_leaves_its_attempt(site: Site, outcome: object, word: str, in_doubt: bool) -> None:
    await site.record(outgoing())
    (one,) = await site.due()
    await site.settle(Settlement(one, outcome, Retry(0), START + 1, START + 2))  # type: ignore[arg-type]
    (two,) = await site.due()
    assert (two.attempts, two.in_doubt) == (2, in_doubt)
    with History(site.url) as history:
        ended, under_way = history.attempts(one.id)
    reply = getattr(outcome, "reply", b"")
    assert ended == AttemptRow(one.id, 1, 1, START + 1, START + 2, word, in_doubt, outcome.reason, reply, len(reply))  # type: ignore[attr-defined]
    assert under_way == AttemptRow(one.id, 2, 1, site.now, 0, "", False, "", b"")


async def test_a_reply_is_kept_as_an_excerpt(site: Site) -> None:
    await site.record(outgoing())
    (one,) = await site.due()
    await site.deliver(one, b"z" * 1_000_000)
    with History(site.url) as history:
        (row,) = history.attempts(one.id)
        assert (row.outcome, row.reply) == ("delivered", b"z" * REPLY)


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.PARKED, DeliveryState.EXPIRED])
async def test_an_ended_delivery_lets_the_next_one_go(site: Site, state: DeliveryState) -> None:
    taken = await site.record(outgoing("0", "a"), outgoing("1", "a"))
    (one,) = await site.due(window=1)
    await site.settle(Settlement(one, Refused("AE"), Close(state, "given up"), START, START + 5))
    assert await site.drain() == [b"1"]
    with History(site.url) as history:
        first, second = history.deliveries(taken.message_id)
        assert (first.state, first.reason, first.attempts, first.changed_at) == (state, "given up", 1, START + 5)
        assert second.state == "delivered"


async def test_hold_stops_the_destination_and_loses_nothing(site: Site) -> None:
    await site.record(outgoing("0", "a"), outgoing("1", "b"), outgoing("2", "a", destination="crm"))
    one, two = await site.due()
    await site.settle(Settlement(one, Misconfigured("401"), Hold("401 from erp"), START, START), withdrawn(two))
    assert await site.due() == []
    assert await site.store.next_due("erp") == 0
    assert contents(await site.due("crm")) == [b"2"]
    with History(site.url) as history:
        assert history.counts().destinations["erp"] == ("held", "401 from erp")
    await site.store.steer("erp", DestinationState.RUNNING)
    assert await site.store.next_due("erp") > 0
    assert sorted(await site.drain()) == [b"0", b"1"]


async def test_a_start_tries_a_held_destination_again_but_not_one_that_a_person_paused(site: Site) -> None:
    await site.record(outgoing("0", "a"), outgoing("1", "b", destination="crm"))
    (one,) = await site.due()
    await site.settle(Settlement(one, Misconfigured("401"), Hold("401 from erp"), START, START))
    await site.store.steer("crm", DestinationState.PAUSED, "maintenance")
    await site.reopen()
    assert sorted(await site.drain()) == [b"0"]
    assert await site.due("crm") == []


async def test_a_paused_destination_gives_nothing_even_before_its_first_delivery(site: Site) -> None:
    await site.store.steer("erp", DestinationState.PAUSED, "maintenance")
    await site.record(outgoing())
    assert await site.due() == []
    await site.store.steer("erp", DestinationState.RUNNING)
    assert len(await site.due()) == 1


async def test_next_due_tells_the_earliest_and_nothing_when_nothing_waits(site: Site) -> None:
    assert await site.store.next_due("erp") == 0
    await site.record(outgoing("0", "a"), outgoing("1", "b"))
    assert 0 < await site.store.next_due("erp") <= site.now
    one, two = await site.due()
    assert await site.store.next_due("erp") == 0
    await site.settle(retried(one, START + 9 * FIRST))
    assert await site.store.next_due("erp") == START + 9 * FIRST
    await site.settle(retried(two, START + 5 * FIRST))
    assert await site.store.next_due("erp") == START + 5 * FIRST
    site.now = START + 5 * FIRST
    assert contents(await site.due()) == [b"1"]
    assert await site.store.next_due("erp") == START + 9 * FIRST
    await site.record(outgoing("2", "c"))
    assert 0 < await site.store.next_due("erp") <= site.now


async def test_a_lane_that_was_late_is_not_starved_by_fresh_ones(site: Site) -> None:
    await site.record(outgoing("late", "a"))
    (late,) = await site.due()
    await site.settle(retried(late, START + 1))
    site.now += FIRST
    for n in range(5):
        await site.record(outgoing(f"{n}", f"lane {n}"))
    assert contents(await site.due(room=2)) == [b"late", b"0"]


async def test_what_an_older_attempt_says_changes_nothing(site: Site) -> None:
    await site.record(outgoing("0", "a"), outgoing("1", "a"))
    (first,) = await site.due(window=1)
    await site.reopen()
    await site.deliver(first)  # begun by an engine that is gone
    (second,) = await site.due(window=1)
    assert (second.id, second.attempts) == (first.id, 2)
    await site.deliver(first)
    assert await site.due() == []
    await site.settle(delivered(second), delivered(second), retried(second, START + FIRST))
    await site.deliver(second)
    assert await site.drain() == [b"1"]
    with History(site.url) as history:
        assert [(row.n, row.outcome) for row in history.attempts(first.id)] == [(1, "unknown"), (2, "delivered")]


async def test_one_answer_holds_no_more_content_than_it_may(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "ANSWER_BYTES", 2500)
    for n in range(3):
        await site.record(outgoing(b"%d" % n + b"x" * 999, "a"), outgoing(b"%d" % n + b"y" * 999, "b"))
    sizes = []
    while begun := await site.due():
        sizes.append(len(begun))
        for one in begun:
            await site.deliver(one)
    assert sizes == [2, 2, 2]
    await site.record(outgoing(b"z" * 9000, "big"), outgoing(b"small", "small"))
    assert [len(one.content) for one in await site.due()] == [9000]


async def test_a_destination_nobody_knows_has_nothing(site: Site) -> None:
    assert await site.due("never") == []
    assert await site.store.next_due("never") == 0
