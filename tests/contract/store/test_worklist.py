"""What waits for people: refused frames, unknown codes, and what an action would find."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import gatherResults

from engine.errors import StoreFull
from engine.model import MessageState, RefusedFrame, Verb
from engine.store import frames
from engine.store.history import History
from tests.contract.store.helpers import START, Site, admission, failing, outgoing, retried, translation

# ── refused frames ─────────────────────────────────────────────────────────────────────────────────────────────────


def frame(n: int, content: bytes = b"\x16\x03\x01", channel: str = "adt") -> RefusedFrame:
    return RefusedFrame(channel, "10.0.0.9:4711", "tls", START + n, len(content) + n, content)


async def test_i7_refused_frames_are_kept_newest_first(site: Site) -> None:
    for n in range(3):
        await site.store.refuse(frame(n))
    await site.store.refuse(frame(9, b"GET / HTTP/1.1\r\n\0", "oru"))
    await site.reopen()
    with History(site.url) as history:
        everything = history.refused()
        assert [(row.channel, row.size) for row in everything] == [("oru", 26), ("adt", 5), ("adt", 4), ("adt", 3)]
        assert everything[0][2:] == (START + 9, "10.0.0.9:4711", "tls", 26, b"GET / HTTP/1.1\r\n\0")
        assert history.refused("adt", limit=2, before=everything[1].id) == everything[2:]
        assert history.refused("never") == []


async def test_the_oldest_frames_of_a_channel_go(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MOST", 5)
    await site.store.refuse(frame(100, channel="oru"))
    await gatherResults([site.store.refuse(frame(n)) for n in range(12)])
    await site.store.refuse(frame(12))
    with History(site.url) as history:
        assert [row.received_at - START for row in history.refused("adt")] == [12, 11, 10, 9, 8]
        assert len(history.refused("oru")) == 1
    monkeypatch.setattr(frames, "MOST_BYTES", 1000)
    await site.store.refuse(frame(13, b"x" * 500))
    await site.store.refuse(frame(14, b"x" * 495))
    await site.store.refuse(frame(15, b"x" * 2000))  # larger than the ring: kept alone
    with History(site.url) as history:
        assert [row.received_at - START for row in history.refused("adt")] == [15]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"], indirect=True)
async def test_i9_a_flood_of_refused_frames_is_not_held_in_memory(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MOST_BYTES", 10_000)
    answers = [site.store.refuse(frame(n, b"x" * 1000)) for n in range(50)]
    refused = [answer for answer in answers if answer.called]
    assert len(refused) == 39
    for answer in refused:
        await failing(answer, StoreFull)
    await gatherResults([answer for answer in answers if answer not in refused])
    await site.store.refuse(frame(51))


# ── unknown codes ──────────────────────────────────────────────────────────────────────────────────────────────────


async def unknown(site: Site, *codes: tuple[str, str, str], content: bytes = b"MSH|1", **other: Any) -> int:
    taken = await site.take(content)
    facts = {"state": MessageState.PARKED, "reason": "no row", "park_reason": "unknown_code"} | other
    await site.store.translated([translation(taken.message_id, unknown=codes, **facts)])
    return taken.message_id


async def test_each_unknown_code_is_one_row_and_knows_who_waits(site: Site) -> None:
    first = await unknown(site, ("departments", "X1", "FT1-13.1"))
    site.now += 50
    second = await unknown(site, ("departments", "X1", "FT1[2]-13.1"), ("payers", "X1", "IN1-3"), content=b"2")
    third = await unknown(site, ("departments", "X1", "FT1-13.1"), content=b"3")
    await site.reopen()
    with History(site.url) as history:
        departments, payers = history.unknown_codes()
        assert departments == ("departments", "X1", 3, 3, START, START + 50, "FT1-13.1")
        assert payers == ("payers", "X1", 1, 1, START + 50, START + 50, "IN1-3")
        assert history.waiting_for("departments", "X1") == [first, second, third]
        assert history.waiting_for("departments", "X1", limit=1, after=first) == [second]
        assert history.waiting_for("payers", "X1") == [second]
        assert history.waiting_for("payers", "X2") == history.waiting_for("never", "X1") == []


async def test_released_and_cancelled_messages_wait_for_nothing(site: Site) -> None:
    code = ("departments", "X1", "FT1-13.1")
    numbers = [await unknown(site, code, content=b"%d" % n) for n in range(3)]
    await site.act(Verb.RELEASE, messages=numbers[:1])
    await site.act(Verb.CANCEL, messages=numbers[1:2])
    site.now += 9
    with History(site.url) as history:
        assert history.waiting_for("departments", "X1") == numbers[2:]
    facts = {"state": MessageState.PARKED, "park_reason": "unknown_code", "unknown": (code,)}
    await site.store.translated([translation(numbers[0], **facts)])  # the row is still missing
    with History(site.url) as history:
        assert history.waiting_for("departments", "X1") == [numbers[0], numbers[2]]
        assert history.unknown_codes() == [("departments", "X1", 2, 4, START, START + 9, "FT1-13.1")]
    await site.act(Verb.RELEASE, messages=numbers)
    await site.store.translated([translation(numbers[0]), translation(numbers[2])])
    with History(site.url) as history:
        assert history.unknown_codes() == [("departments", "X1", 0, 4, START, START + 9, "FT1-13.1")]


async def test_a_code_that_no_index_takes_and_one_that_stops_nothing(site: Site) -> None:
    long = "\N{WHITE SMILING FACE}" * 9000
    one = await unknown(site, ("t", long, "OBX-3\0"), ("t", "a\0b\udcff", "OBX-5"))
    await unknown(site, ("t", "default", "PV1-3"), content=b"2", state=MessageState.TRANSLATED, park_reason="", reason="")
    with History(site.url) as history:
        assert history.waiting_for("t", long) == history.waiting_for("t", "a\0b\udcff") == [one]
        assert history.waiting_for("t", long[:-1]) == []
        assert {(row.value[:7], row.waiting, row.messages) for row in history.unknown_codes()} == {
            (long[:7], 1, 1),
            ("a\N{REPLACEMENT CHARACTER}b?", 1, 1),
            ("default", 0, 1),
        }


async def test_many_codes_in_one_call(site: Site) -> None:
    taken = await gatherResults([site.store.take(admission(b"%d" % n)) for n in range(40)])
    facts = {"state": MessageState.PARKED, "park_reason": "unknown_code"}
    await site.store.translated(
        [translation(one.message_id, unknown=(("t", str(n % 4), "P"),), **facts) for n, one in enumerate(taken)]
    )
    with History(site.url) as history:
        assert sorted((row.value, row.waiting) for row in history.unknown_codes()) == [(str(n), 10) for n in range(4)]


# ── before an action ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_plan_says_what_an_action_would_find(site: Site) -> None:
    first = await site.record(outgoing("1", "a"), outgoing("2", "b", destination="crm"))
    second = await site.record(outgoing("3", "a"), outgoing("4", "c", "d"))
    one, four = [each for each in await site.due(window=1) if each.content in (b"1", b"4")]
    await site.deliver(one)
    await site.park(four)
    await site.act(Verb.RESEND, deliveries=[one.id])
    with History(site.url) as history:
        newer, older = history.planned([first.message_id, second.message_id, 1])
        assert (newer.row.id, older.row.id) == (second.message_id, first.message_id)
        found = [(each.destination, each.state, each.order_key) for each in older.deliveries]
        assert found == [("erp", "delivered", "a"), ("crm", "waiting", "b"), ("erp", "waiting", "a")]
        assert [(each.state, each.order_key) for each in newer.deliveries] == [("waiting", "a"), ("parked", "c")]
        again, lane = older.deliveries[2], older.deliveries[0].lane
        assert (again.resend_of, again.lane) == (one.id, lane)
        (newest,) = history.newest([lane], 0, ["waiting"])
        assert newest == {lane: (again.id, older.row.id)}
        assert list(history.newest([lane], 0, ["delivered"])) == [{lane: (one.id, older.row.id)}]
        assert list(history.newest([lane], again.id, ["waiting"])) == []
        assert history.messages_of([four.id, again.id]) == {older.row.id, newer.row.id}
        contents = {each.content for planned in (older, newer) for each in planned.deliveries}
        assert history.with_content([*contents, 1]) == contents


async def test_what_is_parked_and_what_is_in_doubt(site: Site) -> None:
    parked_ = {"state": MessageState.PARKED, "park_reason": "mapping"}
    first = await site.record(reason="mapping: no ward", **parked_)
    site.now += 5
    second = await site.record(reason="mapping: no ward", **parked_)
    third = await site.record(reason="no row", **parked_ | {"park_reason": "unknown_code"}, channel="oru")
    await site.record(outgoing("1", "a"), outgoing("2", "b"), outgoing("3", "c"))
    refused, unanswered, fine = await site.due()
    await site.park(refused, "AE: no account")
    await site.settle(retried(unanswered, site.now + 9))
    await site.deliver(fine)
    with History(site.url) as history:
        assert history.parked_messages() == [
            ("adt", "", "mapping", "mapping: no ward", 2, first.message_id, second.message_id, START, START + 5, 0),
            ("oru", "", "unknown_code", "no row", 1, third.message_id, third.message_id, START + 5, START + 5, 0),
        ]
        assert history.parked_message_ids("adt", "mapping") == [
            (first.message_id, "mapping: no ward"),
            (second.message_id, "mapping: no ward"),
        ]
        assert history.parked_message_ids("adt", "poison") == history.parked_message_ids("never", "mapping") == []
        (delivery,) = history.parked_deliveries()
        assert delivery[:5] == ("adt", "erp", "refused", "AE: no account", 1)
        assert (delivery.first, delivery.in_doubt) == (refused.id, 0)
        assert history.parked_delivery_ids("adt", "erp") == [(refused.id, "AE: no account")]
        (doubt,) = history.in_doubt()
        assert (doubt.delivery_id, doubt.state, doubt.attempts, doubt.destination) == (unanswered.id, "waiting", 1, "erp")
    await site.act(Verb.REPLAY, messages=[first.message_id])
    with History(site.url) as history:
        assert history.replayed([first.message_id, second.message_id]) == {first.message_id}
