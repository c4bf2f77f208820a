"""Opening a store, and not opening one."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from engine.errors import StoreBusy, StoreError, StoreTooNew
from engine.store import sqlite
from engine.store.history import History
from engine.store.sqlite import filesystem
from tests.contract.store.helpers import Site, outgoing


def test_f20_a_second_engine_is_refused(site: Site) -> None:
    with pytest.raises(StoreBusy, match="another engine holds"):
        Site(site.url, threaded=False).open()


async def test_a_store_that_was_closed_can_be_opened_again(site: Site) -> None:
    await site.record(outgoing("kept"))
    await site.reopen()
    assert await site.drain() == [b"kept"]


def test_a_later_store_is_refused_and_left_alone(kind: str, url: str, spin: Any) -> None:
    from engine.store.migrations import engine_for

    site = Site(url, threaded=False)
    site.open()
    spin(site.close())
    engine = engine_for(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE meta SET schema = 99")
    engine.dispose()
    for _ in range(2):  # the lock was given back
        with pytest.raises(StoreTooNew, match="schema 99"):
            site.open()
    with pytest.raises(StoreTooNew):
        History(url)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "mysql://somewhere/db", "store.db"])
def test_what_is_no_store_is_named(url: str) -> None:
    with pytest.raises(StoreError, match="is not a store"):
        Site(url, threaded=False).open()


def test_a_missing_directory_is_made_and_flushed(tmp_path: Path, spin: Any) -> None:
    site = Site(f"sqlite:///{tmp_path}/a/b/store.db", threaded=False)
    site.open()
    spin(site.close())
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) & 0o077 in (0, 0o055)
    assert (tmp_path / "a/b/store.db").exists()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="file"):
        Site(f"sqlite:///{tmp_path}/file/store.db", threaded=False).open()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"this is a letter, not a database" * 100)
    for _ in range(2):
        with pytest.raises(StoreError, match="not a database"):
            Site(f"sqlite:///{tmp_path}/store.db", threaded=False).open()
    assert (tmp_path / "store.db").read_bytes().startswith(b"this is a letter")


def test_the_files_are_for_their_owner_only(tmp_path: Path, spin: Any) -> None:
    site = Site(f"sqlite:///{tmp_path}/store.db", threaded=False)
    site.open()
    for name in ("store.db", "store.db.lock", "store.db-wal", "store.db-shm"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    spin(site.close())


def test_the_database_is_as_the_guarantees_say(tmp_path: Path, spin: Any) -> None:
    site = Site(f"sqlite:///{tmp_path}/store.db", threaded=False)
    store = site.open()
    connection: sqlite3.Connection = store._writer._committer.ledger.driver.connection  # type: ignore[attr-defined]
    found = {
        pragma: connection.execute(f"PRAGMA {pragma}").fetchone()[0]
        for pragma in ("journal_mode", "synchronous", "auto_vacuum", "secure_delete", "temp_store")
    }
    assert found == {"journal_mode": "wal", "synchronous": 2, "auto_vacuum": 2, "secure_delete": 2, "temp_store": 2}
    spin(site.close())
    assert not (tmp_path / "store.db-wal").exists()


def test_creation_is_flushed_with_its_directory(tmp_path: Path, spin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    flushed = []
    real = os.fsync

    def fsync(handle: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{handle}"))
        real(handle)

    monkeypatch.setattr(sqlite.os, "fsync", fsync)
    site = Site(f"sqlite:///{tmp_path}/store.db", threaded=False)
    site.open()
    spin(site.close())
    assert flushed == [f"{tmp_path}/store.db.lock", f"{tmp_path}/store.db", str(tmp_path)]


def test_network_file_systems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert filesystem(Path("/proc/self")) == "proc"
    monkeypatch.setattr(sqlite, "filesystem", lambda _: "nfs4")
    with pytest.raises(StoreError, match="network file system"):
        Site(f"sqlite:///{tmp_path}/store.db", threaded=False).open()


def test_an_sqlite_that_needs_care_is_told_of(tmp_path: Path, spin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(f"sqlite:///{tmp_path}/store.db", threaded=False)
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    assert len(site.open().warnings) == 1
    spin(site.close())
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    assert site.open().warnings == []
    spin(site.close())


def test_history_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        History(f"sqlite:///{tmp_path}/none.db")
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)")
    with pytest.raises(StoreError, match="no Wardline store"):
        History(f"sqlite:///{tmp_path}/other.db")


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_database_that_does_not_flush_is_refused(kind: str, url: str) -> None:
    with pytest.raises(StoreError, match="synchronous_commit = off"):
        Site(f"{url}%20-csynchronous_commit%3Doff", threaded=False).open()


def test_no_database_there() -> None:
    with pytest.raises(StoreError, match="no connection"):
        Site("postgresql://nobody@127.0.0.1:1/none", threaded=False).open()
