"""Results that are messages: a copy of the one that came with a few changes (`set`, `drop`), and `segments` that are added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from engine.contracts import Editable, Format
from engine.errors import ContentError, PathError
from engine.mapping.build import Builder, Target
from engine.mapping.faults import Refused
from engine.mapping.inline import quick_all
from engine.mapping.reads import Surroundings
from engine.mapping.report import Where, failure
from engine.mapping.scope import OMIT, Fn, Scope
from engine.strictyaml import Map, Seq, Text
from engine.values import EMPTY, Value

SEGMENT_KEYS: Final = ("for_each", "by", "owns", "when", "let", "after", "segments")

Edit = Callable[[Editable, Scope], None]


class Assignment(NamedTuple):
    path: str
    run: Fn
    where: Where
    constant: bool  # literal text: the same in every result


def assignments(builder: Builder, lines: Map, around: Surroundings, target: Format) -> list[Assignment]:
    """`set:` of a result that is a message: the left side is a path of it."""
    found: list[Assignment] = []
    for name, value in lines.items():
        _check(builder, name, target)
        where = Where(builder.mapping, str(name), value)
        builder.marks[str(name)] = value if isinstance(value, Text) else name
        constant = isinstance(value, Text) and not value.startswith("=")
        found.append(Assignment(str(name), builder.value(value, around), where, constant))
    return found


def _check(builder: Builder, path: Text, target: Format) -> None:
    try:
        target.check_path(str(path))
    except PathError as error:
        builder.report.error(path.at(error.at), f"the left side is a path of the message, {path}: {error.problem}")


def drops(builder: Builder, value: Any, target: Format) -> list[tuple[str, Where]]:
    items = value if isinstance(value, Seq) else [value]
    found: list[tuple[str, Where]] = []
    for item in items:
        if not isinstance(item, Text) or item.startswith("="):
            builder.report.error(item, "drop lists paths: [Z*, PD1, \"OBX[-11='X']\"].")
            continue
        if not item.endswith("*") or "[" in item:
            _check(builder, item, target)
        found.append((str(item), Where(builder.mapping, f"drop {item}", item)))
    return found


def assign(target: Editable, assignment: Assignment, scope: Scope, *, from_copy: bool) -> None:
    """One left-hand path: each of its places; in a copy the right side sees the place's own turn."""
    path, run, where, _ = assignment
    try:
        for turn, place in target.targets(path):
            value = run(Scope(turn, scope.facts, scope.lets, scope.n, scope.item) if from_copy else scope)
            if value is OMIT:
                target.drop(place)
            else:
                target.assign(place, value)
    except (Refused, PathError) as fault:
        raise failure(where, fault) from None
    except ContentError as error:
        raise failure(where, Refused(f"cannot be set: {error.problem}")) from None


def remove(target: Editable, path: str, where: Where) -> None:
    try:
        target.drop(path)
    except (ContentError, PathError) as error:
        raise failure(where, Refused(str(error))) from None


def segments(builder: Builder, rows: Any, around: Surroundings) -> list[Edit]:
    """`segments:` rows in the order of the file."""
    if not isinstance(rows, Seq):
        builder.report.error(rows, "segments is a list: each line begins with '- ', then NAME: {1: value}.")
        return []
    return [edit for row in rows if (edit := _row(builder, row, around)) is not None]


def _row(builder: Builder, row: Any, around: Surroundings) -> Edit | None:
    if not isinstance(row, Map):
        builder.report.error(row, "a row is NAME: {position: value}, or for_each with segments.")
        return None
    names = [key for key in row if key not in SEGMENT_KEYS]
    if len(names) > 1:
        builder.report.error(names[1], f"a row has one segment, and this has {names[0]} and {names[1]}. Begin another with '- '.")
        return None
    lines = Map({key: value for key, value in row.items() if key in ("for_each", "by", "owns", "when", "let")})
    lines.mark, lines.flow = row.mark, False
    name = names[0] if names else None
    frame, inside = builder.frame(lines, around, Target(str(name or "segments")))
    segment = _segment(builder, name, row, inside) if name is not None else None
    nested = segments(builder, row["segments"], inside) if "segments" in row else []
    after = str(row.get("after", ""))

    def edit(target: Editable, scope: Scope) -> None:
        for turn in frame.scopes(scope):
            if segment is not None:
                segment.add(target, turn, after)
            for inner in nested:
                inner(target, turn)

    return edit


class _Segment(NamedTuple):
    name: str
    positions: tuple[str, ...]
    values: Callable[[Scope], Sequence[Value]]
    where: Where

    def add(self, target: Editable, scope: Scope, after: str) -> None:
        found = self.values(scope)
        values = {
            position: value
            for position, value in zip(self.positions, found, strict=True)
            if value is not EMPTY and value is not OMIT
        }
        try:
            target.add(self.name, values, after)
        except (ContentError, PathError) as error:
            raise failure(self.where, Refused(f"cannot be added: {error}")) from None


def _segment(builder: Builder, name: Text, row: Map, around: Surroundings) -> _Segment:
    given = row[name]
    if not isinstance(given, Map):
        builder.report.error(name, f"a segment's fields are written {name}: {{1: value, 3: value}}.")
        given = Map()
    cells = [
        (builder.value(value, around), Where(builder.mapping, f"{name}-{position}", value)) for position, value in given.items()
    ]
    where = Where(builder.mapping, str(name), name)

    def slow(scope: Scope) -> list[Value]:
        values: list[Value] = []
        try:
            for run, place in cells:  # noqa: B007  # `place` is read when something goes wrong
                values.append(run(scope))
        except Refused as fault:
            raise failure(place, fault) from None
        except (ContentError, PathError) as error:
            raise failure(where, Refused(f"cannot be added: {error}")) from None
        return values

    return _Segment(str(name), tuple(map(str, given)), quick_all([run for run, _ in cells], slow), where)
