"""Hostile text made safe to look at. Whatever a message brought may hold terminal escapes, line ends and bidi overrides."""

from __future__ import annotations

import re

_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1: line ends, ESC, CSI
    "\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # bidi controls, zero widths, line separators
    "\ud800-\udfff\U000e0000-\U000e007f]"  # surrogates (undecodable bytes), tag characters
)
_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def _written(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # a byte that was no text, carried by `surrogateescape`
    return _SHORT.get(character) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def visible(text: str, limit: int = 0) -> str:
    """`text` on one line, with everything that does not print written as `\\r`, `\\x1b`, `\\u202e`.

    `limit`: the most characters to keep, 0 for all; what is cut shows as `…`.
    """
    if limit and len(text) > limit:
        text = text[: limit - 1] + "…"
    return _HIDDEN.sub(_written, text)
