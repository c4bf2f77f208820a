"""X12 as lines: a segment each, elements and components with their positions. The delimiters are those that ISA declares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from engine.errors import ContentError
from engine.views.lines import PIECES_OF_LINE, Line, Piece, Reading, piece

ISA: Final = 106  # characters: its elements have fixed lengths, so that the delimiters stand in fixed places
ELEMENTS: Final = 16  # of ISA
_NAMES: Final = {
    "ISA": "Interchange Control Header", "GS": "Functional Group Header", "ST": "Transaction Set Header",
    "SE": "Transaction Set Trailer", "GE": "Functional Group Trailer", "IEA": "Interchange Control Trailer",
    "TA1": "Interchange Acknowledgment",
}  # fmt: skip
_OUTER: Final = {"ISA": 0, "IEA": 0, "TA1": 1, "GS": 1, "GE": 1, "ST": 2, "SE": 2}


class _Marks(NamedTuple):
    element: str
    component: str
    repetition: str  # '' before version 4030
    segment: str


def read(content: bytes, notes: tuple[str, ...], partial: bool) -> Reading:
    """Raises ContentError where ISA does not say what its delimiters are."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    text = text.lstrip()
    marks = _marks(text)
    segments = [one.lstrip().rstrip("\r\n") for one in text.split(marks.segment)]
    segments = [one for one in segments if one]
    version = segments[0].split(marks.element)[12].strip()
    kinds = [one.split(marks.element)[1] for one in segments[:50] if one.startswith(f"ST{marks.element}")]
    title = " ".join(["X12", version, *kinds[:1]])[:60]

    def lines(start: int) -> Iterator[Line]:
        return islice(_lines(segments, marks), start, None)

    return Reading("x12", title, lines, notes, partial)


def _marks(text: str) -> _Marks:
    element = text[3:4]
    if text[:3] != "ISA" or not element or element.isalnum():
        raise ContentError("begins with no ISA segment")
    pieces = text[: ISA + 40].split(element, ELEMENTS)
    if len(pieces) <= ELEMENTS or len(pieces[ELEMENTS]) < 2:
        raise ContentError("has no ISA segment of sixteen elements")
    component, end = pieces[ELEMENTS][0], pieces[ELEMENTS][1]
    repetition = pieces[11]
    if end in "".join(pieces[:ELEMENTS]):
        raise ContentError("ends its ISA segment before the sixteenth element")
    if component.isalnum() or end.isalnum() or len({element, component, end}) < 3:
        raise ContentError("declares no usable delimiters in its ISA segment")
    several = len(repetition) == 1 and not repetition.isalnum() and not repetition.isspace()
    return _Marks(element, component, repetition if several and repetition not in (element, component, end) else "", end)


def _lines(segments: list[str], marks: _Marks) -> Iterator[Line]:
    kinds = [one.split(marks.element, 1)[0][:10] for one in segments]
    totals, seen = Counter(kinds), Counter[str]()
    for kind, segment in zip(kinds, segments, strict=True):
        seen[kind] += 1
        label = f"{kind}[{seen[kind]}]" if totals[kind] > 1 else kind
        pieces = tuple(islice(_pieces(label, kind, segment, marks), PIECES_OF_LINE + 1))
        more = int(len(pieces) > PIECES_OF_LINE)
        yield Line(label, pieces[:PIECES_OF_LINE], _NAMES.get(kind, ""), _OUTER.get(kind, 3), (), more)


def _pieces(label: str, kind: str, segment: str, marks: _Marks) -> Iterator[Piece]:
    pending = ""
    for number, raw in enumerate(segment.split(marks.element)[1:], 1):
        pending += marks.element
        if not raw:
            continue
        yield Piece(pending, role="delimiter")
        pending = ""
        path = f"{label}{number:02d}"
        if kind == "ISA":  # it declares the delimiters, and holds none
            yield piece(raw, path)
            continue
        repeats = raw.split(marks.repetition) if marks.repetition else [raw]
        for n, each in enumerate(repeats, 1):
            if n > 1:
                yield Piece(marks.repetition, role="delimiter")
            yield from _components(each, f"{path}[{n}]" if len(repeats) > 1 else path, marks.component)
    yield Piece(pending, role="delimiter")


def _components(raw: str, path: str, mark: str) -> Iterator[Piece]:
    if mark not in raw:
        if raw:
            yield piece(raw, path)
        return
    for number, each in enumerate(raw.split(mark), 1):
        if number > 1:
            yield Piece(mark, role="delimiter")
        if each:
            yield piece(each, f"{path}-{number}")
