"""I10: what is forgotten, what never is, and that the disk is given back."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.model import Close, DeliveryState, MessageState, Pruned, Refused, Settlement, Walk
from engine.store import duplicates, keys, retention
from engine.store.history import History, Query
from tests.contract.store.helpers import START, Site, number, outgoing, retried, translation

DAY = 86_400_000_000
TABLES = ("message", "content", "chunk", "dedupe", "translation", "fresh_key", "business_key", "run", "delivery", "attempt")


async def forget(site: Site, walk: Walk = Walk.EVERYTHING, before: int = START + DAY, **channels: int) -> Pruned:
    """One whole walk; what it forgot."""
    total = Pruned()
    reached = 0
    while True:
        one = await site.store.prune(walk, {"": before, **channels}, reached, 5)
        total = Pruned(*(a + b for a, b in zip(total[:3], one[:3], strict=True)))
        if not one.reached:
            return total
        reached = one.reached


def rows(site: Site) -> dict[str, int]:
    return {table: count for table in TABLES if (count := number(site, f"SELECT count(*) FROM {table}"))}


async def end(site: Site, refuse: bool = False) -> None:
    while begun := await site.due():
        for one in begun:
            if refuse:
                await site.settle(Settlement(one, Refused("AE"), Close(DeliveryState.PARKED, "AE"), site.now, site.now))
            else:
                await site.deliver(one)


async def test_what_has_ended_goes_with_all_that_belongs_to_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "GATHER", 4)
    monkeypatch.setattr(duplicates, "GATHER", 4)
    for n in range(10):
        taken = await site.take(b"%d" % n + b"x" * 2_000_000 if n == 3 else b"%d" % n, b"key %d" % n, control_id=f"C{n}")
        product = outgoing(b"product %d" % n, "a")
        await site.store.translated([translation(taken.message_id, product, keys=(("mrn", f"{n}"),))])
    await site.take(b"0", b"key 0")  # a duplicate
    await site.take(b"refused", state=MessageState.REJECTED)
    await end(site)
    assert set(rows(site)) == set(TABLES) - {"fresh_key"} or set(rows(site)) == set(TABLES)
    assert (await forget(site))[:2] == (12, 10)
    assert rows(site) == {}
    assert not (await site.take(b"0", b"key 0")).duplicate  # nor does memory know it any more
    await site.reopen()
    assert (await site.take(b"0", b"key 0")).duplicate


async def test_i10_what_waits_is_never_forgotten(site: Site) -> None:
    waiting = await site.record(outgoing("waiting", "a"))
    retrying = await site.record(outgoing("retrying", "b"))
    refused = await site.record(outgoing("refused", "c"), outgoing("delivered", "d"))
    received = await site.take(b"received")
    parked = await site.take(b"parked")
    await site.store.translated([translation(parked.message_id, state=MessageState.PARKED, park_reason="mapping")])
    for one in await site.due():
        if one.content == b"refused":
            await site.settle(Settlement(one, Refused("AE"), Close(DeliveryState.PARKED, "AE"), site.now, site.now))
        elif one.content == b"delivered":
            await site.deliver(one)
        elif one.content == b"retrying":
            await site.settle(retried(one, site.now + DAY))
    before = rows(site)
    assert await forget(site, Walk.CONTENT) == Pruned()
    assert await forget(site) == Pruned()
    assert rows(site) == before
    await site.reopen()
    assert [one.id for one in await site.store.untranslated("adt", 0, 9)] == [received.message_id]
    with History(site.url) as history:
        kept = {row.id for row in history.find(Query())}
    assert kept == {one.message_id for one in (waiting, retrying, refused, received, parked)}


async def test_content_goes_first_and_the_facts_stay(site: Site) -> None:
    taken = await site.record(outgoing("product", "a"), content=b"secret" + b"x" * 1_500_000)
    await end(site)
    assert (await forget(site, Walk.CONTENT)).contents == 2
    assert {"content", "chunk"}.isdisjoint(rows(site))
    with History(site.url) as history:
        facts = history.message(taken.message_id)
        assert facts is not None
        assert (facts.content, facts.row.size) == (b"", 1_500_006)
        (delivery,) = history.deliveries(taken.message_id)
        assert delivery.state == "delivered"
        assert history.attempts(delivery.id)[0].reply == b""
    assert (await forget(site)).messages == 1
    assert rows(site) == {}


async def test_each_channel_has_its_own_time(site: Site) -> None:
    for n, channel in enumerate(("short", "long", "gone")):
        site.now = START + n
        await site.record(outgoing("x", channel), channel=channel)
    await end(site)
    assert (await forget(site, before=0, short=START + DAY, long=START)).messages == 1
    assert number(site, "SELECT count(*) FROM message") == 2
    assert (await forget(site, before=START + DAY, short=0, long=0)).messages == 1
    with History(site.url) as history:
        assert [row.channel for row in history.find(Query())] == ["long"]


async def test_business_keys_go_with_their_message_though_their_run_stays(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "GATHER", 3)
    for n in range(3):
        taken = await site.take(b"%d" % n, control_id=f"C{n}")
        products = [outgoing("x", "a", destination="later" if n == 1 else "erp")]
        await site.store.translated([translation(taken.message_id, *products, keys=(("mrn", f"{n}"),))])
    await end(site)
    await site.take(b"more", control_id="C9")
    assert (await forget(site)).messages == 2
    assert number(site, "SELECT count(*) FROM business_key WHERE key LIKE '%0'") == 0
    assert number(site, "SELECT count(*) FROM business_key WHERE key LIKE '%C1'") == 1
    with History(site.url) as history:
        assert len(history.find(Query(control_id="C1"))) == 1
        assert history.find(Query(control_id="C0")) == []


async def test_one_slice_forgets_no_more_content_than_it_may(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "SLICE_BYTES", 1000)
    for _ in range(4):
        await site.record(outgoing("x", "a"), content=b"y" * 600)
    await end(site)
    first = await site.store.prune(Walk.EVERYTHING, {"": START + DAY}, 0, 100)
    assert 0 < first.messages < 4
    assert first.reached
    second = await site.store.prune(Walk.EVERYTHING, {"": START + DAY}, first.reached, 100)
    assert first.messages + second.messages <= 4


@pytest.mark.parametrize("kind", ["sqlite", "sqlite-inline"], indirect=True)
async def test_the_file_shrinks(site: Site, tmp_path: Path) -> None:
    for n in range(60):
        await site.record(outgoing(b"%d" % n, "a"), content=b"z" * 100_000)
    await end(site)
    kept = await site.record(outgoing("kept", "a"))
    await site.reopen()
    full = (tmp_path / "store.db").stat().st_size
    await forget(site)
    while await site.store.shrink(False):
        pass
    await site.reopen()
    small = (tmp_path / "store.db").stat().st_size
    assert full > 6_000_000
    assert small < full / 10
    while await site.store.shrink(True):
        pass
    await site.reopen()
    assert (tmp_path / "store.db").stat().st_size <= small
    assert number(site, "SELECT count(*) FROM message") == 1
    assert await site.drain() == [b"kept"]
    assert kept.message_id


async def test_a_kill_between_two_slices_leaves_nothing_half_forgotten(site: Site) -> None:
    for n in range(12):
        await site.take(b"%d" % n, b"key %d" % n, state=MessageState.FILTERED, reason="r")
    await site.store.prune(Walk.EVERYTHING, {"": START + DAY}, 0, 5)
    await site.reopen()
    assert number(site, "SELECT count(*) FROM message") == 7
    assert number(site, "SELECT count(*) FROM content") == 7
    assert (await site.take(b"11", b"key 11")).duplicate
    assert not (await site.take(b"0", b"key 0")).duplicate
