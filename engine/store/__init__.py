"""The store: the only place where stages meet. SQLite and PostgreSQL, one schema, every verb durable before it answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.contracts import Runtime
from engine.model import Opened

if TYPE_CHECKING:
    from engine.store.store import SqlStore


def open_store(
    url: str, runtime: Runtime, on_failure: Callable[[Exception], None], *, threaded: bool = True
) -> tuple[SqlStore, Opened]:
    """See `engine.store.store.open_store`; SQLAlchemy is imported when it is called."""
    from engine.store.store import open_store

    return open_store(url, runtime, on_failure, threaded=threaded)


__all__ = ["open_store"]
