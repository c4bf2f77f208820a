"""What a path or a name in an expression reads: the document, a `let`, the item of a turn, the facts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from engine.contracts import Format
from engine.dotted import compile_path, read, read_all
from engine.dotted import reader as field_reader
from engine.errors import PathError
from engine.mapping.calls import CALLS, TESTS
from engine.mapping.codes import CodeTable
from engine.mapping.faults import Unreadable
from engine.mapping.filters import FILTER_NAMES, parts
from engine.mapping.inline import path_read, written
from engine.mapping.scope import MESSAGE, OMIT, SITE, Fn, Scope, received
from engine.mapping.tokens import Names, Token
from engine.text import did_you_mean
from engine.values import EMPTY, NULL, Value

FIXED_ROOTS: Final = ("message", "site", "today", "n", "omit", "null")


@dataclass(frozen=True)
class Surroundings:
    """Where an expression stands: what its paths and names mean, and which code tables there are."""

    format: Format
    tables: Mapping[str, CodeTable]
    lets: Mapping[str, int] = field(default_factory=dict)  # name → index in Scope.lets
    let_paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # where a let comes from, for error texts
    relative: str = ""  # what `.1` is a part of: "item" (Scope.item), "path" (the turn), or nothing
    result: str = ""  # the root that names the result, in checks

    def names(self) -> Names:
        roots = {*FIXED_ROOTS, *self.lets, *([self.result] if self.result else [])}
        return Names(self.format.paths, roots, self.relative, CALLS, FILTER_NAMES, TESTS)

    def with_let(self, name: str, index: int, paths: tuple[str, ...]) -> Surroundings:
        return replace(self, lets={**self.lets, name: index}, let_paths={**self.let_paths, name: paths})


class Reads:
    """Compiles tokens that read something, and notes what they read. All errors are Unreadable."""

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self.paths: dict[str, None] = {}  # of the document, in order
        self.used: set[str] = set()  # roots of names

    def path(self, token: Token, every: bool = False) -> Fn:
        path = token.text
        try:
            self.around.format.check_path(path)
        except PathError as error:
            raise Unreadable(f"{path}: {error.problem}", token.at + min(error.at, max(0, len(path) - 1))) from None
        self.paths[path] = None
        if every and "[*]" not in path:
            return written(lambda scope: scope.m.all(path), "m.all({path})", path=path)
        return path_read(lambda scope: scope.m[path], self.around.format, path)

    def item(self, token: Token) -> Fn:
        path = compile_path(token.text)
        self.used.add(".")
        if len(path.steps) == 1 and path.steps[0][0] == "index":
            index = path.steps[0][1]

            def one(scope: Scope) -> Value:
                row = parts(scope.item)
                return row[index] if 0 <= index < len(row) else EMPTY

            return one
        return lambda scope: read(scope.item, path)

    def root(self, token: Token, every: bool = False) -> Fn:
        found = re.match(r"[A-Za-z_]\w*", token.text)
        assert found is not None
        root, steps = found[0], token.text[found.end() :]
        self.used.add(root)
        if root in self.around.lets:
            index = self.around.lets[root]
            self.paths.update(dict.fromkeys(self.around.let_paths.get(root, ())))
            if not steps:
                return written(lambda scope: scope.lets[index], f"lets[{index:d}]")
            into = self.reader(token, steps, found.end(), every)
            return written(lambda scope: into(scope.lets[index]), f"{{into}}(lets[{index:d}])", into=into)
        if root == self.around.result:
            into = self.reader(token, steps, found.end(), every)
            return lambda scope: into(scope.result)
        return self._fixed(token, root, steps)

    def reader(self, token: Token, steps: str, offset: int, every: bool) -> Callable[[Value], Value]:
        if not steps:
            return lambda value: value
        text = steps if steps.startswith((".", "[")) else f".{steps}"
        try:
            path = compile_path(f".x{text}")
        except PathError as error:
            raise Unreadable(f"{token.text}: {error.problem}", token.at + offset) from None
        inner = path._replace(
            steps=path.steps[1:], relative=False, keys=path.keys[1:], simple=all(kind == "name" for kind, _ in path.steps[1:])
        )
        if every and not inner.many:
            return lambda value: read_all(value, inner)
        if inner.simple and len(inner.steps) == 1 and text.startswith("."):
            return field_reader(text[1:])
        return lambda value: read(value, inner)

    def _fixed(self, token: Token, root: str, steps: str) -> Fn:
        if root in ("message", "site"):
            known = MESSAGE if root == "message" else SITE
            if steps[1:] not in known or not steps.startswith("."):
                hint = did_you_mean(steps[1:], known) or f" There are {', '.join(f'{root}.{name}' for name in known)}."
                raise Unreadable(f"there is no '{token.text}'.{hint}", token.at)
            return known[steps[1:]]
        if steps:
            raise Unreadable(f"{root} has no parts: leave out {steps}.", token.at + len(root))
        if root == "today":
            return lambda scope: received(scope).date()
        if root == "n":
            return lambda scope: scope.n
        return constant(OMIT if root == "omit" else NULL)


def constant(value: Value) -> Fn:
    return written(lambda scope: value, "{value}", value=value)
