"""A message as mappings see it: the whole, one turn of a `for_each`, several turns as one.

In the whole message a name means every segment of that kind. In a turn it means the turn's own ones, at the level that
is meant (an order's NTE is not its observations'); kinds that the turn cannot own are looked up outwards, group by
group, and never in siblings. Which segment belongs to which group is `structure`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from weakref import ref

from engine.contracts import Document, Node
from engine.errors import PathError
from engine.formats.hl7v2 import select
from engine.formats.hl7v2.paths import Path, compiled
from engine.formats.hl7v2.reach import behind, kind_of, owned
from engine.formats.hl7v2.reader import Source
from engine.formats.hl7v2.shapes import Empty, Index, Meant
from engine.formats.hl7v2.structure import Instance, Segment, Structure, structure_of
from engine.formats.hl7v2.syntax import Syntax
from engine.formats.hl7v2.values import REPETITION, part
from engine.values import EMPTY, Value


class View:
    """A document: what every kind of it shares.

    `index` has the segments that a name means, `every` those that `[*]` and `all` run over; they differ only where
    several turns are seen as one.
    """

    __slots__ = ("every", "index", "message", "syntax")

    message: Hl7Message
    syntax: Syntax
    index: dict[str, list[Segment]]
    every: dict[str, list[Segment]]

    def __getitem__(self, path: str) -> Value:
        return select.reader(path)(self)

    def all(self, path: str) -> list[Value]:
        return select.values(self, compiled(path), True)

    def place(self, path: str) -> str:
        return select.place(self, compiled(path))

    def turns(self, path: str, owns: Sequence[str] = ()) -> list[Document]:
        wanted = compiled(path)
        if not wanted.steps:
            raise PathError(path, "for_each takes a segment, a group or the repetitions of a field")
        if wanted.field:
            found: list[Document] = []
            for segment in select.segments(self, wanted, True):
                for raw in select.repetitions(segment, wanted, self.syntax, True):
                    found.append(Repetition(self, segment, wanted.field, raw))
            return found
        if len(wanted.steps[-1].name) > 3:
            return [Turn(self, each.first(), each) for each in select.groups(self, wanted)]
        if owns:
            segments = select.segments(self, wanted, True)
            return [OwningTurn(self, segment, segments, frozenset(owns)) for segment in segments]
        return [self.narrowed(segment) for segment in select.segments(self, wanted, True)]

    def narrowed(self, segment: Segment) -> Turn:
        """The turn that `for_each` makes of `segment`."""
        return Turn(self, segment)

    def grouped(self, turns: Sequence[Document]) -> Document:
        if not turns:
            return Several(self.message, ())
        return turns[0] if len(turns) == 1 else Several(self.message, [turn for turn in turns if isinstance(turn, View)])

    def nodes(self) -> Iterator[Node]:
        from engine.formats.hl7v2.names import nodes

        return nodes(self.message, self.own_segments())

    def own_segments(self) -> list[Segment]:
        """The segments that this document consists of, in order."""
        raise NotImplementedError

    def relative(self, path: Path, every: bool) -> list[Value]:
        """The values of a relative path such as `.1`."""
        raise PathError(path.text, "a relative path needs a for_each over repetitions, such as for_each: PID-3")

    def anchor_place(self) -> str:
        """Where this document is, for error texts: '' for the whole message, `FT1[2]` for a turn."""
        return ""

    def can_own(self, kind: str) -> bool:
        """Whether `kind` is looked up in this turn only."""
        return False


class Hl7Message(View):
    """The whole message. No document refers to itself, so that each goes when it is let go of: thousands a second left to
    the cycle collector would cost more than reading them."""

    __slots__ = ("_tree", "source")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.syntax = source.syntax
        self.index = self.every = source.index
        self._tree: tuple[Instance, dict[int, Instance]] | None = None

    @property
    def message(self) -> Hl7Message:  # type: ignore[override]  # the slot of the other views
        return self

    def own_segments(self) -> list[Segment]:
        kinds = {id(segment) for several in self.index.values() for segment in several}
        return [segment for segment in self.source.segments if id(segment) in kinds]

    def tree(self) -> tuple[Instance, dict[int, Instance]]:
        """The groups of the message, and for each segment (by `id`) the instance that holds it."""
        if self._tree is None:
            self._match(self._structure())
            assert self._tree is not None
        return self._tree

    def _structure(self) -> Structure:
        reference = (self["MSH-12.1"], self["MSH-9.1"], self["MSH-9.2"], self["MSH-9.3"])
        return structure_of(*(str(value) for value in reference))

    def _match(self, structure: Structure) -> None:
        names = {id(segment): name for name, several in self.index.items() for segment in several}
        own = [(names[id(segment)], segment) for segment in self.source.segments if id(segment) in names]
        self._tree = structure.match(own)

    def meant(self, anchor: Segment) -> Meant | None:
        """The segments that a name means in the turn of `anchor`, told by the shape of the message; None where it may change."""
        source = self.source
        shape = source.shape
        if shape is None:
            return None
        headers = source.index["MSH"]
        header = select.pieces_of(headers[0], self.syntax) if headers else []
        key = (*header[8:9], *header[11:12], self.syntax)
        empty = shape.empties.get(key)
        if empty is None:
            message = Hl7Message(source.emptied(shape))
            message._match(self._structure())
            empty = shape.remember(key, Empty(message))
        position = 0
        for segment in source.segments:
            if segment is anchor:
                break
            position += 1
        return Meant(empty.turn(position), source.segments)

    def forget_tree(self) -> None:
        """After segments came or went."""
        self._tree = None

    def holder(self, segment: Segment) -> Instance:
        """The group instance that directly holds `segment`."""
        return self.tree()[1][id(segment)]

    def innermost_group_of(self, segment: Segment) -> Instance | None:
        """The group that `segment` begins; None where it begins none."""
        holder = self.holder(segment)
        if holder.parent is None:
            return None
        if holder.first() is segment:
            return holder
        kind = kind_of(segment)
        if not holder.group.begins_with(kind):
            return None
        first = next(e for e in holder.entries if not isinstance(e, Instance) and kind_of(e) == kind)
        return holder if first is segment else None

    def group_of(self, segment: Segment) -> Instance | None:
        """The largest group that `segment` stands for: that it begins, and those around it which occur once and begin
        with that group (a PID of ORU_R01 stands for PATIENT_RESULT, so its orders are its own)."""
        group = self.innermost_group_of(segment)
        while group is not None and group.parent is not None and group.parent.parent is not None:
            around = group.parent
            once = any(item.group is group.group and not item.repeats for item in around.group.items)
            if not once or around.entries[0] is not group:
                break
            group = around
        return group

    def ordinal(self, segment: Segment) -> str:
        """`OBX[2]`, or `PID` where there is one."""
        kind = kind_of(segment)
        several = self.index[kind]
        if len(several) == 1:
            return kind
        return f"{kind}[{next((n for n, each in enumerate(several, 1) if each is segment), 1)}]"


class Turn(View):
    """One turn: a segment with the group it stands for (`group`, or what the structure says), or alone."""

    __slots__ = ("__weakref__", "_group", "_own", "anchor", "outer")

    def __init__(self, outer: View, anchor: Segment, *group: Instance | None) -> None:
        self.outer, self.anchor, self._group = outer, anchor, group
        self.message, self.syntax = outer.message, outer.syntax
        self._own: _Own | None = None
        meant = None if group or isinstance(outer, OwningTurn) else self.message.meant(anchor)
        self.index = self.every = _Scope(self) if meant is None else meant

    @property
    def group(self) -> Instance | None:
        if not self._group:
            self._group = (self.message.group_of(self.anchor),)
        return self._group[0]

    @property
    def own(self) -> _Own:
        """The segments within the turn, for the steps behind `/`."""
        if self._own is None:
            self._own = _Own(self)
        return self._own

    def find_own(self, kind: str) -> list[Segment] | None:
        """The turn's own segments of `kind`; None where it cannot own that kind."""
        if self.group is not None:
            return owned(self.group, kind)
        if kind == kind_of(self.anchor):
            return [self.anchor]
        return [each for each in behind(self.message.holder(self.anchor), self.anchor) if kind_of(each) == kind] or None

    def find_outwards(self, kind: str) -> list[Segment]:
        """Segments of `kind` around this turn, never those of its siblings."""
        if isinstance(self.outer, OwningTurn) and kind in self.outer.owns:
            return self.outer.own[kind]
        holder = self.message.holder(self.anchor)
        around = holder if self.group is None else self.group.parent
        inside = self.group
        while around is not None:
            found = owned(around, kind, inside, kind_of(self.anchor) if inside is None else "")
            if found is not None:
                return found
            around, inside = around.parent, around
        return []

    def can_own(self, kind: str) -> bool:
        return self.find_own(kind) is not None

    def own_segments(self) -> list[Segment]:
        if self.group is not None:
            return list(self.group.segments())
        return [self.anchor, *behind(self.message.holder(self.anchor), self.anchor)]

    def anchor_place(self) -> str:
        return self.message.ordinal(self.anchor)


class OwningTurn(Turn):
    """A turn whose own kinds the mapping names (`owns:`): those of them between this segment and the next of its kind."""

    __slots__ = ("owns", "stretch")

    def __init__(self, outer: View, anchor: Segment, anchors: list[Segment], owns: frozenset[str]) -> None:
        super().__init__(outer, anchor, None)
        self.owns = owns | {kind_of(anchor)}
        lines = self.message.own_segments()
        start = next(n for n, each in enumerate(lines) if each is anchor)
        ends = {id(each) for each in anchors}
        end = next((n for n in range(start + 1, len(lines)) if id(lines[n]) in ends), len(lines))
        self.stretch = [each for each in lines[start:end] if kind_of(each) in self.owns]

    def find_own(self, kind: str) -> list[Segment] | None:
        return [each for each in self.stretch if kind_of(each) == kind] if kind in self.owns else None

    def own_segments(self) -> list[Segment]:
        return self.stretch


class _Own(dict[str, list[Segment]]):
    """The segments within a turn, for the steps behind `/`. It is the turn's, and refers back to it weakly."""

    __slots__ = ("_turn",)

    def __init__(self, turn: Turn) -> None:
        self._turn = ref(turn)

    @property
    def turn(self) -> Turn:
        turn = self._turn()
        assert turn is not None, "a view outlived the turn it belongs to"
        return turn

    def __missing__(self, kind: str) -> list[Segment]:
        found = self[kind] = self.turn.find_own(kind) or []
        return found


class _Scope(_Own):
    """The segments a name means in a turn: its own, else outwards."""

    __slots__ = ()

    def __missing__(self, kind: str) -> list[Segment]:
        found = self.turn.find_own(kind)
        if found is None:
            found = self.turn.find_outwards(kind)
        self[kind] = found
        return found


class Repetition(View):
    """One repetition of a field: `.1` is its component; every name means what it means around it."""

    __slots__ = ("field", "outer", "raw", "segment")

    def __init__(self, outer: View, segment: Segment, field: int, raw: str) -> None:
        self.outer, self.segment, self.field, self.raw = outer, segment, field, raw
        self.message, self.syntax, self.index, self.every = outer.message, outer.syntax, outer.index, outer.every

    def relative(self, path: Path, every: bool) -> list[Value]:
        value = select.component(self.raw, path, self.syntax)
        return [] if value is EMPTY else [value]

    def whole(self) -> Value:
        return part(self.raw, REPETITION, self.syntax)

    def own_segments(self) -> list[Segment]:
        return [self.segment]

    def anchor_place(self) -> str:
        cells = select.cells(self.segment, self.field, self.syntax)
        number = f"[{cells.index(self.raw) + 1}]" if len(cells) > 1 and self.raw in cells else ""
        return f"{self.message.ordinal(self.segment)}-{self.field}{number}"


class Several(View):
    """Several turns as one (`by:`): a bare name is the first turn's, `[*]` runs over all of them."""

    __slots__ = ("turns_",)

    def __init__(self, message: Hl7Message, turns: Sequence[View]) -> None:
        self.message, self.syntax, self.turns_ = message, message.syntax, tuple(turns)
        self.index = turns[0].index if turns else Index()
        self.every = _Union(self.turns_)

    def relative(self, path: Path, every: bool) -> list[Value]:
        turns = self.turns_ if every else self.turns_[:1]
        return [value for turn in turns for value in turn.relative(path, every)]

    def own_segments(self) -> list[Segment]:
        return _distinct(segment for turn in self.turns_ for segment in turn.own_segments())

    def anchor_place(self) -> str:
        return self.turns_[0].anchor_place() if self.turns_ else ""


class _Union(dict[str, list[Segment]]):
    """For each kind the segments of all turns, each segment once."""

    __slots__ = ("turns",)

    def __init__(self, turns: Sequence[View]) -> None:
        self.turns = turns

    def __missing__(self, kind: str) -> list[Segment]:
        found = self[kind] = _distinct(segment for turn in self.turns for segment in turn.every[kind])
        return found


def _distinct(segments: Any) -> list[Segment]:
    return list({id(segment): segment for segment in segments}.values())
