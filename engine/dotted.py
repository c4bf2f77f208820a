"""Dotted paths over plain data: `charge.extended_amount.amount`, `lines[side='D'].amount`, `row['Cost Centre']`, `.reason`.

    path      = [ name ] { "." name-or-number | selector }
    selector  = "[" ( number | "*" | key-in-quotes | dotted "=" text-in-quotes ) "]"

Lists are walked through: a name applied to a list is applied to each item. Numbers count from 1, as in HL7 paths. A path
that begins with `.` is relative to the item a `for_each` stands at. What is absent is EMPTY, JSON's `null` is NULL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from engine.contracts import Document, Node
from engine.errors import PathError
from engine.generated import function
from engine.values import EMPTY, NULL, Value

_NAME = r"[A-Za-z_]\w*"
_QUOTED = r"(?:'[^'\n]*'|\"[^\"\n]*\")"
_SELECTOR = rf"\[(?:\d+|\*|{_QUOTED}|{_NAME}(?:\.{_NAME})*\s*={_QUOTED})\]"
_STEPS = rf"(?:\.(?:{_NAME}|\d+)|{_SELECTOR})*"

STEPS: Final = re.compile(_STEPS)
"""What may follow a name: steps and selectors, possibly none."""
PATHS: Final = re.compile(rf"(?:{_NAME}{_STEPS}|\.(?:{_NAME}|\d+){_STEPS})")
"""One path with any root, or a relative one."""

_STEP = re.compile(
    rf"\.?(?P<name>{_NAME})|\.(?P<number>\d+)"
    rf"|\[(?:(?P<index>\d+)|(?P<all>\*)|(?P<key>{_QUOTED})|(?P<where>{_NAME}(?:\.{_NAME})*)\s*=(?P<text>{_QUOTED}))\]"
)

_MISSING: Final = object()


class _Group(list[Any]):
    """Items of several turns seen as one list; each remembers its place."""

    __slots__ = ("places",)
    places: list[str]


def _items(value: list[Any], trail: str) -> Iterator[tuple[Any, str]]:
    if isinstance(value, _Group):
        return zip(value, value.places, strict=True)
    return ((item, f"{trail}[{number}]") for number, item in enumerate(value, 1))


Step = tuple[str, Any]
"""("name", key), ("index", position from 0), ("all", None) or ("where", (keys, text))."""


class Path(NamedTuple):
    text: str
    steps: tuple[Step, ...]
    relative: bool
    many: bool  # has a `[*]`
    keys: tuple[str, ...]  # the names it leads with, before any selector
    simple: bool  # names only


_compiled: dict[str, Path] = {}


def compile_path(text: str) -> Path:
    """Raises PathError, with the offset where reading stopped."""
    found = _compiled.get(text)
    if found is None:
        if len(_compiled) > 20_000:
            _compiled.clear()
        found = _compiled[text] = _compile(text)
    return found


def _compile(text: str) -> Path:
    steps: list[Step] = []
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None or (at == 0 and match["index"]) or (at and text[at] not in ".["):
            raise PathError(text, f"cannot be read from {text[at : at + 12]!r} on; expected .name, [2], [*] or [name='text']", at)
        steps.append(_step(match))
        at = match.end()
    if not steps:
        raise PathError(text, "is empty; expected a name such as lines[*].amount", 0)
    keys: list[str] = []
    for kind, key in steps:
        if kind != "name":
            break
        keys.append(key)
    return Path(
        text, tuple(steps), text.startswith("."), any(kind == "all" for kind, _ in steps), tuple(keys), len(keys) == len(steps)
    )


def _step(match: re.Match[str]) -> Step:
    if match["name"]:
        return "name", match["name"]
    if match["number"] or match["index"]:
        return "index", int(match["number"] or match["index"]) - 1
    if match["all"]:
        return "all", None
    if match["key"]:
        return "name", match["key"][1:-1]
    return "where", (tuple(match["where"].split(".")), match["text"][1:-1])


# ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _walk(value: Any, steps: Sequence[Step], at: int, trail: str) -> Iterator[tuple[Any, str]]:
    """Every match, in order, with its absolute place."""
    if at == len(steps):
        if isinstance(value, list):
            for item, place in _items(value, trail):
                yield from _walk(item, steps, at, place)
        else:
            yield value, trail
        return
    kind, key = steps[at]
    if kind == "name":
        if isinstance(value, list):
            for item, place in _items(value, trail):
                yield from _walk(item, steps, at, place)
        elif isinstance(value, dict) and key in value:
            yield from _walk(value[key], steps, at + 1, f"{trail}.{key}" if trail else key)
        return
    items = list(_items(value, trail)) if isinstance(value, list) else [(value, trail)]
    if kind == "index":
        items = items[key : key + 1] if key >= 0 else []
    for item, place in items:
        if kind != "where" or _holds(item, *key):
            yield from _walk(item, steps, at + 1, place)


def _holds(item: Any, keys: tuple[str, ...], text: str) -> bool:
    return any(str(found) == text for found, _ in _walk(item, [("name", key) for key in keys], 0, ""))


def _plain(value: Any) -> Value:
    return NULL if value is None else value


def read(value: Any, path: Path) -> Value:
    """The first match of `path` in plain data; a list for a path with `[*]`."""
    if path.simple:
        found = _read_simple(value, path.steps)
        if found is not _MISSING:
            return found
    if path.many:
        return [_plain(found) for found, _ in _walk(value, path.steps, 0, "")]
    for found, _ in _walk(value, path.steps, 0, ""):
        return _plain(found)
    return EMPTY


def _read_simple(value: Any, steps: Sequence[Step]) -> Any:
    """Names only, and no list on the way: the commonest case. `_MISSING` where a list has to be walked."""
    for _, key in steps:
        if isinstance(value, dict):
            value = value.get(key, EMPTY)
        elif isinstance(value, list):
            return _MISSING
        else:
            return EMPTY
    return _MISSING if isinstance(value, list) else NULL if value is None else value


def read_all(value: Any, path: Path) -> list[Value]:
    return [_plain(found) for found, _ in _walk(value, path.steps, 0, "")]


class DataDocument:
    """Plain data (dicts, lists, texts, numbers) as a Document. A turn narrows one list to the item it stands at."""

    __slots__ = ("_data", "_turns")

    def __init__(self, data: Any, turns: tuple[tuple[tuple[str, ...], Any, str], ...] = ()) -> None:
        self._data = data
        self._turns = turns  # (keys that lead to the list, the item, its place), the innermost first

    def _start(self, path: Path) -> tuple[Any, int, str]:
        """Where to begin: the value, how many steps are behind it, and its place."""
        if path.relative:
            if self._turns:
                _, item, place = self._turns[0]
                return item, 0, place
            return self._data, 0, ""
        for keys, item, place in self._turns:
            if path.keys[: len(keys)] == keys:
                return item, len(keys), place
        return self._data, 0, ""

    def __getitem__(self, path: str) -> Value:
        compiled = _compiled.get(path) or compile_path(path)
        if self._turns:
            value, behind, _ = self._start(compiled)
            steps: Sequence[Step] = compiled.steps[behind:]
        else:
            value, steps = self._data, compiled.steps
        if compiled.simple:
            found = _read_simple(value, steps)
            if found is not _MISSING:
                return found
        if compiled.many:
            return [_plain(found) for found, _ in _walk(value, steps, 0, "")]
        for found, _ in _walk(value, steps, 0, ""):
            return _plain(found)
        return EMPTY

    def _matches(self, path: str) -> Iterator[tuple[Any, str]]:
        compiled = compile_path(path)
        value, behind, place = self._start(compiled)
        return _walk(value, compiled.steps[behind:], 0, place)

    def all(self, path: str) -> list[Value]:
        return [_plain(found) for found, _ in self._matches(path)]

    def place(self, path: str) -> str:
        for _, place in self._matches(path):
            return place
        compiled = compile_path(path)
        _, behind, place = self._start(compiled)
        for number, (kind, key) in enumerate(compiled.steps[behind:]):
            place += _written(kind, key, first=not place and number == 0)
        return place

    def turns(self, path: str, owns: Sequence[str] = ()) -> list[Document]:
        compiled = compile_path(path)
        _, behind, _ = self._start(compiled)
        leading = tuple(key for kind, key in compiled.steps if kind == "name")
        outer = self._turns[0][0] if compiled.relative and self._turns else ()
        keys = outer + leading if behind == 0 or not compiled.relative else leading
        return [DataDocument(self._data, ((keys, item, place), *self._turns)) for item, place in self._matches(path)]

    def grouped(self, turns: Sequence[Document]) -> Document:
        mine = [turn for turn in turns if isinstance(turn, DataDocument)]
        if not mine:
            return self
        keys, _, place = mine[0]._turns[0]
        group = _Group(turn._turns[0][1] for turn in mine)
        group.places = [turn._turns[0][2] for turn in mine]
        return DataDocument(self._data, ((keys, group, place), *self._turns))

    def resolve(self, reference: Any) -> Value:
        """The resource a FHIR reference points at within this document: a Bundle's fullUrl, `Type/id`, or `#contained`."""
        if isinstance(reference, dict):
            reference = reference.get("reference", "")
        if not isinstance(reference, str) or not reference:
            return EMPTY
        for resource, urls in _resources(self._data):
            if reference in urls:
                return resource
        return EMPTY

    def nodes(self) -> Iterator[Node]:
        data = self._turns[0][1] if self._turns else self._data
        if isinstance(data, dict):
            for key, value in data.items():
                yield _node(str(key), str(key), value)
        else:
            yield _node("", "", data)

    @property
    def data(self) -> Any:
        """The plain data behind, or the item this turn stands at."""
        return self._turns[0][1] if self._turns else self._data


def gathered(paths: Sequence[str]) -> Callable[[Any], Sequence[Value]]:
    """A function from a `DataDocument` to the values of `paths`, each what `document[path]` gives, read all at once.

    Names are walked together as far as they agree. The text of the function is made from names of our own; anything but
    plain names (with at most one number behind them) through plain dicts is left to the document.
    """
    tree: _Tree = {}
    bound: dict[str, Any] = {"EMPTY": EMPTY, "paths": tuple(paths)}
    values = [f"v{n}" for n in range(len(paths))]
    other: list[str] = []
    for n, text in enumerate(paths):
        path = compile_path(text)
        if not _walked(path):
            other.append(f"{values[n]} = document[paths[{n:d}]]")
            continue
        node = tree
        for key in path.keys:
            node = node.setdefault(key, {})
        node.setdefault(None, []).append((n, None if path.simple else path.steps[-1][1]))
    lines = _walking("data", tree, bound, 1)
    start = ["data = document._data", "if document._turns or type(data) is not dict: return [document[path] for path in paths]"]
    absent = [f"{' = '.join(values)} = EMPTY"] if values else []
    body = "".join(f"\n    {line}" for line in (*start, *absent, *other)) + "".join(lines)
    return function(f"def gather(document):{body}\n    return [{', '.join(values)}]", bound)


_Tree = dict[str | None, Any]
"""Names with what is below them; under None the paths that end here: (their number, the position behind or None)."""


def _walked(path: Path) -> bool:
    """Whether the path is names, or names and a number, and not absurdly many of them."""
    if path.relative or len(path.keys) > 20:
        return False
    return path.simple or (len(path.steps) == len(path.keys) + 1 and path.steps[-1][0] == "index" and path.steps[-1][1] >= 0)


def _walking(above: str, tree: _Tree, bound: dict[str, Any], depth: int) -> list[str]:
    """Lines that read the names of `tree` from the dict `above`, and what is below them."""
    lines: list[str] = []
    for key, inner in tree.items():
        if key is None:
            continue
        name, here = f"k{len(bound)}", f"d{depth}"
        bound[name] = key
        indent = "\n" + "    " * depth
        lines.append(f"{indent}{here} = {above}.get({name}, EMPTY)")
        lines.append(f"{indent}if {here} is not EMPTY:")
        for n, index in inner.get(None, ()):
            if index is None:
                lines.append(
                    f"{indent}    v{n} = {here} if type({here}) is not list and {here} is not None else document[paths[{n}]]"
                )
            else:
                item = f"{here}[{index:d}]"
                lines.append(f"{indent}    if type({here}) is not list or len({here}) > {index:d}:")
                lines.append(
                    f"{indent}        v{n} = {item} if type({here}) is list and type({item}) is str else document[paths[{n}]]"
                )
        below = _walking(here, inner, bound, depth + 2)
        if below:
            lines.append(f"{indent}    if type({here}) is dict:")
            lines += below
            lines.append(f"{indent}    elif isinstance({here}, (dict, list)):")
            lines += [f"{indent}        v{n} = document[paths[{n}]]" for n in _numbers_below(inner)]
    return lines


def _numbers_below(tree: _Tree) -> Iterator[int]:
    for key, inner in tree.items():
        if key is not None:
            yield from (n for n, _ in inner.get(None, ()))
            yield from _numbers_below(inner)


def _written(kind: str, key: Any, first: bool) -> str:
    if kind == "name":
        return key if first else f".{key}"
    if kind == "index":
        return f"[{key + 1}]"
    return "[*]" if kind == "all" else f"[{'.'.join(key[0])}='{key[1]}']"


def _resources(data: Any) -> Iterator[tuple[Any, set[str]]]:
    if not isinstance(data, dict):
        return
    entries: list[Any] = data["entry"] if isinstance(data.get("entry"), list) else [{"resource": data}]
    for entry in entries:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict):
            continue
        yield resource, {str(entry.get("fullUrl", "")), f"{resource.get('resourceType', '')}/{resource.get('id', '')}"}
        contained = resource.get("contained")
        for inner in contained if isinstance(contained, list) else ():
            if isinstance(inner, dict):
                yield inner, {f"#{inner.get('id', '')}"}


def _node(path: str, name: str, value: Any) -> Node:
    if isinstance(value, dict):
        return Node(
            path, name, "", tuple(_node(f"{path}.{key}" if path else str(key), str(key), item) for key, item in value.items())
        )
    if isinstance(value, list):
        return Node(path, name, "", tuple(_node(f"{path}[{number}]", name, item) for number, item in enumerate(value, 1)))
    return Node(path, name, "null" if value is None else str(value))


def reader(text: str) -> Callable[[Any], Value]:
    """A function from plain data to the first match of the path `text` in it."""
    path = compile_path(text)
    if path.simple and len(path.steps) == 1:
        key = path.steps[0][1]

        def one(value: Any) -> Value:
            if isinstance(value, dict):
                found = value.get(key, EMPTY)
                return _plain(found) if not isinstance(found, list) else read(value, path)
            return read(value, path)

        return one
    return lambda value: read(value, path)
