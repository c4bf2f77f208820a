"""Full text over what came in, the canonical payloads, what went out and what was answered, in an index of its own.

The index is not the store: it may lag behind, can be thrown away at any time, and is made anew from the store. One indexer
fills it (`wardline index`); whoever searches opens it here, in a process of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from engine.errors import WardlineError

STAGES: Final = ("in", "canonical", "out", "answer")
"""Where a text stood: as received, as a canonical payload, as sent (canonical payloads too), as a receiver answered."""


class NoIndex(WardlineError):
    """No index was built yet, or the one that is there is of another release. The text says what to do."""


class NotWords(WardlineError):
    """A phrase has nothing that an index of words could be asked for. The text says why."""

    exit_code = 2


class Interrupted(WardlineError):
    """Somebody called `interrupt`, or the search took longer than a read may take; the text says which."""


class Phrase(NamedTuple):
    """Words that stand one after another, whatever is between them: `DOE^JANE`, `Doe, Jane`. `SMI*`: any word that begins so."""

    text: str
    stage: str = ""  # one of STAGES; '': any


class TextIndex(Protocol):
    """An index, opened for reading. Calls block; only `interrupt` may come from another thread."""

    def find(self, words: Sequence[Phrase], below: int, limit: int) -> list[int]:
        """Ids of at most `limit` messages in whose texts every phrase occurs, newest first; only ids smaller than `below`,
        0: from the newest. What retention has forgotten is not among them.

        Raises NotWords, NoIndex (it was thrown away meanwhile), Interrupted, StoreError.
        """

    def indexed_up_to(self) -> tuple[int, int]:
        """The newest message that can be found, and when it was received; (0, 0) where there is none."""

    def interrupt(self) -> None:
        """The `find` under way ends with Interrupted; where none is, nothing happens."""

    def close(self) -> None: ...


def open_index(store_url: str) -> TextIndex:
    """The index of a store: `sqlite:///site.db`, `postgresql://…`. Raises NoIndex, StoreError."""
    if store_url.startswith("postgres"):
        from engine.textindex.postgres import PostgresIndex

        return PostgresIndex(store_url)
    from engine.textindex.sqlite import SqliteIndex

    return SqliteIndex(store_url)


__all__ = ["STAGES", "Interrupted", "NoIndex", "NotWords", "Phrase", "TextIndex", "open_index"]
