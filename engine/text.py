"""Small things about words that every error text uses."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, candidates: Iterable[str]) -> str:
    """The candidate that `word` was probably meant to be, or ''."""
    import difflib

    names = [str(name) for name in candidates]
    folded = {name.casefold().replace("_", "-"): name for name in reversed(names)}
    near = difflib.get_close_matches(word.casefold().replace("_", "-"), folded, 1, cutoff=0.6)
    return folded[near[0]] if near else ""


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """` Did you mean 'timezone'?` with its leading space, or '' where nothing is near: made to be appended."""
    near = nearest(word, candidates)
    return f" Did you mean '{near}'?" if near and near != word else ""


def listed(names: Iterable[str], last: str = "and") -> str:
    """`a, b and c`, in the order given."""
    words = list(names)
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else "".join(words)


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 channel`, `3 channels`, `2 mappings`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
