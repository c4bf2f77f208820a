"""What every format's content becomes for people: lines of pieces, each piece with its path and the standard's name.

One model for HL7 v2, X12, JSON, XML and plain text, so that one template, one comparison and one command serve them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from html import escape
from itertools import islice
from typing import Final, NamedTuple

LINES: Final = 200  # of one page
WEIGHT: Final = 40_000  # bytes of one page as HTML, about
LOOKED_AT: Final = 20_000  # lines in which a place is looked for
PIECES_OF_LINE: Final = 400
TEXT: Final = 300  # characters of one piece
PATH: Final = 400  # characters of one path

_SEGMENT: Final = re.compile(r"[A-Z][A-Z0-9]{2}(?:\[\d+\])?")


class Piece(NamedTuple):
    """A run of text within a line. `text` is as it was sent, hostile characters included: `marks` shows them."""

    text: str
    path: str = ""  # in the notation of mappings, errors and search: `PID-5.1`
    name: str = ""  # the standard's
    role: str = ""  # of what is no plain value: delimiter, null, key, tag, comment
    meant: str = ""  # what `text` means where that is something else: escapes resolved
    more: int = 0  # characters behind `text` that are not shown


class Line(NamedTuple):
    """`label` stands before it: a segment with its number among its kind (`FT1[2]`), or the number of the line."""

    label: str
    pieces: tuple[Piece, ...]
    name: str = ""  # of the segment
    depth: int = 0
    groups: tuple[str, ...] = ()  # the standard's groups around it, the outermost first: `ORDER_OBSERVATION[2]`
    more: int = 0  # pieces that are not shown


class Page(NamedTuple):
    lines: tuple[Line, ...]
    start: int  # number of the first of them, from 0
    next: int | None  # where the following page starts; None: there is none


class Reading(NamedTuple):
    """Content, read. `lines(n)` begins with the n-th."""

    kind: str  # hl7v2, x12, json, xml, text
    title: str  # `HL7 v2.5.1 ORU^R01`
    lines: Callable[[int], Iterator[Line]]
    notes: tuple[str, ...] = ()  # what a reader must know: that it is a part of a larger one, why it is shown as text
    partial: bool = False  # it is the beginning of something larger

    def page(self, start: int = 0) -> Page:
        """From line `start` on: as many lines as a page holds, and one at least."""
        taken: list[Line] = []
        weight = 0
        for line in self.lines(start):
            weight += sum(map(_weight, line.pieces)) + 100
            if taken and (len(taken) >= LINES or weight > WEIGHT):
                return Page(tuple(taken), start, start + len(taken))
            taken.append(line)
        return Page(tuple(taken), start, None)

    def find(self, place: str) -> tuple[int, str] | None:
        """The line in which a place such as `FT1[2]-13.1` stands, looked for in the first 20,000. With it '', or, where the
        place is empty, the label of the segment that it would stand in. None: not even that is there."""
        segment = _SEGMENT.match(place)
        near: tuple[int, str] | None = None
        for number, line in enumerate(islice(self.lines(0), LOOKED_AT)):
            if line.label == place or any(covers(place, piece.path) for piece in line.pieces):
                return number, ""
            if near is None and segment and line.label == segment[0]:
                near = number, line.label
        return near


def _weight(one: Piece) -> int:
    """How much of a page it takes: hostile text takes many times its length."""
    marks = 0 if one.text.isprintable() else sum(1 for character in one.text if not character.isprintable())
    return 40 + len(one.path) + len(one.name) + len(escape(one.text)) + 80 * marks


class Section(NamedTuple):
    """A group of the standard's structure, with what is in it."""

    title: str
    items: tuple[Line | Section, ...]


def sections(lines: Iterable[Line]) -> tuple[Line | Section, ...]:
    """Lines with the groups that they name put around them."""
    items: list[Line | Section] = []
    group: str = ""
    inner: list[Line] = []

    def close() -> None:
        if inner:
            items.append(Section(group, sections(inner)))

    for line in lines:
        outer = line.groups[0] if line.groups else ""
        if outer != group:
            close()
            group, inner = outer, []
        if outer:
            inner.append(line._replace(groups=line.groups[1:]))
        else:
            items.append(line)
    close()
    return tuple(items)


def covers(place: str, path: str) -> bool:
    """Whether `path` is `place` or a part of it: `PID-5` covers `PID-5[2].1`. `FT1-13` is `FT1[1]-13` where there is one."""
    if not place or not path:
        return False
    return path == place or (path.startswith(place) and path[len(place)] in ".[-/")


def piece(text: str, path: str = "", name: str = "", role: str = "", meant: str = "") -> Piece:
    """A piece, cut at what is shown of one."""
    if len(text) <= TEXT:
        return Piece(text, path, name, role, "" if meant == text else meant[:TEXT])
    return Piece(text[:TEXT], path, name, role, "", len(text) - TEXT)


def below(path: str, step: str) -> str:
    """`path` with a step more. A path that has become too long to be of use ends with `…` and grows no further."""
    if path.endswith("…"):
        return path
    return path + step if len(path) + len(step) <= PATH else f"{path}…"
