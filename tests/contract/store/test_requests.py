"""What people on other hosts ask: taken once, by the engine that has the store, and answered once."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from engine.store.migrations import engine_for
from engine.store.requests import ANSWERS_KEPT, ASK_REQUEST, FORGOTTEN, MOST
from tests.contract.store.helpers import Site, number


def insert(site: Site, token: str, verb: str = "status", arguments: str = "{}") -> None:
    """As the asker does, on a connection of its own."""
    engine = engine_for(site.url)
    with engine.begin() as connection:
        text = ASK_REQUEST.postgres if site.url.startswith("postgres") else ASK_REQUEST.sqlite
        connection.exec_driver_sql(text, (token, "ann", verb, arguments))
    engine.dispose()


def change(site: Site, text: str) -> None:
    engine = engine_for(site.url)
    with engine.begin() as connection:
        connection.execute(sa.text(text))
    engine.dispose()


def row(site: Site, token: str) -> Any:
    engine = engine_for(site.url)
    with engine.begin() as connection:
        found = connection.execute(
            sa.text("SELECT epoch, answered_at, answer FROM request WHERE token = :t"), {"t": token}
        ).one_or_none()
    engine.dispose()
    return found


async def test_a_request_is_taken_once_and_answered_once(site: Site) -> None:
    store = site.store
    assert await store.requests() == []
    for _ in range(2):
        insert(site, "one", "pause", '{"destination":"erp"}')
    (asked,) = await store.requests()
    assert (asked.token, asked.verb, asked.arguments, asked.who, asked.epoch) == (
        "one",
        "pause",
        '{"destination":"erp"}',
        "ann",
        0,
    )
    assert 0 <= asked.age < 60_000_000
    assert await store.take_request(asked) > 0
    assert await store.take_request(asked) == 0, "somebody has it"
    await store.answer_request("one", '{"result":"done"}')
    assert row(site, "one")[2] == '{"result":"done"}'
    await store.answer_request("one", '{"result":"again"}')
    assert row(site, "one")[2] == '{"result":"done"}'
    assert await store.requests() == []


async def test_one_that_was_withdrawn_is_not_taken(site: Site) -> None:
    insert(site, "one")
    (asked,) = await site.store.requests()
    change(site, "DELETE FROM request")
    assert await site.store.take_request(asked) == 0
    await site.store.answer_request("one", "{}")
    assert row(site, "one") is None


async def test_what_an_engine_took_and_did_not_answer_is_found_by_the_next(site: Site) -> None:
    insert(site, "one")
    (asked,) = await site.store.requests()
    first = await site.store.take_request(asked)
    await site.reopen()
    (left,) = await site.store.requests()
    assert left.epoch == first
    await site.store.answer_request("one", "{}")
    assert row(site, "one")[1] == 0, "it is not this engine's"
    assert await site.store.take_request(left) == first + 1
    await site.store.answer_request("one", '{"error":"?"}')
    assert row(site, "one")[2] == '{"error":"?"}'


async def test_those_that_nobody_waits_for_any_more_stand_in_nobody_s_way(site: Site) -> None:
    """Askers that died while no engine ran have withdrawn nothing."""
    for one in range(MOST + 1):
        insert(site, f"dead {one}")
    change(site, f"UPDATE request SET asked_at = asked_at - {FORGOTTEN} - 1")
    insert(site, "alive")
    (asked,) = await site.store.requests()
    assert asked.token == "alive"
    await site.store.take_request(asked)
    await site.store.answer_request("alive", "{}")
    assert number(site, "SELECT count(*) FROM request") == 1


async def test_what_was_asked_is_not_kept_beyond_its_answer(site: Site) -> None:
    """It may be a message."""
    insert(site, "one", "submit", '{"content":"TVNI"}')
    (asked,) = await site.store.requests()
    await site.store.take_request(asked)
    assert number(site, "SELECT count(*) FROM request WHERE arguments = ''") == 0
    await site.store.answer_request("one", '{"result":"done"}')
    assert number(site, "SELECT count(*) FROM request WHERE arguments = '' AND verb = 'submit'") == 1


async def test_answers_are_kept_for_a_day(site: Site) -> None:
    for token in ("one", "two"):
        insert(site, token)
        (asked,) = await site.store.requests()
        await site.store.take_request(asked)
        await site.store.answer_request(token, "{}")
        site.now += ANSWERS_KEPT + 1
    assert number(site, "SELECT count(*) FROM request") == 1
