"""Bad input over real sockets, against one live engine: every entry of `tests/corpus`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.corpus.entries import Entry, entries
from tests.corpus.runner import LiveEngine, live, play

ENTRIES = list(entries())


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveEngine]:
    with live(Path(tmp_path_factory.mktemp("corpus"))) as running:
        yield running


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.title for entry in ENTRIES])
def test_bad_input(engine: LiveEngine, entry: Entry) -> None:
    play(engine, entry)


def test_every_entry_has_a_title_and_control_ids_of_its_own() -> None:
    titles, ids = [entry.title for entry in ENTRIES], [entry.control_id() for entry in ENTRIES]
    assert len(set(titles)) == len(titles)
    assert len(set(ids)) == len(ids)
