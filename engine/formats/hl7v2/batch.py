"""Cutting files that hold several messages: batches (FHS, BHS … BTS, FTS, §2.10.3) and files with one after another."""

from __future__ import annotations

import re

_HEADER = re.compile(rb"(?:\A|(?<=[\r\n\x0b]))MSH(?=[!-/:-@\[-`{-~])")
_TRAILER = re.compile(rb"(?:\A|(?<=[\r\n\x0b]))(?:BTS|FTS|BHS|FHS)(?=[!-/:-@\[-`{-~]|[\r\n]|\Z)")


def messages(content: bytes) -> list[bytes]:
    """Each message with its line ends, without the batch's own segments; `[content]` where there is just one or none.

    A header is MSH at the beginning of a line with the separator of the first one: the text `MSH` in data begins nothing.
    """
    starts = [match.start() for match in _HEADER.finditer(content)]
    if starts:
        separator = content[starts[0] + 3]
        starts = [start for start in starts if content[start + 3] == separator]
    if len(starts) < 2 and not (starts and _TRAILER.search(content)):
        return [content]
    found: list[bytes] = []
    for start, end in zip(starts, [*starts[1:], len(content)], strict=True):
        cut = _TRAILER.search(content, start, end)
        found.append(content[start : cut.start() if cut else end].rstrip(b"\x0b"))
    return found
