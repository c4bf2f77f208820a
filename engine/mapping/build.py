"""From the lines of a mapping file to blocks: names are resolved, keys and fields checked, expressions compiled."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from engine.errors import PathError
from engine.mapping.blocks import Block, Emit, Field, Let, Loop, as_list, as_one, fields, filling, item, listed, single
from engine.mapping.calls import CALLS
from engine.mapping.compile import Compiled, compile_expression
from engine.mapping.faults import Unreadable
from engine.mapping.inline import quick
from engine.mapping.reads import FIXED_ROOTS, Surroundings, constant
from engine.mapping.report import Report, Where
from engine.mapping.schema import Shape
from engine.mapping.scope import Fn, Scope
from engine.mapping.tokens import WORDS
from engine.mapping.watching import Line, Watch
from engine.strictyaml import Map, Seq, Text
from engine.text import did_you_mean, nearest
from engine.text import listed as in_words
from engine.values import EMPTY, Value

BLOCK_KEYS: Final = ("for_each", "by", "owns", "when", "let", "include", "set")
_LET_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Target:
    """The place in the result that lines fill: for names in errors and for the schema's say."""

    path: str
    shape: Shape | None = None

    def field(self, name: str) -> Target:
        return Target(f"{self.path}.{name}" if self.path else name, self.shape.field(name) if self.shape else None)

    def item(self) -> Target:
        return replace(self, shape=self.shape.item if self.shape else None)


@dataclass
class Builder:
    """Compiles one mapping. Problems go to `report`; what could not be compiled becomes a constant nothing."""

    mapping: str
    report: Report
    fragments: Mapping[str, Map]
    used: set[str] = field(default_factory=set)  # names of lets that something reads
    marks: dict[str, Text] = field(default_factory=dict)  # target path → its text, for errors of the schema
    depth: int = 0
    watch: Watch | None = None

    # ── expressions ────────────────────────────────────────────────────────────────────────────────────────────────

    def compiled(
        self, text: Text, around: Surroundings, *, condition: bool = False, kind: str = "field", target: str = ""
    ) -> Compiled | None:
        """The expression of a text that begins with `=`; None where it is wrong (which has been reported)."""
        try:
            result = compile_expression(text[1:], around, condition=condition)
        except Unreadable as error:
            self.report.unreadable(text, error)
            return None
        self.used |= result.names
        if self.watch is not None:
            result = replace(result, run=self.watch.line(result.run, Line(kind, target, text, result.names, around.lets)))
        return result

    def value(self, text: Any, around: Surroundings, *, condition: bool = False, kind: str = "field", target: str = "") -> Fn:
        """Expression or literal, and what it fills."""
        if not isinstance(text, Text):
            self.report.error(text, "one value is expected here, not a list or nested lines.")
            return _nothing
        if not text.startswith("="):
            self._looks_like_path(text, around)
            literal = constant(str(text))
            return self.watch.line(literal, Line(kind, target, text, frozenset(), {})) if self.watch is not None else literal
        compiled = self.compiled(text, around, condition=condition, kind=kind, target=target)
        return compiled.run if compiled else _nothing

    def condition(self, text: Any, around: Surroundings, key: str) -> Fn:
        if isinstance(text, Text) and text.startswith("="):
            return self.value(text, around, condition=True)
        self.report.error(text, f"{key} is a condition: it begins with =.")
        return _nothing

    def _looks_like_path(self, text: Text, around: Surroundings) -> None:
        """`mrn: PID-3.1` without `=` is a text, and hardly ever meant as one."""
        if text.style:
            return
        shown = str(text)
        sign = r"\w+[.\[]" if getattr(around.format, "typed", False) else r".*[-\[/]"
        suspicious = re.match(sign, shown) is not None and around.format.paths.fullmatch(shown) is not None
        calls = re.match(r"(first|joined|code)\(.*\)|.+\|\s*(required|date|decimal|code\(|default\()", shown)
        if suspicious or calls:
            self.report.error(text, f"'{shown}' is literal text here. Did you mean '={shown}'? If it is text, put it in quotes.")

    # ── blocks ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def block(self, lines: Map, around: Surroundings, target: Target) -> Block:
        """A block of `for_each`, `let`, `when`, `include`, `set`; other keys of `lines` are the caller's."""
        frame, inside = self.frame(lines, around, target)
        return frame._replace(emit=self._emit(lines, self._included(lines), inside, target.item() if frame.loop else target))

    def frame(self, lines: Map, around: Surroundings, target: Target) -> tuple[Block, Surroundings]:
        """A block without its `set`, and what expressions inside it see."""
        loop, around = self._loop(lines, around, target)
        fragments = self._included(lines, quiet=True)
        lets, around = self._lets(
            [*(m["let"] for m in fragments if "let" in m), *([lines["let"]] if "let" in lines else [])], around
        )
        when = None
        if "when" in lines:
            text = lines["when"]
            if not isinstance(text, Text) or not text.startswith("="):
                self.report.error(text, "when is a condition: it begins with =.")
            elif compiled := self.compiled(text, around, condition=True, kind="when", target=target.path):
                when = quick(compiled.run), Where(self.mapping, f"{target.path} when".strip(), text)
                lets = _early(lets, compiled.names)
        ready = tuple(let for let, _, _ in lets)
        return Block(loop, ready, when, _emit_nothing, filling(ready)), around

    def _loop(self, lines: Map, around: Surroundings, target: Target) -> tuple[Loop | None, Surroundings]:
        text = lines.get("for_each")
        if not isinstance(text, Text):
            for key in ("by", "owns"):
                if key in lines:
                    self.report.error(lines.key(key), f"{key} stands beside for_each.")
            return None, around
        where = Where(self.mapping, f"{target.path} for_each".strip(), text)
        if text.startswith("="):
            compiled = self.compiled(text, around, kind="for_each", target=target.path)
            if "by" in lines:
                self.report.error(lines["by"], "by groups turns of a path; for_each is an expression here.")
            items = compiled or Compiled(_nothing, "", (), frozenset())
            return Loop("", items, (), None, where), replace(around, relative="item")
        path = str(text)
        try:
            around.format.check_path(path)
        except PathError as error:
            self.report.error(text.at(error.at), f"for_each takes a path or an expression; {path}: {error.problem}")
        parts = getattr(around.format, "typed", False) or re.search(r"-\d", path)
        inner = replace(around, relative="path" if parts else "")
        by = self.value(lines["by"], inner, kind="by", target=target.path) if "by" in lines else None
        return Loop(path, None, self._owns(lines), by, where), inner

    def _owns(self, lines: Map) -> tuple[str, ...]:
        given = lines.get("owns", ())
        if isinstance(given, Text):
            given = [given]
        if not all(isinstance(item, Text) for item in given):
            self.report.error(given, "owns lists the names of segments: [PR1, ZFT].")
            return ()
        return tuple(map(str, given))

    def _included(self, lines: Map, *, quiet: bool = False) -> list[Map]:
        names = lines.get("include", ())
        found: list[Map] = []
        for name in [names] if isinstance(names, Text) else names:
            fragment = self.fragments.get(str(name))
            if fragment is not None:
                found.append(fragment)
            elif not quiet:
                hint = did_you_mean(str(name), self.fragments)
                self.report.error(
                    name, f"there is no fragment '{name}': a file in mappings/ that begins with fragment: {name}.{hint}"
                )
        return found

    def _lets(self, groups: Sequence[Any], around: Surroundings) -> tuple[list[tuple[Let, Text, frozenset[str]]], Surroundings]:
        lets: list[tuple[Let, Text, frozenset[str]]] = []
        for group in groups:
            if not isinstance(group, Map):
                self.report.error(group, "let has lines of the form name: =expression.")
                continue
            for name, text in group.items():
                if not self._let_name(name, around):
                    continue
                where = Where(self.mapping, f"let {name}", text)
                if isinstance(text, Text) and text.startswith("="):
                    compiled = self.compiled(text, around, kind="let", target=str(name))
                    run, paths, names = (
                        (compiled.run, compiled.paths, compiled.names) if compiled else (_nothing, (), frozenset[str]())
                    )
                else:
                    run, paths, names = self.value(text, around, kind="let", target=str(name)), (), frozenset()
                index = len(around.lets)
                around = around.with_let(str(name), index, paths)
                lets.append((Let(index, run, where, False), name, names))
        return lets, around

    def _let_name(self, name: Text, around: Surroundings) -> bool:
        found = around.format.paths.fullmatch(name)
        if not _LET_NAME.fullmatch(name):
            self.report.error(name, f"'{name}' cannot be a name: letters, digits and _ only.")
        elif name in around.lets:
            self.report.error(name, f"'{name}' has a value already. Give this one another name.")
        elif name in FIXED_ROOTS or name in WORDS or name in CALLS:
            self.report.error(name, f"'{name}' is a word of the language. Take another name.")
        elif found and not getattr(around.format, "typed", False):
            self.report.error(name, f"'{name}' would hide the path {name} of the message. Take another name, in small letters.")
        else:
            return True
        return False

    def _emit(self, lines: Map, included: Sequence[Map], around: Surroundings, target: Target) -> Emit:
        own = lines.get("set")
        if isinstance(own, Seq):
            if included:
                self.report.error(own, "include needs fields under set, not a list.")
            parts = [self.emitted(entry, around, target) for entry in own]
            return lambda scope: [value for part in parts for value in part(scope)]
        if own is not None and not isinstance(own, Map):
            return self.emitted(own, around, target)
        if isinstance(own, Map) and is_block(own, target.shape):
            return self.emitted(own, around, target)
        merged = Map()
        for part in (*(fragment.get("set", Map()) for fragment in included), own or Map()):
            for name, value in part.items():
                merged.pop(name, None)
                merged[name] = value
        merged.mark, merged.flow = (own if isinstance(own, Map) else lines).mark, False
        return single(self.object(merged, around, target))

    def emitted(self, value: Any, around: Surroundings, target: Target) -> Emit:
        """One entry of a list: an object, a nested block or a plain value."""
        if isinstance(value, Map) and is_block(value, target.shape):
            self.keys(value, BLOCK_KEYS, "a nested block")
            return self.block(value, around, target).run
        if isinstance(value, Map):
            return single(self.object(value, around, target))
        if isinstance(value, Text):
            self._choice(value, target.shape)
        return item(self.value(value, around, target=target.path), Where(self.mapping, target.path, value))

    def object(self, lines: Map, around: Surroundings, target: Target) -> Fn:
        """An object whose fields are lines of a file."""
        if target.shape is not None and target.shape.fields is not None:
            for name in lines:
                if name not in target.shape.fields:
                    hint = did_you_mean(name, target.shape.fields) or f" It has {in_words(list(target.shape.fields)[:15])}."
                    self.report.error(name, f"{target.path or 'the result'} has no field '{name}'.{hint}")
            self._complete(lines, target.shape, target.path or "the result")
        entries: list[Field] = []
        for name, value in lines.items():
            place = target.field(str(name))
            self.marks[place.path] = value if isinstance(value, Text) else name
            run = self.content(value, around, place, name)
            where = Where(self.mapping, place.path, value if isinstance(value, Text) else name)
            entries.append(Field(str(name), run, not isinstance(value, Text), where))
        run = fields(entries)
        return self.watch.fields(run, target.path) if self.watch is not None else run

    def _complete(self, lines: Map, shape: Shape, what: str) -> None:
        """Fields without which no result is valid, unless one that is misspelt was meant."""
        meant = {nearest(name, shape.fields or ()) for name in lines if name not in (shape.fields or ())}
        for missing in shape.required:
            if missing not in lines and missing not in meant:
                self.report.error(next(iter(lines), lines), f"{what} needs '{missing}', and nothing sets it.")

    def content(self, value: Any, around: Surroundings, target: Target, at: Text) -> Fn:
        """What a field holds: a value, an object, a list, a nested block."""
        shape = target.shape
        if isinstance(value, Text):
            self._choice(value, shape)
            return self.value(value, around, target=target.path)
        if isinstance(value, Seq):
            return listed([self.emitted(entry, around, target.item()) for entry in value])
        self.depth += 1
        try:
            if is_block(value, shape):
                self.keys(value, BLOCK_KEYS, "a nested block")
                block = self.block(value, around, target)
                return as_list(block) if block.loop else as_one(block)
            if shape is not None and shape.is_list:
                self.report.error(at, f"{target.path} is a list: use for_each, or lines that begin with '- '.")
                return _nothing
            return self.object(value, around, target)
        finally:
            self.depth -= 1

    def _choice(self, text: Text, shape: Shape | None) -> None:
        if shape is None or text.startswith("=") or not text:
            return
        if shape.is_object:
            self.report.error(text, "an object with fields is expected here, not one text.")
        elif shape.choices and text not in shape.choices:
            hint = did_you_mean(text, shape.choices) or f" Expected {in_words(shape.choices[:12], 'or')}."
            self.report.error(text, f"'{text}' is not one of its values.{hint}")
        elif expected := shape.expected(text):
            self.report.error(text, f"'{text[:40]}' does not fit here: expected {expected}.")

    def keys(self, lines: Map, allowed: Sequence[str], what: str) -> None:
        """Refuse keys that are not known here."""
        for name in lines:
            if name not in allowed:
                hint = did_you_mean(name, allowed) or f" Expected {in_words(allowed, 'or')}."
                self.report.error(name, f"'{name}' is not a key of {what}.{hint}")


def is_block(lines: Map, shape: Shape | None) -> bool:
    """Whether nested lines are a block (`for_each:`, `set:` …) rather than fields that happen to have such names."""
    if shape is not None and shape.is_object and shape.fields is not None and "set" in shape.fields:
        return "for_each" in lines
    return (
        "for_each" in lines
        or ("set" in lines and all(name in BLOCK_KEYS for name in lines))
        or ("include" in lines and all(name in BLOCK_KEYS for name in lines))
    )


def _early(lets: list[tuple[Let, Text, frozenset[str]]], names: frozenset[str]) -> list[tuple[Let, Text, frozenset[str]]]:
    """Mark the lets that `when` needs, with those they need: the others wait until it has let the turn pass."""
    needed = set(names)
    result: list[tuple[Let, Text, frozenset[str]]] = []
    for let, name, uses in reversed(lets):
        if str(name) in needed:
            needed |= uses
            result.append((let._replace(early=True), name, uses))
        else:
            result.append((let, name, uses))
    return result[::-1]


def _nothing(scope: Scope) -> Value:
    return EMPTY


def _emit_nothing(scope: Scope) -> list[Value]:
    return []
