"""One suite for both databases, and for both ways of writing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.contract.store.helpers import Site

_schemas = count(1)


@pytest.fixture(params=["sqlite", "sqlite-inline", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty place for a store."""
    if not kind.startswith("postgresql"):
        yield f"sqlite:///{tmp_path}/store.db"
        return
    import psycopg

    server = request.getfixturevalue("postgresql_url")
    schema = f"store_{next(_schemas)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    try:
        yield f"{server}{'&' if '?' in server else '?'}options=-csearch_path%3D{schema}"
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("SET client_min_messages = warning")
            connection.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def site(kind: str, url: str, spin: Any) -> Iterator[Site]:
    """A store, open and empty."""
    made = Site(url, not kind.endswith("inline"))
    made.open()
    yield made
    spin(made.close())
