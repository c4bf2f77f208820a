"""What pages that search share: the query read, and in what this person may look."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from engine.console.rights import Right
from engine.query import Search, Texts, parse

if TYPE_CHECKING:
    from engine.console.visit import Visit
    from engine.textindex import TextIndex


def read_query(visit: Visit, text: str) -> Search:
    """Raises QueryError."""
    names = {*visit.site.index, *visit.history.key_names()}
    return parse(text, visit.now, visit.home.timezone, names)


def visible(visit: Visit, search: Search) -> frozenset[str] | None:
    """The channels in which this search may look; None: all. Looking for words tells what bodies hold, as reading does."""
    return visit.channels(Right.READ if search.texts else Right.SEE)


@contextmanager
def texts_of(visit: Visit) -> Iterator[Texts]:
    """What opens the index of texts, for as long as the context lasts."""
    from engine.textindex import open_index

    with ExitStack() as opened:

        def texts() -> TextIndex:
            index = open_index(visit.home.store)
            opened.callback(index.close)
            return index

        yield texts
