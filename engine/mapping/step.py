"""One mapping file, compiled: a step of a chain. Pure: a document in, results out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from engine.contracts import Document, Editable, Entity, Facts, Format
from engine.errors import MappingError
from engine.mapping import edits
from engine.mapping.blocks import Block
from engine.mapping.build import Builder, Target
from engine.mapping.codes import CodeTable
from engine.mapping.compile import Compiled
from engine.mapping.faults import Refused, shown
from engine.mapping.inline import quick
from engine.mapping.reads import Surroundings
from engine.mapping.report import Report, Where, failure
from engine.mapping.schema import Shape
from engine.mapping.scope import Fn, Scope
from engine.mapping.sources import EntitySource
from engine.mapping.targets import EntityTarget, JsonTarget, MessageTarget, Result, TemplateTarget
from engine.mapping.targets import Target as Output
from engine.mapping.templates import load_template
from engine.mapping.watching import Watch
from engine.strictyaml import Map, Seq, Text
from engine.text import did_you_mean, listed
from engine.values import Value

KEYS: Final = (
    "mapping", "about", "from", "to", "for_each", "by", "owns", "when", "let", "include", "action", "set", "drop", "segments",
    "render", "check", "tests",
)  # fmt: skip
_FRAME: Final = ("for_each", "by", "owns", "when", "let", "include")
_BLANK: Final = {"hl7v2": b"MSH|^~\\&|\r"}
"""What a message begins as where it is not a copy (MSH-2 as HL7 v2.5.1 §2.5.4 recommends)."""


@dataclass(frozen=True)
class World:
    """What a mapping may refer to."""

    directory: Path  # mappings/
    formats: Mapping[str, Format]
    entities: Mapping[str, Entity]
    tables: Mapping[str, CodeTable]
    fragments: Mapping[str, Map]
    watch: Watch | None = None


@dataclass
class Step:
    """A compiled mapping. `apply` gives its results, unrendered."""

    name: str
    lines: Map
    source: str  # `hl7v2`, `charge/v1`
    many: bool  # `from: charge/v1[*]`
    output: Output
    frame: Block
    action: tuple[Fn, Where] | None
    where: Where
    checks: list[tuple[str, Compiled, Where]] = field(default_factory=list)
    marks: dict[str, Text] = field(default_factory=dict)
    drops: list[tuple[str, Where]] = field(default_factory=list)
    assignments: list[edits.Assignment] = field(default_factory=list)
    segments: list[edits.Edit] = field(default_factory=list)
    lets: Mapping[str, int] = field(default_factory=dict)
    edits_copy: bool = False
    blank: Editable | None = None  # what a new message begins as
    begun: int = 0  # how many of the assignments are in it
    watch: Watch | None = None

    def apply(self, document: Document, facts: Facts, first: int) -> list[Result]:
        """Raises MappingError or UnknownCode."""
        results: list[Result] = []
        try:
            for scope in self.frame.scopes(Scope(document, facts, [])):
                for value in self._values(scope):
                    if self.watch is not None:
                        self.watch.made(value)
                    checked = self.output.check(value, self.where, self.marks)
                    self._check(scope, checked)
                    action = self._action(scope)
                    results.append(Result(checked, action, first + len(results)))
        except RecursionError:
            raise MappingError(f"{self.name}: the message is nested too deeply") from None
        return results

    def _values(self, scope: Scope) -> list[Value]:
        output = self.output
        if isinstance(output, MessageTarget):
            return [self._message(output.format, scope)]
        if isinstance(output, TemplateTarget):
            names = {name: scope.lets[index] for name, index in self.lets.items()}
            return [output.render(scope.m, names, scope.facts, self.where)]
        return self.frame.emit(scope) or ([{}] if isinstance(output, EntityTarget) else [])

    def _message(self, format_: Format, scope: Scope) -> Editable:
        if self.edits_copy:
            copy, assignments = format_.edit(scope.m), self.assignments
        else:
            if self.blank is None:
                self.blank = self._begun(format_, scope)
            copy, assignments = format_.edit(self.blank), self.assignments[self.begun :]
        for path, where in self.drops:
            edits.remove(copy, path, where)
        for assignment in assignments:
            edits.assign(copy, assignment, scope, from_copy=self.edits_copy)
        for edit in self.segments:
            edit(copy, scope)
        return copy

    def _begun(self, format_: Format, scope: Scope) -> Editable:
        """An empty message with what is the same in every result, up to the first line of `set` that is not."""
        blank = format_.edit(format_.parse(_BLANK[format_.name]))
        for assignment in self.assignments:
            if not assignment.constant:
                break
            edits.assign(blank, assignment, scope, from_copy=False)
            self.begun += 1
        return blank

    def _action(self, scope: Scope) -> str:
        if self.action is None:
            return ""
        run, where = self.action
        try:
            return str(run(scope))
        except Refused as fault:
            raise failure(where, fault) from None

    def _check(self, scope: Scope, value: Any) -> None:
        for name, compiled, where in self.checks:
            scope.result = value
            try:
                held = compiled.run(scope)
                sides = [side(scope) for side in compiled.sides or ()]
            except Refused as fault:
                raise failure(where, fault) from None
            if not held:
                detail = f": {shown(sides[0]) or '(nothing)'} against {shown(sides[1]) or '(nothing)'}" if sides else ""
                error = MappingError(f"{self.name} {name}: does not hold{detail} ({where.line()})")
                error.place = name
                raise error


def compile_step(lines: Map, world: World, report: Report) -> Step | None:
    """None where the file is too wrong to go on; problems are in `report`."""
    name = str(lines["mapping"])
    for key in lines:
        if key not in KEYS:
            hint = did_you_mean(key, KEYS) or f" Expected {listed(KEYS, 'or')}."
            report.error(key, f"'{key}' is not a key of a mapping.{hint}")
    source = _source(lines, world, report)
    if source is None or not isinstance(lines.get("to"), Text):
        if "to" not in lines:
            report.error(lines, "to is missing: a canonical entity (charge/v1), hl7v2, json, xml or text.")
        return None
    format_, many = source
    builder = Builder(name, report, world.fragments, watch=world.watch)
    around = Surroundings(format_, world.tables)
    compiled = _Compilation(lines, world, report, builder, around, format_, many)
    return compiled.run()


def _source(lines: Map, world: World, report: Report) -> tuple[Format, bool] | None:
    text = lines.get("from")
    if not isinstance(text, Text):
        report.error(lines, f"from is missing: {_known(world)}.")
        return None
    name = str(text).removesuffix("[*]")
    many = text.endswith("[*]")
    if name in world.entities:
        source: Any = EntitySource(world.entities[name])
        return source, many
    if name in world.formats and not many:
        return world.formats[name], False
    hint = did_you_mean(name, [*world.formats, *world.entities])
    report.error(text, f"'{text}' is no format and no canonical entity.{hint or f' Expected {_known(world)}.'}")
    return None


def _known(world: World) -> str:
    return listed([*world.formats, *world.entities], "or")


@dataclass
class _Compilation:
    """The parts of one file, compiled in the order in which they depend on one another."""

    lines: Map
    world: World
    report: Report
    builder: Builder
    around: Surroundings
    format: Format
    many: bool

    def run(self) -> Step | None:
        lines, name = self.lines, str(self.lines["mapping"])
        output = self._output()
        if output is None:
            return None
        shape = Shape(output.entity.json_schema()) if isinstance(output, EntityTarget) else None
        root = output.entity.name if isinstance(output, EntityTarget) else "" if output.kind == "json" else output.kind
        target = Target(root, shape)
        frame_lines = Map({key: value for key, value in lines.items() if key in _FRAME})
        frame_lines.mark, frame_lines.flow = lines.mark, False
        frame, inside = self.builder.frame(frame_lines, self.around, target)
        where = Where(name, root, lines.key("set") if "set" in lines else lines["to"])
        step = Step(name, lines, self.format.name, self.many, output, frame, None, where)
        step.lets, step.watch = inside.lets, self.world.watch
        if "action" in lines:
            step.action = (
                quick(self.builder.value(lines["action"], inside, kind="action")),
                Where(name, f"{root}.action".lstrip("."), lines["action"]),
            )
        self._content(step, output, inside, target)
        self._checks(step, inside, root or "result")
        self._unused(frame_lines)
        step.marks = self.builder.marks
        return step

    def _output(self) -> Output | None:
        lines, to, world = self.lines, self.lines["to"], self.world
        if "render" in lines:
            return self._rendered(to)
        if to in world.entities:
            return EntityTarget(world.entities[str(to)])
        if to == "json":
            return JsonTarget()
        if to in ("xml", "text"):
            self.report.error(to, f"to: {to} needs render: {{template: NAME.{to}.j2}}.")
            return None
        if to in world.formats:
            if to != self.format.name and to not in _BLANK:
                self.report.error(to, f"{to} can be made from {to} only, as a copy with changes.")
                return None
            return MessageTarget(world.formats[str(to)], identified="MSH-10" in (lines.get("set") or ()))
        hint = did_you_mean(to, [*world.entities, *world.formats, "json", "xml", "text"])
        self.report.error(
            to, f"'{to}' is no canonical entity and no format.{hint or f' Expected {_known(world)}, json, xml or text.'}"
        )
        return None

    def _rendered(self, to: Text) -> Output | None:
        render = self.lines["render"]
        if to not in ("xml", "text"):
            self.report.error(to, "a template makes to: xml or to: text.")
            return None
        if not isinstance(render, Map) or not isinstance(render.get("template"), Text) or len(render) != 1:
            self.report.error(render, "render is written {template: journal.xml.j2}; the template stands in mappings/.")
            return None
        file = str(render["template"])
        path = (self.world.directory / file).resolve()
        if not path.is_relative_to(self.world.directory.resolve()) or not path.is_file():
            near = did_you_mean(file, [found.name for found in self.world.directory.glob("*.j2")])
            self.report.error(render["template"], f"there is no template mappings/{file}.{near}")
            return TemplateTarget(str(to), None)
        template, problems = load_template(path, self.around, str(to), f"mappings/{file}")
        self.report.problems += problems
        return TemplateTarget(str(to), template)

    def _content(self, step: Step, output: Output, inside: Surroundings, target: Target) -> None:
        lines = self.lines
        for key in ("drop", "segments"):
            if key in lines and not isinstance(output, MessageTarget):
                self.report.error(lines.key(key), f"{key} belongs to a mapping whose result is a message (to: hl7v2).")
        if not isinstance(output, MessageTarget):
            if isinstance(output, TemplateTarget):
                if "set" in lines:
                    self.report.error(lines.key("set"), "the template makes the whole result: name what it needs under let.")
            elif "set" not in lines and "include" not in lines:
                self.report.error(lines, "set is missing: the fields of the result.")
            else:
                included = self.builder._included(lines)
                step.frame = step.frame._replace(emit=self.builder._emit(lines, included, inside, target))
            return
        step.edits_copy = lines["to"] == self.format.name
        if step.edits_copy and "for_each" in lines:
            self.report.error(lines.key("for_each"), "a copy of the message is one result: use [*] on the left side, OBX[*]-3.1.")
        given = lines.get("set", Map())
        if isinstance(given, Map):
            step.assignments = edits.assignments(self.builder, given, inside, output.format)
        else:
            self.report.error(given, "set has lines of the form PID-5.1: value.")
        if "drop" in lines:
            step.drops = edits.drops(self.builder, lines["drop"], output.format)
        if "segments" in lines:
            step.segments = edits.segments(self.builder, lines["segments"], inside, output.format)

    def _checks(self, step: Step, inside: Surroundings, root: str) -> None:
        checks = self.lines.get("check", Map())
        if not isinstance(checks, Map):
            self.report.error(checks, "check has lines of the form name: =condition.")
            return
        around = Surroundings(inside.format, inside.tables, inside.lets, inside.let_paths, inside.relative, root)
        for name, text in checks.items():
            if not isinstance(text, Text) or not text.startswith("="):
                self.report.error(text, f"the check '{name}' is a condition: it begins with =.")
            elif compiled := self.builder.compiled(text, around, condition=True, kind="check", target=str(name)):
                step.checks.append((str(name), compiled, Where(step.name, str(name), text)))

    def _unused(self, frame: Map) -> None:
        if "render" in self.lines:
            return
        for lines in _let_groups(self.lines):
            for name in lines:
                if str(name) not in self.builder.used:
                    self.report.warning(name, f"'{name}' is not used.")


def _let_groups(value: Any) -> Sequence[Map]:
    found: list[Map] = []
    if isinstance(value, Map):
        for key, inner in value.items():
            if key == "let" and isinstance(inner, Map):
                found.append(inner)
            elif key != "tests":
                found += _let_groups(inner)
    elif isinstance(value, Seq):
        for inner in value:
            found += _let_groups(inner)
    return found
