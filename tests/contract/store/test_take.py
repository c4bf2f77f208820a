"""Taking responsibility, and re-sends."""

from __future__ import annotations

import hashlib

from twisted.internet.defer import gatherResults

from engine.ids import first_id
from engine.model import Admission, Heading, MessageState, Verb
from engine.store import duplicates
from engine.store.history import History, Query
from tests.contract.store.helpers import START, Site, admission, ids, number, outgoing, translation


async def test_a_message_is_taken_and_can_be_read_back_exactly(site: Site) -> None:
    body = bytes(range(256)) * 3
    heading = Heading("ORU^R01", "Ctl-7", "LAB|NORTH", "2.3", "T")
    taken = await site.store.take(admission(body, heading=heading, part_of=7, replay_of=5))
    assert taken.message_id == first_id(START)
    assert taken[1:] == (START, MessageState.RECEIVED, "", False, False, ())
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


# ── batches ────────────────────────────────────────────────────────────────────────────────────────────────────────


def batch(*parts: Admission, content: bytes = b"FHS|batch", key: bytes = b"batch") -> Admission:
    return admission(content, key, state=MessageState.TRANSLATED, reason="a batch", parts=parts)


async def test_a_batch_and_its_parts_are_taken_together(site: Site) -> None:
    before = await site.take(b"before")
    parts = (admission(b"1", b"k1"), admission(b"2", b"k2", state=MessageState.FILTERED, reason="skip"), admission(b"3"))
    taken = await site.store.take(batch(*parts))
    after = await site.take(b"after")
    assert (taken.state, taken.duplicate, taken.reason) == ("translated", False, "a batch")
    assert [(one.state, one.reason, one.duplicate, one.parts) for one in taken.parts] == [
        ("received", "", False, ()),
        ("filtered", "skip", False, ()),
        ("received", "", False, ()),
    ]
    numbers = [one.message_id for one in taken.parts]
    assert before.message_id < taken.message_id < numbers[0] < numbers[1] < numbers[2] < after.message_id
    for _ in range(2):
        messages = await site.store.untranslated("adt", before.message_id, 9)
        assert [(one.content, one.part_of) for one in messages] == [
            (b"1", taken.message_id),
            (b"3", taken.message_id),
            (b"after", 0),
        ]
        with History(site.url) as history:
            assert [row.id for row in history.parts(taken.message_id)] == numbers
            assert history.parts(before.message_id) == history.parts(numbers[-1]) == []
            assert history.message(taken.message_id).content == b"FHS|batch"  # type: ignore[union-attr]
        await site.reopen()


async def test_i5_each_part_is_deduped_on_its_own(site: Site) -> None:
    first = await site.take(b"1", b"k1")
    taken = await site.store.take(
        batch(admission(b"1", b"k1"), admission(b"other", b"k1"), admission(b"2"), admission(b"2", b"k1"))
    )
    one, other, two, reused = taken.parts
    assert one == first._replace(duplicate=True)
    assert (other.duplicate, other.key_reuse, reused.key_reuse, two.key_reuse) == (False, True, True, False)
    with History(site.url) as history:
        rows = history.parts(taken.message_id)
        assert [(row.state, row.original) for row in rows] == [
            ("duplicate", first.message_id),
            *[("received", 0)] * 3,
        ]


async def test_i5_a_batch_that_comes_again_gets_the_answers_of_its_parts_again(site: Site) -> None:
    earlier = await site.take(b"1", b"k1")
    again = batch(admission(b"1", b"k1"), admission(b"2", b"k2"), admission(b"x", state=MessageState.REJECTED, reason="PID-3"))
    first, second = await gatherResults([site.store.take(again), site.store.take(again)])  # perhaps in one commit
    expected = [(one.message_id, one.received_at, one.state, one.reason) for one in first.parts]
    assert expected[0][0] == earlier.message_id
    stored = number(site, "SELECT count(*) FROM message")
    site.now += 1000
    for _ in range(3):
        assert second.duplicate
        assert all(one.duplicate for one in second.parts[1:]) or second.parts == first.parts
        assert [(one.message_id, one.received_at, one.state, one.reason) for one in second.parts] == expected
        await site.take(b"between")
        await site.reopen()
        second = await site.store.take(again)
    assert number(site, "SELECT count(*) FROM message") == stored + 6  # its duplicates, what came between, and no parts
    assert len(await site.store.untranslated("adt", 0, 99)) == 5


async def test_a_batch_is_not_replayed_but_its_parts_are(site: Site) -> None:
    taken = await site.store.take(batch(admission(b"1"), admission(b"2")))
    numbers = [taken.message_id, *(one.message_id for one in taken.parts)]
    assert (await site.act(Verb.REPLAY, messages=numbers)).messages == 2
    assert [one.content for one in await site.store.untranslated("adt", 0, 9)] == [b"1", b"2", b"1", b"2"]
    with History(site.url) as history:
        assert [row.id for row in history.parts(taken.message_id)] == numbers[1:]


async def test_i5_after_its_window_the_same_key_is_another_message(site: Site) -> None:
    hour = 3_600_000_000
    first = await site.take(b"one", b"k", window=hour)
    site.now += hour
    assert (await site.take(b"one", b"k", window=hour)).duplicate
    site.now += 1
    later = await site.take(b"one", b"k", window=hour)
    assert (later.duplicate, later.key_reuse) == (False, False)
    assert later.message_id > first.message_id
    await site.reopen()
    assert await site.take(b"one", b"k", window=hour) == later._replace(duplicate=True)
    assert await site.take(b"one", b"k") == first._replace(duplicate=True)
    site.now += 2 * hour
    assert not (await site.take(b"two", b"k", window=hour)).key_reuse


async def test_arrivals_that_wait_for_translation_are_stored_in_order_when_the_store_closes(site: Site) -> None:
    body = b"x" * (1 << 20)
    first = await site.store.take(admission(body))
    held = [site.store.take(admission(b"%d" % n)) for n in range(3)]
    await site.store.close()
    taken = await gatherResults(held)
    numbers = [one.message_id for one in (first, *taken)]
    assert numbers == sorted(numbers)
    site.open()
    assert ids(await site.store.untranslated("adt", 0, 10)) == numbers


async def test_arrivals_that_wait_for_translation_go_on_when_it_has_been_recorded(site: Site) -> None:
    first = await site.store.take(admission(b"x" * (1 << 20)))
    held = [site.store.take(admission(b"%d" % n)) for n in range(3)]
    assert not site.threaded or not any(one.called for one in held)
    await site.store.translated([translation(first.message_id, outgoing())])
    taken = await gatherResults(held)
    assert ids(await site.store.untranslated("adt", 0, 10)) == [one.message_id for one in taken]


async def test_many_rows_of_every_number_are_stored(site: Site) -> None:
    """SQLite writes rows with statements of 1, 2, 4 … rows: none is left out and none comes twice."""
    kept = []
    for count in range(1, 40):
        parts = tuple([admission(b"%d of %d" % (n, count)) for n in range(count)])
        batch = await site.store.take(admission(b"batch %d" % count, state=MessageState.TRANSLATED, parts=parts))
        kept += [part.message_id for part in batch.parts]
    found = await site.store.untranslated("adt", 0, 1000)
    assert ids(found) == kept
    assert [one.content for one in found] == [b"%d of %d" % (n, count) for count in range(1, 40) for n in range(count)]
