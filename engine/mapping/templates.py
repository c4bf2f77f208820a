"""`render: {template: journal.xml.j2}`: a document becomes text by a Jinja2 template in the immutable sandbox.

Names are strict, values are escaped as the type needs, control characters are refused, and of Python nothing is in reach:
no globals, no attributes, only the filters listed here and the language's own paths.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from jinja2 import BaseLoader, StrictUndefined, TemplateError, TemplateSyntaxError, Undefined
from jinja2.exceptions import SecurityError
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from engine.contracts import Document, Facts
from engine.dotted import DataDocument
from engine.errors import PathError, Problem
from engine.mapping import operators
from engine.mapping.codes import CodeTable
from engine.mapping.faults import Refused, Unreadable
from engine.mapping.filters import FILTERS
from engine.mapping.reads import Surroundings
from engine.mapping.scope import MESSAGE, SITE, Argument, Arguments, Scope, received
from engine.values import EMPTY, NULL, Value

LONGEST_OUTPUT: Final = 16 << 20  # characters
MOST_STEPS: Final = 200_000  # printed values and turns of loops

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_TEXTS: Final = (
    "upper",
    "lower",
    "trim",
    "replace",
    "truncate",
    "substring",
    "pad",
    "text",
    "abs",
    "round",
    "decimal",
    "int",
    "date",
    "datetime",
    "join",
    "sum",
    "count",
    "unique",
    "code",
    "raw",
    "split",
    "last",
)
_INSIDE = re.compile(r"(\{\{|\{%)(.*?)(\}\}|%\})", re.DOTALL)
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja2's sandbox with less: items only, decimal arithmetic, bounded texts."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    intercepted_unops = frozenset({"-", "+"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(argument, str) and argument.startswith("_"):
            raise SecurityError(f"{argument!r} cannot be read")
        if isinstance(obj, Mapping):
            try:
                return obj[argument]
            except KeyError:
                return self.undefined(obj=obj, name=argument)
        if isinstance(obj, (list, tuple)) and isinstance(argument, int):
            return obj[argument] if -len(obj) <= argument < len(obj) else self.undefined(obj=obj, name=str(argument))
        if isinstance(obj, _Paths):
            return obj[argument]
        if type(obj).__name__ == "LoopContext" and argument in ("index", "index0", "first", "last", "length"):
            return getattr(obj, argument)
        return self.undefined(obj=obj, name=argument)

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(obj, Macro):
            raise SecurityError("only macros of the template can be called")
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        return _BINARY[operator](left, right)

    def call_unop(self, context: Any, operator: str, arg: Any) -> Any:
        return operators.negate(arg) if operator == "-" else operators.positive(arg)


_BINARY: Final = {
    "+": operators.add, "-": operators.subtract, "*": operators.multiply, "/": operators.divide,
    "//": operators.floor_divide, "%": operators.modulo, "**": operators.power,
}  # fmt: skip


class _Paths:
    """`m['PID-3.1']`: what a path of the format became."""

    __slots__ = ("_document",)

    def __init__(self, document: Document) -> None:
        self._document = document

    def __getitem__(self, path: Any) -> Value:
        return self._document[path] if isinstance(path, str) else EMPTY


_NO_SCOPE: Final = Scope(DataDocument({}), Facts(), [])


class Template:
    """One template, compiled for its format."""

    def __init__(self, name: str, source: str, around: Surroundings, escape: bool, loader: BaseLoader | None = None) -> None:
        """Raises Unreadable; `at` is the line there."""
        environment = _Environment(
            undefined=StrictUndefined, autoescape=escape, loader=loader, trim_blocks=True, lstrip_blocks=True,
            keep_trailing_newline=True, finalize=self._printed, cache_size=0,
        )  # fmt: skip
        environment.globals.clear()
        environment.tests = {key: value for key, value in environment.tests.items() if key in _TESTS}
        environment.filters = {name: self._filter(name, around.tables) for name in _TEXTS}
        environment.filters["default"] = _default
        self._steps = 0
        self._scope = _NO_SCOPE
        self.name = name
        try:
            self._template = environment.from_string(_rewritten(source, around))
        except TemplateSyntaxError as error:
            raise Unreadable(_translated(error), error.lineno) from None

    def _printed(self, value: Any) -> Any:
        """Every value on its way into the text."""
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise Refused(f"the template prints more than {MOST_STEPS:,} values")
        if isinstance(value, Undefined):
            return value
        printed = value if isinstance(value, Markup) else operators.text(value)
        if found := _FORBIDDEN.search(printed):
            raise Refused(f"holds the control character 0x{ord(found[0]):02X}, which cannot be sent", str(value))
        return printed

    def render(self, document: Document, names: Mapping[str, Any], facts: Facts) -> str:
        """Raises Refused."""
        scope = Scope(document, facts, [])
        context: dict[str, Any] = {
            **_roots(document),
            **names,
            "m": _Paths(document),
            "message": MappingProxyType({name: value(scope) for name, value in MESSAGE.items()}),
            "site": MappingProxyType({name: value(scope) for name, value in SITE.items()}),
            "today": received(scope).date(),
        }
        self._steps, self._scope = 0, scope
        pieces: list[str] = []
        size = 0
        try:
            for piece in self._generated(context):
                size += len(piece)
                if size > LONGEST_OUTPUT:
                    raise Refused(f"the template makes more than {LONGEST_OUTPUT:,} characters")
                pieces.append(piece)
        except (TemplateError, TypeError, ValueError, ArithmeticError, RecursionError, PathError) as error:
            raise Refused(f"{self.name} line {_line(error)}: {_reason(error)}") from None
        return "".join(pieces)

    def _filter(self, name: str, tables: Mapping[str, CodeTable]) -> Any:
        spec = FILTERS[name]

        def run(value: Any, *given: Any) -> Any:
            if isinstance(value, Undefined):
                str(value)  # raises, with the name that is not there
            arguments = [Argument(lambda scope, fixed=item: fixed, 0, True, item, ()) for item in given]  # type: ignore[misc]
            try:
                apply = spec.build(Arguments(name, 0, arguments, {}, tables))
            except Unreadable as error:
                raise TemplateError(error.text) from None
            if not spec.each:
                return apply(self._scope, value)
            if isinstance(value, list):
                return [apply(self._scope, item) for item in value]
            return apply(self._scope, value) if value not in (EMPTY, "") and value is not NULL and value is not None else EMPTY

        return run

    def _generated(self, context: dict[str, Any]) -> Iterator[str]:
        return self._template.generate(context)


_TESTS: Final = frozenset(
    {"defined", "undefined", "even", "odd", "divisibleby", "sameas", "eq", "ne", "lt", "gt", "le", "ge", "in", "true", "false"}
)


def _roots(document: Document) -> dict[str, Any]:
    """The names at the top of plain data; a path of another format is rewritten instead."""
    data = document.data if isinstance(document, DataDocument) else None
    return (
        {key: value for key, value in data.items() if isinstance(key, str) and not key.startswith("_")}
        if isinstance(data, dict)
        else {}
    )


def _rewritten(source: str, around: Surroundings) -> str:
    """Paths inside {{ }} and {% %} become `m['…']`; plain dotted names of data stay what Jinja2 makes of them."""

    def inside(match: re.Match[str]) -> str:
        text, result, at = match[2], [], 0
        while at < len(text):
            if quoted := _QUOTED.match(text, at):
                result.append(quoted[0])
                at = quoted.end()
            elif (path := around.format.paths.match(text, at)) and path.end() > at and _is_path(path[0], around):
                result.append("m[" + repr(path[0]) + "]")
                at = path.end()
            elif word := re.compile(r"[\w.]+").match(text, at):
                result.append(word[0])
                at = word.end()
            else:
                result.append(text[at])
                at += 1
        return match[1] + "".join(result) + match[3]

    return _INSIDE.sub(inside, source)


def _is_path(text: str, around: Surroundings) -> bool:
    if getattr(around.format, "typed", False):
        return "='" in text or '="' in text or "[*]" in text
    return bool(re.search(r"[-\d]", text))


def _default(value: Any, other: Any = "") -> Any:
    return other if isinstance(value, Undefined) or value is EMPTY or value is None or value == "" else value


def _line(error: BaseException) -> int:
    """The template's line where rendering stopped."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _reason(error: BaseException) -> str:
    if isinstance(error, SecurityError):
        return f"this is not allowed in a template: {error}"[:200]
    if isinstance(error, TemplateError):
        return str(error.message or "cannot be rendered")[:200]
    return "a value cannot be used in this way"


def _translated(error: TemplateSyntaxError) -> str:
    message = error.message or "cannot be read"
    if found := re.match(r"No filter named '(\w+)'", message):
        known = ", ".join(sorted((*_TEXTS, "default")))
        return f"line {error.lineno}: there is no filter '{found[1]}' in templates. There are {known}."
    return f"line {error.lineno}: {message}"


def load_template(path: Path, around: Surroundings, kind: str, name: str) -> tuple[Template | None, list[Problem]]:
    """`kind` is the mapping's `to`: `xml` escapes, `text` does not."""
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        return None, [Problem(name, 0, 0, f"cannot be read: {reason}.")]
    try:
        return Template(Path(name).name, source, around, escape=kind == "xml"), []
    except Unreadable as error:
        return None, [Problem(name, max(error.at, 1), 1, error.text)]
