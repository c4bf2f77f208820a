"""HL7 v2 as lines: a segment each, every value with its path and the standard's name, within the standard's groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Final

from engine.errors import ContentError
from engine.formats.hl7v2 import Hl7v2Options, select
from engine.formats.hl7v2.document import Hl7Message
from engine.formats.hl7v2.format import Hl7v2
from engine.formats.hl7v2.names import SEGMENTS, component_facts, field_facts, known_version
from engine.formats.hl7v2.structure import Instance, Segment
from engine.formats.hl7v2.syntax import Syntax
from engine.formats.hl7v2.values import HEADERS, NULL_TEXT
from engine.views.lines import PIECES_OF_LINE, Line, Piece, Reading, piece

BEGINNINGS: Final = (b"MSH", b"FHS", b"BHS")
DEEPEST: Final = 6  # groups around a segment
TEXT_READ: Final = 300  # characters of a value whose escapes are resolved


def read(content: bytes, notes: tuple[str, ...], partial: bool) -> Reading:
    """Raises ContentError where it cannot be read. Bytes that are not in the character set it names are shown all the same."""
    try:
        message = Hl7v2(Hl7v2Options()).parse(content)
    except ContentError as error:
        if error.place != "MSH-18":
            raise
        message = Hl7v2(Hl7v2Options(charset="8859/1")).parse(content)
        notes = (*notes, f"It is shown as 8859/1, because MSH-18 cannot be right: {error.problem}.")
    layout = _Layout(message)
    kind = _plain(message, "MSH-9")
    version = _plain(message, "MSH-12")
    title = " ".join(["HL7", *([f"v{version}"] if version else []), *([kind] if kind else [])])
    return Reading("hl7v2", title, layout.lines, notes, partial)


def _plain(message: Hl7Message, path: str) -> str:
    """A header field as it was sent, on one line."""
    value = message[path]
    return str(getattr(value, "raw", value))[:40]


class _Layout:
    """Labels and groups of every segment; the pieces of one are made when its line is asked for."""

    def __init__(self, message: Hl7Message) -> None:
        self.message, self.syntax = message, message.syntax
        self.version = known_version(str(message["MSH-12.1"]))
        names = {id(segment): name for name, several in message.index.items() for segment in several}
        totals = {name: len(several) for name, several in message.index.items()}
        seen: Counter[str] = Counter()
        self.rows: list[tuple[str, str, Segment]] = []  # (label, kind, segment)
        segments = message.source.segments
        while segments and segments[-1] == [""]:
            segments = segments[:-1]
        for segment in segments:
            kind = names.get(id(segment), "")
            seen[kind] += 1
            label = f"{kind}[{seen[kind]}]" if kind and totals[kind] > 1 else kind
            self.rows.append((label, kind, segment))
        self.groups = self._groups()

    def _groups(self) -> dict[int, tuple[str, ...]]:
        """For each segment (by `id`) the groups around it that hold more than it alone."""
        try:
            root, homes = self.message.tree()
        except (ContentError, RecursionError):
            return {}
        titles: dict[int, tuple[str, ...]] = {id(root): ()}

        def entitle(parent: Instance) -> None:
            count: Counter[str] = Counter()
            inner = [entry for entry in parent.entries if isinstance(entry, Instance)]
            total = Counter(entry.group.name for entry in inner)
            for entry in inner:
                name = entry.group.name
                count[name] += 1
                title = f"{name}[{count[name]}]" if total[name] > 1 else name
                alone = len(list(islice(entry.segments(), 2))) < 2
                titles[id(entry)] = titles[id(parent)] if alone else (*titles[id(parent)], title)[:DEEPEST]
                entitle(entry)

        entitle(root)
        return {segment: titles.get(id(home), ()) for segment, home in homes.items()}

    def lines(self, start: int) -> Iterator[Line]:
        for label, kind, segment in self.rows[start:]:
            groups = self.groups.get(id(segment), ())
            if not kind:
                yield Line("", (piece("".join(segment[:1]), role="comment"),), "not a segment", 0, groups)
                continue
            pieces = tuple(islice(self._pieces(label, kind, segment), PIECES_OF_LINE + 1))
            more = len(pieces) > PIECES_OF_LINE
            yield Line(label, pieces[:PIECES_OF_LINE], SEGMENTS.get(kind, ""), len(groups), groups, int(more))

    def _pieces(self, label: str, kind: str, segment: Segment) -> Iterator[Piece]:
        syntax = self.syntax
        fields = select.pieces_of(segment, syntax)
        shift = 1 if kind in HEADERS else 0
        pending = ""  # delimiters in a row are one piece
        for number, raw in enumerate(fields[1:], 1 + shift):
            pending += syntax.field
            if not raw:
                continue
            if shift and number == 2:
                yield Piece(pending, f"{label}-1", "Field Separator", "delimiter")
            else:
                yield Piece(pending, role="delimiter")
            pending = ""
            if shift and number == 2:
                yield piece(raw, f"{label}-2", "Encoding Characters")
            else:
                yield from self._field(label, kind, number, raw, segment)
        if pending:
            yield Piece(pending, role="delimiter")

    def _field(self, label: str, kind: str, number: int, raw: str, segment: Segment) -> Iterator[Piece]:
        syntax = self.syntax
        name, data_type = field_facts(self.version, kind, number)
        if kind == "OBX" and number == 5:
            data_type = select.field_text(segment, 2, syntax)
        path = f"{label}-{number}"
        if syntax.repetition not in raw:
            yield from self._parts(raw, path, name, data_type, syntax.component)
            return
        for n, each in enumerate(raw.split(syntax.repetition), 1):
            if n > 1:
                yield Piece(syntax.repetition, role="delimiter")
            yield from self._parts(each, f"{path}[{n}]", name, data_type, syntax.component)

    def _parts(self, raw: str, path: str, name: str, data_type: str, mark: str) -> Iterator[Piece]:
        """What is between repetitions (cut by the component separator), or between components (by the other one)."""
        syntax = self.syntax
        inner = syntax.subcomponent
        if mark not in raw and (mark == inner or inner not in raw):
            if raw:
                yield _value(raw, path, name, syntax)
            return
        pending = ""
        for number, each in enumerate(raw.split(mark), 1):
            if number > 1:
                pending += mark
            if not each:
                continue
            if pending:
                yield Piece(pending, role="delimiter")
                pending = ""
            below, its_type = component_facts(self.version, data_type, number)
            full = f"{name} › {below}" if name and below else name or below
            if mark == inner:
                yield _value(each, f"{path}.{number}", full, syntax)
            else:
                yield from self._parts(each, f"{path}.{number}", full, its_type, inner)
        if pending:
            yield Piece(pending, role="delimiter")


def _value(raw: str, path: str, name: str, syntax: Syntax) -> Piece:
    if raw == NULL_TEXT:
        return Piece(raw, path, name, "null")
    return piece(raw, path, name, "", syntax.unescape(raw[:TEXT_READ]))
