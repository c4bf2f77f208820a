"""Any content as text, line by line, and as bytes in hexadecimal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from engine.views.lines import Line, Piece, Reading

WIDTH: Final = 16  # bytes of one row of hexadecimal
WIDEST: Final = 400  # characters of one line of text; a longer one goes on below

_END = re.compile(r"\r\n|\r|\n")


class Row(NamedTuple):
    """Sixteen bytes."""

    offset: int
    hexadecimal: str  # `4d 53 48 7c 5e 7e 5c 26  7c 41 44 54 7c 48 4f 53`
    text: str  # printable ASCII; a dot for the others


def read(content: bytes, notes: tuple[str, ...], partial: bool) -> Reading:
    """UTF-8; bytes that are not show as such, and line ends stand at the ends of their lines."""
    text = content.decode("utf-8", "surrogateescape")
    return Reading("text", "text", lambda start: islice(_lines(text), start, None), notes, partial)


def _lines(text: str) -> Iterator[Line]:
    number = at = 0
    while at < len(text):
        found = _END.search(text, at, at + WIDEST)
        end = found.end() if found else min(at + WIDEST, len(text))
        if found and found[0] == "\r" and text[end : end + 1] == "\n":
            end += 1  # cut between the two
        number += 1
        body, mark = text[at : found.start() if found else end], text[found.start() : end] if found else ""
        pieces = (Piece(body),) if body else ()
        yield Line(str(number), (*pieces, Piece(mark, role="delimiter")) if mark else pieces)
        at = end


def hexadecimal(content: bytes, offset: int = 0) -> list[Row]:
    """`content` as rows; `offset` is where it stands in what it was cut from."""
    rows = []
    for at in range(0, len(content), WIDTH):
        row = content[at : at + WIDTH]
        left, right = row[: WIDTH // 2].hex(" "), row[WIDTH // 2 :].hex(" ")
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        rows.append(Row(offset + at, f"{left}  {right}".rstrip(), text))
    return rows
