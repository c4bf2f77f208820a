"""What was made of many messages at once: everything that `translate` gave, as it gave it."""

from __future__ import annotations

import pytest

from engine.model import GATE, MessageState, Verb
from engine.store import produced
from engine.store.history import History
from engine.store.produced import Produced
from engine.store.schema import CHUNK
from tests.contract.store.helpers import Site, outgoing, translation


def read(site: Site) -> list[Produced]:
    with History(site.url) as history:
        rows = history.find()
        found = [one for slice_ in history.produced(rows) for one in slice_]
        assert [one.row for one in found] == rows
        return found


async def test_outgoings_come_back_as_translate_gave_them(site: Site) -> None:
    gate = f"{GATE}0000000001 one two"
    made = (
        outgoing(b"<a>", "A", "B", kind="charge/v1", action="create", idempotency_key="k", identity="1-1"),
        outgoing(b"<b>", "")._replace(route="second", content_type="text/plain", identity="1-2"),
        outgoing(b"<c>", "C", gate)._replace(route="third", identity="1-3"),
    )
    taken = await site.record(*made, content=b"what came")
    (found,) = read(site)
    assert found.row.id == taken.message_id
    assert found.content == b"what came"
    assert found.whole
    assert [one._replace(order_keys=()) for one in found.outgoings] == [one._replace(order_keys=()) for one in made]
    assert [set(one.order_keys) for one in found.outgoings] == [{"A", "B"}, {""}, {"C"}]


async def test_large_contents_and_those_that_are_kept_once_come_whole(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(produced, "MOST_BYTES", CHUNK)
    large = bytes(range(256)) * (2 * CHUNK // 256) + b"end"
    for content in (b"small", large, b"as it came"):
        await site.record(outgoing(content), content=content)
    found = read(site)
    assert [one.content for one in found] == [b"as it came", large, b"small"]
    assert [one.outgoings[0].content for one in found] == [b"as it came", large, b"small"]
    with History(site.url) as history:
        assert [len(slice_) for slice_ in history.produced(history.find())] == [2, 1]


async def test_what_somebody_had_sent_again_was_not_made_again(site: Site) -> None:
    taken = await site.record(outgoing(b"once"))
    (one,) = site.deliveries(taken.message_id)
    await site.drain()
    await site.act(Verb.RESEND, deliveries=(one.id,))
    assert len(site.deliveries(taken.message_id)) == 2
    (found,) = read(site)
    assert [each.content for each in found.outgoings] == [b"once"]


async def test_messages_without_any_are_there_too(site: Site) -> None:
    rejected = await site.take(b"bad", state=MessageState.REJECTED, reason="no")
    parked = await site.take(b"waits")
    await site.store.translated(
        [translation(parked.message_id, state=MessageState.PARKED, reason="mapping: x", keys=(("mrn", "1"),))]
    )
    found = {one.row.id: one for one in read(site)}
    assert found[rejected.message_id].outgoings == ()
    assert found[rejected.message_id].content == b"bad"
    assert found[parked.message_id].keys == (("mrn", "1"),)
