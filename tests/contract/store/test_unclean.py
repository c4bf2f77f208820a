"""I17: how the last engine ended, and what the next one does about it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from engine.errors import StoreError
from engine.store import lock as lock_
from engine.store import sqlite
from engine.store.lock import Lock
from tests.contract.store.helpers import Site, admission, failing
from tests.contract.store.test_failures import driver_of, fail_at

pytestmark = pytest.mark.parametrize("kind", ["sqlite", "sqlite-inline"], indirect=True)


def left(site: Site) -> bytes:
    return Path(f"{sqlite.path_of(site.url)}.lock").read_bytes()


def leave(site: Site, word: bytes) -> None:
    Path(f"{sqlite.path_of(site.url)}.lock").write_bytes(word)


def size(site: Site, suffix: str = "") -> int:
    return Path(f"{sqlite.path_of(site.url)}{suffix}").stat().st_size


def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the next openings ask of the database."""
    found: list[str] = []
    real = sqlite.sqlite3.connect

    class Listening(sqlite3.Connection):
        def execute(self, text: str, *values: Any) -> sqlite3.Cursor:
            found.append(text)
            return super().execute(text, *values)

    monkeypatch.setattr(sqlite.sqlite3, "connect", lambda *names, **options: real(*names, factory=Listening, **options))
    return found


async def test_after_a_clean_end_nothing_is_checked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert left(site)
    await site.close()
    assert left(site) == b""
    found = asked(monkeypatch)
    site.open()
    assert [one for one in found if "check(" in one] == []


async def test_after_a_kill_a_small_database_is_checked_whole_and_a_large_one_is_not(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = left(site)
    await site.close()
    for whole, checks in ((1 << 30, ["PRAGMA integrity_check(3)"]), (1, [])):
        leave(site, word)
        with monkeypatch.context() as patched:
            patched.setattr(sqlite, "FULLY_CHECKED", whole)
            found = asked(patched)
            await site.reopen()
            assert [one for one in found if "check(" in one] == checks
            await site.close()


async def test_after_the_machine_died_a_large_database_is_checked_quickly(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.close()
    leave(site, b"another run of the machine\n")
    monkeypatch.setattr(sqlite, "FULLY_CHECKED", 1)
    found = asked(monkeypatch)
    site.open()
    assert [one for one in found if "check(" in one] == ["PRAGMA quick_check(3)"]


async def test_i17_after_the_storage_failed_the_log_is_written_anew_before_anything_else(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = await site.take(b"before")
    fail_at(driver_of(site), "COMMIT", sqlite3.SQLITE_IOERR_FSYNC)
    await failing(site.store.take(admission(b"never acknowledged")), StoreError)
    await site.close()
    assert left(site).endswith(b"storage failed\n")
    found = asked(monkeypatch)
    site.open()
    looked = [one for one in found if "check" in one and "autocheck" not in one]
    assert looked == ["PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA integrity_check(3)"]
    assert taken.message_id in [one.id for one in await site.store.untranslated("adt", 0, 9)]


async def test_an_index_that_lost_an_entry_is_seen_and_refused(site: Site) -> None:
    for n in range(30):
        await site.take(b"%d" % n)
    word = left(site)
    await site.close()
    damaged = sqlite3.connect(sqlite.path_of(site.url))
    damaged.execute("PRAGMA writable_schema = ON")
    ((text,),) = damaged.execute("SELECT sql FROM sqlite_master WHERE name = 'message_received'").fetchall()
    damaged.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'message_received'", (text.replace("= 2", "= 3"),))
    damaged.commit()
    damaged.close()
    leave(site, word)
    for _ in range(2):  # it stays refused
        with pytest.raises(StoreError, match=r"is damaged and is not opened.*wardline restore") as refused:
            site.open()
        assert refused.value.exit_code == 74
    assert left(site) == word


def test_who_never_held_the_store_leaves_the_word_of_the_one_before(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "store.db"
    first = Lock(path)
    first.hold()
    first.release(well=False)
    Lock(path).release()
    second = Lock(path)
    assert (second.ended_badly, second.storage_failed, second.machine_lived) == (True, True, True)
    second.hold()
    second.release()
    assert not Lock(path).ended_badly


def test_a_machine_that_does_not_tell_its_run_counts_as_another(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_, "_boot", bytes)
    first = Lock(tmp_path / "store.db")
    first.hold()
    os.close(first._file)  # as when killed
    second = Lock(tmp_path / "store.db")
    assert (second.ended_badly, second.machine_lived) == (True, False)
    second.release()


async def test_a_failed_move_of_the_log_stops_the_engine(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "LOG_BYTES", 1)
    monkeypatch.setattr(sqlite, "LOOKS", 1)
    fail_at(driver_of(site), "PRAGMA wal_checkpoint(PASSIVE)", sqlite3.SQLITE_IOERR_FSYNC)
    await site.take(b"this was answered before")
    await failing(site.store.take(admission(b"this is not")), StoreError)
    assert len(site.failures) == 1
    assert left(site).endswith(b"storage failed\n")


async def test_the_log_does_not_grow_beyond_its_limit(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "LOG_BYTES", 1 << 20)
    await site.reopen()
    sizes = []
    for n in range(120):
        await site.take(b"%d" % n + b"x" * 50_000)
        sizes.append(size(site, "-wal"))
    assert max(sizes) < 1.2 * (1 << 20)
    assert size(site) > 4 << 20
