"""A message that a mapping changes: a copy of the one that came."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache

from engine.contracts import Document
from engine.errors import ContentError, PathError
from engine.formats.hl7v2 import select
from engine.formats.hl7v2.document import Hl7Message, Repetition
from engine.formats.hl7v2.paths import STAR, Filter, Path, compiled
from engine.formats.hl7v2.reach import kind_of
from engine.formats.hl7v2.reader import indexed
from engine.formats.hl7v2.structure import Segment
from engine.formats.hl7v2.syntax import Syntax
from engine.formats.hl7v2.values import COMPONENT, HEADERS, LEAF, NULL_TEXT, REPETITION, SEGMENT, Part
from engine.formats.hl7v2.values import FIELD as WHOLE_FIELD
from engine.formats.hl7v2.writing import redelimited, written
from engine.values import Value, is_empty

_CELL = re.compile(r"[1-9][0-9]{0,2}(\.[1-9][0-9]{0,2}){0,2}")
MOST_NEW = 99  # segments or repetitions that one assignment may create in front of its own


class Edit(Hl7Message):
    """An `Editable` (`engine.contracts`). Turns of it see every change at once."""

    __slots__ = ()

    def __init__(self, original: Hl7Message) -> None:
        super().__init__(original.source.copy())

    # ── places ──

    def targets(self, path: str) -> list[tuple[Document, str]]:
        wanted = compiled(path)
        if not wanted.many:
            return [(self, path)]
        found: list[tuple[Document, str]] = []
        star_of_repeats = STAR in wanted.repeats
        turn: Document
        for segment in select.segments(self, wanted, False):
            where = f"{kind_of(segment)}[{self._number(segment)}]"
            turn = self.narrowed(segment)
            if not star_of_repeats:
                found.append((turn, where + wanted.text[wanted.cut :]))
                continue
            raws = select.cells(segment, wanted.field, self.syntax)
            chosen = select.repetitions(segment, wanted, self.syntax, True)
            for number, raw in enumerate(raws, 1):
                if raw in chosen:
                    turn = Repetition(self.narrowed(segment), segment, wanted.field, raw)
                    found.append((turn, f"{where}-{wanted.field}[{number}]{wanted.parts}"))
        return found

    def _number(self, segment: Segment) -> int:
        return next(n for n, each in enumerate(self.index[kind_of(segment)], 1) if each is segment)

    # ── changes ──

    def assign(self, path: str, value: Value) -> None:
        wanted = compiled(path)
        if not wanted.steps or wanted.many:
            raise PathError(path, "one place is needed here: a path of this message without [*]")
        name = wanted.steps[-1].name
        if name in HEADERS and 0 < wanted.field <= 2:
            raise PathError(path, "the delimiters of a message cannot be changed")
        if not wanted.field:
            self._assign_segment(path, wanted, value)
            return
        found = select.segments(self, wanted, False)
        if not found and is_empty(value):
            return
        segment = found[0] if found else self._created(wanted)
        try:
            self._write(segment, wanted, value)
        except ContentError as error:
            raise ContentError(error.problem, error.place or path, error.code) from None
        self.source.content = None

    def _assign_segment(self, path: str, wanted: Path, value: Value) -> None:
        if not isinstance(value, Part) or value.level != SEGMENT:
            raise PathError(path, "a segment takes another segment as its value; for a field write " + f"{path}-1")
        found = select.segments(self, wanted, False)
        segment = found[0] if found else self._created(wanted)
        fields = value.raw.split(value.syntax.field)
        segment[:] = [segment[0][:3], *(redelimited(raw, WHOLE_FIELD, value.syntax, self.syntax) for raw in fields[1:])]
        self.source.content = None

    def _created(self, wanted: Path) -> Segment:
        """The missing segment at the end of `wanted`: at the place the structure gives it, else at the end."""
        step = wanted.steps[-1]
        if len(wanted.steps) > 1 or any(isinstance(each, Filter) for each in step.selectors):
            raise ContentError("there is no such segment to set; add one with segments:", wanted.text)
        there = self.index[step.name]
        number = step.selectors[0] if step.selectors else 1
        assert isinstance(number, int)
        if number - len(there) > MOST_NEW:
            raise ContentError(f"there are only {len(there)} {step.name} segments", wanted.text)
        segment: Segment = []
        for _ in range(number - len(there)):
            segment = [step.name]
            self._insert(segment, self._after_in_structure(step.name))
        return segment

    def _after_in_structure(self, kind: str) -> int:
        """Where in the lines a first (or next) `kind` belongs."""
        if self.index[kind]:
            return self._line_after(self.index[kind][-1])
        lines = self.source.segments
        order = [item.names for item in self.tree()[0].group.items]
        position = next((n for n, names in enumerate(order) if kind in names), None)
        if position is None:
            return self._line_after(self.own_segments()[-1])
        earlier: frozenset[str] = frozenset().union(*order[: position + 1])
        last = [segment for segment in self.own_segments() if kind_of(segment) in earlier]
        return self._line_after(last[-1]) if last else len(lines)

    def _line_after(self, segment: Segment) -> int:
        return next(n for n, each in enumerate(self.source.segments, 1) if each is segment)

    def _insert(self, segment: Segment, at: int, *, behind_all: bool = False) -> None:
        source = self.source
        behind_all = behind_all or at > self._last_line()
        source.segments.insert(at, segment)
        if source.ends is not None:
            if at and not source.ends[at - 1]:
                source.ends[at - 1] = source.end
            source.ends.insert(at, source.end)
        elif at == len(source.segments) - 1:
            source.segments.append([""])  # the end of the last segment
        if behind_all:  # the commonest: a message that is built up, segment by segment
            self.source.content = None
            self.index[segment[0][:3]] = [*self.index[segment[0][:3]], segment]
            self.forget_tree()
        else:
            self._changed()

    def _last_line(self) -> int:
        """Where the last segment is; behind it there are only blank or stray lines."""
        lines, index = self.source.segments, self.index
        at = len(lines) - 1
        while at > 0 and (not lines[at][0] or not index[lines[at][0][:3].upper()]):
            at -= 1
        return at

    def _changed(self) -> None:
        self.source.content = None
        index = indexed(self.source.segments, self.syntax.field)
        self.index.clear()  # in place: turns share it
        self.index.update(index)
        self.forget_tree()

    def _write(self, segment: Segment, wanted: Path, value: Value) -> None:
        syntax = self.syntax
        pieces = select.pieces_of(segment, syntax)
        at = wanted.field - 1 if pieces[0][:3] in HEADERS else wanted.field
        pieces.extend([""] * (at + 1 - len(pieces)))
        if not wanted.repeats and not wanted.component:
            pieces[at] = written(value, WHOLE_FIELD, syntax)
            return
        raws = pieces[at].split(syntax.repetition) if pieces[at] else []
        number = _repetition_number(raws, wanted, syntax, is_empty(value))
        if number is None:
            return
        raws.extend([""] * (number + 1 - len(raws)))
        raws[number] = _with_part(raws[number], wanted, value, syntax)
        pieces[at] = syntax.repetition.join(raws)

    # ── whole segments ──

    def drop(self, path: str) -> int:
        """See `engine.contracts`. A segment chosen by a number or a condition takes the group it begins with it (its notes, its
        procedures), for they would otherwise fall to the one before; a whole kind takes the NTE directly behind it."""
        if path.endswith("*") and "-" not in path and "[" not in path:
            if not path[:-1].isalnum() or path != path.upper():
                raise PathError(path, "before * stands the beginning of a segment name, as in Z*")
            kinds = [kind for kind in self.index if fnmatchcase(kind, path)]
            found = [segment for kind in kinds for segment in self.index[kind]]
            return self._remove(found, found)
        wanted = compiled(path)
        if not wanted.steps:
            raise PathError(path, "a path of the message is needed here")
        found = select.segments(self, wanted, True)
        if wanted.field:
            return sum(self._drop_field(segment, wanted) for segment in found)
        gone: list[Segment] = []
        for segment in found:
            group = self.innermost_group_of(segment) if wanted.steps[-1].selectors else None
            gone += [*group.segments()] if group is not None else [segment, *self._notes_behind(segment)]
        return self._remove(found, gone)

    def _notes_behind(self, segment: Segment) -> list[Segment]:
        lines = self.own_segments()
        found: list[Segment] = []
        for each in lines[next(n for n, each in enumerate(lines, 1) if each is segment) :]:
            if kind_of(each) != "NTE" or kind_of(segment) == "NTE":
                break
            found.append(each)
        return found

    def _remove(self, found: list[Segment], gone: Iterable[Segment]) -> int:
        away = {id(segment) for segment in gone}
        source = self.source
        if away and id(source.segments[0]) in away:
            raise PathError("MSH", "a message cannot be without its header")
        keep = [n for n, segment in enumerate(source.segments) if id(segment) not in away]
        if len(keep) < len(source.segments):
            source.segments = [source.segments[n] for n in keep]
            source.ends = None if source.ends is None else [source.ends[n] for n in keep]
            self._changed()
        return len(found)

    def _drop_field(self, segment: Segment, wanted: Path) -> int:
        syntax = self.syntax
        raw = select.field_text(segment, wanted.field, syntax)
        if not raw:
            return 0
        if segment[0][:3] in HEADERS and wanted.field <= 2:
            raise PathError(wanted.text, "the delimiters of a message cannot be changed")
        at = wanted.field - 1 if segment[0][:3] in HEADERS else wanted.field
        self.source.content = None
        if not wanted.repeats and not wanted.component:
            segment[at] = ""
            return 1
        raws = raw.split(syntax.repetition)
        chosen = _numbers(raws, wanted, syntax)
        if wanted.component:
            before = list(raws)
            for number in chosen:
                raws[number] = _with_part(raws[number], wanted, "", syntax)
            count = sum(a != b for a, b in zip(before, raws, strict=True))
        else:
            raws = [each for number, each in enumerate(raws) if number not in chosen]
            count = len(chosen)
        segment[at] = syntax.repetition.join(raws)
        return count

    def add(self, name: str, fields: Mapping[str, Value], after: str = "") -> None:
        if not is_name(name):
            raise PathError(name, "a segment name is three capital letters or digits")
        if not after:
            at = self._last_line() + 1
        else:
            wanted = compiled(after)
            found = select.segments(self, wanted, True) if wanted.steps and not wanted.field else []
            if not found:
                raise ContentError(f"there is no {after} to put {name} behind", after)
            last = found[-1]
            group = self.innermost_group_of(last) if wanted.steps[-1].selectors or len(wanted.steps) > 1 else None
            at = self._line_after(last if group is None else [*group.segments()][-1])
        self._insert(self._filled(name, fields), at, behind_all=not after)

    def extend(self, segments: list[Segment]) -> None:
        """Add segments behind the last one."""
        source, at = self.source, self._last_line() + 1
        if source.ends is not None or at == len(source.segments):
            for n, segment in enumerate(segments, at):
                self._insert(segment, n, behind_all=True)
            return
        source.segments[at:at] = segments
        source.content = None
        for segment in segments:
            self.index[segment[0]] = [*self.index[segment[0]], segment]
        self.forget_tree()

    def _filled(self, name: str, fields: Mapping[str, Value]) -> Segment:
        """A new segment. Most positions are a field or a component, and most values text: those take the short way."""
        segment: Segment = [name]
        last = cell_of([*fields][-1]) if fields else None
        if last is not None:  # most rows are in order: all of its fields at once
            segment.extend([""] * last[0])
        syntax = self.syntax
        for position, value in fields.items():
            cell = cell_of(position)
            if cell is None:
                wanted = compiled(f"{name}-{position}")
                if wanted.many:
                    raise PathError(f"{name}-{position}", "one place is needed here")
                self._write(segment, wanted, value)
                continue
            field, component, sub, level = cell
            if field >= len(segment):
                segment.extend([""] * (field + 1 - len(segment)))
            if type(value) is str and value != NULL_TEXT:  # letters and digits are never delimiters
                text = value if value.isalnum() else syntax.escaped(value)
            else:
                text = written(value, level, syntax)
            if not component:
                segment[field] = text
            elif text and not (raw := segment[field]):
                segment[field] = syntax.component * (component - 1) + syntax.subcomponent * (sub - 1) + text
            elif text and not sub and (more := component - 1 - raw.count(syntax.component)) > 0:
                segment[field] = raw + syntax.component * more + text
            else:
                segment[field] = _placed(segment[field], syntax, component, sub, text)
        return segment


def is_name(name: str) -> bool:
    """Whether a segment of that name can be added."""
    return len(name) == 3 and name.isalnum() and name == name.upper() and name[0].isalpha() and name not in HEADERS


@lru_cache(4096)
def cell_of(position: str) -> tuple[int, int, int, int] | None:
    """`11.1.2` → field, component, subcomponent and the level it is at; None where it says more than that."""
    if not _CELL.fullmatch(position):
        return None
    field, component, sub = [*map(int, position.split(".")), 0, 0][:3]
    return field, component, sub, LEAF if sub else COMPONENT if component else WHOLE_FIELD


def _placed(raw: str, syntax: Syntax, component: int, sub: int, text: str) -> str:
    """A field with one of its parts set."""
    pieces = raw.split(syntax.component)
    if len(pieces) < component:
        pieces.extend([""] * (component - len(pieces)))
    if sub:
        subs = pieces[component - 1].split(syntax.subcomponent)
        subs.extend([""] * (sub - len(subs)))
        subs[sub - 1] = text
        text = _joined(subs, syntax.subcomponent, text)
    pieces[component - 1] = text
    return _joined(pieces, syntax.component, text)


def _numbers(raws: list[str], wanted: Path, syntax: Syntax) -> list[int]:
    """Indices of the repetitions that the selectors choose; all of them where there is none."""
    found = list(range(len(raws)))
    for selector in wanted.repeats:
        if isinstance(selector, Filter):
            found = [n for n in found if select.leaf(raws[n], selector.where, syntax) == selector.value]
        elif selector != STAR:
            found = found[selector - 1 : selector]
    return found


def _repetition_number(raws: list[str], wanted: Path, syntax: Syntax, emptying: bool) -> int | None:
    """Index of the repetition to write, which may be a new one; None where there is nothing to empty."""
    if not wanted.repeats:
        return 0
    found = _numbers(raws, wanted, syntax)
    if found:
        return found[0]
    if emptying:
        return None
    last = wanted.repeats[-1]
    if isinstance(last, int):
        if len(wanted.repeats) > 1 or last - len(raws) > MOST_NEW:
            raise ContentError(f"there are only {len(raws)} repetitions", wanted.text)
        return last - 1
    made = Path("", (), component=last.where[0], sub=last.where[1] if len(last.where) > 1 else 0)
    raws.append(_with_part("", made, last.value, syntax))
    return len(raws) - 1


def _with_part(raw: str, wanted: Path, value: Value, syntax: Syntax) -> str:
    """One repetition with the part that `wanted` names replaced."""
    if not wanted.component:
        return written(value, REPETITION, syntax)
    pieces = raw.split(syntax.component)
    pieces.extend([""] * (wanted.component - len(pieces)))
    if wanted.sub:
        subs = pieces[wanted.component - 1].split(syntax.subcomponent)
        subs.extend([""] * (wanted.sub - len(subs)))
        subs[wanted.sub - 1] = text = written(value, LEAF, syntax)
        pieces[wanted.component - 1] = _joined(subs, syntax.subcomponent, text)
    else:
        pieces[wanted.component - 1] = text = written(value, COMPONENT, syntax)
    return _joined(pieces, syntax.component, text)


def _joined(pieces: list[str], mark: str, changed: str) -> str:
    """Where a part was emptied, without the delimiters behind the last part that says something (§2.5.3)."""
    return mark.join(pieces) if changed else mark.join(pieces).rstrip(mark)
