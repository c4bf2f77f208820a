"""Reading what is to be translated, and recording what became of it."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults

from engine.model import MessageState
from engine.store.history import History, Query
from engine.store.outbox import NotTranslatable
from engine.store.tail import Tail
from tests.contract.store.helpers import Site, admission, failing, ids, number, outgoing, translation


async def test_untranslated_messages_come_in_order_page_by_page(site: Site) -> None:
    taken = await gatherResults([site.store.take(admission(b"%d" % n)) for n in range(25)])
    await site.take(channel="oru")
    numbers = [one.message_id for one in taken]
    for _ in range(2):
        after, seen = 0, []
        while page := await site.store.untranslated("adt", after, 10):
            assert len(page) <= 10
            seen += ids(page)
            after = page[-1].id
        assert seen == numbers
        assert ids(await site.store.untranslated("adt", numbers[20], 10)) == numbers[21:]
        assert len(await site.store.untranslated("oru", 0, 10)) == 1
        assert await site.store.untranslated("never", 0, 10) == []
        await site.reopen()
    assert site.found.untranslated == 26


async def test_only_received_messages_are_to_be_translated(site: Site) -> None:
    await site.take(b"1", state=MessageState.FILTERED, reason="skip")
    await site.take(b"2", state=MessageState.REJECTED, reason="accept")
    first = await site.take(b"3", b"k")
    await site.take(b"3", b"k")
    second = await site.take(b"4")
    assert ids(await site.store.untranslated("adt", 0, 10)) == [first.message_id, second.message_id]
    await site.store.translated([translation(first.message_id, outgoing())])
    assert ids(await site.store.untranslated("adt", 0, 10)) == [second.message_id]
    await site.reopen()
    assert ids(await site.store.untranslated("adt", 0, 10)) == [second.message_id]


async def test_a_backlog_beyond_memory_is_read_from_the_tables(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.store._tail = Tail(0, room=10 * 1024)
    taken = await gatherResults([site.store.take(admission(b"%03d" % n + b"x" * 1000)) for n in range(40)])
    numbers = [one.message_id for one in taken]
    after, seen = 0, []
    while page := await site.store.untranslated("adt", after, 7):
        seen += ids(page)
        after = page[-1].id
        await site.store.translated([translation(one.id) for one in page])
    assert seen == numbers
    assert await site.store.untranslated("adt", 0, 7) == []
    later = await site.take(b"later")
    assert ids(await site.store.untranslated("adt", 0, 7)) == [later.message_id]


@pytest.mark.parametrize("kind", ["sqlite-inline"], indirect=True)
async def test_what_leaves_memory_while_the_tables_are_read_is_still_found(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.store._tail = Tail(0, room=1)  # nothing stays
    first = await site.take(b"first")
    real = site.store._reads.ask
    waiting: Deferred[None] = Deferred()

    def ask(*question: Any) -> Deferred[Any]:
        """Reads at once; the answer is on its way for a while."""
        return real(*question).addCallback(lambda answer: waiting.addCallback(lambda _: answer))

    with monkeypatch.context() as patch:
        patch.setattr(site.store._reads, "ask", ask)
        answer = site.store.untranslated("adt", 0, 10)
    second = await site.take(b"second")
    waiting.callback(None)
    assert ids(await answer) == [first.message_id]
    assert ids(await site.store.untranslated("adt", first.message_id, 10)) == [second.message_id]


async def test_what_became_of_a_message_is_recorded_whole(site: Site) -> None:
    keys = (("mrn", "1001"), ("visit", "V-9"), ("mrn", "1001"), ("mrn", "1002"))
    taken = await site.record(
        outgoing(b"a", "p1", destination="erp", kind="charge/v1", action="create", idempotency_key="c-1", identity="X-1"),
        outgoing(b"b", "p1", destination="crm", identity="X-2"),
        keys=keys,
        not_taken=(("billing", "when: PV1-2 = 'O' ('I')"),),
        config="abc",
    )
    with History(site.url) as history:
        facts = history.message(taken.message_id)
        assert facts is not None
        assert (facts.row.state, facts.row.deliveries, facts.config) == ("translated", 2, "abc")
        assert history.keys(taken.message_id) == [("mrn", "1001"), ("visit", "V-9"), ("mrn", "1002")]
        assert history.not_taken(taken.message_id) == [("billing", "when: PV1-2 = 'O' ('I')")]
        one, two = history.deliveries(taken.message_id)
        assert (one.ordinal, one.destination, one.state, one.kind, one.action) == (1, "erp", "waiting", "charge/v1", "create")
        assert (one.idempotency_key, one.identity, one.order_key, one.size) == ("c-1", "X-1", "p1", 1)
        assert (two.ordinal, two.destination, two.identity) == (2, "crm", "X-2")
        assert [history.content_of_delivery(row.id) for row in (one, two)] == [b"a", b"b"]


async def test_a_message_that_no_route_takes_or_that_parks(site: Site) -> None:
    filtered, parked = await site.take(b"1"), await site.take(b"2")
    why = "mapping: dft-to-charge charge.department: FT1-13.1 is required (FT1[2])"
    await site.store.translated(
        [
            translation(filtered.message_id, state=MessageState.FILTERED, reason="no route", not_taken=(("r", "when"),)),
            translation(parked.message_id, state=MessageState.PARKED, reason=why, park_reason="mapping"),
        ]
    )
    with History(site.url) as history:
        (row,) = history.find(Query(state="parked"))
        assert (row.id, row.reason, row.park_reason) == (parked.message_id, why, "mapping")
        (row,) = history.find(Query(state="filtered"))
        assert (row.id, row.reason, row.deliveries) == (filtered.message_id, "no route", 0)
    again = site.store.translated([translation(parked.message_id, outgoing(b"of a batch that was taken for lost"))])
    await failing(again, NotTranslatable)
    assert await site.due() == []


async def test_a_message_is_translated_once_and_the_mistake_hurts_only_its_caller(site: Site) -> None:
    taken = await gatherResults([site.store.take(admission(b"%d" % n)) for n in range(3)])
    one, two, three = (each.message_id for each in taken)
    await site.store.translated([translation(one, outgoing(b"1"))])
    answers = [
        site.store.translated([translation(two, outgoing(b"2"))]),
        failing(site.store.translated([translation(one, outgoing(b"1 again"))]), NotTranslatable),
        failing(site.store.translated([translation(12345)]), NotTranslatable),
        failing(site.store.translated([translation(three), translation(three)]), NotTranslatable),
        site.store.translated([translation(three, outgoing(b"3"))]),
    ]
    for answer in answers:
        await answer
    assert await site.drain() == [b"1", b"2", b"3"]


async def test_content_that_a_route_passes_on_is_stored_once(site: Site) -> None:
    body = b"MSH|unchanged" * 50
    taken = await site.record(outgoing(body, "a"), outgoing(body, "b"), outgoing(b"changed", "c"), content=body)
    await site.reopen()
    assert sorted(one.content for one in await site.due()) == sorted([body, body, b"changed"])
    assert number(site, "SELECT count(*) FROM content") == 2
    with History(site.url) as history:
        assert [history.content_of_delivery(one.id) for one in history.deliveries(taken.message_id)] == [body, body, b"changed"]


async def test_nothing_to_record_is_fine(site: Site) -> None:
    await site.store.translated([])
    await site.store.attempted([])
    assert await site.due(room=0) == []
