"""Message ids: one increasing sequence per store, unique across stores.

An id is an integer that starts from the clock when the engine starts (milliseconds since 2025 times 4096) and then
counts; on opening, the store passes the largest id it holds, so that ids never go backwards even if the clock does.
Being allocated in commit order by one owner, the id is also the message's sequence: nothing is ever ordered by time.
People read and type ids as ten letters and digits (Crockford's base 32, no I, L, O, U).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

_EPOCH_MS = 1_735_689_600_000  # 2025-01-01T00:00:00Z
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)} | {"O": 0, "I": 1, "L": 1}
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]


def first_id(now: int, largest: int = 0) -> int:
    """The first id to give out. `now` is in microseconds since 1970; `largest` is the largest id in the store."""
    return max(largest + 1, (now // 1000 - _EPOCH_MS) << 12)


def format_id(number: int) -> str:
    """`281474976710656` → `8000000000`: ten characters up to the year 2034, eleven after."""
    text = ""
    while number:
        number, rest = divmod(number, 1024)
        text = _PAIRS[rest] + text
    return text[1:] if text.startswith("0") else text


def parse_id(text: str) -> int:
    """The id a person typed, in either case and with O for 0 or I and L for 1. Raises ValueError."""
    number = 0
    for letter in text.strip().upper().replace("-", ""):
        try:
            number = number << 5 | _VALUES[letter]
        except KeyError:
            raise ValueError(f"{text!r} is not a message id: {letter!r} is never part of one") from None
    return number


def version_of(files: Mapping[str, bytes]) -> str:
    """A site's version, twelve hexadecimal digits over the names and bytes of its files: the same files, the same version."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]
