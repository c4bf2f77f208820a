"""Content as text, for finding words in it: nothing is ever refused, and what cannot be read is read as it looks.

Of HL7 v2 the character set is that of MSH-18. Everything else is UTF-8, or ISO 8859-1 where it is not. Escapes become the
letters they stand for, or a gap: `O\\T\\G`, `\\u00e9`, `&#233;`.
"""

from __future__ import annotations

import html
import re
from typing import Final

from engine.errors import ContentError
from engine.formats.hl7v2.charset import codecs_of
from engine.formats.hl7v2.head import field, head_of

MOST_BYTES: Final = 256 << 10  # of one content; what comes later cannot be found
_HEADERS: Final = (b"MSH", b"FHS", b"BHS")
_HL7_ESCAPE = re.compile(r"\\(?:[A-Z](?:[0-9A-F]*)|\.[a-z]{2}[+-]?\d*)\\")
_JSON_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)


def text_of(content: bytes) -> str:
    """The beginning of `content`, up to MOST_BYTES."""
    beginning = content[:MOST_BYTES]
    stripped = beginning[:512].lstrip()
    if stripped[:3] in _HEADERS:
        text = _decoded(beginning, _declared(stripped))
        return _HL7_ESCAPE.sub(" ", text) if "\\" in text[20:] else text
    text = _decoded(beginning, [])
    if stripped[:1] in (b"{", b"[") and "\\" in text:
        return _JSON_ESCAPE.sub(_json_letter, text)
    if stripped[:1] == b"<" and "&" in text:
        return html.unescape(text)
    return text


def _declared(content: bytes) -> list[str]:
    """The codecs that MSH-18 names; none where it names none that is known."""
    declared = field(head_of(content).fields, 18)
    try:
        return codecs_of(declared.decode("ascii", "replace")) if declared else []
    except ContentError:
        return []


def _decoded(content: bytes, codecs: list[str]) -> str:
    """A letter that was cut in two at the end is no reason to read all of it otherwise."""
    for codec in [*codecs, "utf-8"]:
        for end in range(len(content), max(len(content) - (4 if len(content) == MOST_BYTES else 1), -1), -1):
            try:
                return content[:end].decode(codec)
            except UnicodeDecodeError:
                continue
    return content.decode("latin-1")


def _json_letter(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else " "
