"""A copy of a SQLite store while the engine works, and a store from a copy.

A copy is one moment of the store: it is read in one transaction, checked, flushed, and only then gets its name. A store that
was restored delivers nothing by itself: what it would send may have been sent since the copy was made.
"""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, cast
from urllib.parse import quote

from twisted.internet.task import Clock
from twisted.python.failure import Failure

from engine.contracts import Runtime
from engine.errors import StoreError, StoreTooNew, WardlineError
from engine.events import silent
from engine.model import DestinationState
from engine.store.lock import Lock
from engine.store.schema import SCHEMA
from engine.store.sqlite import flush, make_directory, open_reader, path_of
from engine.store.store import open_store

PAGES: Final = 2000  # copied between two words about how far it is
MINUTE: Final = 60_000_000
_FACTS: Final = (
    "SELECT (SELECT count(*) FROM message), (SELECT max(id) FROM message), (SELECT count(*) FROM delivery), "
    "(SELECT max(id) FROM delivery)"
)

Progress = Callable[[int, int], None]
"""Told of bytes done and bytes in all."""


class Copied(NamedTuple):
    """What a copy holds."""

    messages: int
    size: int  # bytes
    made_at: int  # to the minute


class NotSqlite(WardlineError):
    """PostgreSQL has its own tools."""


def back_up(url: str, target: Path, now: int, progress: Progress) -> Copied:
    """Copy the store at `url` to the new file `target`. Raises StoreError, and leaves nothing behind."""
    path = _path(url, f"pg_dump --format=custom --file={target} --dbname=…")
    if target.exists():
        raise WardlineError(f"{target} is there already: name a new file, for instance with the date in it")
    partial = target.with_name(target.name + ".partial")
    try:
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600))
        with closing(open_reader(url)) as source, closing(sqlite3.connect(partial, isolation_level=None)) as copy:
            for pragma in ("journal_mode = OFF", "synchronous = OFF"):  # it is flushed as a whole, or thrown away
                copy.execute(f"PRAGMA {pragma}").fetchall()
            source.execute("BEGIN")
            facts = source.execute(_FACTS).fetchone()  # from here on it is this moment that is read
            size = _size(source)
            page = size // max(source.execute("PRAGMA page_count").fetchone()[0], 1)
            source.backup(copy, pages=PAGES, progress=lambda _, left, __: progress(size - left * page, size))
            copy.execute(f"PRAGMA user_version = {now // MINUTE}")
        with closing(_read_only(partial)) as copy:
            _sound(copy, partial)
            if copy.execute(_FACTS).fetchone() != facts:
                raise StoreError(f"{partial} does not hold what {path} holds: look at the disk, and try again")
        flush(partial)
        os.rename(partial, target)
        flush(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path} is not backed up to {target}: {error}") from error
    finally:
        for suffix in ("", "-wal", "-shm"):
            with suppress(OSError):
                os.unlink(f"{partial}{suffix}")
    return Copied(facts[0], target.stat().st_size, now // MINUTE * MINUTE)


def restore(
    url: str, copy: Path, destinations: Iterable[str], moment: Callable[[int], str], now: int
) -> tuple[Copied, Path | None]:
    """Put `copy` in the place of the store at `url`, with every destination paused; and where the old store is now.

    `moment` writes an instant for people, `destinations` are those of the site. Raises StoreBusy while an engine holds the
    store, StoreTooNew for a copy of a later release, StoreError for anything else; then nothing is changed.
    """
    path = _path(url, f"pg_restore --clean --if-exists --dbname=… {copy}").absolute()
    try:
        make_directory(path.parent)
        copied = _look_at(copy)
        lock = Lock(path)
    except OSError as error:
        raise StoreError(f"{copy} is not restored: {error}") from error
    fresh = path.with_name(path.name + ".restoring")
    try:
        _copy(copy, fresh)
        why = f"restored from a backup of {moment(copied.made_at)}: see what was delivered since, then `wardline resume` it"
        _pause(fresh, destinations, why, now)
        return copied, _swap(path, fresh, now)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{copy} is not restored: {error}") from error
    finally:
        for suffix in ("", "-wal", "-shm", ".lock"):
            with suppress(OSError):
                os.unlink(f"{fresh}{suffix}")
        lock.release()


def _path(url: str, instead: str) -> Path:
    if not url.startswith("sqlite"):
        raise NotSqlite(f"this store is PostgreSQL, which has its own tools for this: {instead}")
    return path_of(url)


def _size(connection: sqlite3.Connection) -> int:
    (pages,), (page,) = (connection.execute(f"PRAGMA {ask}").fetchone() for ask in ("page_count", "page_size"))
    return int(pages * page)


def _read_only(path: Path) -> sqlite3.Connection:
    """A file that nobody writes to: no log is made beside it."""
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1", uri=True, isolation_level=None)


def _sound(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("PRAGMA integrity_check(3)").fetchall()
    if found != [("ok",)]:
        raise StoreError(f"{path} is damaged: {'; '.join(str(row[0]) for row in found)[:300]}")


def _look_at(copy: Path) -> Copied:
    """Raises StoreError for a file that cannot be restored."""
    if not copy.is_file():
        raise StoreError(f"there is no file {copy}")
    try:
        with closing(_read_only(copy)) as connection:
            schema = connection.execute("SELECT schema FROM meta").fetchone()[0]
            if schema > SCHEMA:
                raise StoreTooNew(f"{copy} is of a later release (schema {schema}, this one knows {SCHEMA})")
            _sound(connection, copy)
            made = connection.execute("PRAGMA user_version").fetchone()[0] * MINUTE
            return Copied(connection.execute(_FACTS).fetchone()[0], copy.stat().st_size, made)
    except (sqlite3.Error, TypeError) as error:
        raise StoreError(f"{copy} is no backup of a Wardline store: {error}") from error


def _copy(source: Path, target: Path) -> None:
    with open(source, "rb") as taken, open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as made:
        while piece := taken.read(1 << 20):
            made.write(piece)
        made.flush()
        os.fsync(made.fileno())


def _pause(path: Path, destinations: Iterable[str], why: str, now: int) -> None:
    """With the store's own verbs; an older one is brought up to this release by the way."""
    failures: list[object] = []

    def failed(failure: Failure) -> None:
        failures.append(failure.value)

    runtime = Runtime(cast(Any, Clock()), cast(Any, None), silent, lambda: now, random.Random(0))  # noqa: S311
    store, _ = open_store(f"sqlite:///{quote(str(path))}", runtime, failures.append, threaded=False)
    for name in sorted({*destinations, *store.destinations()}):
        store.steer(name, DestinationState.PAUSED, why).addErrback(failed)
    store.close()
    if failures:
        raise StoreError(f"the destinations are not paused: {failures[0]}")


def _swap(path: Path, fresh: Path, now: int) -> Path | None:
    """The old store with its log steps aside; at every moment there is a whole one under the name."""
    aside = None
    log = Path(f"{path}-wal")
    if path.exists():
        aside = path.with_name(f"{path.name}.before-{now // 1_000_000}")
        os.link(path, aside)
        if log.exists():  # it was not closed
            os.link(log, f"{aside}-wal")
        with suppress(sqlite3.Error), closing(sqlite3.connect(path, isolation_level=None)) as old:
            if old.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0:
                Path(f"{aside}-wal").unlink(missing_ok=True)  # the file has it now; otherwise both are kept as they were
        for left in (log, Path(f"{path}-shm")):
            left.unlink(missing_ok=True)
    os.replace(fresh, path)
    flush(path)
    flush(path.parent)
    return aside
