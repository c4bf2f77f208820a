"""Words and other terms together: the index of texts leads, the store decides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from engine.ids import format_id
from engine.query import Texts, every, find, finding, parse
from engine.store.history import History
from engine.textindex import Interrupted, NoIndex, Phrase, open_index
from engine.textindex.service import Service
from tests.contract.store.helpers import START, Site, outgoing, translation

HOUR = 3_600_000_000
COUNT = 40


@pytest.fixture
def filled(site: Site, spin: Any, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Forty messages an hour apart. Every one says `common`, every fifth `rare`; the odd ones are of another channel."""
    monkeypatch.setattr(finding, "CHUNK", 4)

    async def fill() -> None:
        for n in range(COUNT):
            site.now = START + n * HOUR
            content = f"MSH|^~\\&|common|word{n}|{'rare' if n % 5 == 0 else ''}\rOBX|chest pain".encode()
            channel = "oru" if n % 2 else "adt"
            taken = await site.take(content, channel=channel, control_id=f"C{n}")
            made = outgoing(f'{{"made": "thing{n}"}}', f"{n}")
            await site.store.translated([translation(taken.message_id, made, channel=channel, keys=(("mrn", str(n % 3)),))])

    spin(fill())
    Service(site.url, lambda text: None).run(once=True)
    return site


@contextmanager
def texts(site: Site) -> Iterator[Texts]:
    with closing(open_index(site.url)) as index:
        yield lambda: index


def found(site: Site, query: str, limit: int = 100, **other: Any) -> list[int]:
    """The message numbers."""
    with History(site.url) as history, texts(site) as opened:
        rows = find(history, parse(query, START, names=["mrn"]), limit, texts=opened, **other).rows
        return [(row.received_at - START) // HOUR for row in rows]


def test_words_and_terms_together(filled: Site) -> None:
    newest_first = range(COUNT - 1, -1, -1)
    for query, expected in (
        ("common", list(newest_first)),
        ("rare", [n for n in newest_first if n % 5 == 0]),
        ("rare channel:oru", [n for n in newest_first if n % 5 == 0 and n % 2]),
        ("rare -channel:oru state:translated", [n for n in newest_first if n % 5 == 0 and n % 2 == 0]),
        ('"chest pain" mrn:1,2 rare', [n for n in newest_first if n % 5 == 0 and n % 3]),
        ("common mrn:0 state:waiting", [n for n in newest_first if n % 3 == 0]),
        ("common state:parked", []),
        ("text.in:word7", [7]),
        ("text.out:word7", []),
        ("text.out:thing7", [7]),
        ("text.in:thing7", []),
        ("word7 word8", []),
        ('rare since:"2025-12-29T13:00Z"', [n for n in newest_first if n % 5 == 0 and START + n * HOUR >= 1_767_013_200_000_000]),
        ('rare until:"2025-12-29T13:00Z"', [n for n in newest_first if n % 5 == 0 and START + n * HOUR < 1_767_013_200_000_000]),
    ):
        assert found(filled, query) == expected, query


def test_pages_of_text_go_there_and_back(filled: Site) -> None:
    with History(filled.url) as history, texts(filled) as opened:
        search = parse("common channel:adt", START)
        pages = [find(history, search, 3, texts=opened)]
        while before := pages[-1].older:
            pages.append(find(history, search, 3, before, texts=opened))
        rows = [row for page in pages for row in page.rows]
        assert [(row.received_at - START) // HOUR for row in rows] == list(range(COUNT - 2, -1, -2))
        page, back = pages[-1], [pages[-1].rows]
        while page.newer:
            page = find(history, search, 3, after=page.newer, texts=opened)
            back.append(page.rows)
        assert [row for rows_of in reversed(back) for row in rows_of] == rows
        assert pages[0].indexed_up_to == START + (COUNT - 1) * HOUR
        assert [row for rows_of in every(history, search, texts=opened) for row in rows_of] == rows


def test_an_id_narrows_words(filled: Site) -> None:
    with History(filled.url) as history:
        (row,) = find(history, parse("control:C7", START)).rows
    assert found(filled, f"{format_id(row.id)} common") == [7]
    assert found(filled, f"{format_id(row.id)} rare") == []


def test_words_are_found_in_visible_channels_only(filled: Site) -> None:
    assert found(filled, "rare", visible=["oru"]) == [35, 25, 15, 5]
    assert found(filled, "rare", visible=[]) == []


def test_without_an_index_it_says_so(site: Site) -> None:
    with History(site.url) as history:
        with pytest.raises(NoIndex):
            find(history, parse("word", START))
        with pytest.raises(NoIndex, match="wardline index"):
            find(history, parse("word", START), texts=lambda: open_index(site.url))
        assert find(history, parse("", START)).rows == []


class Slow:
    """An index that gives up from the n-th question on."""

    def __init__(self, index: Any, good: int) -> None:
        self.index, self.good = index, good
        self.interrupted = 0

    def find(self, words: list[Phrase], below: int, limit: int) -> list[int]:
        self.good -= 1
        if self.good < 0:
            raise Interrupted("it took too long")
        return self.index.find(words, below, limit)  # type: ignore[no-any-return]

    def indexed_up_to(self) -> tuple[int, int]:
        return self.index.indexed_up_to()  # type: ignore[no-any-return]

    def interrupt(self) -> None:
        self.interrupted += 1


def test_when_time_is_up_it_says_how_far_it_came_and_goes_on(filled: Site) -> None:
    with History(filled.url) as history, texts(filled) as opened:
        search = parse("common mrn:1 channel:oru", START)
        whole = [row.id for row in find(history, search, 100, texts=opened).rows]
        for good in range(1, 4):
            slow: Any = Slow(opened(), good)
            page = find(history, search, 100, texts=lambda slow=slow: slow)
            assert page.reached_at
            seen = [row.id for row in page.rows]
            while page.older:
                page = find(history, search, 100, page.older, texts=opened)
                seen += [row.id for row in page.rows]
            assert seen == whole
        with pytest.raises(Interrupted):
            find(history, search, texts=lambda: Slow(opened(), 0))  # type: ignore[arg-type,return-value]


def test_who_calls_a_search_off_ends_the_index_too(filled: Site) -> None:
    with History(filled.url) as history, texts(filled) as opened:

        class Watched(Slow):
            def find(self, words: list[Phrase], below: int, limit: int) -> list[int]:
                history.interrupt()
                return super().find(words, below, limit)

        watched: Any = Watched(opened(), 9)
        with pytest.raises(Exception, match="called off"):
            find(history, parse("common", START), texts=lambda: watched)
        assert watched.interrupted == 1
