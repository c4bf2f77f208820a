"""What may stand where somebody is typing: keys, and the values that a key has here. Cheap enough to ask at every letter."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from engine.query.language import FLAGS, KEYS, STATES, TEXT, is_text

if TYPE_CHECKING:
    from engine.store.history import History

MOST: Final = 20
_TERM = re.compile(r"(-?)([A-Za-z][\w.-]*):(.*)", re.DOTALL)
_AGES: Final = {"1h": "the last hour", "24h": "the last day", "7d": "the last week"}


class Completion(NamedTuple):
    text: str  # the whole term, to stand where the beginning stood; a key ends with its colon
    hint: str = ""


def completions(
    history: History, beginning: str, names: Iterable[str] = (), visible: Collection[str] | None = None
) -> list[Completion]:
    """For the beginning of a term, up to where the cursor stands. `names`: business keys that the site's files know."""
    begun = _TERM.fullmatch(beginning)
    if begun is None:
        minus, word = ("-", beginning[1:]) if beginning.startswith("-") else ("", beginning)
        own = sorted({*names, *history.key_names()})
        keys = {**dict.fromkeys(own, "a business key"), **KEYS}
        return [Completion(f"{minus}{key}:", hint) for key, hint in _beginning(keys, word) if not (minus and _positive_only(key))]
    minus, key, rest = begun.groups()
    done, comma, last = rest.rpartition(",")
    values = _VALUES.get(key)
    if values is None or last.startswith('"'):
        return []
    taken = set(done.split(","))
    found = [(value, hint) for value, hint in _beginning(values(history, visible), last) if value not in taken]
    return [Completion(f"{minus}{key}:{done}{comma}{value}", hint) for value, hint in found]


def _positive_only(key: str) -> bool:
    return key in ("since", "until") or is_text(key) or key == TEXT


def _beginning(words: Mapping[str, str], begun: str) -> list[tuple[str, str]]:
    """Those that begin so; where none does, those that have it inside."""
    low = begun.casefold()
    found = [(word, hint) for word, hint in words.items() if word.casefold().startswith(low)]
    return (found or [(word, hint) for word, hint in words.items() if low in word.casefold()])[:MOST]


def _channels(history: History, visible: Collection[str] | None) -> dict[str, str]:
    return dict.fromkeys(sorted(one for one in history.names()[0] if visible is None or one in visible), "")


_Values = Callable[["History", Collection[str] | None], Mapping[str, str]]
_VALUES: Final[dict[str, _Values]] = {
    "channel": _channels,
    "destination": lambda history, _: dict.fromkeys(sorted(history.names()[1]), ""),
    "type": lambda history, _: dict.fromkeys(history.kinds(), ""),
    "state": lambda *_: dict.fromkeys(STATES, ""),
    "is": lambda *_: FLAGS,
    "since": lambda *_: _AGES,
    "until": lambda *_: _AGES,
}
