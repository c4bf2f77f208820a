"""Release, cancel, resend, replay: once for a token, in the old place, and never a word of it lost."""

from __future__ import annotations

import pytest

from engine.errors import WardlineError
from engine.model import GATE, Close, Delivery, DeliveryState, MessageState, Outgoing, Settlement, Unknown, Verb
from engine.store.acting import MOST
from engine.store.history import History, Query
from tests.contract.store.helpers import (
    START,
    Site,
    contents,
    delivered,
    failing,
    ids,
    number,
    outgoing,
    parked,
    retried,
    translation,
    withdrawn,
)

RELEASE, CANCEL, RESEND, REPLAY = Verb.RELEASE, Verb.CANCEL, Verb.RESEND, Verb.REPLAY


async def park_message(site: Site, content: bytes = b"MSH|1", *outgoings: Outgoing, **other: object) -> int:
    """One message that parks for its mapping."""
    taken = await site.take(content)
    facts = {"state": MessageState.PARKED, "reason": "mapping: no row", "park_reason": "mapping"} | other
    await site.store.translated([translation(taken.message_id, *outgoings, **facts)])
    return taken.message_id


async def send(site: Site, *outgoings: Outgoing) -> list[Delivery]:
    """One message's deliveries, begun."""
    await site.record(*outgoings)
    return await site.due()


# ── once ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_same_token_changes_nothing_and_answers_the_same(site: Site) -> None:
    one, two = [await park_message(site, body) for body in (b"1", b"2")]
    acted = await site.act(RELEASE, messages=[one, two, 12345], token="t")
    assert acted == (2, 0, False, ("adt",), ())
    await site.store.translated([translation(one, state=MessageState.PARKED, reason="again", park_reason="mapping")])
    for _ in range(2):
        assert await site.act(RELEASE, messages=[one, two], token="t") == (2, 0, True, (), ())
        assert await site.act(CANCEL, messages=[one], token="t") == (2, 0, True, (), ())
        await site.reopen()
    site.now += 1
    assert await site.act(RELEASE, messages=[one, one, two], token="u") == (1, 0, False, ("adt",), ())
    with History(site.url) as history:
        last, first = history.actions()
        assert (first.token, first.verb, first.who, first.messages, first.deliveries) == ("t", "release", "ann", 2, 0)
        assert (last.token, last.messages, last.done_at) == ("u", 1, site.now)


async def test_two_calls_with_one_token_in_one_commit(site: Site) -> None:
    one = await park_message(site)
    calls = [site.act(RELEASE, messages=[one], token="t") for _ in range(2)]
    assert sorted([(await call).repeated for call in calls]) == [False, True]


async def test_an_action_is_bounded_and_has_a_token(site: Site) -> None:
    await failing(site.act(RELEASE, messages=range(1, MOST + 2)), WardlineError)
    action = site.act(RELEASE, messages=[1], token="t", why="x\0y")
    assert (await action) == (0, 0, False, (), ())
    with History(site.url) as history:
        assert [row.why for row in history.actions()] in (["x\0y"], ["x\N{REPLACEMENT CHARACTER}y"])


# ── messages ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_released_messages_are_received_again_below_the_cursor(site: Site) -> None:
    first, second = [await park_message(site, body) for body in (b"1", b"2")]
    later = await site.take(b"3")
    assert ids(await site.store.untranslated("adt", 0, 9)) == [later.message_id]
    await site.act(RELEASE, messages=[second, first])
    for _ in range(2):
        assert ids(await site.store.untranslated("adt", 0, 9)) == [first, second, later.message_id]
        assert [one.content for one in await site.store.untranslated("adt", first, 1)] == [b"2"]
        await site.reopen()
    with History(site.url) as history:
        (row,) = history.find(Query(message_id=first))
        assert (row.state, row.park_reason, row.reason, row.deliveries) == ("received", "", "", 0)
    await site.store.translated([translation(first, outgoing("1")), translation(second, outgoing("2"))])
    assert await site.drain() == [b"1", b"2"]
    assert ids(await site.store.untranslated("adt", 0, 9)) == [later.message_id]


async def test_only_parked_messages_are_released_or_cancelled(site: Site) -> None:
    translated = await site.record(outgoing("x"))
    received = await site.take()
    rejected = await site.take(b"r", state=MessageState.REJECTED, reason="no")
    numbers = [translated.message_id, received.message_id, rejected.message_id, 7]
    for verb in (RELEASE, CANCEL):
        assert (await site.act(verb, messages=numbers))[:2] == (0, 0)
    assert ids(await site.store.untranslated("adt", 0, 9)) == [received.message_id]


async def test_a_cancelled_message_is_filtered_by_name(site: Site) -> None:
    one = await park_message(site)
    assert (await site.act(CANCEL, messages=[one], why="a test order")).messages == 1
    with History(site.url) as history:
        (row,) = history.find(Query(state="filtered"))
        assert (row.id, row.reason, row.park_reason) == (one, "cancelled by ann: a test order", "")
    assert await site.store.untranslated("adt", 0, 9) == []
    assert (await site.act(RELEASE, messages=[one])).messages == 0


async def test_cancelling_does_not_change_the_answer_to_a_resend(site: Site) -> None:
    first = await site.take(b"one", b"k")
    await site.store.translated([translation(first.message_id, state=MessageState.PARKED, reason="m", park_reason="mapping")])
    await site.act(CANCEL, messages=[first.message_id])
    for _ in range(2):
        assert await site.take(b"one", b"k") == first._replace(duplicate=True)
        await site.reopen()


async def test_a_message_that_parks_may_answer_and_is_translated_again_beside_it(site: Site) -> None:
    one = await park_message(site, b"MSH|1", outgoing("ack", destination="ack", identity="A-1"))
    (ack,) = await site.due("ack")
    await site.deliver(ack)
    assert [row.state for row in site.deliveries(one)] == ["delivered"]
    await site.act(RELEASE, messages=[one])
    assert [row.identity for row in site.deliveries(one)] == ["A-1"]
    await site.store.translated([translation(one, outgoing("1", identity="I-1"), outgoing("2", identity="I-2"))])
    assert [row.identity for row in site.deliveries(one)] == ["A-1", "I-1", "I-2"]
    with History(site.url) as history:
        for query in (Query(destination="ack"), Query(delivery_state="delivered"), Query(destination="erp")):
            assert [row.id for row in history.find(query)] == [one]
    assert await site.drain() == [b"1", b"2"]


async def test_a_replay_is_a_new_message_of_the_same_content(site: Site) -> None:
    big = b"MSH|" + bytes(range(256)) * (9 << 10)
    original = await site.record(outgoing("old"), content=big, keys=(("mrn", "1"),))
    rejected = await site.take(b"no", state=MessageState.REJECTED, reason="PID-3")
    site.now += 5
    assert await site.act(REPLAY, messages=[rejected.message_id, original.message_id, 9]) == (2, 0, False, ("adt",), ())
    for _ in range(2):
        one, two = await site.store.untranslated("adt", 0, 9)
        assert (one.content, one.peer, one.replay_of, one.received_at) == (big, "replay", original.message_id, site.now)
        assert (two.content, two.replay_of) == (b"no", rejected.message_id)
        assert one.id > rejected.message_id
        await site.reopen()
    await site.store.translated([translation(one.id, outgoing("new")), translation(two.id)])
    assert await site.drain() == [b"old", b"new"]
    with History(site.url) as history:
        assert [row.id for row in history.replays(original.message_id)] == [one.id]
        assert [row.id for row in history.find(Query(control_id="C1"))] == [
            two.id,
            one.id,
            rejected.message_id,
            original.message_id,
        ]
        assert history.find(Query(message_id=one.id))[0].replay_of == original.message_id


async def test_a_replay_of_a_duplicate_takes_its_originals_content_and_is_never_a_duplicate_itself(site: Site) -> None:
    first = await site.take(b"one", b"k")
    await site.take(b"one", b"k")
    with History(site.url) as history:
        (duplicate,) = history.find(Query(state="duplicate"))
    await site.store.translated([translation(first.message_id)])
    assert (await site.act(REPLAY, messages=[duplicate.id])).messages == 1
    (replay,) = await site.store.untranslated("adt", 0, 9)
    assert (replay.content, replay.replay_of) == (b"one", duplicate.id)
    assert await site.take(b"one", b"k") == first._replace(duplicate=True)


async def test_a_replay_among_arrivals_is_not_overlooked(site: Site) -> None:
    original = await site.record(content=b"0")
    waiting = [site.take(b"1"), site.act(REPLAY, messages=[original.message_id]), site.take(b"2")]
    for one in waiting:
        await one
    assert sorted(one.content for one in await site.store.untranslated("adt", 0, 9)) == [b"0", b"1", b"2"]


# ── deliveries: release ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_released_delivery_keeps_row_identity_and_attempts(site: Site) -> None:
    (one,) = await send(site, outgoing("1", "a", identity="X-1"))
    await site.settle(Settlement(one, Unknown("?"), Close(DeliveryState.PARKED, "?"), START, START))
    assert await site.act(RELEASE, deliveries=[one.id], why="mended") == (0, 1, False, (), ("erp",))
    (row,) = site.deliveries(one.message_id)
    assert (row.id, row.state, row.attempts, row.order_key, row.reason) == (one.id, "waiting", 1, "a", "released by ann: mended")
    (again,) = await site.due()
    assert (again.id, again.identity, again.attempts, again.in_doubt, again.content) == (one.id, "X-1", 2, True, b"1")
    await site.deliver(again)
    with History(site.url) as history:
        assert [row.n for row in history.attempts(one.id)] == [1, 2]
        assert history.find(Query(delivery_state="parked")) == []
        assert history.counts().lanes == {}


async def test_i6_the_older_goes_before_the_younger_that_still_wait(site: Site) -> None:
    (one,) = await send(site, outgoing("1", "a"))
    await site.park(one)
    await site.record(outgoing("2", "a"), outgoing("3", "a"))
    await site.act(RELEASE, deliveries=[one.id])
    for _ in range(2):
        begun = await site.due(window=2)
        assert contents(begun) == [b"1", b"2"]
        await site.settle(*map(withdrawn, begun))
        await site.reopen()
    assert await site.drain() == [b"1", b"2", b"3"]


async def test_i6_many_come_back_between_those_that_wait(site: Site) -> None:
    await site.record(*(outgoing(f"{n}", "a") for n in range(6)))
    begun = await site.due()
    await site.settle(*(parked(one) if n in (0, 1, 3, 5) else retried(one, 0) for n, one in enumerate(begun)))
    for back in ((5, 1), (3,), (0,)):
        assert (await site.act(RELEASE, deliveries=[begun[n].id for n in back])).deliveries == len(back)
    assert await site.drain() == [b"%d" % n for n in range(6)]


async def test_i6_nobody_steps_between_what_is_under_way(site: Site) -> None:
    old, _ = await send(site, outgoing("old", "a"), outgoing("between", "a"))
    await site.settle(parked(old), withdrawn(_))
    await site.record(outgoing("3", "a"), outgoing("4", "a"))
    between, three = await site.due(window=2)
    assert contents([between, three]) == [b"between", b"3"]
    await site.act(RELEASE, deliveries=[old.id])
    assert await site.due() == []
    (row, _) = site.deliveries(old.message_id)
    assert row.state == "waiting"
    await site.deliver(between)
    assert await site.due() == []
    await site.settle(retried(three, 0))
    assert await site.drain() == [b"old", b"3", b"4"]
    assert number(site, "SELECT count(*) FROM rejoin") == 0


async def test_one_that_comes_back_between_the_ids_under_way_is_not_in_doubt_after_a_crash(site: Site) -> None:
    await site.record(*(outgoing(f"{n}", "a") for n in range(3)))
    zero, one, two = await site.due()
    await site.settle(parked(one), withdrawn(zero), withdrawn(two))
    assert contents(await site.due(window=2)) == [b"0", b"2"]
    await site.act(RELEASE, deliveries=[one.id])
    await site.reopen()
    assert site.found.in_doubt == 2
    again = await site.due()
    assert [(each.content, each.in_doubt) for each in again] == [(b"0", True), (b"1", False), (b"2", True)]


async def test_a_lane_that_ends_while_somebody_waits_for_it_goes_on(site: Site) -> None:
    one, two = await send(site, outgoing("1", "a"), outgoing("2", "a"))
    await site.settle(parked(one), withdrawn(two))
    (two,) = await site.due()
    await site.act(RELEASE, deliveries=[one.id])
    await site.deliver(two)
    assert await site.drain() == [b"1"]


# ── deliveries in several lanes ────────────────────────────────────────────────────────────────────────────────────


async def test_a_merge_comes_back_before_both_people(site: Site) -> None:
    (merge,) = await send(site, outgoing("merge", "a", "b"))
    await site.park(merge)
    await site.record(outgoing("a1", "a"), outgoing("b1", "b"), outgoing("both", "b", "a"), outgoing("a2", "a"))
    await site.act(RELEASE, deliveries=[merge.id])
    for _ in range(2):
        begun = await site.due()
        assert contents(begun) == [b"merge"]
        await site.settle(*map(withdrawn, begun))
        await site.reopen()
    with History(site.url) as history:
        assert history.order_keys(merge.id) == ["a", "b"]
    assert await site.drain() == [b"merge", b"a1", b"b1", b"both", b"a2"]
    assert number(site, "SELECT count(*) FROM crossing") == 0


async def test_a_merge_waits_while_one_of_its_people_is_under_way(site: Site) -> None:
    (merge,) = await send(site, outgoing("merge", "a", "b"))
    await site.park(merge)
    await site.record(outgoing("a1", "a"), outgoing("b1", "b"))
    begun = await site.due(room=1)
    assert contents(begun) == [b"a1"]
    await site.act(RELEASE, deliveries=[merge.id])
    assert await site.due() == []  # b1 is behind the merge
    await site.deliver(begun[0])
    assert await site.drain() == [b"merge", b"b1"]


async def test_one_comes_back_into_the_other_lane_of_a_merge_that_waits(site: Site) -> None:
    (old,) = await send(site, outgoing("b0", "b"))
    await site.park(old)
    await site.record(outgoing("merge", "a", "b"), outgoing("a1", "a"))
    await site.act(RELEASE, deliveries=[old.id])
    begun = await site.due()
    assert contents(begun) == [b"b0"]
    await site.deliver(begun[0])
    assert await site.drain() == [b"merge", b"a1"]


async def test_one_comes_back_into_the_other_lane_of_a_merge_under_way(site: Site) -> None:
    (old,) = await send(site, outgoing("b0", "b"))
    await site.park(old)
    await site.record(outgoing("merge", "a", "b"), outgoing("b1", "b"))
    (merge,) = await site.due()
    await site.act(RELEASE, deliveries=[old.id])
    assert await site.due() == []
    await site.settle(retried(merge, site.now + 10))  # it waits again, and an older one is there now
    (old,) = await site.due()
    assert old.content == b"b0"
    await site.deliver(old)
    site.now += 10
    assert await site.drain() == [b"merge", b"b1"]


# ── deliveries: cancel ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_cancelled_deliveries_leave_their_lanes(site: Site) -> None:
    taken = await site.record(*(outgoing(f"{n}", "a") for n in range(5)))
    rows = site.deliveries(taken.message_id)
    assert (await site.act(CANCEL, deliveries=[rows[n].id for n in (0, 2, 4)], why="sent by hand")).deliveries == 3
    assert [row.state for row in site.deliveries(taken.message_id)] == ["cancelled", "waiting"] * 2 + ["cancelled"]
    assert site.deliveries(taken.message_id)[0].reason == "cancelled by ann: sent by hand"
    await site.reopen()
    assert await site.drain() == [b"1", b"3"]
    with History(site.url) as history:
        assert history.counts().lanes == {}
        assert [row.id for row in history.find(Query(delivery_state="cancelled"))] == [taken.message_id]


async def test_what_is_under_way_or_has_ended_is_not_cancelled(site: Site) -> None:
    taken = await site.record(*(outgoing(f"{n}", "a") for n in range(4)))
    begun = await site.due(window=2)
    everything = [row.id for row in site.deliveries(taken.message_id)]
    assert (await site.act(CANCEL, deliveries=everything)).deliveries == 2
    await site.deliver(begun[0])
    await site.park(begun[1])
    assert (await site.act(CANCEL, deliveries=everything)).deliveries == 1
    assert [row.state for row in site.deliveries(taken.message_id)] == ["delivered", "cancelled", "cancelled", "cancelled"]
    assert await site.due() == []
    assert number(site, "SELECT count(*) FROM lane") == number(site, "SELECT count(*) FROM place") == 0
    with History(site.url) as history:
        assert history.find(Query(delivery_state="parked")) == []


async def test_cancelling_the_head_lets_the_next_go_on(site: Site) -> None:
    await site.record(outgoing("1", "a"), outgoing("merge", "b", "a"), outgoing("2", "a"), outgoing("b1", "b"))
    (one,) = await site.due()
    await site.settle(retried(one, site.now + 1000))
    assert await site.due() == []
    await site.act(CANCEL, deliveries=[one.id])
    (merge,) = await site.due()
    assert merge.content == b"merge"
    await site.settle(withdrawn(merge))
    await site.act(CANCEL, deliveries=[merge.id])
    assert await site.drain() == [b"2", b"b1"]
    assert number(site, "SELECT count(*) FROM crossing") == 0


async def test_who_waits_to_come_back_can_be_cancelled(site: Site) -> None:
    one, two = await send(site, outgoing("1", "a"), outgoing("2", "a"))
    await site.settle(parked(one), withdrawn(two))
    (two,) = await site.due()
    await site.act(RELEASE, deliveries=[one.id])
    assert (await site.act(CANCEL, deliveries=[one.id, two.id])).deliveries == 1
    await site.deliver(two)
    assert await site.due() == []
    assert number(site, "SELECT count(*) FROM rejoin") == number(site, "SELECT count(*) FROM lane") == 0


async def test_who_waits_to_come_back_between_the_ids_under_way_is_not_under_way(site: Site) -> None:
    await site.record(*(outgoing(f"{n}", "a") for n in range(3)))
    zero, one, two = await site.due()
    await site.settle(parked(one), withdrawn(zero), withdrawn(two))
    begun = await site.due(window=2)
    await site.act(RELEASE, deliveries=[one.id])
    assert (await site.act(CANCEL, deliveries=[zero.id, one.id, two.id])).deliveries == 1
    for each in begun:
        await site.deliver(each)
    assert [row.state for row in site.deliveries(one.message_id)] == ["delivered", "cancelled", "delivered"]


# ── deliveries: resend ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.EXPIRED, DeliveryState.CANCELLED])
async def test_a_resend_is_a_new_row_of_the_same_identity_at_the_end(site: Site, state: DeliveryState) -> None:
    (one,) = await send(site, outgoing("1", "a", identity="X-1", idempotency_key="K", kind="charge/v1", action="create"))
    if state is DeliveryState.CANCELLED:
        await site.park(one)
        await site.act(CANCEL, deliveries=[one.id])
    else:
        await site.settle(delivered(one)._replace(decision=Close(state, "old")))
    await site.record(outgoing("2", "a"))
    assert await site.act(RESEND, deliveries=[one.id, one.id]) == (0, 1, False, (), ("erp",))
    first, again = site.deliveries(one.message_id)
    assert (first.state, first.resend_of) == (state, 0)
    assert (again.state, again.resend_of, again.ordinal, again.identity) == ("waiting", one.id, 1, "X-1")
    assert (again.idempotency_key, again.kind, again.action, again.order_key) == ("K", "charge/v1", "create", "a")
    await site.reopen()
    two, sent = await site.due()
    assert (two.content, sent.content) == (b"2", b"1")
    assert (sent.identity, sent.attempts) == ("X-1", 1)
    assert sent.in_doubt == (state is DeliveryState.DELIVERED)
    with History(site.url) as history:
        assert [row.id for row in history.find(Query(delivery_state="sending"))] == [two.message_id, one.message_id]
        assert history.content_of_delivery(again.id) == b"1"


async def test_only_what_has_ended_is_sent_again(site: Site) -> None:
    one, two, three = await send(site, outgoing("1", "a"), outgoing("2", "b"), outgoing("3", "c"))
    await site.park(one)
    await site.settle(retried(two, site.now + 1))
    assert (await site.act(RESEND, deliveries=[one.id, two.id, three.id, 5])).deliveries == 0


async def test_a_merge_is_sent_again_after_both_people(site: Site) -> None:
    body = b"MSH|passed on"
    await site.record(outgoing(body, "a", "b"), content=body)
    (merge,) = await site.due()
    await site.deliver(merge)
    await site.record(outgoing("a1", "a"), outgoing("b1", "b"))
    begun = await site.due(room=1)
    await site.act(RESEND, deliveries=[merge.id])
    await site.record(outgoing("a2", "a"))
    await site.deliver(begun[0])
    assert await site.drain() == [b"b1", body, b"a2"]
    assert number(site, "SELECT count(*) FROM crossing") == 0


async def test_a_resend_can_be_released_cancelled_and_sent_again(site: Site) -> None:
    (one,) = await send(site, outgoing("1", "a"))
    await site.deliver(one)
    await site.act(RESEND, deliveries=[one.id])
    (two,) = await site.due()
    await site.park(two)
    await site.act(RELEASE, deliveries=[two.id])
    await site.act(CANCEL, deliveries=[two.id])
    await site.act(RESEND, deliveries=[two.id])
    assert await site.drain() == [b"1"]
    assert [row.resend_of for row in site.deliveries(one.message_id)] == [0, one.id, two.id]


async def test_what_is_forgotten_is_neither_resent_nor_replayed(site: Site) -> None:
    """Retention may have taken the content."""
    (one,) = await send(site, outgoing("1", "a"))
    await site.deliver(one)
    assert number(site, "SELECT count(*) FROM content") == 2
    driver = site.store._writer._committer.ledger.driver
    driver.execute("DELETE FROM content")
    assert await site.act(RESEND, deliveries=[one.id]) == (0, 0, False, (), ("erp",))
    assert (await site.act(REPLAY, messages=[one.message_id])).messages == 0
    assert await site.due() == []


# ── deliveries that wait for another destination ───────────────────────────────────────────────────────────────────


async def test_cancelling_the_first_lets_the_second_go_at_its_destination(site: Site) -> None:
    told: list[set[str]] = []
    site.store.on_unblocked = told.append
    taken = await site.record(outgoing("first", "a", f"{GATE}1"), outgoing("second", "a", f"{GATE}1", destination="crm"))
    assert await site.due("crm") == []
    first, _ = site.deliveries(taken.message_id)
    await site.act(CANCEL, deliveries=[first.id])
    assert {"crm"} in told
    assert contents(await site.due("crm")) == [b"second"]


async def test_the_first_comes_back_before_the_second_or_after_what_is_under_way(site: Site) -> None:
    await site.record(outgoing("first", "a", f"{GATE}1"), outgoing("second", "a", f"{GATE}1", destination="crm"))
    (first,) = await site.due()
    await site.park(first)
    (second,) = await site.due("crm")
    await site.act(RELEASE, deliveries=[first.id])
    assert await site.due() == []
    await site.settle(retried(second, 0))
    assert await site.due("crm") == []
    (again,) = await site.due()
    assert again.id == first.id
    await site.deliver(again)
    assert await site.drain("crm") == [b"second"]
    assert number(site, "SELECT count(*) FROM lane") == number(site, "SELECT count(*) FROM crossing") == 0


async def test_names_and_reasons_are_whatever_people_type(site: Site) -> None:
    taken = await site.record(outgoing("1"))
    (one,) = site.deliveries(taken.message_id)
    await site.act(Verb.CANCEL, deliveries=[one.id], why="because\0of\ud800 this")
    assert site.deliveries(taken.message_id)[0].state == "cancelled"
    with History(site.url) as history:
        assert history.actions()[0].why.startswith("because")
