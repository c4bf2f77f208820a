"""Text from outside, as every database takes it and as an index can hold it."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

INDEXED: Final = 512  # characters of a key in an index: PostgreSQL has room for 2,704 bytes, and one may take four


def without_nul(text: str) -> str:
    """PostgreSQL has no NUL in its text."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def storable(text: str) -> str:
    """Text that no database refuses: without NUL and without half a surrogate pair."""
    return without_nul(text).encode("utf-8", "replace").decode()


def indexed(value: str) -> str:
    """A business key's value as its index has it. One that was cut is longer than any that was not, so that the two are
    never taken for one another."""
    if len(value) <= INDEXED:
        return value
    return value[:INDEXED] + blake2b(value.encode(), digest_size=16).hexdigest()
