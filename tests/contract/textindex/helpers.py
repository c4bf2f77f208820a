"""A store with its index, the indexer run by hand."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from engine.textindex import Phrase, open_index
from engine.textindex.indexer import Indexer
from engine.textindex.postgres import PostgresDatabase
from engine.textindex.source import Source
from engine.textindex.sqlite import SqliteDatabase
from tests.contract.store.helpers import START, Site

VOLUME = 6  # messages in a volume: a test fills several


class Indexed(Site):
    """`told` is what the indexer said."""

    def __init__(self, url: str) -> None:
        super().__init__(url, threaded=False)
        self.told: list[str] = []
        self.day = START
        self.source: Source | None = None
        self.database: Any = None
        self.indexer: Indexer

    def begin(self) -> Indexer:
        """An indexer, from where the last one was."""
        self.stop()
        self.source = Source(self.url)
        self.database = PostgresDatabase(self.url) if self.url.startswith("postgres") else SqliteDatabase(self.url)
        self.indexer = Indexer(self.source, self.database, lambda: self.day, self.told.append, VOLUME)
        self.indexer.open()
        return self.indexer

    def stop(self) -> None:
        if self.source is not None:
            self.source.close()
            self.database.close()
            self.source = None

    def index(self, look: bool = True) -> None:
        """Everything there is now."""
        if self.source is None:
            self.begin()
        assert self.source is not None
        upto = self.source.newest()
        while self.indexer.place().reached < upto:
            self.indexer.forward(upto)
        while look and self.indexer.look():
            pass

    def settle_down(self) -> None:
        """Everything that can wait."""
        while self.indexer.tidy():
            pass

    def find(self, *texts: str, stage: str = "", below: int = 0, limit: int = 50) -> list[int]:
        with closing(open_index(self.url)) as index:
            return index.find([Phrase(one, stage) for one in texts], below, limit)

    def volumes(self) -> list[Any]:
        return self.indexer._tables.volumes()

    def watched(self) -> int:
        return len(self.indexer._tables.watched(0, 10_000))
