"""A store as the release of schema 1 left it, with everything in it, opened by this one.

`schema_1.json` holds the rows that release wrote: deliveries delivered, parked, waiting and under way, in one lane and in
several; a parked, a received, a duplicate and a rejected message; and a route and a business key whose names are words of ours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import op

from engine.model import Verb
from engine.store import schema
from engine.store.history import History, Query
from engine.store.migrations import engine_for, upgrade
from tests.contract.store.helpers import Site, contents, ids, number, outgoing, translation


def old_store(url: str) -> None:
    upgrade(url, "0001")
    tables = json.loads((Path(__file__).parent / "schema_1.json").read_text())
    engine = engine_for(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM alembic_version")
        for table, found in tables.items():
            rows = [
                {
                    column: bytes.fromhex(cell["hex"]) if isinstance(cell, dict) else cell
                    for column, cell in zip(found["columns"], row, strict=True)
                }
                for row in found["rows"]
            ]
            connection.execute(sa.insert(sa.table(table, *map(sa.column, found["columns"]))), rows)
    engine.dispose()


@pytest.fixture(params=["0001", "0002"])
def old(kind: str, url: str, spin: Any, request: pytest.FixtureRequest) -> Any:
    """Also brought to schema 2 by the release that had it, and opened by this one."""
    old_store(url)
    upgrade(url, request.param)
    site = Site(url, not kind.endswith("inline"))
    site.open()
    yield site
    spin(site.close())


def row_of(site: Site, identity: str) -> Any:
    with History(site.url) as history:
        for message in history.find():
            for row in history.deliveries(message.id):
                if row.identity == identity:
                    return row
    raise AssertionError(identity)


async def test_i13_everything_that_waited_goes_out_in_order(old: Site) -> None:
    assert old.found[:2] == (2, 1)
    assert number(old, "SELECT schema FROM meta") == schema.SCHEMA
    keys = {name: row_of(old, name).order_key for name in ("ID-waits", "ID-merge waits", "ID-plain waits", "ID-delivered")}
    assert keys == {"ID-waits": "a", "ID-merge waits": "b", "ID-plain waits": "", "ID-delivered": ""}
    with History(old.url) as history:
        assert history.order_keys(row_of(old, "ID-merge waits").id) == ["b", "a"]
        assert [row.kind for row in history.find(Query(state="duplicate"))] == ["ADT^A01"]
        assert [row.reason for row in history.find(Query(state="rejected"))] == ["PID-3"]
    begun = await old.due()
    assert contents(begun) == [b"waits", b"waits too", b"plain waits", b"same"]
    assert [one.in_doubt for one in begun] == [True, False, True, False]
    for one in begun:
        await old.deliver(one)
    assert await old.drain() == [b"merge waits"]
    (received,) = await old.store.untranslated("adt", 0, 9)
    await old.store.translated([translation(received.id, outgoing("new", "a"))])
    assert await old.drain() == [b"new"]


async def test_i13_an_upgrade_that_is_broken_off_has_not_begun(
    kind: str, url: str, spin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All steps are one transaction: what is killed in the last one leaves the store to the release that wrote it."""
    old_store(url)
    execute = op.execute

    def killed(text: str) -> None:
        execute(text)
        if text.endswith("= 3"):
            raise KeyboardInterrupt

    site = Site(url, not kind.endswith("inline"))
    with monkeypatch.context() as patched:
        patched.setattr(op, "execute", killed)
        with pytest.raises(KeyboardInterrupt):
            site.open()
    engine = engine_for(url)
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT schema FROM meta").scalar() == 1
        assert not {"tally", "request", "action"} & set(sa.inspect(connection).get_table_names())
    engine.dispose()
    site.open()
    assert site.found[:2] == (2, 1)
    await site.close()


async def test_i13_what_had_parked_is_released_to_its_old_place(old: Site) -> None:
    """Of one that stood in several lanes and has ended, only its own was kept."""
    numbers = [row_of(old, f"ID-{name}").id for name in ("parked", "parked merge", "parked plain")]
    acted = await old.act(Verb.RELEASE, deliveries=numbers)
    assert (acted.deliveries, acted.destinations) == (3, ("erp",))
    begun = await old.due()
    assert contents(begun) == [b"parked", b"parked merge", b"waits", b"waits too", b"parked plain", b"plain waits", b"same"]
    assert begun[1].lane == begun[0].lane
    await old.reopen()
    assert (await old.drain())[:2] == [b"parked", b"parked merge"]
    assert number(old, "SELECT count(*) FROM lane") == number(old, "SELECT count(*) FROM crossing") == 0


async def test_i13_people_can_do_everything_to_what_is_old(old: Site) -> None:
    with History(old.url) as history:
        (parked,) = history.find(Query(state="parked"))
    assert (await old.act(Verb.RELEASE, messages=[parked.id])).messages == 1
    assert len(ids(await old.store.untranslated("adt", 0, 9))) == 2
    delivered, waits = row_of(old, "ID-delivered"), row_of(old, "ID-waits")
    assert (await old.act(Verb.RESEND, deliveries=[delivered.id])).deliveries == 1
    assert (await old.act(Verb.CANCEL, deliveries=[waits.id, row_of(old, "ID-merge waits").id])).deliveries == 2
    assert (await old.act(Verb.REPLAY, messages=[delivered.message_id])).messages == 1
    with History(old.url) as history:
        assert {row.verb for row in history.actions()} == {"release", "resend", "cancel", "replay"}
        assert [row.route for row in history.deliveries(delivered.message_id)] == ["release"] * 5
        assert history.keys(delivered.message_id) == [("cancel", "1")]
    assert await old.drain() == [b"waits too", b"delivered", b"plain waits", b"same"]
