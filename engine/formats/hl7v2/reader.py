"""A message, read lazily: cut into segments once, into fields when one of a segment is asked for.

Lines end with CR, as the standard says (§2.4), or, as files and some senders have it, with LF or CRLF. What ends the first
segment ends the others; a line feed elsewhere is data unless a segment begins behind it. Everything is kept, so that an
unchanged message renders as the bytes it came as.
"""

from __future__ import annotations

import re
from typing import Final

from engine.errors import ContentError
from engine.formats.hl7v2.charset import decode
from engine.formats.hl7v2.shapes import Index, Shape, shape_of
from engine.formats.hl7v2.structure import Segment
from engine.formats.hl7v2.syntax import Syntax, syntax

MOST_HEADER: Final = 65_536  # bytes: no first segment is longer; keeps its reading cheap on megabytes without a line end
IGNORED_BEFORE: Final = b"\x0b \t\r\n"  # an MLLP start byte or blank lines, as in files cut from a wire

_FIRST_END = re.compile(r"\r\n?|\n")
_MIXED_ENDS = re.compile(r"(\r\n?|\n(?=[A-Z][A-Z0-9]{2}[^\w\s]|\s*\Z))")
_ANY_END = re.compile(r"(\r\n?|\n)")


class Source:
    """What `read` gives: the segments of a message with everything needed to write them back."""

    __slots__ = ("content", "end", "ends", "index", "prefix", "segments", "shape", "syntax")

    def __init__(
        self, content: bytes, prefix: str, segments: list[Segment], end: str, ends: list[str] | None, marks: Syntax
    ) -> None:
        self.content: bytes | None = content  # None once something was changed
        self.prefix = prefix  # ignored bytes before the first segment
        self.segments = segments  # every line, also those that are no segments; the last may be what follows the last end
        self.end = end  # what ends a segment that is added
        self.ends = ends  # None: `end` between all lines; else the end of each
        self.syntax = marks
        self.shape: Shape | None = shape_of(segments, marks.field)  # None for a copy that may change
        self.index = self.shape.index(segments)

    def copy(self) -> Source:
        copied = Source.__new__(Source)
        copied.content, copied.prefix, copied.end, copied.syntax = self.content, self.prefix, self.end, self.syntax
        copied.segments = [segment[:] for segment in self.segments]
        copied.ends = None if self.ends is None else self.ends[:]
        copied.shape, copied.index = None, shape_of(copied.segments, self.syntax.field).index(copied.segments)
        return copied

    def emptied(self, shape: Shape) -> Source:
        """The same segments with nothing in them but their names."""
        empty = Source.__new__(Source)
        empty.content, empty.prefix, empty.end, empty.ends, empty.syntax = b"", "", self.end, None, self.syntax
        empty.segments = [[segment[0][:3]] for segment in self.segments]
        empty.shape, empty.index = None, shape.index(empty.segments)
        return empty

    def text(self) -> str:
        lines = [self.syntax.field.join(segment) for segment in self.segments]
        if self.ends is None:
            return self.prefix + self.end.join(lines)
        return self.prefix + "".join(line + end for line, end in zip(lines, self.ends, strict=True))


def indexed(segments: list[Segment], field: str) -> Index:
    """Segments by name, of a message that is being changed."""
    return Shape(tuple([segment[0][:4] for segment in segments]), field).index(segments)


def read(content: bytes, charset: str = "") -> Source:
    """Cut `content` into segments. Raises ContentError where it is no HL7 v2 or its characters cannot be told.

    `charset` is used in place of MSH-18.
    """
    if content[:3] != b"MSH":
        start = header_start(content)
        prefix, content_from = content[:start].decode("ascii"), content[start:]
    else:
        prefix, content_from = "", content
    try:
        text, codec = content_from.decode(), "utf-8"
    except UnicodeDecodeError:
        text, codec = content_from.decode("latin-1"), "latin-1"
    at = text.find("\r")
    if at < 0 or text.find("\n", 0, at + 2) >= 0:
        first = _FIRST_END.search(text)
        head, end = (text[: first.start()], first[0]) if first else (text, "\r")
    else:
        head, end = text[:at], "\r"
    field = text[3:4]
    pieces = head.split(field) if field else [head]
    declared = pieces[1] if len(pieces) > 1 else ""
    marks = syntax(field, declared, codec)
    named = charset or (pieces[17] if len(pieces) > 17 and head[0] == "M" else "")
    if named and (named not in ("UNICODE UTF-8", "ASCII") or not text.isascii() or codec == "latin-1"):
        text, codec = decode(content_from, named, marks.repetition)
        marks = syntax(field, declared, codec)
    segments, end, ends = _cut(text, end)
    if segments[0][0] == head and declared:
        segments[0] = pieces  # cut already
    return Source(content, prefix, segments, end, ends, marks)


def _cut(text: str, end: str) -> tuple[list[Segment], str, list[str] | None]:
    if end == "\r" and "\n" not in text:
        return [[line] for line in text.split("\r")], end, None
    pieces = (_ANY_END if end == "\n" else _MIXED_ENDS).split(text)
    ends = pieces[1::2]
    segments = [[line] for line in pieces[::2]]
    if all(each == end for each in ends):
        return segments, end, None
    return segments, end, [*ends, ""]


def header_start(content: bytes) -> int:
    """Where MSH (or FHS, BHS) begins. Raises ContentError saying what the content looks like instead."""
    start = len(content) - len(content.lstrip(IGNORED_BEFORE))
    if content[start : start + 3] in (b"MSH", b"FHS", b"BHS"):
        return start
    raise ContentError(_looks_like(content, content[start : start + 64]), "", "100")


def _looks_like(content: bytes, begin: bytes) -> str:
    expected = "a message begins with MSH|^~\\&|"
    if not begin:
        return f"there is nothing in it; {expected}"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or begin[:4] in (b"M\0S\0", b"\0M\0S"):
        return f"it is UTF-16, which cannot be framed; send UTF-8; {expected}"
    if begin.startswith(b"\xef\xbb\xbf"):
        return f"it begins with a UTF-8 byte order mark; send it without; {expected}"
    kinds = {
        b"<": "XML",
        b"{": "JSON",
        b"[": "JSON",
        b"ISA": "X12",
        b"UNA": "EDIFACT",
        b"UNB": "EDIFACT",
        b"PK\x03\x04": "a ZIP file",
    }
    for mark, kind in kinds.items():
        if begin.startswith(mark):
            return f"it begins with `{mark.decode('ascii', 'backslashreplace')}`, looks like {kind}; {expected}"
    if begin[:3].upper() == b"MSH":
        return f"it begins with {begin[:3].decode()!r}; segment names are upper case; {expected}"
    if re.match(rb"[A-Z][A-Z0-9]{2}\|", begin):
        return f"it begins with segment {begin[:3].decode()}; {expected}"
    return f"it begins with {begin[:8]!r}; {expected}"
