"""F59: a copy made under load holds one moment, whole; and a store restored from it delivers nothing by itself."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from engine.console.home import Home
from engine.errors import StoreBusy, StoreError, StoreTooNew, WardlineError
from engine.model import DestinationState
from engine.store import backup
from engine.store.history import History, Query
from tests.contract.store.helpers import START, Site, admission, outgoing

MADE = START // 60_000_000 * 60_000_000


def moment(instant: int) -> str:
    return f"the {instant}"


def nobody(done: int, total: int) -> None:
    pass


@pytest.fixture
def filled(tmp_path: Path, spin: Any) -> Iterator[Site]:
    """A store at work, with one delivered message and one that waits."""
    site = Site(f"sqlite:///{tmp_path}/store.db", threaded=False)
    site.open()
    spin(site.record(outgoing("delivered", "a"), content=b"one" + b"x" * 2_000_000))
    spin(site.drain())
    spin(site.record(outgoing("waiting", "a"), content=b"two"))
    yield site
    spin(site.close())


def test_a_copy_is_made_while_the_engine_works_and_holds_everything(filled: Site, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    copied = backup.back_up(filled.url, tmp_path / "copy", START, lambda *far: told.append(far))
    assert (copied.messages, copied.made_at) == (2, MADE)
    assert told[-1][0] == told[-1][1] > 2_000_000
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("copy")) == ["copy"]
    with History(f"sqlite:///{tmp_path}/copy") as history:
        assert [row.state for row in history.find(Query())] == ["translated", "translated"]


async def test_f59_under_load_a_copy_is_one_moment(tmp_path: Path) -> None:
    site = Site(f"sqlite:///{tmp_path}/store.db", threaded=False)
    store = site.open()
    for n in range(900):
        await site.take(b"%d" % n + b"x" * 20_000)
    later = []

    def meanwhile(done: int, total: int) -> None:
        """Between two pieces of the copy the engine goes on."""
        for n in range(20):
            store.take(admission(b"later %d %d" % (done, n) + b"x" * 20_000)).addCallback(later.append)

    copied = backup.back_up(site.url, tmp_path / "copy", START, meanwhile)
    assert len(later) >= 60
    assert copied.messages == 900
    await site.close()
    with History(site.url) as history:
        assert sum(history.counts().messages.values()) == 900 + len(later)


def test_what_is_there_is_not_overwritten_and_what_fails_leaves_nothing(filled: Site, tmp_path: Path) -> None:
    (tmp_path / "copy").write_text("something of somebody's")
    with pytest.raises(WardlineError, match="name a new file"):
        backup.back_up(filled.url, tmp_path / "copy", START, nobody)
    assert (tmp_path / "copy").read_text() == "something of somebody's"
    with pytest.raises(StoreError, match="there is no store"):
        backup.back_up(f"sqlite:///{tmp_path}/none.db", tmp_path / "other", START, nobody)
    with pytest.raises(StoreError, match="not backed up"):
        backup.back_up(filled.url, tmp_path / "missing" / "copy", START, nobody)
    assert not list(tmp_path.glob("*.partial*"))


def test_a_copy_that_does_not_hold_what_the_store_holds_is_none(
    filled: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("DELETE FROM delivery")
        return connection

    monkeypatch.setattr(backup, "_read_only", damaged)
    with pytest.raises(StoreError, match="does not hold what"):
        backup.back_up(filled.url, tmp_path / "copy", START, nobody)
    assert not list(tmp_path.glob("copy*"))


def test_a_restored_store_is_held_until_somebody_says_so(filled: Site, tmp_path: Path, spin: Any) -> None:
    backup.back_up(filled.url, tmp_path / "copy", START, nobody)
    spin(filled.record(outgoing("after the backup", "a")))
    spin(filled.close())
    copied, aside = backup.restore(filled.url, tmp_path / "copy", ["erp", "never used"], moment, START)
    assert copied.messages == 2
    with History(filled.url) as history:
        states = history.counts().destinations
    assert {name: state for name, (state, _) in states.items()} == {"erp": "paused", "never used": "paused"}
    assert states["erp"][1].startswith(f"restored from a backup of the {MADE}")
    filled.open()
    assert spin(filled.due()) == []
    spin(filled.store.steer("erp", DestinationState.RUNNING))
    assert spin(filled.drain()) == [b"waiting"]
    spin(filled.close())
    assert aside is not None
    with History(f"sqlite:///{aside}") as history:
        assert sum(history.counts().messages.values()) == 3  # the old store, whole
    assert not list(tmp_path.glob("*restoring*"))
    assert stat.S_IMODE((tmp_path / "store.db").stat().st_mode) == 0o600


def test_whoever_reads_sees_that_the_store_is_another_one_now(filled: Site, tmp_path: Path, spin: Any) -> None:
    """An open file goes on being the store of before: a console that was not ended would show what is no longer so."""
    backup.back_up(filled.url, tmp_path / "copy", START, nobody)
    home = Home(tmp_path, filled.url, cast(Any, None), organization="", environment="", timezone="UTC")
    before = home.history()
    spin(filled.record(outgoing("later", "a")))
    assert len(before.find(Query())) == 3
    home.give_back(before)
    assert home.history() is before
    home.give_back(before)
    spin(filled.close())
    backup.restore(filled.url, tmp_path / "copy", ["erp"], moment, START)
    with home.reading() as history:
        assert len(history.find(Query())) == 2
    filled.open()


def test_no_engine_is_restored_under(filled: Site, tmp_path: Path) -> None:
    backup.back_up(filled.url, tmp_path / "copy", START, nobody)
    with pytest.raises(StoreBusy):
        backup.restore(filled.url, tmp_path / "copy", [], moment, START)


def test_what_is_no_backup_changes_nothing(filled: Site, tmp_path: Path, spin: Any) -> None:
    backup.back_up(filled.url, tmp_path / "copy", START, nobody)
    spin(filled.close())
    before = (tmp_path / "store.db").read_bytes()
    (tmp_path / "letter").write_text("Dear Sir or Madam, " * 100)
    newer = sqlite3.connect(tmp_path / "copy")
    newer.execute("UPDATE meta SET schema = 99")
    newer.commit()
    newer.close()
    for file, kind in (("letter", StoreError), ("copy", StoreTooNew), ("nothing", StoreError)):
        with pytest.raises(kind):
            backup.restore(filled.url, tmp_path / file, [], moment, START)
    assert (tmp_path / "store.db").read_bytes() == before
    assert not list(tmp_path.glob("*restoring*"))


def test_a_damaged_copy_is_refused(filled: Site, tmp_path: Path, spin: Any) -> None:
    backup.back_up(filled.url, tmp_path / "copy", START, nobody)
    spin(filled.close())
    damaged = bytearray((tmp_path / "copy").read_bytes())
    for page in range(3, len(damaged) // 4096):
        damaged[page * 4096 : page * 4096 + 100] = b"\xff" * 100
    (tmp_path / "copy").write_bytes(damaged)
    with pytest.raises(StoreError, match="copy"):
        backup.restore(filled.url, tmp_path / "copy", [], moment, START)


def test_a_store_beyond_repair_is_kept_aside_with_its_log(filled: Site, tmp_path: Path, spin: Any) -> None:
    backup.back_up(filled.url, tmp_path / "copy", START, nobody)
    spin(filled.close())
    (tmp_path / "store.db").write_bytes(b"\0" * 5000)
    (tmp_path / "store.db-wal").write_bytes(b"\1" * 5000)
    _, aside = backup.restore(filled.url, tmp_path / "copy", [], moment, START)
    assert aside is not None
    assert aside.read_bytes() == b"\0" * 5000
    assert Path(f"{aside}-wal").read_bytes() == b"\1" * 5000
    filled.open()
    assert spin(filled.store.untranslated("adt", 0, 9)) == []


def test_postgresql_is_told_where_to_go(tmp_path: Path) -> None:
    with pytest.raises(WardlineError, match="pg_dump --format=custom"):
        backup.back_up("postgresql://user:word@host/db", tmp_path / "copy", START, nobody)
    with pytest.raises(WardlineError, match="pg_restore"):
        backup.restore("postgresql://user:word@host/db", tmp_path / "copy", [], moment, START)
