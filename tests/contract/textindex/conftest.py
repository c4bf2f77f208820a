"""The index beside both databases, over stores that were filled with their own verbs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from engine.textindex import source
from tests.contract.store import conftest
from tests.contract.textindex.helpers import VOLUME, Indexed

url = conftest.url


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site(url: str, spin: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Indexed]:
    """A store, open and empty, and an indexer that has not begun."""
    monkeypatch.setattr(source, "STRETCH", VOLUME // 2)
    made = Indexed(url)
    made.open()
    yield made
    made.stop()
    spin(made.close())
