"""What templates have of Jinja2, and the meter that every rendering runs on.

Jinja2's sandbox keeps templates away from Python; here it has less still. A template is checked when it is read, against a
list of the forms it may have. Whatever could grow is handed to operations of ours: turns of loops, joined texts, comparisons,
arithmetic, calls of macros. Nothing is worked out before it is rendered, so nothing escapes the meter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import Any, Final

from jinja2 import BaseLoader, StrictUndefined, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer
from markupsafe import Markup

from engine.mapping import operators
from engine.mapping.faults import Refused, RunAway, Unreadable
from engine.text import did_you_mean

LONGEST_OUTPUT: Final = 16 << 20  # characters, of all texts that are made on the way
MOST_STEPS: Final = 200_000  # printed values, turns of loops, calls of macros and filters
TESTS: Final = frozenset(
    {"defined", "undefined", "even", "odd", "divisibleby", "sameas", "eq", "ne", "lt", "gt", "le", "ge", "in", "true", "false"}
)
PATHS: Final = "m"  # the root of rewritten paths: m['PID-3.1']

_FORMS: Final = (
    nodes.Output, nodes.TemplateData, nodes.For, nodes.If, nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.With,
    nodes.Assign, nodes.AssignBlock, nodes.Name, nodes.Const, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Keyword,
    nodes.CondExpr, nodes.And, nodes.Or, nodes.Not, nodes.Compare, nodes.Operand, nodes.Filter, nodes.Test, nodes.Call,
    nodes.Concat, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow, nodes.Neg, nodes.Pos,
    nodes.Getattr, nodes.Getitem,
)  # fmt: skip
_OTHERS: Final[Mapping[type[nodes.Node], str]] = {
    nodes.Include: "a template stands alone: it cannot include another.",
    nodes.Import: "a template stands alone: it cannot import another.",
    nodes.FromImport: "a template stands alone: it cannot import another.",
    nodes.Extends: "a template stands alone: it cannot extend another.",
    nodes.Block: "a template stands alone, so block has no meaning: write a macro.",
    nodes.Scope: "what is escaped follows from the mapping's to: and is not switched here.",
}
# Names no template can write, since they hold a blank.
_TURNS, _JOINED, _COMPARED, _EXACT = "turns of", "joined text", "compared with", "exact number"

_BINARY: Final = {
    "+": operators.add, "-": operators.subtract, "*": operators.multiply, "/": operators.divide,
    "//": operators.floor_divide, "%": operators.modulo, "**": operators.power,
}  # fmt: skip
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": operators.equal, "ne": operators.unequal, "lt": operators.less, "lteq": operators.at_most, "gt": operators.more,
    "gteq": operators.at_least, "in": operators.contained, "notin": lambda a, b: not operators.contained(a, b),
}  # fmt: skip


class Meter:
    """What one rendering has used so far."""

    def __init__(self) -> None:
        self._steps = self._made = 0

    def step(self, count: int = 1) -> None:
        self._steps += count
        if self._steps > MOST_STEPS:
            raise RunAway(f"the template takes more than {MOST_STEPS:,} steps (values printed, turns of loops, calls)")

    def made(self, text: Any) -> None:
        """A text was made, or read from end to end."""
        self._made += len(text) if isinstance(text, str) else 0
        if self._made > LONGEST_OUTPUT:
            raise RunAway(f"the template makes more than {LONGEST_OUTPUT:,} characters")


def defined(value: Any) -> Any:
    """`value`; raises UndefinedError, which says the name, for one that is not there."""
    if isinstance(value, Undefined):
        str(value)
    return value


class Sandbox(ImmutableSandboxedEnvironment):
    """Items only, decimal arithmetic, no globals, everything counted. `meter` is that of the rendering under way."""

    intercepted_binops = frozenset(_BINARY)
    intercepted_unops = frozenset({"-", "+"})

    def __init__(self, *, escape: bool, printed: Any, filters: Mapping[str, Any], loader: BaseLoader | None = None) -> None:
        super().__init__(
            undefined=StrictUndefined, autoescape=escape, loader=loader, trim_blocks=True, lstrip_blocks=True,
            keep_trailing_newline=True, finalize=printed, cache_size=0, optimized=False,
        )  # fmt: skip
        self.meter = Meter()
        self.globals.clear()
        self.tests = {key: value for key, value in self.tests.items() if key in TESTS}
        self.filters = dict(filters)

    def prepared(self, source: str) -> nodes.Template:
        """The syntax tree, checked and on the meter. Raises Unreadable (`at` is the line) and TemplateSyntaxError."""
        tree = self.parse(source)
        for node in tree.iter_child_nodes():
            self._check(node)
        self.filters |= {
            _TURNS: self._turns, _JOINED: self._joined, _COMPARED: self._compared, _EXACT: _exact,
        }  # fmt: skip
        prepared: nodes.Template = _OnTheMeter().visit(tree)
        return prepared

    # ── when a template is read ──

    def _check(self, node: nodes.Node, within: nodes.Node | None = None) -> None:
        if not isinstance(node, _FORMS):
            line = node.lineno or next((child.lineno for child in node.iter_child_nodes()), 1)
            why = _OTHERS.get(type(node), "this form is not part of templates.")
            raise Unreadable(f"line {line}: {why}", line)
        if isinstance(node, (nodes.Filter, nodes.Test)):
            known: Collection[str] = self.filters if isinstance(node, nodes.Filter) else self.tests
            if node.name not in known:
                noun = type(node).__name__.lower()
                hint = did_you_mean(node.name, known) or f" There are {', '.join(sorted(known))}."
                raise Unreadable(f"line {node.lineno}: there is no {noun} '{node.name[:40]}' in templates.{hint}", node.lineno)
        name = node.attr if isinstance(node, nodes.Getattr) else node.name if isinstance(node, nodes.Name) else ""
        if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            name = "" if is_path(node) else node.arg.value
        if name.startswith("_"):
            raise Unreadable(f"line {node.lineno}: names that begin with _ cannot be read.", node.lineno)
        if name == "self" and isinstance(node, nodes.Name):
            raise Unreadable(f"line {node.lineno}: there is no self in templates.", node.lineno)
        if name == PATHS and isinstance(node, nodes.Name) and not (within is not None and is_path(within)):
            raise Unreadable(f"line {node.lineno}: {PATHS} takes a path in quotes: {PATHS}['PID-3.1'].", node.lineno)
        for child in node.iter_child_nodes():
            self._check(child, node)

    # ── when it is rendered ──

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(argument, str) and argument.startswith("_"):
            raise SecurityError(f"{argument!r} cannot be read")
        if isinstance(obj, Mapping):
            try:
                return obj[argument]
            except (KeyError, TypeError):
                return self.undefined(obj=obj, name=str(argument)[:40])
        if isinstance(obj, (list, tuple)) and isinstance(argument, int):
            return obj[argument] if -len(obj) <= argument < len(obj) else self.undefined(obj=obj, name=str(argument))
        if isinstance(obj, Readable):
            return obj.read(argument)
        if type(obj).__name__ == "LoopContext" and argument in ("index", "index0", "first", "last", "length"):
            return getattr(obj, argument)
        return self.undefined(obj=obj, name=argument)

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(obj, Macro):
            raise SecurityError("only macros of the template can be called")
        self.meter.step()
        made = super().call(context, obj, *args, **kwargs)
        self.meter.made(made)
        return made

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        return _BINARY[operator](defined(left), defined(right))

    def call_unop(self, context: Any, operator: str, arg: Any) -> Any:
        return operators.negate(defined(arg)) if operator == "-" else operators.positive(defined(arg))

    def _turns(self, values: Any) -> Any:
        self.meter.step(1 + len(defined(values)))
        return list(values)

    def _joined(self, values: list[Any]) -> str:
        self.meter.step()
        texts = [value if isinstance(value, Markup) else operators.text(defined(value)) for value in values]
        made = Markup("").join(texts) if any(isinstance(text, Markup) for text in texts) else "".join(texts)
        self.meter.made(made)
        return made

    def _compared(self, first: Any, operations: list[Any]) -> bool:
        self.meter.step()
        left = defined(first)
        for sign, value in zip(operations[::2], operations[1::2], strict=True):
            right = defined(value)
            if sign in ("in", "notin"):
                self.meter.made(right)
            if not _COMPARE[sign](left, right):
                return False
            left = right
        return True


class Readable:
    """What `m['…']` reads from."""

    def read(self, path: Any) -> Any:
        raise NotImplementedError


class _OnTheMeter(NodeTransformer):
    """Puts our operations where Jinja2's would not be bounded, or would compare and count in another way than expressions."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _filter(node.iter, _TURNS, [], node)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filter(_list(node.nodes, node), _JOINED, [], node)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        pairs: list[nodes.Expr] = []
        for operand in node.ops:
            pairs += [nodes.Const(operand.op, lineno=node.lineno), operand.expr]
        return _filter(node.expr, _COMPARED, [_list(pairs, node)], node)

    def visit_Const(self, node: nodes.Const) -> nodes.Node:
        return _filter(nodes.Const(repr(node.value)), _EXACT, [], node) if isinstance(node.value, float) else node


def _list(items: list[nodes.Expr], at: nodes.Node) -> nodes.List:
    return nodes.List(items, lineno=at.lineno)


def _filter(value: nodes.Node, name: str, given: list[nodes.Expr], at: nodes.Node) -> nodes.Filter:
    assert at.environment is not None
    made = nodes.Filter(value, name, given, [], None, None, lineno=at.lineno)
    made.set_environment(at.environment)
    return made


def is_path(node: nodes.Node) -> bool:
    """Whether it is `m['…']`, with the path written out."""
    if not isinstance(node, nodes.Getitem) or not isinstance(node.node, nodes.Name) or node.node.name != PATHS:
        return False
    return isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str)


def _exact(text: str) -> Decimal:
    """A number with a point, as it was typed: never a float."""
    if not (number := Decimal(text)).is_finite():
        raise Refused("is not a number")
    operators.in_range(number)
    return number
