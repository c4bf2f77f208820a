"""`render: {template: journal.xml.j2}`: a document becomes text by a Jinja2 template in the sandbox.

Names are strict, values are escaped as the type needs, control characters are refused, and of Python nothing is in reach:
no globals, no attributes, only the filters listed here and the language's own paths. What could run away is on a meter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from jinja2 import BaseLoader, TemplateError, TemplateSyntaxError, Undefined, nodes, pass_context
from jinja2.exceptions import SecurityError
from markupsafe import Markup

from engine.contracts import Document, Facts
from engine.dotted import DataDocument
from engine.errors import PathError, Problem
from engine.mapping import operators
from engine.mapping.codes import CodeTable
from engine.mapping.faults import NoRow, Refused, RunAway, Unreadable
from engine.mapping.filters import FILTERS
from engine.mapping.reads import Surroundings
from engine.mapping.sandbox import LONGEST_OUTPUT, PATHS, Meter, Readable, Sandbox, defined, is_path
from engine.mapping.scope import MESSAGE, SITE, Argument, Arguments, Scope, received
from engine.strictyaml import read_bytes
from engine.values import EMPTY, NULL, Value

LARGEST: Final = 256 << 10  # bytes of a template

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
_INSIDE = re.compile(  # each alternative ends before another of its kind begins, so that reading takes linear time
    r"\{#(?:(?!\{#).)*?#\}"
    r"|\{%[-+]?\s*raw\s*-?%\}(?:(?!\{%[-+]?\s*raw).)*?\{%[-+]?\s*endraw\s*[-+]?%\}"
    r"|(\{\{|\{%)((?:(?!\{\{|\{%).)*?)(\}\}|%\})",
    re.DOTALL,
)
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_WORD = re.compile(r"[\w.]+")
_NO_SCOPE: Final = Scope(DataDocument({}), Facts(), [])


class _Paths(Readable):
    """`m['PID-3.1']`: what a path of the format became. Remembers what it gave, to name the place where something fails."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._given: dict[str, Value] = {}

    def read(self, path: Any) -> Value:
        if not isinstance(path, str):
            return EMPTY
        self._given[path] = value = self._document[path]
        return value

    def place(self, value: Value) -> str:
        """Where `value` stands in the document, as far as it was read from there; '' if nobody knows."""
        for path, given in self._given.items():
            for n, one in enumerate(given if isinstance(given, list) else [given], 1):
                if value is not None and one == value:
                    return self._document.place(path.replace("[*]", f"[{n}]", 1) if isinstance(given, list) else path)
        return ""


class Template:
    """One template, compiled for its format."""

    def __init__(self, name: str, source: str, around: Surroundings, escape: bool, loader: BaseLoader | None = None) -> None:
        """Raises Unreadable; `at` is the line there."""
        filters = {name: self._filter(name, around.tables) for name in _TEXTS} | {"default": _default}
        self._sandbox = Sandbox(escape=escape, printed=self._printed, filters=filters, loader=loader)
        self._scope = _NO_SCOPE
        self.name = name
        try:
            tree = self._sandbox.prepared(_rewritten(source, around))
            _check_paths(tree, around)
            self._template = self._sandbox.from_string(tree)
        except TemplateSyntaxError as error:
            raise Unreadable(f"line {error.lineno}: {error.message or 'cannot be read'}", error.lineno) from None
        except (ValueError, SyntaxError, RecursionError, MemoryError, OverflowError):
            raise Unreadable("is nested too deeply, or holds a number with too many digits.", 1) from None

    @pass_context  # so that Jinja2 works nothing out before it is rendered
    def _printed(self, context: Any, value: Any) -> Any:
        """Every value on its way into the text."""
        meter = self._sandbox.meter
        meter.step()
        if isinstance(value, Undefined):
            return value
        printed = value if isinstance(value, Markup) else operators.text(value)
        meter.made(printed)
        if found := _FORBIDDEN.search(printed):
            raise Refused(f"holds the control character 0x{ord(found[0]):02X}, which cannot be sent", str(value))
        return printed

    def render(self, document: Document, names: Mapping[str, Any], facts: Facts) -> str:
        """Raises Refused; RunAway for one that reached a bound."""
        scope = Scope(document, facts, [])
        paths = _Paths(document)
        context: dict[str, Any] = {
            **_roots(document),
            **names,
            PATHS: paths,
            "message": MappingProxyType({name: value(scope) for name, value in MESSAGE.items()}),
            "site": MappingProxyType({name: value(scope) for name, value in SITE.items()}),
            "today": received(scope).date(),
        }
        self._sandbox.meter, self._scope = Meter(), scope
        pieces: list[str] = []
        size = 0
        try:
            for piece in self._generated(context):
                size += len(piece)
                if size > LONGEST_OUTPUT:
                    raise RunAway(f"the template makes more than {LONGEST_OUTPUT:,} characters")
                pieces.append(piece)
        except RecursionError:
            raise RunAway(f"the macros of {self.name} call one another without end") from None
        except Refused as fault:
            where = f"{self.name} line {_line(fault)}"
            fault.place = fault.place or paths.place(fault.key if isinstance(fault, NoRow) else fault.value)
            fault.problem = f"{where}: {fault.problem}" if isinstance(fault, RunAway) else f"{fault.problem}, in {where}"
            raise
        except (TemplateError, TypeError, ValueError, ArithmeticError, PathError) as error:
            raise Refused(f"{self.name} line {_line(error)}: {_reason(error)}") from None
        finally:
            self._scope = _NO_SCOPE
        return "".join(pieces)

    def _filter(self, name: str, tables: Mapping[str, CodeTable]) -> Any:
        spec = FILTERS[name]

        def run(value: Any, *given: Any, **named: Any) -> Any:
            defined(value)
            meter = self._sandbox.meter
            meter.step()
            meter.made(value)
            arguments = [_argument(item) for item in given]
            try:
                apply = spec.build(Arguments(name, 0, arguments, {key: _argument(item) for key, item in named.items()}, tables))
            except Unreadable as error:
                raise TemplateError(error.text) from None

            def one(item: Any) -> Any:
                meter.step()
                made = apply(self._scope, item)
                meter.made(made)
                return made

            if not spec.each:
                return one(value)
            if isinstance(value, list):
                return [one(item) for item in value]
            return one(value) if value not in (EMPTY, "") and value is not NULL and value is not None else EMPTY

        return run

    def _generated(self, context: dict[str, Any]) -> Iterator[str]:
        return self._template.generate(context)


def _argument(value: Any) -> Argument:
    return Argument(lambda scope: defined(value), 0, True, value, ())


def _check_paths(tree: nodes.Template, around: Surroundings) -> None:
    """Raises Unreadable for a path that the format does not have."""
    for node in tree.find_all(nodes.Getitem):
        if is_path(node):
            assert isinstance(node.arg, nodes.Const)
            try:
                around.format.check_path(node.arg.value)
            except PathError as error:
                raise Unreadable(f"line {node.lineno}: {error}", node.lineno) from None


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
        if match[1] is None:  # a comment, or raw text
            return match[0]
        text, result, at = match[2], [], 0
        while at < len(text):
            if quoted := _QUOTED.match(text, at):
                result.append(quoted[0])
                at = quoted.end()
            elif (path := around.format.paths.match(text, at)) and path.end() > at and _looks_like_path(path[0], around):
                result.append(f"{PATHS}[{path[0]!r}]")
                at = path.end()
            elif word := _WORD.match(text, at):
                result.append(word[0])
                at = word.end()
            else:
                result.append(text[at])
                at += 1
        return match[1] + "".join(result) + match[3]

    return _INSIDE.sub(inside, source)


def _looks_like_path(text: str, around: Surroundings) -> bool:
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


def load_template(path: Path, around: Surroundings, kind: str, name: str) -> tuple[Template | None, list[Problem]]:
    """`kind` is the mapping's `to`: `xml` escapes, `text` does not."""
    try:
        source = read_bytes(path, LARGEST).decode()
    except UnicodeDecodeError:
        return None, [Problem(name, 0, 0, "is not UTF-8.")]
    except OSError as error:
        return None, [Problem(name, 0, 0, f"cannot be read: {error.strerror}.")]
    try:
        return Template(Path(name).name, source, around, escape=kind == "xml"), []
    except Unreadable as error:
        return None, [Problem(name, max(error.at, 1), 1, error.text)]
