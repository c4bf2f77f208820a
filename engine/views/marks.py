"""Characters that do not print, shown: a carriage return as `⟨CR⟩`, a right-to-left override as `⟨U+202E⟩`."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from itertools import groupby
from typing import Final, NamedTuple

_CONTROLS: Final = (
    "NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "TAB", "LF", "VT", "FF", "CR", "SO", "SI",
    "DLE", "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US",
)  # fmt: skip
_MEANINGS: Final = {
    "\t": "tab", "\n": "line feed", "\r": "carriage return", "\x0b": "vertical tab, the start of an MLLP frame",
    "\x1b": "escape", "\x1c": "file separator, the end of an MLLP frame", "\x7f": "delete", "\xa0": "no-break space",
}  # fmt: skip


class Run(NamedTuple):
    """Text that prints, or the mark of one character that does not."""

    text: str
    meaning: str = ""  # of a mark: what the character is
    code: int = 0  # of a mark: the character's, 0 for a byte that is none


def runs(text: str) -> list[Run]:
    """`text`, with a mark for each character that would not be seen, or would move others: controls, line ends, bidi
    controls, zero widths, blanks that are not the blank, bytes that were no text (carried by `surrogateescape`)."""
    if text.isprintable():
        return [Run(text)] if text else []
    found: list[Run] = []
    for prints, characters in groupby(text, str.isprintable):
        if prints:
            found.append(Run("".join(characters)))
        else:
            found += [_mark(character) for character in characters]
    return found


def plain(text: str) -> str:
    """The same as one text."""
    return text if text.isprintable() else "".join(run.text for run in runs(text))


@lru_cache(512)
def _mark(character: str) -> Run:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return Run(f"⟨{code - 0xDC00:02X}⟩", "a byte that is no text in this character set", 0)
    written = _CONTROLS[code] if code < len(_CONTROLS) else "DEL" if character == "\x7f" else f"U+{code:04X}"
    meaning = _MEANINGS.get(character) or unicodedata.name(character, "").lower() or f"control character {code:02X}"
    return Run(f"⟨{written}⟩", meaning, code)
