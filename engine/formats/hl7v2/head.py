"""The first segment as bytes: what an acknowledgement needs of a message, whether the rest of it can be read or not."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from engine.errors import ContentError
from engine.formats.hl7v2.reader import IGNORED_BEFORE, MOST_HEADER
from engine.formats.hl7v2.syntax import syntax

VERSION_WHERE_UNKNOWN: Final = b"2.5.1"
NEVER_ANSWERED: Final = frozenset((b"ACK", b"MCF"))

_LINE_END = re.compile(rb"[\r\n]")
_SAFE_MARKS = re.compile(rb"[!-/:-@\[-`{-~]")


class Head(NamedTuple):
    """The first segment; `fields[n - 1]` is MSH-n. `whole` is false where these are stand-ins, or those of FHS or BHS."""

    fields: list[bytes]
    separator: bytes
    marks: bytes
    whole: bool


def head_of(content: bytes) -> Head:
    """MSH (or FHS, BHS, whose first fields are the same) of anything; what cannot be read is absent."""
    if content[:3] != b"MSH":
        content = content.lstrip(IGNORED_BEFORE).removeprefix(b"\xef\xbb\xbf")
    name = content[:3]
    separator = content[3:4]
    if name not in (b"MSH", b"FHS", b"BHS") or not _SAFE_MARKS.match(separator):
        return Head([], b"|", b"^~\\&", False)
    end = _LINE_END.search(content, 0, MOST_HEADER)
    if end is None and len(content) > MOST_HEADER:
        return Head([], b"|", b"^~\\&", False)
    fields = (content[: end.start()] if end else content).split(separator)
    marks = fields[1] if len(fields) > 1 else b""
    if not _usable(separator, marks):
        marks = b"^~\\&"
        if separator in marks:
            return Head([], b"|", marks, False)
    return Head(fields, separator, marks, name == b"MSH")


@lru_cache(256)
def _usable(separator: bytes, marks: bytes) -> bool:
    try:
        syntax(separator.decode("ascii"), marks.decode("ascii"))
    except (ContentError, UnicodeDecodeError):
        return False
    return len(marks) > 3


def field(fields: list[bytes], number: int) -> bytes:
    return fields[number - 1] if len(fields) >= number else b""


def type_and_event(head: Head) -> tuple[bytes, bytes]:
    """MSH-9.1 and MSH-9.2."""
    if not head.whole:
        return b"", b""
    code, _, rest = field(head.fields, 9).partition(head.marks[:1])
    return code.strip(), rest.partition(head.marks[:1])[0]


def version_numbers(version: bytes) -> tuple[int, ...]:
    found = re.match(rb"(\d)\.(\d)", version or VERSION_WHERE_UNKNOWN)
    return (int(found[1]), int(found[2])) if found else (2, 5)
