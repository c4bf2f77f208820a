"""Closures → one straight-line Python function for everything that a turn makes.

Beside its closure each form of the language says how it is written as Python (`written`). From these, and from nothing else,
the text of one function is put together: templates of our own, and values bound by generated names. No text of a mapping
and none of a message is ever in it. Paths that are read in any case are read all at once, where the format can do that.

The function is the quick way only. Whatever it raises, the closures then run in its place: they know field, path and place.
So both must give the same value, or the function must raise; tests hold them against one another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeVar

from engine.contracts import Format
from engine.generated import function
from engine.mapping.scope import Fn, Scope
from engine.values import EMPTY, Value

DEEPEST: Final = (
    25  # expressions within one another; beyond it the closure is called, so that Python's parser has no limit to hit
)
_FORM: Final = "form"
_WHOLE: Final = frozenset({Decimal, int, bool, date, datetime})  # values that have no empty parts
_TIDY: Final = _WHOLE | {dict}
_Key = tuple[int, str, str]  # of a path that is read: its format by id, itself, how much of its value

Run = TypeVar("Run", bound=Callable[..., Any])


class Written(NamedTuple):
    """An expression. In `template` stand `{0}`, `{1}` for the parts, `{name}` for what is bound, and `{t}` for a variable.

    The first part is evaluated first and in any case; so are the others, in their order, where `strict`. `enough` says how
    much of the first one's value is enough (`text`, `parts`), where that is a path and its format can give less.
    """

    template: str
    parts: tuple[Fn, ...]
    bound: dict[str, Any]
    strict: bool
    enough: str = ""
    tidy: bool = False  # an object that it gives has no empty parts


class PathRead(NamedTuple):
    format: Format
    path: str


class Objects(NamedTuple):
    """An object of fields: (name, value, whether the value is free of empty parts)."""

    entries: tuple[tuple[str, Fn, bool], ...]
    plain: Callable[[Value], Any]


Form = Written | PathRead | Objects


def written(run: Run, template: str, *parts: Fn, strict: bool = True, enough: str = "", tidy: bool = False, **bound: Any) -> Run:
    """`run`, with how it is written."""
    return _with(run, Written(template, parts, bound, strict, enough, tidy))


def path_read(run: Run, format: Format, path: str) -> Run:
    return _with(run, PathRead(format, path))


def object_of(run: Run, entries: Sequence[tuple[str, Fn, bool]], plain: Callable[[Value], Any]) -> Run:
    return _with(run, Objects(tuple(entries), plain))


def path_in_parts(run: Fn) -> str:
    """The path that `run` reads, where its format can give the parts of a value alone; else ''."""
    form = _form(run)
    return form.path if isinstance(form, PathRead) and _can_give(form.format, "parts") else ""


def _can_give(format: Format, enough: str) -> bool:
    return enough in getattr(format, "enough", ())


def as_written(run: Run, like: Callable[..., Any]) -> Run:
    """`run` does what `like` does and adds something to its errors only."""
    form = _form(like)
    return run if form is None else _with(run, form)


def _with(run: Run, form: Form) -> Run:
    run.__dict__[_FORM] = form
    return run


def _form(run: Callable[..., Any]) -> Form | None:
    found: Form | None = getattr(run, _FORM, None)
    return found


def quick(run: Fn) -> Fn:
    """`run` as one function, put together when it is first called. What has no written form stays as it is."""
    if _form(run) is None:
        return run
    made: Fn | None = None

    def first_time(scope: Scope) -> Value:
        nonlocal made
        if made is None:
            made = generated(run)
        return made(scope)

    return first_time


def quick_all(runs: Sequence[Fn], slow: Callable[[Scope], Sequence[Value]]) -> Callable[[Scope], Sequence[Value]]:
    """The values of several expressions as one function; `slow` is what runs where it fails."""
    made: Callable[[Scope], Sequence[Value]] | None = None

    def first_time(scope: Scope) -> Sequence[Value]:
        nonlocal made
        if made is None:
            made = _compiled(lambda writer: f"({''.join(f'{writer.expression(run)}, ' for run in runs)})", slow)
        return made(scope)

    return first_time


def quick_lets(lets: Sequence[tuple[int, Fn]], slow: Callable[[Scope], None]) -> Callable[[Scope], None]:
    """Fills `let` after `let`, by their slots."""
    made: Callable[[Scope], None] | None = None

    def body(writer: _Writer) -> str:
        for slot, run in lets:
            writer.line(f"lets[{slot:d}] = {writer.expression(run)}")
        return "None"

    def first_time(scope: Scope) -> None:
        nonlocal made
        if made is None:
            made = _compiled(body, slow)
        made(scope)

    return first_time


def generated(run: Fn) -> Fn:
    """The function for `run`, with `run` itself behind it."""
    return _compiled(lambda writer: writer.value(run), run)


def _compiled(body: Callable[[_Writer], str], slow: Callable[[Scope], Any]) -> Callable[[Scope], Any]:
    try:
        reading = _Writer({})
        body(reading)
        writer = _Writer(reading.together())
        result = body(writer)
        lines = [
            "def run(scope):",
            "    try:",
            "        m = scope.m; lets = scope.lets",
            *writer.gathering(),
            *(f"        {line}" for line in writer.lines),
            f"        return {result}",
            "    except Exception:",
            "        return slow(scope)",
        ]
        return function("\n".join(lines), {**writer.bound, "slow": slow, "EMPTY": EMPTY})
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # larger than Python's parser takes
        return slow


class _Writer:
    """Writes one function. `at_once` are the paths that it reads at its beginning, with their variables."""

    def __init__(self, at_once: dict[_Key, str]) -> None:
        self.lines: list[str] = []
        self.bound: dict[str, Any] = {}
        self._names: dict[int, str] = {}
        self._at_once = at_once
        self._always: dict[_Key, PathRead] = {}
        self._variables = 0
        self._certain = True
        self._depth = 0

    def line(self, text: str) -> None:
        self.lines.append(text)

    def together(self) -> dict[_Key, str]:
        """The paths that are read in any case, where their format reads several at once."""
        able = [key for key, read in self._always.items() if hasattr(read.format, "gather")]
        formats = {key[0] for key in able}
        return {key: f"p{n}" for n, key in enumerate(able)} if len(formats) == 1 and len(able) > 1 else {}

    def gathering(self) -> list[str]:
        if not self._at_once:
            return []
        reads = [self._always[key] for key in self._at_once]
        gather: Any = getattr(reads[0].format, "gather")  # noqa: B009  # optional in a format
        self.bound["gather"] = gather([read.path for read in reads], [key[2] for key in self._at_once])
        return [f"        {', '.join(self._at_once.values())}, = gather(m)"]

    def _bind(self, value: Any) -> str:
        name = self._names.get(id(value))
        if name is None:
            name = self._names[id(value)] = f"k{len(self._names)}"
            self.bound[name] = value  # which also keeps it alive, and its id its own
        return name

    def _variable(self) -> str:
        self._variables += 1
        return f"v{self._variables}"

    # ── expressions ──

    def expression(self, run: Fn, enough: str = "") -> str:
        form = _form(run)
        if isinstance(form, PathRead):
            return self._path(form, enough)
        if not isinstance(form, Written) or self._depth >= DEEPEST:
            return f"{self._bind(run)}(scope)"
        self._depth += 1
        certain = self._certain
        texts: list[str] = []
        for number, part in enumerate(form.parts):
            self._certain = certain and (form.strict or number == 0)
            texts.append(self.expression(part, "" if number else form.enough))
        self._certain = certain
        self._depth -= 1
        names = {name: self._bind(value) for name, value in form.bound.items()}
        if "{t}" in form.template:
            names["t"] = self._variable()
        return form.template.format(*texts, **names)

    def _path(self, read: PathRead, enough: str) -> str:
        key = id(read.format), read.path, enough if _can_give(read.format, enough) else ""
        if self._certain:
            self._always[key] = read
        if key in self._at_once:
            return self._at_once[key]
        reader = getattr(read.format, "reader", None)
        if reader is None:
            return f"m[{self._bind(read.path)}]"
        return f"{self._bind(reader(read.path))}(m)"

    # ── objects ──

    def value(self, run: Fn) -> str:
        form = _form(run)
        return f"{self._object(form)} or EMPTY" if isinstance(form, Objects) else self.expression(run)

    def _object(self, form: Objects) -> str:
        made, plain = self._variable(), self._bind(form.plain)
        self.line(f"{made} = {{}}")
        for name, run, clean in form.entries:
            key, inner = self._bind(name), _form(run)
            if isinstance(inner, Objects):
                inside = self._object(inner)
                self.line(f"if {inside}: {made}[{key}] = {inside}")
                continue
            whole = self._bind(_TIDY if isinstance(inner, Written) and inner.tidy else _WHOLE)
            self.line(f"v = {self.expression(run, 'text')}")
            self.line("if type(v) is str:")
            self.line(f"    if v: {made}[{key}] = v")
            self.line("elif v is EMPTY: pass")
            if not clean:
                self.line(f"elif type(v) not in {whole} and (v := {plain}(v)) is EMPTY: pass")
            self.line(f"else: {made}[{key}] = v")
        return made
