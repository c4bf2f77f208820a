"""The store: the only place where stages meet. SQLite and PostgreSQL, one schema, every verb durable before it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.contracts import DiskPolicy, Runtime
from engine.model import Opened

if TYPE_CHECKING:
    from engine.store.store import SqlStore


def open_store(
    url: str,
    runtime: Runtime,
    on_failure: Callable[[Exception], None],
    *,
    threaded: bool = True,
    disk: DiskPolicy | None = None,
    largest: int = 0,
) -> tuple[SqlStore, Opened]:
    """See `engine.store.store.open_store`; SQLAlchemy is imported when it is called."""
    from engine.store.store import open_store

    return open_store(url, runtime, on_failure, threaded=threaded, disk=disk, largest=largest)


__all__ = ["open_store"]
