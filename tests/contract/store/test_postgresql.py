"""What only a server can do: go away in the middle of a commit, come back as another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import errors

from engine.errors import StoreBusy, StoreError, StoreFull
from engine.store import postgres
from engine.store.history import History, Query
from tests.contract.store.helpers import Site, admission, failing, outgoing, retried, translation

pytestmark = pytest.mark.parametrize("kind", ["postgresql"], indirect=True)


def driver_of(site: Site) -> postgres.PostgresDriver:
    driver = site.store._writer._committer.ledger.driver
    assert isinstance(driver, postgres.PostgresDriver)
    return driver


def cut(site: Site) -> None:
    """The server ends the writer's session."""
    pid = driver_of(site)._connection.info.backend_pid
    with psycopg.connect(site.url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))


def around_commit(site: Site, before: Callable[[], None] | None, after: Callable[[], None] | None) -> None:
    """The next COMMIT has something happen just before it is sent, or after it was done and before its answer arrives."""
    driver = driver_of(site)
    connection = driver._connection
    real = connection.execute

    def execute(query: Any, *values: Any, **options: Any) -> Any:
        if query != "COMMIT":
            return real(query, *values, **options)
        connection.execute = real  # type: ignore[method-assign]
        if before:
            before()
        result = real(query, *values, **options)
        if after:
            assert driver._pipeline is not None
            driver._pipeline.sync()
            after()
            raise errors.ConnectionFailure("the answer was lost")
        return result

    connection.execute = execute  # type: ignore[assignment,method-assign]


async def test_f22_a_commit_whose_answer_was_lost_is_read_back(site: Site) -> None:
    await site.take(b"before")
    around_commit(site, None, lambda: cut(site))
    taken = await site.take(b"one", b"k")
    with History(site.url) as history:
        assert history.message(taken.message_id).content == b"one"  # type: ignore[union-attr]
        assert len(history.find(Query(control_id="C1"))) == 2
    assert await site.take(b"one", b"k") == taken._replace(duplicate=True)
    assert site.failures == []


async def test_f22_a_commit_that_did_not_happen_is_done_again(site: Site) -> None:
    await site.take(b"before")
    around_commit(site, lambda: cut(site), None)
    taken = await site.take(b"one", b"k")
    with History(site.url) as history:
        assert history.find()[0].id == taken.message_id
        assert len(history.find()) == 2
    assert site.failures == []


async def test_every_verb_survives_a_lost_answer_and_is_done_once(site: Site) -> None:
    for before, after in ((None, lambda: cut(site)), (lambda: cut(site), None)):
        around_commit(site, before, after)
        taken = await site.take(b"%r" % bool(before))
        around_commit(site, before, after)
        await site.store.translated([translation(taken.message_id, outgoing("x", "a"), outgoing("y", "a"))])
        around_commit(site, before, after)
        one, two = await site.due()
        assert (one.content, two.content, one.attempts) == (b"x", b"y", 1)
        around_commit(site, before, after)
        await site.deliver(one)
        await site.deliver(two)
        assert await site.due() == []
    assert site.failures == []


async def test_f21_a_session_ended_between_commits_is_replaced(site: Site) -> None:
    await site.record(outgoing("0", "a"))
    cut(site)
    assert await site.drain() == [b"0"]
    assert site.failures == []
    with pytest.raises(StoreBusy):
        Site(site.url, threaded=False).open()


async def test_f23_a_database_that_went_back_in_time_is_refused(site: Site) -> None:
    await site.take(b"one")
    with psycopg.connect(site.url, autocommit=True) as other:
        other.execute("UPDATE meta SET commits = commits - 1")
    cut(site)
    error = await failing(site.take(b"two"), StoreError)
    assert "not the one we wrote to" in str(error)
    assert len(site.failures) == 1


async def test_an_engine_that_lost_its_lock_to_another_changes_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "PATIENCE", 0.2)
    await site.record(outgoing("0", "a"))
    (one,) = await site.due()
    cut(site)
    other = Site(site.url, threaded=False)
    other.open()
    assert other.found.in_doubt == 1
    await failing(site.settle(retried(one, 0)), StoreError)
    assert len(site.failures) == 1
    assert [each.attempts for each in await other.due()] == [2]
    await other.close()


async def test_an_engine_whose_store_was_opened_by_another_meanwhile_stops(site: Site) -> None:
    await site.record(outgoing("0", "a"))
    cut(site)
    other = Site(site.url, threaded=False)
    other.open()
    await other.close()
    error = await failing(site.take(), StoreError)
    assert "another engine has opened" in str(error)


async def test_f25_a_full_disk_at_the_server_refuses_the_batch(site: Site) -> None:
    driver = driver_of(site)
    connection = driver._connection
    real = connection.execute

    def execute(query: Any, *values: Any, **options: Any) -> Any:
        if b"INSERT INTO message" in (query if isinstance(query, bytes) else query.encode()):
            raise errors.DiskFull("could not extend file")
        return real(query, *values, **options)

    connection.execute = execute  # type: ignore[assignment,method-assign]
    await failing(site.store.take(admission()), StoreFull)
    connection.execute = real  # type: ignore[method-assign]
    assert (await site.take()).state == "received"
    assert site.failures == []


async def test_the_reader_finds_its_way_back(site: Site) -> None:
    assert await site.store.next_due("erp") == 0
    await site.record(outgoing("0", "a"))
    reader: Any = site.store._reads._reader
    with psycopg.connect(site.url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (reader._connection.info.backend_pid,))
    assert await site.store.next_due("erp") > 0


async def test_a_read_while_the_server_is_away_fails_for_now_only(site: Site) -> None:
    taken = await site.take()
    await site.reopen()  # the message is in the tables only
    reader: Any = site.store._reads._reader
    with psycopg.connect(site.url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (reader._connection.info.backend_pid,))
    url, reader._url = reader._url, "postgresql://nobody@127.0.0.1:1/nowhere"
    for read in (lambda: site.store.untranslated("adt", 0, 9), lambda: site.store.next_due("erp")):
        assert "cannot be read now" in str(await failing(read(), StoreBusy))
    assert site.failures == []
    reader._url = url
    assert [one.id for one in await site.store.untranslated("adt", 0, 9)] == [taken.message_id]
