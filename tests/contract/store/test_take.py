"""Taking responsibility, and re-sends."""

from __future__ import annotations

import hashlib

from twisted.internet.defer import gatherResults

from engine.ids import first_id
from engine.model import Heading, MessageState
from engine.store import duplicates
from engine.store.history import History, Query
from tests.contract.store.helpers import START, Site, admission, ids, outgoing, translation


async def test_a_message_is_taken_and_can_be_read_back_exactly(site: Site) -> None:
    body = bytes(range(256)) * 3
    heading = Heading("ORU^R01", "Ctl-7", "LAB|NORTH", "2.3", "T")
    taken = await site.store.take(admission(body, heading=heading, part_of=7, replay_of=5))
    assert taken.message_id == first_id(START)
    assert taken[1:] == (START, MessageState.RECEIVED, "", False, False)
    (message,) = await site.store.untranslated("adt", 0, 10)
    assert message[1:] == ("adt", body, heading, "10.0.0.1:50000", START, 5, 7)
    with History(site.url) as history:
        facts = history.message(taken.message_id)
    assert facts is not None
    assert facts.content == body
    assert facts.digest == hashlib.sha256(body).digest()
    assert (facts.row.kind, facts.row.control_id, facts.row.version, facts.row.processing_id) == ("ORU^R01", "Ctl-7", "2.3", "T")
    assert (facts.row.part_of, facts.row.replay_of, facts.row.size) == (7, 5, 768)


async def test_ids_grow_in_commit_order_and_never_go_back(site: Site) -> None:
    taken = await gatherResults([site.store.take(admission(b"%d" % n)) for n in range(50)])
    numbers = [one.message_id for one in taken]
    assert numbers == sorted(set(numbers))
    await site.store.translated([translation(numbers[0], outgoing(), outgoing())])
    site.now = 0  # the clock fell back by decades
    await site.reopen()
    later = await site.take()
    assert later.message_id > numbers[-1] + 2


async def test_i5_a_resend_gets_the_facts_of_its_original(site: Site) -> None:
    first = await site.take(b"one", b"k")
    site.now += 5_000_000
    again = await site.take(b"one", b"k")
    assert again == first._replace(duplicate=True)
    assert ids(await site.store.untranslated("adt", 0, 10)) == [first.message_id]
    with History(site.url) as history:
        second, original = history.find()
        assert (second.state, second.original, second.received_at) == ("duplicate", first.message_id, site.now)
        facts = history.message(second.id)
        assert facts is not None
        assert facts.content == b""
        assert original.id == first.message_id


async def test_i5_two_copies_in_one_commit(site: Site) -> None:
    copies = await gatherResults([site.store.take(admission(b"one", b"k")) for _ in range(3)])
    assert [one.duplicate for one in copies] == [False, True, True]
    assert len({one.message_id for one in copies}) == 1


async def test_i5_the_same_key_with_other_content_is_taken_and_flagged(site: Site) -> None:
    first = await site.take(b"one", b"k")
    other = await site.take(b"two", b"k")
    assert (other.duplicate, other.key_reuse) == (False, True)
    assert other.message_id != first.message_id
    again = await gatherResults([site.store.take(admission(body, b"k")) for body in (b"one", b"two", b"three")])
    assert [(one.duplicate, one.key_reuse) for one in again] == [(True, False), (True, False), (False, True)]
    assert [one.message_id for one in again[:2]] == [first.message_id, other.message_id]


async def test_i5_across_channels_and_without_a_key_nothing_is_a_duplicate(site: Site) -> None:
    taken = [
        await site.take(b"one", b"k"),
        await site.take(b"one", b"k", channel="oru"),
        await site.take(b"one"),
        await site.take(b"one"),
    ]
    assert not any(one.duplicate or one.key_reuse for one in taken)


async def test_i5_a_resend_after_translation_and_restart_gets_the_same_facts(site: Site) -> None:
    first = await site.take(b"one", b"k")
    filtered = await site.take(b"two", b"f", state=MessageState.FILTERED, reason="skip: PV1-2 = 'P'")
    await site.store.translated(
        [translation(first.message_id, state=MessageState.PARKED, reason="mapping: x", park_reason="mapping")]
    )
    await site.reopen()
    assert await site.take(b"one", b"k") == first._replace(duplicate=True)
    assert await site.take(b"two", b"f") == filtered._replace(duplicate=True)
    assert filtered.state == "filtered"
    assert filtered.reason == "skip: PV1-2 = 'P'"


async def test_i5_keys_are_known_while_they_move_to_the_index_and_after(site: Site, monkeypatch: object) -> None:
    patch = monkeypatch.setattr  # type: ignore[attr-defined]
    patch(duplicates, "GATHER", 20)
    patch(duplicates, "SLICE", 7)
    first = {}
    for n in range(90):
        first[n] = await site.take(b"%d" % n, b"key %d" % n)
        old = n // 2
        assert await site.take(b"%d" % old, b"key %d" % old) == first[old]._replace(duplicate=True)
    await site.reopen()
    for n, taken in first.items():
        assert await site.take(b"%d" % n, b"key %d" % n) == taken._replace(duplicate=True)
        reused = await site.take(b"other %d" % n, b"key %d" % n)
        assert reused.key_reuse


async def test_a_refused_arrival_is_kept_and_may_come_again(site: Site) -> None:
    refused = await site.take(b"bad", b"k", state=MessageState.REJECTED, reason="PID-3: 101")
    assert (refused.state, refused.reason) == ("rejected", "PID-3: 101")
    mended = await site.take(b"bad", b"k")
    assert (mended.state, mended.duplicate, mended.key_reuse) == ("received", False, False)
    refused_again = await site.take(b"bad", b"k", state=MessageState.REJECTED, reason="PID-3: 101")
    assert refused_again == mended._replace(duplicate=True)
    with History(site.url) as history:
        assert [row.reason for row in history.find(Query(state="rejected"))] == ["PID-3: 101"]


async def test_content_beyond_a_mebibyte_comes_back_whole(site: Site) -> None:
    big = bytes(range(256)) * (5 << 10) + b"end"  # 1.25 MiB and three
    exact = b"x" * (2 << 20)
    first = await site.take(big)
    second = await site.take(exact)
    await site.reopen()
    assert [one.content for one in await site.store.untranslated("adt", 0, 10)] == [big, exact]
    await site.store.translated([translation(first.message_id, outgoing(exact)), translation(second.message_id, outgoing(big))])
    assert [one.content for one in await site.due()] == [exact, big]
    await site.reopen()
    assert [one.content for one in await site.due()] == [exact, big]
    with History(site.url) as history:
        assert history.message(first.message_id).content == big  # type: ignore[union-attr]


async def test_text_no_database_likes_does_not_lose_the_message(site: Site) -> None:
    taken = await site.take(b"raw\0bytes", heading=Heading("ADT^A01", "C\0 1", "A|\udcff", "2.5", "P"))
    (message,) = await site.store.untranslated("adt", 0, 10)
    assert message.id == taken.message_id
    assert message.content == b"raw\0bytes"
    outgoings = [outgoing(b"x", "lane\0\udcff", identity="id\0")]
    await site.store.translated([translation(message.id, *outgoings, keys=(("mrn", "4\0\udc80"),))])
    (delivery,) = await site.due()
    assert delivery.content == b"x"
