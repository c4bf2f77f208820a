"""Searching, in another process's place: read-only, exact, newest first."""

from __future__ import annotations

import sqlite3

import pytest

from engine.errors import StoreError
from engine.model import Close, DeliveryState, Heading, MessageState, Refused, Settlement
from engine.store import keys, reading
from engine.store.history import History, Query
from tests.contract.store.helpers import START, Site, outgoing, translation

HOUR = 3_600_000_000


@pytest.fixture
def filled(site: Site, spin: object, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(keys, "GATHER", 7)

    async def fill() -> None:
        for n in range(20):
            site.now = START + n * HOUR
            kind = "ADT^A01" if n % 2 else "ADT^A08"
            taken = await site.take(b"%d" % n, channel="adt" if n % 4 else "oru", heading=Heading(kind, f"C{n}", "A|B"))
            channel = "adt" if n % 4 else "oru"
            if n < 18:
                products = [outgoing(f"{n}", f"{n}", destination="erp" if n % 3 else "crm")]
                await site.store.translated(
                    [translation(taken.message_id, *products, channel=channel, keys=(("mrn", str(n % 5)), ("visit", f"V{n}")))]
                )
        one, _, *rest = await site.due("crm")
        await site.settle(Settlement(one, Refused("AE"), Close(DeliveryState.PARKED, "AE: no"), START, START))
        for delivery in rest[:2]:
            await site.deliver(delivery)
        await site.take(b"bad", state=MessageState.REJECTED, reason="PID-3", heading=Heading("ADT^A01", "R1", ""))

    spin(fill())  # type: ignore[operator]
    return site


def found(site: Site, query: Query, limit: int = 50, before: int = 0) -> list[str]:
    with History(site.url) as history:
        return [row.control_id for row in history.find(query, limit, before)]


def test_every_filter(filled: Site) -> None:
    everything = ["R1", *(f"C{n}" for n in reversed(range(20)))]
    assert found(filled, Query()) == everything
    assert found(filled, Query(channel="oru")) == ["C16", "C12", "C8", "C4", "C0"]
    assert found(filled, Query(channel="never")) == []
    assert found(filled, Query(state="received")) == ["C19", "C18"]
    assert found(filled, Query(state="received", channel="adt")) == ["C19", "C18"]
    assert found(filled, Query(state="rejected")) == ["R1"]
    assert found(filled, Query(state="parked")) == []
    assert found(filled, Query(state="nonsense")) == []
    assert found(filled, Query(state="translated"), limit=2) == ["C17", "C16"]
    assert found(filled, Query(kind="ADT^A08"), limit=3) == ["C18", "C16", "C14"]
    for n in (0, 3, 13, 19):
        assert found(filled, Query(control_id=f"C{n}")) == [f"C{n}"]
    assert found(filled, Query(control_id="C")) == []
    assert found(filled, Query(keys=(("mrn", "2"),))) == ["C17", "C12", "C7", "C2"]
    assert found(filled, Query(keys=(("mrn", "2"), ("visit", "V12")))) == ["C12"]
    assert found(filled, Query(keys=(("mrn", "2"), ("visit", "V13")))) == []
    assert found(filled, Query(keys=(("ssn", "2"),))) == []
    assert found(filled, Query(destination="crm")) == ["C15", "C12", "C9", "C6", "C3", "C0"]
    assert found(filled, Query(destination="crm", delivery_state="parked")) == ["C0"]
    assert found(filled, Query(delivery_state="parked")) == ["C0"]
    assert found(filled, Query(destination="erp", delivery_state="parked")) == []
    assert found(filled, Query(delivery_state="delivered")) == ["C9", "C6"]
    assert found(filled, Query(delivery_state="sending")) == ["C15", "C12", "C3"]
    assert found(filled, Query(delivery_state="waiting", destination="erp"), limit=2) == ["C17", "C16"]
    assert found(filled, Query(delivery_state="nonsense")) == []


def test_instants_are_inclusive_and_exact(filled: Site) -> None:
    for since, until, expected in (
        (START + 5 * HOUR, START + 8 * HOUR, ["C8", "C7", "C6", "C5"]),
        (START + 5 * HOUR + 1, START + 8 * HOUR - 1, ["C7", "C6"]),
        (START + 19 * HOUR, 0, ["R1", "C19"]),
        (START + 20 * HOUR, 0, []),
        (0, START, ["C0"]),
        (0, START - 1, []),
    ):
        assert found(filled, Query(since=since, until=until)) == expected


def test_pages_follow_one_another(filled: Site) -> None:
    with History(filled.url) as history:
        seen, before = [], 0
        while page := history.find(Query(channel="adt"), 4, before):
            seen += [row.control_id for row in page]
            before = page[-1].id
        assert seen == found(filled, Query(channel="adt"))
        (row,) = history.find(Query(message_id=before))
        assert row.id == before


def test_counts(filled: Site) -> None:
    with History(filled.url) as history:
        counts = history.counts()
    assert counts.messages == {
        ("adt", "translated"): 13,
        ("oru", "translated"): 5,
        ("adt", "received"): 2,
        ("adt", "rejected"): 1,
    }
    assert counts.deliveries == {("erp", "waiting"): 12, ("crm", "parked"): 1, ("crm", "delivered"): 2, ("crm", "waiting"): 3}
    assert counts.lanes == {"erp": 12, "crm": 3}
    assert counts.oldest == {"erp": START + HOUR, "crm": START + 3 * HOUR}
    assert counts.destinations == {"erp": ("running", ""), "crm": ("running", "")}


def test_what_is_not_there(filled: Site) -> None:
    with History(filled.url) as history:
        assert history.message(5) is None
        assert history.deliveries(5) == []
        assert history.attempts(5) == []
        assert history.content_of_delivery(5) is None
        assert (history.keys(5), history.not_taken(5), history.order_keys(5)) == ([], [], [])


def test_a_reader_sees_what_is_committed_while_the_engine_works(site: Site, spin: object) -> None:
    with History(site.url) as history:
        assert history.find() == []
        spin(site.record(outgoing("x"), content=b"new", channel="brand new"))  # type: ignore[operator]
        assert [row.channel for row in history.find()] == ["brand new"]


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_reader_cannot_write(site: Site) -> None:
    with History(site.url) as history, pytest.raises(sqlite3.OperationalError, match="readonly"):
        history._reader._connection.execute("DELETE FROM message")  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_search_that_takes_too_long_is_cut(filled: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SECONDS", 0.0)
    monkeypatch.setattr(reading, "_STEPS", 1)
    with pytest.raises(StoreError, match=r"narrow it|no Wardline store"):
        found(filled, Query(kind="none"))
