"""Results that are messages: a copy of the one that came with a few changes (`set`, `drop`), and `segments` that are added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
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
        found.append(Assignment(str(name), builder.value(value, around, target=str(name)), where, constant))
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


def segments(builder: Builder, rows: Any, around: Surroundings, target: Format) -> list[Edit]:
    """`segments:` rows in the order of the file. Those beside one another that are one segment each are added together."""
    if not isinstance(rows, Seq):
        builder.report.error(rows, "segments is a list: each line begins with '- ', then NAME: {1: value}.")
        return []
    found: list[Edit] = []
    plain: list[_Segment] = []
    for row in rows:
        made = _row(builder, row, around, target)
        if isinstance(made, _Segment):
            plain.append(made)
            continue
        if plain:
            found.append(_together(plain, target))
            plain = []
        if made is not None:
            found.append(made)
    return [*found, _together(plain, target)] if plain else found


def _row(builder: Builder, row: Any, around: Surroundings, target: Format) -> _Segment | Edit | None:
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
    after = str(row.get("after", ""))
    segment = _segment(builder, name, row, inside) if name is not None else None
    if segment is not None and len(row) == 1:
        return segment
    nested = segments(builder, row["segments"], inside, target) if "segments" in row else []
    own: list[Edit] = []
    if segment is not None:
        own = [partial(segment.add, after=after) if after else _together([segment], target)]

    def edit(message: Editable, scope: Scope) -> None:
        for turn in frame.scopes(scope):
            for each in (*own, *nested):
                each(message, turn)

    return edit


class _Segment(NamedTuple):
    name: str
    cells: tuple[tuple[str, Fn, str | None], ...]  # position, value, its text where it is literal
    values: Callable[[Scope], Sequence[Value]]
    where: Where

    def add(self, target: Editable, scope: Scope, after: str = "") -> None:
        found = self.values(scope)
        values = {
            position: value
            for (position, _, _), value in zip(self.cells, found, strict=True)
            if value is not EMPTY and value is not OMIT
        }
        try:
            target.add(self.name, values, after)
        except (ContentError, PathError) as error:
            raise failure(self.where, Refused(f"cannot be added: {error}")) from None


def _together(rows: Sequence[_Segment], target: Format) -> Edit:
    """Adds the segments of several rows: all at once where the format can, and one by one where that fails."""

    def one_by_one(message: Editable, scope: Scope) -> None:
        for row in rows:
            row.add(message, scope)

    make: Any = getattr(target, "composer", None)  # optional in a format
    plan = [(row.name, [cell[0] for cell in row.cells], [cell[2] for cell in row.cells]) for row in rows]
    compose: Callable[[Editable, Sequence[Value]], None] | None = make(plan, (EMPTY, OMIT)) if make else None
    if compose is None:
        return one_by_one
    values = quick_all([run for row in rows for _, run, text in row.cells if text is None], _nothing_at_once)

    def edit(message: Editable, scope: Scope) -> None:
        try:
            compose(message, values(scope))
        except Exception:  # whatever it is, it says so again, with its place
            one_by_one(message, scope)

    return edit


def _nothing_at_once(scope: Scope) -> Sequence[Value]:
    raise Refused("cannot be worked out all at once")


def _segment(builder: Builder, name: Text, row: Map, around: Surroundings) -> _Segment:
    given = row[name]
    if not isinstance(given, Map):
        builder.report.error(name, f"a segment's fields are written {name}: {{1: value, 3: value}}.")
        given = Map()
    cells = [
        (builder.value(value, around, target=f"{name}-{position}"), Where(builder.mapping, f"{name}-{position}", value))
        for position, value in given.items()
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

    literal = [str(value) if isinstance(value, Text) and not value.startswith("=") else None for value in given.values()]
    parts = tuple((str(position), run, text) for position, (run, _), text in zip(given, cells, literal, strict=True))
    return _Segment(str(name), parts, quick_all([run for run, _ in cells], slow), where)
