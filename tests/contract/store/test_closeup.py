"""One message seen closely: every read is bounded, and served by an index on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from engine.model import GATE, MessageState, Verb
from engine.store import closeup
from engine.store.history import History, Query
from engine.store.reading import SelectReader
from engine.store.schema import CHUNK
from tests.contract.store.helpers import START, Site, outgoing, retried, translation


async def test_content_comes_in_pieces(site: Site) -> None:
    body = bytes(range(256)) * (2 * CHUNK // 256) + b"end"
    taken = await site.record(outgoing(b"product"), content=body)
    with History(site.url) as history:
        assert history.message(taken.message_id, content=False).content == b""  # type: ignore[union-attr]
        for start, length in ((0, 10), (CHUNK - 3, 6), (CHUNK, CHUNK), (2 * CHUNK - 1, 99), (len(body), 5), (0, 0), (-1, 5)):
            expected = body[start : start + length] if start >= 0 else b""
            assert history.piece(taken.message_id, start, length) == expected, (start, length)
        assert b"".join(history.pieces(taken.message_id)) == body
        (one,) = history.deliveries(taken.message_id)
        assert history.owner(one.id) == one.id
        assert history.piece(one.id, 0, 100) == b"product"
        assert history.owner(5) == 0
        assert history.piece(5, 0, 100) is None
        assert list(history.pieces(5)) == []


async def test_what_was_not_changed_is_kept_once(site: Site) -> None:
    taken = await site.record(outgoing(b"as it came"), content=b"as it came")
    (one,) = site.deliveries(taken.message_id)
    with History(site.url) as history:
        assert history.owner(one.id) == taken.message_id


async def test_empty_content_is_there_and_empty(site: Site) -> None:
    taken = await site.take(b"", state=MessageState.REJECTED, reason="nothing in it")
    with History(site.url) as history:
        assert history.piece(taken.message_id, 0, 10) == b""


async def test_attempts_are_read_without_their_answers_and_only_the_newest(site: Site) -> None:
    await site.record(outgoing())
    for n in range(4):
        (one,) = await site.due()
        await site.settle(retried(one, 0)._replace(outcome=retried(one, 0).outcome._replace(reply=b"x" * n)))  # type: ignore[union-attr]
    with History(site.url) as history:
        assert [(row.n, row.reply, row.reply_size) for row in history.attempts(one.id, replies=False, limit=2)] == [
            (3, b"", 2),
            (4, b"", 3),
        ]
        assert [row.n for row in history.attempts(one.id)] == [1, 2, 3, 4]
        assert (history.reply(one.id, 4), history.reply(one.id, 1), history.reply(one.id, 9)) == (b"xxx", b"", None)


async def test_what_a_delivery_waits_behind(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [(await site.record(outgoing(f"{n}", "A"))).message_id for n in range(5)]
    gate = f"{GATE}0000000001 first second"
    after = await site.record(outgoing("first", "B", gate), outgoing("second", "C", gate))
    (head, *_) = site.deliveries(ids[0])
    with History(site.url) as history:

        def stands(message_id: int, n: int = 0) -> list[tuple[str, int, int]]:
            delivery = history.deliveries(message_id)[n]
            return [(row.order_key, row.ahead, row.head_message) for row in history.standing(delivery.id)]

        assert stands(ids[0]) == [("A", 0, ids[0])]
        assert stands(ids[3]) == [("A", 3, ids[0])]
        assert ("C", 0, after.message_id) in stands(after.message_id, 1)
        assert (gate, 1, after.message_id) in stands(after.message_id, 1)
        monkeypatch.setattr(closeup, "AHEAD", 2)
        assert stands(ids[4]) == [("A", 2, ids[0])]
        assert history.standing(5) == []
        begun = (await site.due(room=1))[0]
        assert begun.id == head.id
        assert history.standing(head.id)[0].sending
        await site.deliver(begun)
        assert history.standing(head.id) == []
        state = history.standings()[1]["erp"]
        assert (state.state, state.reason) == ("running", "")


async def test_which_codes_a_parked_message_waits_for(site: Site) -> None:
    taken = await site.take()
    unknown = (("departments", "ZZ", "FT1-13.1"),)
    parked = translation(taken.message_id, state=MessageState.PARKED, reason="no row", park_reason="unknown_code")
    await site.store.translated([parked._replace(unknown=unknown)])
    with History(site.url) as history:
        assert history.waited_for(taken.message_id) == [*unknown]
        assert history.waited_for(5) == []
        await site.act(Verb.CANCEL, messages=[taken.message_id])
        assert history.waited_for(taken.message_id) == []


async def test_duplicates_of_a_message(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await site.take(b"one", b"k1")
    other = await site.take(b"two", b"k2")
    again = []
    for n in range(3):
        site.now = START + n
        await site.take(b"two", b"k2")
        await site.take(b"one", b"k1")
    with History(site.url) as history:
        again, complete = history.duplicates(first.message_id)
        assert ([row.received_at for row in again], complete) == ([START, START + 1, START + 2], True)
        assert {row.original for row in again} == {first.message_id}
        assert len(history.duplicates(other.message_id)[0]) == 3
        assert history.duplicates(first.message_id, limit=2) == (again[:2], False)
        monkeypatch.setattr(closeup, "LOOKED_AT", 3)
        assert history.duplicates(first.message_id) == (again[:1], False)


async def test_parts_and_replays_are_bounded(site: Site) -> None:
    one = await site.record(outgoing(), content=b"one")
    for _ in range(3):
        await site.act(Verb.REPLAY, messages=[one.message_id])
    with History(site.url) as history:
        assert len(history.replays(one.message_id)) == 3
        assert len(history.replays(one.message_id, limit=2)) == 2
        assert len(history.deliveries(one.message_id, limit=1)) == 1
        assert history.parts(one.message_id, limit=1) == []


# ── plans ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Watched:
    """A reader that keeps what it was asked."""

    def __init__(self, reader: SelectReader) -> None:
        self.reader, self.dialect, self.asked = reader, reader.dialect, list[tuple[str, tuple[Any, ...]]]()

    def select(self, statement: Any) -> Any:
        self.asked.append(self.reader.compiled(statement))
        return self.reader.select(statement)

    def compiled(self, statement: Any) -> Any:
        return self.reader.compiled(statement)

    def close(self) -> None:
        self.reader.close()


READS = {
    "owner": lambda h, m, d: h.owner(d),
    "piece": lambda h, m, d: h.piece(m, 0, 3 * CHUNK),
    "reply": lambda h, m, d: h.reply(d, 1),
    "attempts": lambda h, m, d: h.attempts(d, replies=False, limit=5),
    "waited_for": lambda h, m, d: h.waited_for(m),
    "standing": lambda h, m, d: h.standing(d),
    "duplicates": lambda h, m, d: h.duplicates(m),
    "previous": lambda h, m, d: h.find(Query(channel="adt", kind="ADT^A01", keys=(("mrn", "1"),)), 1, m),
    "siblings": lambda h, m, d: h.find(Query(keys=(("mrn", "1"),)), 10),
}
WHOLE = {"name", "channel", "destination", "meta", "run"}  # tables that are read whole: small ones


@pytest.mark.parametrize("read", READS)
async def test_every_read_has_its_index(site: Site, read: str) -> None:
    taken = await site.record(outgoing("x", "A", "B"), keys=(("mrn", "1"),))
    delivery = site.deliveries(taken.message_id)[0]
    with History(site.url) as history:
        history._reader = watched = Watched(history._reader)
        READS[read](history, taken.message_id, delivery.id)
    assert watched.asked
    for text, values in watched.asked:
        assert scans(site.url, text, values) == [], text


def scans(url: str, text: str, values: tuple[Any, ...]) -> list[str]:
    """Tables that a statement goes through from one end to the other."""
    if url.startswith("sqlite"):
        import sqlite3

        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]
        found = [step.split()[1] for step in steps if step.startswith("SCAN")]
        within = {"j", "f", "json_each", "CONSTANT"}  # what is fresh: a thousand rows at most
        return [one for one in found if one not in WHOLE | within and not one.startswith(("anon", "(subquery", "near"))]
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET enable_seqscan = off")
        steps = [row[0] for row in connection.execute(f"EXPLAIN {text}".encode(), values)]
    found = [step.split("Seq Scan on ")[1].split()[0] for step in steps if "Seq Scan on" in step]
    return [one for one in found if one not in WHOLE | {"fresh_key"}]
