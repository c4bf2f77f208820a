"""Content that is not what was stored is never sent and never translated: the engine stops."""

from __future__ import annotations

import sqlite3

import pytest

from engine.errors import StoreError
from engine.model import Verb
from tests.contract.store.helpers import Site, contents, failing, outgoing

BODY = b"MSH|" + b"x" * (1 << 20)  # in two pieces


def spoil(site: Site, table: str, owner: int) -> None:
    """One bit, as a bad disk or bad memory would."""
    driver = site.store._writer._committer.ledger.driver
    changed = "set_byte(content, 0, 99)" if site.url.startswith("postgres") else "CAST('c' || substr(content, 2) AS BLOB)"
    driver.execute(f"UPDATE {table} SET content = {changed} WHERE owner = {owner}")


async def stopped(site: Site) -> None:
    for answer in (site.store.take_due("erp", 1, 1), site.take(b"other"), site.store.untranslated("adt", 0, 1)):
        await failing(answer, StoreError)
    assert len(site.failures) == 1
    await site.close()
    site.failures.clear()


@pytest.mark.parametrize("table", ["content", "chunk"])
@pytest.mark.parametrize("own", [True, False], ids=["translated", "passed on"])
async def test_i17_a_damaged_delivery_is_not_sent(site: Site, table: str, own: bool) -> None:
    product = b"<" + BODY if own else BODY
    taken = await site.record(outgoing(product, "a", identity="X-1"), content=BODY)
    (row,) = site.deliveries(taken.message_id)
    await site.reopen()  # what is still in memory is not read
    spoil(site, table, row.id if own else taken.message_id)
    error = await failing(site.due(), StoreError)
    assert f"delivery {row.id} of message" in str(error)
    assert "not what was stored" in str(error)
    await stopped(site)
    site.open()
    assert site.found.in_doubt == 0  # it was never begun
    assert (await site.act(Verb.CANCEL, deliveries=[row.id])).deliveries == 1
    await site.record(outgoing("next", "a"))
    assert contents(await site.due()) == [b"next"]


async def test_i17_a_damaged_message_is_not_translated(site: Site, kind: str) -> None:
    taken = await site.take(BODY)
    await site.reopen()
    spoil(site, "chunk", taken.message_id)
    error = await failing(site.store.untranslated("adt", 0, 9), StoreError)
    assert "the content of message 3" in str(error)
    if site.threaded:
        await failing(site.take(b"behind it"), StoreError)
    await stopped(site)


async def test_i17_lost_content_is_damage_too(site: Site) -> None:
    await site.record(outgoing("1", "a"))
    await site.reopen()
    site.store._writer._committer.ledger.driver.execute("DELETE FROM content")
    await failing(site.due(), StoreError)
    await stopped(site)


async def test_sound_content_passes(site: Site) -> None:
    taken = await site.record(outgoing(BODY, "a"), outgoing(b"", "b"), outgoing(b"changed", "c"), content=BODY)
    await site.take(b"")
    await site.reopen()
    assert sorted(map(len, contents(await site.due()))) == sorted([len(BODY), 0, 7])
    assert [one.content for one in await site.store.untranslated("adt", taken.message_id, 9)] == [b""]
    assert not site.failures


@pytest.mark.parametrize("kind", ["sqlite", "sqlite-inline"])  # PostgreSQL's server ends the connection
async def test_i17_a_database_that_cannot_be_read_any_more_stops_the_engine(site: Site) -> None:
    await site.record(outgoing("1", "a"))
    malformed = sqlite3.DatabaseError("database disk image is malformed")
    malformed.sqlite_errorcode = sqlite3.SQLITE_CORRUPT

    def rows(*_: object) -> None:
        raise malformed

    site.store._reads._reader.rows = rows  # type: ignore[method-assign,union-attr]
    await failing(site.store.verdicts([1]), sqlite3.DatabaseError)
    if site.threaded:
        await failing(site.take(b"behind it"), StoreError)
    await stopped(site)
