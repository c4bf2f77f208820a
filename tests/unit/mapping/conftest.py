"""A site made of texts, and a bench for expressions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from engine import registry
from engine.mapping import Library
from tests.unit.mapping.material import TABLES, Bench, MakeSite


@pytest.fixture
def site(tmp_path: Path) -> MakeSite:
    """A library of the given files: `name.yaml` and `name.csv` by their place in mappings/."""

    def make(files: Mapping[str, str]) -> Library:
        for name, content in files.items():
            folder = "mappings/codes" if name.endswith(".csv") else "mappings"
            path = tmp_path / (name if "/" in name else f"{folder}/{name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        (tmp_path / "mappings").mkdir(exist_ok=True)
        return Library.load(tmp_path, registry.formats(), registry.entities())

    return make


@pytest.fixture
def bench(site: MakeSite) -> Bench:
    return Bench(site(TABLES))
