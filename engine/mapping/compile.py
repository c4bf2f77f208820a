"""Jinja2's syntax tree → plain Python closures, each with how it is written in the one function of its mapping (`inline`).

Nothing of Python can be reached: a closure exists for each form of the language and for no other, values are read by our
own paths, and functions are those of a table. The closures decide what an expression means and name what goes wrong; what
is written beside them only does the same sooner. The operators follow Jinja2's precedence because Jinja2 parses; tests
compare both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from jinja2 import nodes

from engine.mapping import operators, traps
from engine.mapping.blame import blamed
from engine.mapping.calls import CALLS, TESTS
from engine.mapping.converted import converted
from engine.mapping.faults import Refused, Unreadable
from engine.mapping.filters import DEFAULT_USAGE, FILTERS
from engine.mapping.inline import written
from engine.mapping.parse import Parsed, parse
from engine.mapping.reads import Reads, Surroundings, constant
from engine.mapping.scope import OMIT, Argument, Arguments, Fn, Scope
from engine.mapping.tokens import string_value
from engine.values import EMPTY, Value, is_empty


@dataclass(frozen=True, slots=True)
class Compiled:
    """An expression, ready to run."""

    run: Fn
    source: str  # without the `=`
    paths: tuple[str, ...]  # of the document, in order
    names: frozenset[str]  # roots that were read
    sides: tuple[Fn, Fn] | None = None  # of a comparison, so that a failed check can show both


def compile_expression(source: str, surroundings: Surroundings, *, condition: bool = False) -> Compiled:
    """Raises Unreadable with the offset in `source` (the text after the `=`)."""
    parsed = parse(source, surroundings.names())
    traps.check(source, parsed, condition=condition)
    compiler = _Compiler(parsed, surroundings)
    run = compiler.fn(parsed.root)
    sides = None
    if isinstance(parsed.root, nodes.Compare) and len(parsed.root.ops) == 1:
        sides = compiler.fn(parsed.root.expr), compiler.fn(parsed.root.ops[0].expr)
    return Compiled(run, source, tuple(compiler.paths), frozenset(compiler.used), sides)


_BINARY: Final[Mapping[type, Callable[[Value, Value], Value]]] = {
    nodes.Add: operators.add,
    nodes.Sub: operators.subtract,
    nodes.Mul: operators.multiply,
    nodes.Div: operators.divide,
    nodes.FloorDiv: operators.floor_divide,
    nodes.Mod: operators.modulo,
    nodes.Pow: operators.power,
}
_COMPARE: Final[Mapping[str, Callable[[Value, Value], bool]]] = {
    "eq": operators.equal,
    "ne": operators.unequal,
    "lt": operators.less,
    "lteq": operators.at_most,
    "gt": operators.more,
    "gteq": operators.at_least,
    "in": operators.contained,
    "notin": lambda a, b: not operators.contained(a, b),
}


class _Compiler(Reads):
    def __init__(self, parsed: Parsed, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self.parsed = parsed

    def at(self, node: nodes.Node) -> int:
        return self.parsed.token(node).at

    def fn(self, node: nodes.Expr) -> Fn:
        if type(node) in _BINARY:
            return self._binary(node)
        name = type(node).__name__.lower()
        return getattr(self, f"_{name}")(node)  # type: ignore[no-any-return]  # parse() let only known forms pass

    # ── values ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _const(self, node: nodes.Const) -> Fn:
        return constant(node.value)

    def _name(self, node: nodes.Name) -> Fn:
        token = self.parsed.placeholder(node)
        if token.kind == "text":
            return constant(string_value(token.text))
        if token.kind == "number":
            return constant(Decimal(token.text) if "." in token.text else int(token.text))
        if token.kind == "path":
            return self.path(token)
        if token.kind == "item":
            return self.item(token)
        return self.root(token)

    def _list(self, node: nodes.List | nodes.Tuple) -> Fn:
        items = [self.fn(item) for item in node.items]
        return written(lambda scope: [item(scope) for item in items], f"[{_slots(items)}]", *items)

    _tuple = _list

    def _getitem(self, node: nodes.Getitem) -> Fn:
        assert isinstance(node.arg, nodes.Name)
        token = self.parsed.placeholder(node.arg)
        inner, into = self.fn(node.node), self.reader(token, token.text, 0, every=False)
        return written(lambda scope: into(inner(scope)), "{into}({0})", inner, into=into)

    # ── operators ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _condexpr(self, node: nodes.CondExpr) -> Fn:
        test, yes = self.fn(node.test), self.fn(node.expr1)
        no = self.fn(node.expr2) if node.expr2 is not None else constant(EMPTY)
        return written(
            lambda scope: yes(scope) if test(scope) else no(scope), "({1} if {0} else {2})", test, yes, no, strict=False
        )

    def _and(self, node: nodes.And) -> Fn:
        left, right = self.fn(node.left), self.fn(node.right)
        return written(lambda scope: left(scope) and right(scope), "({0} and {1})", left, right, strict=False)

    def _or(self, node: nodes.Or) -> Fn:
        left, right = self.fn(node.left), self.fn(node.right)
        return written(lambda scope: left(scope) or right(scope), "({0} or {1})", left, right, strict=False)

    def _not(self, node: nodes.Not) -> Fn:
        inner = self.fn(node.node)
        return written(lambda scope: not inner(scope), "(not {0})", inner)

    def _neg(self, node: nodes.Neg) -> Fn:
        inner = self.fn(node.node)
        run = written(lambda scope: operators.negate(inner(scope)), "{apply}({0})", inner, apply=operators.negate)
        return self._blaming(node, run)

    def _pos(self, node: nodes.Pos) -> Fn:
        inner = self.fn(node.node)
        run = written(lambda scope: operators.positive(inner(scope)), "{apply}({0})", inner, apply=operators.positive)
        return self._blaming(node, run)

    def _concat(self, node: nodes.Concat) -> Fn:
        items = [self.fn(item) for item in node.nodes]
        join = operators.joined_texts
        run = written(lambda scope: join(*[item(scope) for item in items]), f"{{join}}({_slots(items)})", *items, join=join)
        return self._blaming(node, run)

    def _binary(self, node: Any) -> Fn:
        apply, left, right = _BINARY[type(node)], self.fn(node.left), self.fn(node.right)
        if isinstance(node, nodes.Add) and not getattr(self.around.format, "typed", False):
            for side in (node.left, node.right):
                if self._is_text(side):
                    raise Unreadable(
                        "+ adds numbers, and a path gives text. Join texts with ~, or convert with | decimal.", self.at(node)
                    )
        return self._blaming(node, _both(apply, left, right))

    def _is_text(self, node: nodes.Node) -> bool:
        if not isinstance(node, nodes.Name):
            return isinstance(node, nodes.Concat)
        token = self.parsed.placeholder(node)
        return token.kind == "text" or (token.kind == "path" and "[*]" not in token.text)

    def _compare(self, node: nodes.Compare) -> Fn:
        if len(node.ops) == 1:
            return self._compare_one(node, node.ops[0])
        first, rest = self.fn(node.expr), [(_COMPARE[op.op], self.fn(op.expr)) for op in node.ops]

        def chained(scope: Scope) -> bool:
            left = first(scope)
            for apply, right in rest:
                value = right(scope)
                if not apply(left, value):
                    return False
                left = value
            return True

        return self._blaming(node, chained)

    def _compare_one(self, node: nodes.Compare, op: nodes.Operand) -> Fn:
        left, apply = self.fn(node.expr), _COMPARE[op.op]
        constant = self._literal(op.expr)
        if op.op in ("eq", "ne") and isinstance(constant, str):
            return self._blaming(node, self._with_text(left, op.op == "eq", constant))
        texts = self._literals(op.expr) if op.op in ("in", "notin") else None
        if texts is not None and all(isinstance(text, str) for text in texts):
            known, wanted = frozenset(texts), op.op == "in"
            return written(
                lambda scope: _member(left(scope), known) is wanted, "({member}({0}, {known}) is {wanted})", left,
                member=_member, known=known, wanted=wanted,
            )  # fmt: skip
        right = self.fn(op.expr)
        return self._blaming(node, _both(apply, left, right))

    def _with_text(self, left: Fn, equal: bool, constant: str) -> Fn:
        def run(scope: Scope) -> bool:
            value = left(scope)
            if isinstance(value, str) or value is EMPTY:
                return (value == constant) is equal
            return operators.equal(value, constant) is equal

        sign = "==" if equal else "!="
        template = f"({{t}} {sign} {{constant}} if type({{t}} := {{0}}) is str else {{other}}({{t}}))"

        def other(value: Value) -> bool:
            return run_on(value) is equal

        def run_on(value: Value) -> bool:
            return value == constant if isinstance(value, str) or value is EMPTY else operators.equal(value, constant)

        return written(run, template, left, constant=constant, other=other)

    def _literal(self, node: nodes.Node) -> Value:
        """The value of a literal, None for anything else."""
        if isinstance(node, nodes.Const):
            return node.value
        if isinstance(node, nodes.Neg) and isinstance(inner := self._literal(node.node), (int, Decimal)):
            return -inner
        if isinstance(node, nodes.Name) and node.name.startswith("_"):
            token = self.parsed.placeholder(node)
            if token.kind in ("text", "number"):
                return self._name(node)(None)  # type: ignore[arg-type]  # a constant looks at no scope
        return None

    def _literals(self, node: nodes.Node) -> list[Value] | None:
        if not isinstance(node, (nodes.List, nodes.Tuple)):
            return None
        values = [self._literal(item) for item in node.items]
        return None if any(value is None for value in values) else values

    # ── filters, tests, functions ──────────────────────────────────────────────────────────────────────────────────

    def _arguments(self, node: Any, name: str) -> Arguments:
        given = [self._argument(item) for item in node.args]
        named = {keyword.key: self._argument(keyword.value) for keyword in node.kwargs}
        at = self.at(node.node) if isinstance(node, nodes.Call) else self.at(node)
        return Arguments(name, at, given, named, self.around.tables)

    def _argument(self, node: nodes.Expr) -> Argument:
        before = dict(self.paths)
        fn, constant = self.fn(node), self._literal(node)
        paths = tuple(path for path in self._paths_of(node) if path in self.paths)
        self.paths = {**before, **self.paths}
        return Argument(fn, self.at(node), constant is not None, constant, paths)

    def _filter(self, node: nodes.Filter) -> Fn:
        assert node.node is not None
        arguments = self._arguments(node, node.name)
        if node.name == "default":
            return self._default(node, arguments)
        spec = FILTERS[node.name]
        apply = spec.build(arguments)
        inner = self._gathered(node.node) if spec.gathers else self.fn(node.node)
        paths = self._paths_of(node.node)
        if not spec.each:
            return blamed(written(lambda scope: apply(scope, inner(scope)), "{apply}(scope, {0})", inner, apply=apply), paths)
        return converted(apply, inner, paths)

    def _gathered(self, node: nodes.Expr) -> Fn:
        """A path or name right before `sum`, `join`, `count`: all of its matches."""
        if isinstance(node, nodes.Name) and node.name.startswith("_"):
            token = self.parsed.placeholder(node)
            if token.kind == "path":
                return self.path(token, every=True)
            if token.kind == "name" and "." in token.text and not token.text.startswith(("message.", "site.")):
                return self.root(token, every=True)
        return self.fn(node)

    def _default(self, node: nodes.Filter, arguments: Arguments) -> Fn:
        assert node.node is not None
        arguments.expect(1, 1, DEFAULT_USAGE)
        inner, other = self.fn(node.node), arguments.given[0].fn
        if other(None) is OMIT if _is_omit(self, node.args[0]) else False:  # type: ignore[arg-type]
            return _or_omit(inner)

        def run(scope: Scope) -> Value:
            value = inner(scope)
            return other(scope) if (not value and is_empty(value)) or value == [] else value

        template = "({1} if ({t} := {0}) is EMPTY or not {t} and ({is_empty}({t}) or {t} == []) else {t})"
        return written(run, template, inner, other, strict=False, is_empty=is_empty)

    def _test(self, node: nodes.Test) -> Fn:
        inner = self.fn(node.node)
        test = TESTS[node.name](self._arguments(node, node.name))
        return blamed(written(lambda scope: test(inner(scope)), "{test}({0})", inner, test=test), self._paths_of(node.node))

    def _call(self, node: nodes.Call) -> Fn:
        assert isinstance(node.node, nodes.Name)
        name = node.node.name
        return blamed(CALLS[name](self._arguments(node, name)), self._paths_of(node))

    # ── whose fault ────────────────────────────────────────────────────────────────────────────────────────────────

    def _paths_of(self, node: nodes.Node) -> tuple[str, ...]:
        """Document paths under `node`, through the lets it reads."""
        found: dict[str, None] = {}
        for name in [node, *node.find_all(nodes.Name)] if isinstance(node, nodes.Name) else node.find_all(nodes.Name):
            if not isinstance(name, nodes.Name) or not name.name.startswith("_"):
                continue
            token = self.parsed.placeholder(name)
            if token.kind == "path":
                found[token.text] = None
            elif token.kind == "name":
                root = re.split(r"[.\[]", token.text, maxsplit=1)[0]
                found.update(dict.fromkeys(self.around.let_paths.get(root, ())))
        return tuple(found)

    def _blaming(self, node: nodes.Node, run: Fn) -> Fn:
        return blamed(run, self._paths_of(node))


def _slots(items: list[Fn]) -> str:
    return ", ".join(f"{{{number}}}" for number in range(len(items)))


def _both(apply: Callable[[Value, Value], Value], left: Fn, right: Fn) -> Fn:
    return written(lambda scope: apply(left(scope), right(scope)), "{apply}({0}, {1})", left, right, apply=apply)


def _is_omit(compiler: _Compiler, node: nodes.Expr) -> bool:
    return isinstance(node, nodes.Name) and node.name.startswith("_") and compiler.parsed.placeholder(node).text == "omit"


def _or_omit(inner: Fn) -> Fn:
    """`| date | default(omit)`: also a value that cannot be converted is left out, because the analyst says so."""

    def run(scope: Scope) -> Value:
        try:
            value = inner(scope)
        except Refused:
            return OMIT
        return OMIT if is_empty(value) else value

    return run


def _member(value: Value, known: frozenset[str]) -> bool:
    if isinstance(value, str) or value is EMPTY:
        return value in known
    return operators.contained(value, known)
