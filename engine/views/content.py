"""From bytes to lines: which format a content is in, as much of it as is read for people, and what they must know of that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engine.errors import ContentError
from engine.views import plain
from engine.views.lines import Reading

READ: Final = 2 << 20  # bytes of a content that are read to be shown; of a larger one, its beginning
_SPACE: Final = b" \t\r\n\x0b"
_MARK: Final = b"\xef\xbb\xbf"


def opened(content: bytes, size: int, content_type: str = "") -> Reading:
    """`content` is the first READ bytes of something of `size` bytes. Never raises: what no format reads is text.

    The content decides what it is, rather than what it is said to be: a wrong type must not hide what was really sent.
    """
    partial = len(content) < size
    notes = _notes(content, size)
    if content.startswith(_MARK):
        notes = (*notes, "It begins with a byte order mark, which is not shown.")
    try:
        return _READERS[kind_of(content, content_type)](content.removeprefix(_MARK), notes, partial)
    except ContentError as error:
        subject = "" if error.place or error.problem.startswith("it ") else "it "
        return plain.read(content, (*notes, f"It is shown as text: {subject}{error}."), partial)
    except Exception as error:  # a reader met what nobody foresaw: people must see the content all the same
        return plain.read(content, (*notes, f"It is shown as text: reading it failed ({type(error).__name__})."), partial)


def as_text(content: bytes, size: int) -> Reading:
    """The same as text, whatever it is."""
    return plain.read(content, _notes(content, size), len(content) < size)


def _notes(content: bytes, size: int) -> tuple[str, ...]:
    if len(content) >= size:
        return ()
    return (f"The first {len(content):,} of {size:,} bytes are shown. Download it for all of it.",)


def kind_of(begin: bytes, content_type: str = "") -> str:
    """hl7v2, x12, json, xml or text, by the first bytes of a content."""
    begin = begin[:64].removeprefix(_MARK).lstrip(_SPACE)
    if begin[:3] in (b"MSH", b"FHS", b"BHS"):
        return "hl7v2"
    if begin.startswith(b"ISA") and not begin[3:4].isalnum():
        return "x12"
    if begin[:1] in (b"{", b"[") or (begin and "json" in content_type):
        return "json"
    if begin[:1] == b"<" or (begin and "xml" in content_type):
        return "xml"
    return "text"


def _hl7(content: bytes, notes: tuple[str, ...], partial: bool) -> Reading:
    from engine.views import hl7

    if partial:  # a segment that is cut in the middle would look like one that is short
        content = content[: max(content.rfind(b"\r"), content.rfind(b"\n")) + 1] or content
    return hl7.read(content, notes, partial)


def _x12(content: bytes, notes: tuple[str, ...], partial: bool) -> Reading:
    from engine.views import x12

    return x12.read(content, notes, partial)


def _json(content: bytes, notes: tuple[str, ...], partial: bool) -> Reading:
    if partial:
        return plain.read(content, notes, partial)
    from engine.views import jsontext

    return jsontext.read(content, notes)


def _xml(content: bytes, notes: tuple[str, ...], partial: bool) -> Reading:
    if partial:
        return plain.read(content, notes, partial)
    from engine.views import xmltext

    return xmltext.read(content, notes)


_READERS: Final[dict[str, Callable[[bytes, tuple[str, ...], bool], Reading]]] = {
    "hl7v2": _hl7,
    "x12": _x12,
    "json": _json,
    "xml": _xml,
    "text": plain.read,
}
