"""The cursor, what changes later, what is forgotten, and every way to be stopped."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.errors import StoreBusy, StoreError
from engine.model import Verb, Walk
from engine.store.statements import REGISTRY
from engine.textindex import source
from engine.textindex.indexer import DAY
from engine.textindex.service import Service
from engine.textindex.sqlite import SqliteDatabase, index_path
from engine.textindex.tables import FILLING, MAKING, TIDY, Fault
from tests.contract.store.helpers import START, outgoing, parked, retried, translation
from tests.contract.textindex.helpers import VOLUME, Indexed


async def forget(site: Indexed, walk: Walk, before: int) -> None:
    reached = 0
    while True:
        reached = (await site.store.prune(walk, {"": before}, reached, 100)).reached
        if not reached:
            return


# ── what changes later ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_deliveries_and_answers_that_come_later(site: Indexed) -> None:
    taken = await site.take(b"first")
    site.index()
    assert site.find("first") == [taken.message_id]
    await site.store.translated([translation(taken.message_id, outgoing(b"second"))])
    site.index()
    assert site.find("first", "second") == [taken.message_id]
    assert site.watched() == 1
    (delivery,) = await site.due()
    await site.deliver(delivery, b"third")
    site.index()
    assert site.find("first", "second", "third") == site.find("third", stage="answer") == [taken.message_id]
    assert site.watched() == 0
    assert sum(volume.messages for volume in site.volumes()) == 1


async def test_answers_while_it_is_tried_again_and_again(site: Indexed) -> None:
    taken = await site.record(outgoing(b"x"))
    seen = []
    for n in range(1, 10):
        (delivery,) = await site.due()
        await site.settle(retried(delivery, 0, outcome=refused(f"answer{n}")))
        site.index()
        seen += [n for _ in site.find(f"answer{n}")]
    assert seen == [1, 2, 4, 8]
    (delivery,) = await site.due()
    await site.park(delivery)
    site.index()
    assert [n for n in range(1, 10) if site.find(f"answer{n}")] == list(range(1, 10))
    assert site.watched() == 1  # somebody may release it
    await site.act(Verb.RELEASE, deliveries=[delivery.id])
    site.index()
    (delivery,) = await site.due()
    await site.deliver(delivery, b"finally")
    site.index()
    assert site.find("finally") == [taken.message_id]
    assert site.watched() == 0


def refused(reply: str) -> Any:
    from engine.model import Refused

    return Refused("AE", reply.encode())


async def test_resends_and_replays(site: Indexed) -> None:
    taken = await site.record(outgoing(b"product"), content=b"original")
    (delivery,) = await site.due()
    await site.deliver(delivery, b"one")
    site.index()
    await site.act(Verb.RESEND, deliveries=[delivery.id])
    (again,) = await site.due()
    await site.deliver(again, b"two")
    site.index()
    assert site.find("original", "one", "two") == [taken.message_id]
    await site.act(Verb.REPLAY, messages=[taken.message_id])
    site.index()
    assert len(site.find("original")) == 2


async def test_a_message_that_is_indexed_again_is_found_once(site: Indexed) -> None:
    """Through merges, too; and nothing of what it had is lost."""
    ids = []
    for n in range(3 * VOLUME):
        taken = await site.take(b"in%d common" % n)
        ids.append(taken.message_id)
        await site.store.translated([translation(taken.message_id, outgoing(b"out%d" % n))])
        if n % 2:
            site.index()
    site.index()
    while due := await site.due():
        for delivery in due:
            await site.deliver(delivery, b"answer common")
    site.index()
    for _ in range(2):
        assert site.find("common", limit=100) == ids[::-1]
        assert site.find("common", stage="answer", limit=100) == ids[::-1]
        for n, number in enumerate(ids):
            assert site.find(f"in{n}", f"out{n}", "answer common") == [number]
        site.settle_down()
    assert {volume.state for volume in site.volumes()} == {FILLING, TIDY}


async def test_it_is_indexed_once_where_it_was_delivered_by_then(site: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the stretches fall: its deliveries may lie in the next."""
    for n in range(7):
        taken = await site.record(outgoing(b"out"), content=b"in%d" % n)
        (delivery,) = await site.due()
        await site.deliver(delivery)
        assert taken.message_id
    monkeypatch.setattr(source, "STRETCH", 1)
    site.begin()
    written = []
    inner = site.database.put
    monkeypatch.setattr(site.database, "put", lambda n, documents: (written.extend(documents), inner(n, documents)))
    site.index()
    assert len(written) == 7
    assert site.watched() == 0


# ── what is forgotten ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("walk", [Walk.CONTENT, Walk.EVERYTHING])
async def test_what_is_forgotten_is_never_found_and_goes_within_a_day(site: Indexed, walk: Walk) -> None:
    ids = []
    for n in range(3 * VOLUME):
        site.now = START + n * 1000
        ids.append((await site.record(content=b"text%d common" % n)).message_id)
    site.index()
    site.settle_down()
    assert [volume.messages for volume in site.volumes()] == [VOLUME, VOLUME, VOLUME, 0]
    gone = VOLUME + 2  # one volume, and some of another
    await forget(site, walk, START + gone * 1000)
    assert site.find("common", limit=100) == ids[: gone - 1 : -1]
    assert site.find("text0") == []
    while site.indexer.forget():
        pass
    assert len(site.volumes()) == 4, "a day has not passed"
    site.day += DAY
    while site.indexer.forget():
        pass
    assert len(site.volumes()) == 4  # one dropped, and one that is being made
    site.settle_down()
    assert [volume.messages for volume in site.volumes()] == [VOLUME - 2, VOLUME, 0]
    assert site.find("common", limit=100) == ids[: gone - 1 : -1]
    assert site.find(f"text{gone}") == [ids[gone]]


async def test_the_newest_volume_forgets_too(site: Indexed) -> None:
    old = await site.record(content=b"old common")
    site.now += 1000
    new = await site.record(content=b"new common")
    site.index()
    await forget(site, Walk.EVERYTHING, site.now)
    site.day += DAY
    while site.indexer.forget():
        pass
    site.settle_down()
    later = await site.record(content=b"later common")
    site.index()
    assert site.find("common") == [later.message_id, new.message_id]
    assert [volume.messages for volume in site.volumes()] == [1, 1]
    assert old.message_id not in site.find("common")


async def test_a_volume_made_anew_misses_nothing_that_changes_meanwhile(site: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for n in range(VOLUME):
        site.now = START + n * 1000
        taken = await (site.record(outgoing(b"out"), content=b"text%d common" % n) if n else site.record(content=b"gone"))
        ids.append(taken.message_id)
    site.index()
    site.settle_down()
    await forget(site, Walk.EVERYTHING, START + 500)
    site.day += DAY
    while site.indexer.forget():
        pass
    monkeypatch.setattr(source, "STRETCH", 2)
    assert site.indexer.tidy()
    assert site.indexer.tidy()
    making = next(volume for volume in site.volumes() if volume.state == MAKING)
    assert making.first <= making.reached < making.last
    for delivery in await site.due():
        await site.deliver(delivery, b"answered")
    site.index()
    assert len(site.find("answered")) == VOLUME - 1, "while it is made, too"
    site.settle_down()
    assert site.find("answered", "common") == ids[:0:-1]
    assert not any(volume.state == MAKING for volume in site.volumes())


async def test_a_volume_whose_making_was_broken_off_is_made_once_more(site: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(VOLUME):
        site.now = START + n * 1000
        await site.record(content=b"text%d common" % n)
    site.index()
    site.settle_down()
    await forget(site, Walk.EVERYTHING, START + 500)
    site.day += DAY
    while site.indexer.forget():
        pass
    monkeypatch.setattr(source, "STRETCH", 2)
    site.indexer.tidy()
    site.begin()
    assert not any(volume.state == MAKING for volume in site.volumes())
    while site.indexer.forget():
        pass
    site.settle_down()
    assert len(site.find("common")) == VOLUME - 1
    assert [volume.messages for volume in site.volumes()] == [VOLUME - 1, 0]


# ── being stopped ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_another_indexer_goes_on_where_the_last_one_was(site: Indexed) -> None:
    first = await site.record(outgoing(b"out"), content=b"one")
    site.index()
    second = await site.record(content=b"two")
    site.begin()
    assert site.indexer.place().newest == first.message_id
    site.index()
    assert site.find("two") == [second.message_id]
    (delivery,) = await site.due()
    await site.deliver(delivery, b"late")
    site.begin()
    site.index()
    assert site.find("late") == [first.message_id]


async def test_one_indexer_a_store(site: Indexed) -> None:
    site.index()
    with pytest.raises(StoreBusy, match="another indexer"):
        Service(site.url, site.told.append).run(once=True)
    site.stop()
    Service(site.url, site.told.append).run(once=True)


async def test_an_index_of_another_release_or_store_is_made_anew(site: Indexed) -> None:
    taken = await site.take(b"kept text")
    site.index()
    for change, why in (("layout = 99", "another release"), ("store = 'other'", "another store")):
        site.database.run(f"UPDATE search_meta SET {change}")
        site.begin()
        assert why in site.told[-1]
        assert site.indexer.place().reached == 0
        site.index()
        assert site.find("kept") == [taken.message_id]


async def test_a_document_that_the_database_refuses_holds_up_nobody(site: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [(await site.take(b"text%d common" % n)).message_id for n in range(4)]
    site.begin()
    inner = site.database.put

    def refuse(n: int, documents: Any) -> None:
        if any(one.message == ids[2] for one in documents):
            site.database.run("SELECT no_such_function()")
        inner(n, documents)

    monkeypatch.setattr(site.database, "put", refuse)
    monkeypatch.setattr(site.database, "fault", lambda error: Fault.OTHER)
    site.index()
    assert site.find("common") == [ids[3], ids[1], ids[0]]
    assert len(site.told) == 1
    assert "text2" not in site.told[0]


KILLED = """
import sys
from engine.textindex import indexer, source
from engine.textindex.service import Service
source.STRETCH, indexer.VOLUME = 3, {volume}
Service(sys.argv[1], print).run(once=True, progress=lambda done, total: print(done, flush=True))
"""


def killed(url: str, after: int) -> None:
    """An indexer that is killed once it has indexed so many messages."""
    command = [sys.executable, "-c", KILLED.format(volume=VOLUME), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= after:
                os.kill(process.pid, signal.SIGKILL)
                break
        process.wait(30)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("after", [1, 7, 20])
async def test_killed_in_the_middle_and_then_exact(site: Indexed, after: int) -> None:
    ids = []
    for n in range(30):
        taken = await site.record(outgoing(b"out%d" % n), content=b"in%d common" % n)
        ids.append(taken.message_id)
        for delivery in await site.due():
            await site.deliver(delivery, b"answer%d" % n)
    killed(site.url, after)
    site.index()
    assert site.find("common", limit=100) == ids[::-1]
    for n, number in enumerate(ids):
        assert site.find(f"in{n}", f"out{n}", f"answer{n}") == [number]
    assert sum(volume.messages for volume in site.volumes()) == 30
    assert site.watched() == 0


def serving(url: str) -> subprocess.Popen[bytes]:
    program = (
        "import sys, signal\nfrom engine.textindex.service import Service\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "print('begun', flush=True)\nService(sys.argv[1], print).run()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, url], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])
    assert process.stdout is not None
    process.stdout.readline()
    return process


async def test_a_running_indexer_takes_up_what_comes_and_ends_when_told(site: Indexed) -> None:
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    with serving(site.url) as process:
        try:
            taken = await site.record(outgoing(b"out"), content=b"fresh text")
            (delivery,) = await site.due()
            found: list[int] = []
            for step, words in ((None, ("fresh",)), (site.deliver(delivery, b"replied"), ("fresh", "replied"))):
                if step is not None:
                    await step
                while True:
                    await deferLater(reactor, 0.1)
                    try:
                        found = site.find(*words)
                    except Exception:  # it is not there yet
                        continue
                    if found:
                        break
                assert found == [taken.message_id]
        finally:
            process.terminate()
        assert process.wait(30) == 0


# ── a bad disk ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_a_damaged_file_is_made_anew(site: Indexed) -> None:
    taken = await site.take(b"kept text")
    site.index()
    site.stop()
    index_path(site.url).write_bytes(b"no database at all" * 100)
    Service(site.url, site.told.append).run(once=True)
    assert site.find("kept") == [taken.message_id]


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_the_room_that_the_store_needs_is_left_alone(site: Indexed) -> None:
    """And what found no room is written when there is some."""
    from types import SimpleNamespace

    text = b" ".join(b"word%d" % n for n in range(3000))
    taken = await site.take(b"some " + text)
    gib = 1 << 30
    free = [gib]

    def statvfs(path: Path) -> Any:
        return SimpleNamespace(f_blocks=100 * gib, f_frsize=1, f_bavail=free[0])

    database = SqliteDatabase(site.url, statvfs=statvfs)
    assert database.path.parent
    assert "are free" in database.room()
    free[0] = 11 * gib
    assert database.room() == ""
    site.begin()
    site.database.run("PRAGMA max_page_count = 1")
    with pytest.raises(sqlite3.OperationalError) as full:
        site.index()
    assert site.database.fault(full.value) is Fault.FULL
    site.database.run("PRAGMA max_page_count = 1000000")
    site.index()
    assert site.find("some") == [taken.message_id]


async def test_without_room_once_says_so(site: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.take(b"some text")
    monkeypatch.setattr("engine.textindex.sqlite.SqliteDatabase.room", lambda self: "no room at all")
    monkeypatch.setattr("engine.textindex.postgres.PostgresDatabase.room", lambda self: "no room at all")
    with pytest.raises(StoreError, match="no room at all"):
        Service(site.url, site.told.append).run(once=True)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_a_file_that_cannot_be_made_is_no_end_of_the_indexer(site: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what is missing, gives the lock back and tries again."""
    taken = await site.take(b"some text")

    def full(database: SqliteDatabase) -> None:
        with open("/dev/full", "w") as device:
            device.write("x")

    with monkeypatch.context() as patched:
        patched.setattr(SqliteDatabase, "_connect", full)
        with pytest.raises(StoreError, match="there is no room"):
            Service(site.url, site.told.append).run(once=True)
    Service(site.url, site.told.append).run(once=True)
    assert site.find("some text") == [taken.message_id]


# ── plans ──────────────────────────────────────────────────────────────────────────────────────────────────────────

OURS = (
    "indexed_store", "newest_ids", "new_messages", "new_deliveries", "its_deliveries", "its_further", "its_answers", "beginnings",
    "states_now", "remaining", "sizes", "ahead", "kept",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", OURS)
async def test_nothing_of_the_store_is_read_without_an_index(site: Indexed, name: str) -> None:
    text = REGISTRY[name].sqlite
    connection = sqlite3.connect(site.url.removeprefix("sqlite:///"))
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", (None,) * text.count("?"))]
    assert not [one for one in steps if one.startswith("SCAN") and "json_each" not in one and "CONSTANT" not in one], steps
    assert not [one for one in steps if "TEMP B-TREE" in one], steps


async def test_a_watched_delivery_that_is_gone_is_watched_no_more(site: Indexed) -> None:
    await site.record(outgoing(b"x"))
    site.index()
    (delivery,) = await site.due()
    await site.settle(parked(delivery))
    site.index()
    assert site.watched() == 1
    site.database.run("UPDATE search_open SET delivery = 5")
    site.index()
    assert site.watched() == 0


async def test_a_watched_delivery_whose_message_is_forgotten_is_watched_no_more(site: Indexed) -> None:
    """It ended, and was forgotten, before anybody looked."""
    await site.record(outgoing(b"x"))
    site.index()
    for delivery in await site.due():
        await site.deliver(delivery)
    await forget(site, Walk.CONTENT, START + DAY)
    site.index()
    assert site.watched() == 0
