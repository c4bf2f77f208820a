"""Paths applied to documents. `reader` is the hot one: a closure for each path, compiled once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from engine.formats.hl7v2.paths import STAR, Filter, Path, Selector, Step, compiled
from engine.formats.hl7v2.structure import Instance, Segment
from engine.formats.hl7v2.syntax import Syntax
from engine.formats.hl7v2.values import COMPONENT, FIELD, HEADERS, LEAF, NULL_TEXT, REPETITION, part, segment_value
from engine.values import EMPTY, NULL, Value

if TYPE_CHECKING:
    from engine.formats.hl7v2.document import View

Reader = Callable[["View"], Value]


@lru_cache(4096)
def reader(text: str) -> Reader:
    """What `document[text]` calls. Raises PathError."""
    path = compiled(text)
    if len(path.steps) == 1 and path.field > 2 * (path.steps[0].name in HEADERS) and (plain := _several_reader(path)):
        return plain
    if path.many:
        return lambda view: values(view, path, False)
    if path.field and len(path.steps) == 1 and not path.steps[0].selectors and not path.repeats:
        name = path.steps[0].name
        if name not in HEADERS:
            return _field_reader(name, path.field, path) if not path.component else _component_reader(name, path.field, path)
        if path.field > 2:
            at = path.field - 1
            return _field_reader(name, at, path) if not path.component else _component_reader(name, at, path)

    def first(view: View) -> Value:
        found = values(view, path, False)
        return found[0] if found else EMPTY

    return first


def _field_reader(name: str, at: int, path: Path) -> Reader:
    def read(view: View) -> Value:
        found = view.index[name]
        if not found:
            return EMPTY
        segment = found[0]
        if len(segment) == 1:
            segment[:] = segment[0].split(view.syntax.field)
        if len(segment) <= at:
            return EMPTY
        raw = segment[at]
        if not raw:
            return EMPTY
        if view.syntax.special(raw) is None:
            return NULL if raw == NULL_TEXT else raw
        return part(raw, FIELD, view.syntax)

    return read


def _component_reader(name: str, at: int, path: Path) -> Reader:
    number, sub = path.component, path.sub
    before = number - 1

    def read(view: View) -> Value:
        found = view.index[name]
        if not found:
            return EMPTY
        segment = found[0]
        if len(segment) == 1:
            segment[:] = segment[0].split(view.syntax.field)
        if len(segment) <= at:
            return EMPTY
        raw = segment[at]
        if not raw:
            return EMPTY
        syntax = view.syntax
        if syntax.repetition in raw:
            raw = raw.partition(syntax.repetition)[0]
        pieces = raw.split(syntax.component, number)
        if len(pieces) <= before:
            return EMPTY
        raw = pieces[before]
        if sub:
            subs = raw.split(syntax.subcomponent, sub)
            return part(subs[sub - 1], LEAF, syntax) if len(subs) >= sub else EMPTY
        if not raw:
            return EMPTY
        if syntax.special(raw) is None:
            return NULL if raw == NULL_TEXT else raw
        return part(raw, COMPONENT, syntax)

    return read


def _several_reader(path: Path) -> Reader | None:
    """For the commonest paths to more than one: `FT1-26[*]`, `DG1[*]-3`, `PID-3[.5='MR'].1`."""
    step, repeats = path.steps[0], path.repeats
    if not step.selectors and repeats == (STAR,):
        return _repetitions_reader(step.name, path)
    if step.selectors == (STAR,) and not repeats and not path.component:
        return _fields_reader(step.name, path.field)
    if not step.selectors and len(repeats) == 1 and isinstance(repeats[0], Filter):
        return _filtered_reader(step.name, path, repeats[0])
    return None


def _repetitions_reader(name: str, path: Path) -> Reader:
    def read(view: View) -> list[Value]:
        found = view.index[name]
        raw = field_text(found[0], path.field, view.syntax) if found else ""
        if not raw:
            return []
        syntax = view.syntax
        raws = raw.split(syntax.repetition)
        return [value for each in raws if each and (value := component(each, path, syntax)) is not EMPTY]

    return read


def _fields_reader(name: str, field: int) -> Reader:
    def read(view: View) -> list[Value]:
        syntax = view.syntax
        raws = [field_text(segment, field, syntax) for segment in view.every[name]]
        return [part(raw, FIELD, syntax) for raw in raws if raw]

    return read


def _filtered_reader(name: str, path: Path, wanted: Filter) -> Reader:
    number, value = wanted.where[0], wanted.value
    first = len(wanted.where) == 1 or wanted.where[1] == 1

    def read(view: View) -> Value:
        found = view.index[name]
        raw = field_text(found[0], path.field, view.syntax) if found else ""
        if not raw:
            return EMPTY
        syntax = view.syntax
        for each in raw.split(syntax.repetition):
            pieces = each.split(syntax.component, number)
            text = pieces[number - 1] if len(pieces) >= number else ""
            # Letters and digits are never delimiters: such a text is its own leaf.
            if text == value if first and text.isalnum() else leaf(each, wanted.where, syntax) == value:
                return component(each, path, syntax)
        return EMPTY

    return read


# ── the general case ───────────────────────────────────────────────────────────────────────────────────────────────


def values(view: View, path: Path, every: bool) -> list[Value]:
    """Values of every match; without `every`, a step or field without a selector stands for its first. Absent ones are
    left out."""
    if not path.steps:
        return view.relative(path, every)
    found: list[Value] = []
    syntax = view.syntax
    for segment in segments(view, path, every):
        if not path.field:
            found.append(segment_value(pieces_of(segment, syntax), syntax))
        elif segment[0][:3] in HEADERS and path.field <= 2:
            found.append(syntax.field if path.field == 1 else syntax.declared)
        elif not path.repeats and not path.component:
            # A bare field is the whole of it: as text its first leaf, `raw` with all repetitions.
            raws = [field_text(segment, path.field, syntax)] if not every else cells(segment, path.field, syntax)
            found.extend(part(raw, FIELD, syntax) for raw in raws)
        else:
            for raw in repetitions(segment, path, syntax, every):
                found.append(component(raw, path, syntax))
    return [value for value in found if value is not EMPTY]


def segments(view: View, path: Path, every: bool) -> list[Segment]:
    """The segments that the steps of `path` lead to."""
    syntax, step = view.syntax, path.steps[0]
    if len(path.steps) == 1 and not step.selectors and len(step.name) == 3:  # the commonest
        return view.every[step.name] if every else view.index[step.name][:1]
    found = _chosen(_named(view, step, every), step.selectors, syntax, every)
    for step in path.steps[1:]:
        inner: list[Segment] = []
        for segment in found:
            turn = view.narrowed(segment)  # held, since what it owns refers to it weakly
            inner += _chosen(turn.own[step.name], step.selectors, syntax, every)
        found = inner
    return found


def _named(view: View, step: Step, every: bool) -> list[Segment]:
    if len(step.name) > 3:
        return [instance.first() for instance in _instances(view, step.name)]
    return (view.every if every or STAR in step.selectors else view.index)[step.name]


def groups(view: View, path: Path) -> list[Instance]:
    """The instances of a group that a path ends in: `for_each: ORDER_OBSERVATION`."""
    last = path.steps[-1]
    if len(path.steps) == 1:
        found = _instances(view, last.name)
    else:
        found = []
        for segment in segments(view, Path(path.text, path.steps[:-1]), True):
            found += _instances(view.narrowed(segment), last.name)
    return _chosen_instances(found, last, view.syntax)


def _instances(view: View, name: str) -> list[Instance]:
    root, _ = view.message.tree()
    own = {id(segment) for segment in view.own_segments()}
    return [each for each in root.instances() if each.group.name == name and each.parent and id(each.first()) in own]


def _chosen_instances(found: list[Instance], step: Step, syntax: Syntax) -> list[Instance]:
    firsts = {id(segment) for segment in _chosen([each.first() for each in found], step.selectors, syntax, True)}
    return [each for each in found if id(each.first()) in firsts]


def _chosen(found: list[Segment], selectors: tuple[Selector, ...], syntax: Syntax, every: bool) -> list[Segment]:
    narrowed = False
    for selector in selectors:
        if isinstance(selector, Filter):
            found = [segment for segment in found if _holds(segment, selector, syntax)]
        elif selector == STAR:
            narrowed = True
        else:
            found, narrowed = found[selector - 1 : selector], True
    return found if narrowed or every else found[:1]


def _holds(segment: Segment, wanted: Filter, syntax: Syntax) -> bool:
    field, *deeper = wanted.where
    raws = cells(segment, field, syntax)
    for raw in raws if segment[0][:3] not in HEADERS or field > 2 else ():
        if leaf(raw, deeper, syntax) == wanted.value:
            return True
    return not raws and wanted.value == ""


def leaf(raw: str, numbers: list[int] | tuple[int, ...], syntax: Syntax) -> str:
    """The text of a leaf of one repetition; '' where absent."""
    number, sub = (*numbers, 1, 1)[:2]
    pieces = raw.split(syntax.component, number)
    if len(pieces) < number:
        return ""
    subs = pieces[number - 1].split(syntax.subcomponent, sub)
    return syntax.unescape(subs[sub - 1]) if len(subs) >= sub else ""


def pieces_of(segment: Segment, syntax: Syntax) -> Segment:
    """The pieces between field separators, cut now if they were not."""
    if len(segment) == 1:
        segment[:] = segment[0].split(syntax.field)
    return segment


def field_text(segment: Segment, field: int, syntax: Syntax) -> str:
    """The raw text of a field with all its repetitions; '' where absent."""
    pieces = pieces_of(segment, syntax)
    at = field - 1 if pieces[0][:3] in HEADERS else field
    return pieces[at] if len(pieces) > at else ""


def cells(segment: Segment, field: int, syntax: Syntax) -> list[str]:
    """The raw repetitions of a field; none where it is absent."""
    raw = field_text(segment, field, syntax)
    return raw.split(syntax.repetition) if raw else []


def repetitions(segment: Segment, path: Path, syntax: Syntax, every: bool) -> list[str]:
    """The raw repetitions that `path` names; those that are empty are left out unless counted by number."""
    found = cells(segment, path.field, syntax)
    narrowed = False
    for selector in path.repeats:
        if isinstance(selector, Filter):
            found = [raw for raw in found if leaf(raw, selector.where, syntax) == selector.value]
        elif selector == STAR:
            found, narrowed = [raw for raw in found if raw], True
        else:
            found, narrowed = found[selector - 1 : selector], True
    return found if narrowed or every else found[:1]


def component(raw: str, path: Path, syntax: Syntax) -> Value:
    """The part of one repetition that `path` names."""
    if not path.component:
        return part(raw, REPETITION, syntax)
    pieces = raw.split(syntax.component, path.component)
    if len(pieces) < path.component:
        return EMPTY
    piece = pieces[path.component - 1]
    if not path.sub:
        return part(piece, COMPONENT, syntax)
    subs = piece.split(syntax.subcomponent, path.sub)
    return part(subs[path.sub - 1], LEAF, syntax) if len(subs) >= path.sub else EMPTY


def place(view: View, path: Path) -> str:
    """Where `path` points, absolutely: `FT1[2]-13.1`; where nothing is there, what was looked for, behind the turn."""
    if not path.steps:
        return f"{view.anchor_place()}{path.parts}"
    found = segments(view, path, False)
    if not found:
        return f"{view.anchor_place()}/{path.text}" if view.can_own(path.steps[0].name) else path.text
    where = view.message.ordinal(found[0])
    if not path.field:
        return where
    if not path.repeats:
        return where + path.tail
    wanted = repetitions(found[0], path, view.syntax, False)
    raws = cells(found[0], path.field, view.syntax)
    if not wanted:
        return where + path.text[path.cut :]
    number = f"[{raws.index(wanted[0]) + 1}]" if len(raws) > 1 else ""
    return f"{where}-{path.field}{number}{path.parts}"
