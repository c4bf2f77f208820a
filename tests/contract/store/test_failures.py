"""Each way a database can fail, and who hears of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults

from engine.errors import StoreBusy, StoreError, StoreFull
from engine.events import Committed
from engine.model import DestinationState
from engine.store.driver import Driver, Fault
from tests.contract.store.helpers import Site, admission, failing, outgoing, retried, translation


def driver_of(site: Site) -> Any:
    return site.store._writer._committer.ledger.driver


async def test_group_commit_answers_everybody_and_tells_of_each_commit(site: Site) -> None:
    site.events.clear()
    taken = await gatherResults([site.store.take(admission(b"%d" % n)) for n in range(700)])
    assert len({one.message_id for one in taken}) == 700
    commits = [one for one in site.events if isinstance(one, Committed)]
    assert sum(one.items for one in commits) == 700
    assert max(one.items for one in commits) <= 500
    assert len(commits) <= 10 if site.threaded else len(commits) == 700


async def test_a_poison_row_hurts_only_its_own_caller(site: Site, kind: str) -> None:
    good = [site.store.take(admission(b"%d" % n)) for n in range(3)]
    poison = site.store.take(admission(b"x", received_at=1 << 70))
    more = [site.store.take(admission(b"%d" % n)) for n in range(3, 6)]
    error = await failing(poison, Exception)
    assert not isinstance(error, StoreError)
    taken = await gatherResults([*good, *more])
    numbers = [one.message_id for one in taken]
    assert sorted(set(numbers)) == numbers
    assert site.failures == []
    assert len(await site.store.untranslated("adt", 0, 100)) == 6


async def test_a_poison_translation_takes_nothing_with_it(site: Site) -> None:
    taken = await gatherResults([site.store.take(admission(b"%d" % n)) for n in range(3)])
    one, two, three = (each.message_id for each in taken)
    bad = outgoing("2", "b")._replace(content=7)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        site.store.translated([translation(two, bad)])
    worse = outgoing("2", "b")._replace(kind=["no text"])  # type: ignore[arg-type]
    answers = [
        site.store.translated([translation(one, outgoing("1", "a"))]),
        failing(site.store.translated([translation(two, outgoing("2a", "b"), worse)]), Exception),
        site.store.translated([translation(three, outgoing("3", "c"))]),
    ]
    for answer in answers:
        await answer
    assert [message.id for message in await site.store.untranslated("adt", 0, 9)] == [two]
    assert await site.drain() == [b"1", b"3"]


async def test_after_closing_nothing_succeeds(site: Site) -> None:
    last = site.store.take(admission(b"submitted before"))
    closing = site.store.close()
    assert (await last).state == "received"
    await closing
    store = site.store
    for answer in (
        store.take(admission()),
        store.translated([]),
        store.take_due("erp", 1, 1),
        store.attempted([]),
        store.untranslated("adt", 0, 1),
        store.next_due("erp"),
        store.steer("erp", DestinationState.PAUSED),
    ):
        assert "closed" in str(await failing(answer, StoreError))
    assert site.failures == []


@pytest.mark.parametrize("kind", ["sqlite", "sqlite-inline"], indirect=True)
async def test_f13_a_full_disk_refuses_the_batch_and_the_engine_goes_on(site: Site) -> None:
    connection: sqlite3.Connection = driver_of(site).connection
    await site.record(outgoing("0", "a"))
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    error = await failing(site.take(b"x" * 100_000, b"k"), StoreFull)
    assert "no room" in str(error)
    (one,) = await site.due()
    await site.deliver(one)  # small rows still fit
    assert site.failures == []
    connection.execute("PRAGMA max_page_count = 1073741823")
    taken = await site.take(b"x" * 100_000, b"k")
    assert not taken.duplicate


@pytest.mark.parametrize("kind", ["sqlite", "sqlite-inline"], indirect=True)
async def test_f19_a_database_held_by_someone_else_is_busy_not_broken(site: Site) -> None:
    driver_of(site).connection.execute("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(driver_of(site).path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    await failing(site.take(b"1", b"k"), StoreBusy)
    other.execute("ROLLBACK")
    other.close()
    assert not (await site.take(b"1", b"k")).duplicate
    assert site.failures == []


def fail_at(driver: Any, word: str, code: int, when: Callable[[], bool] = lambda: True) -> None:
    """From now on, statements that begin with `word` fail as SQLite does."""
    real = driver._execute

    def execute(text: str, *values: Any) -> Any:
        if text.startswith(word) and when():
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = code
            raise error
        return real(text, *values)

    driver._execute = execute


@pytest.mark.parametrize("kind", ["sqlite", "sqlite-inline"], indirect=True)
@pytest.mark.parametrize(
    "code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_READONLY]
)
async def test_i17_f09_after_a_failed_flush_nothing_succeeds(site: Site, code: int) -> None:
    await site.take(b"before")
    fail_at(driver_of(site), "COMMIT", code)
    waiting: list[Deferred[Any]] = [site.store.take(admission(b"%d" % n)) for n in range(20)]
    for one in waiting:
        await failing(one, StoreError)
    assert len(site.failures) == 1
    assert isinstance(site.failures[0], StoreError)
    for answer in (site.store.take(admission()), site.store.take_due("erp", 1, 1), site.store.untranslated("adt", 0, 9)):
        await failing(answer, StoreError)
    assert len(site.failures) == 1


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_f17_a_damaged_page_stops_the_engine(site: Site, tmp_path: Path) -> None:
    for n in range(200):
        site.store.take(admission(b"%d" % n + b"x" * 2000, b"%d" % n))
    await site.take()
    await site.close()
    path = tmp_path / "store.db"
    data = bytearray(path.read_bytes())
    for page in range(20, len(data) // 4096):
        data[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    path.write_bytes(data)
    try:
        site.open()
    except StoreError:
        return  # seen at opening: refused
    for n in range(200):
        await failing(site.take(b"%d" % n + b"x" * 2000, b"%d" % n), StoreError)
        if site.failures:
            break
    assert len(site.failures) == 1


@pytest.mark.parametrize("kind", ["sqlite-inline"], indirect=True)
async def test_a_transaction_that_fails_leaves_memory_as_it_was(site: Site) -> None:
    """Every verb is made to fail once at its commit, and then done again: with the same result as if it had not failed."""
    driver = driver_of(site)
    broken = [False]
    real = driver._execute
    fail_at(driver, "COMMIT", sqlite3.SQLITE_FULL, lambda: broken[0])

    async def twice(verb: Callable[[], Deferred[Any]]) -> Any:
        broken[0] = True
        await failing(verb(), StoreFull)
        broken[0] = False
        return await verb()

    taken = await twice(lambda: site.store.take(admission(b"m", b"k", channel="new channel")))
    assert not taken.duplicate
    products = [outgoing("0", "a"), outgoing("1", "a"), outgoing("2", "a", "b"), outgoing("3", "b")]
    await twice(lambda: site.store.translated([translation(taken.message_id, *products, channel="new channel")]))
    one, two = await twice(lambda: site.store.take_due("erp", 9, 16))
    assert (one.content, two.content) == (b"0", b"1")
    await twice(lambda: site.store.attempted([retried(one, site.now)]))
    assert await site.due() == []
    await twice(lambda: site.store.steer("erp", DestinationState.PAUSED))
    await twice(lambda: site.store.steer("erp", DestinationState.RUNNING))
    await site.deliver(two)
    driver._execute = real
    assert await site.drain() == [b"0", b"2", b"3"]
    assert site.failures == []


def test_faults_are_told_apart(site: Site, kind: str) -> None:
    driver: Driver = driver_of(site)
    assert driver.fault(ValueError()) is Fault.DATA
    assert driver.fault(OSError()) is Fault.BROKEN
    assert driver.fault(MemoryError()) is Fault.BROKEN
    if kind == "postgresql":
        from psycopg import errors

        states = {
            Fault.DATA: (errors.UniqueViolation, errors.NumericValueOutOfRange, errors.CharacterNotInRepertoire),
            Fault.FULL: (errors.DiskFull,),
            Fault.BUSY: (errors.LockNotAvailable, errors.TooManyConnections),
            Fault.RETRY: (errors.SerializationFailure, errors.DeadlockDetected),
            Fault.LOST: (errors.AdminShutdown, errors.CrashShutdown, errors.ConnectionFailure),
            Fault.BROKEN: (errors.IoError, errors.DataCorrupted, errors.IndexCorrupted),
        }
        for fault, kinds in states.items():
            for one in kinds:
                assert driver.fault(one()) is fault, one
