"""JSON as lines, each value with its path. Numbers stand as they were written; keys that come twice are both shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from engine.errors import ContentError
from engine.views.lines import TEXT, Line, Piece, Reading, below, piece

_NAME: Final = re.compile(r"[A-Za-z_][\w-]*")
_DEEPEST: Final = 100  # levels; nobody reads further, and every line would be longer than the page is wide


class _Object(NamedTuple):
    items: list[tuple[str, Any]]


class _Written(NamedTuple):
    """A number, or what JSON does not have (NaN), as it stands in the text."""

    text: str


def read(content: bytes, notes: tuple[str, ...]) -> Reading:
    """Raises ContentError where it is no JSON, and where it is nested too deeply."""
    try:
        data = json.loads(content, object_pairs_hook=_Object, parse_int=_Written, parse_float=_Written, parse_constant=_Written)
    except RecursionError:
        raise ContentError("is nested too deeply to be shown as JSON") from None
    except ValueError as error:
        raise ContentError(f"is not JSON: {error}") from None
    title = "JSON"
    if isinstance(data, _Object):
        for key in ("schema", "resourceType"):
            for name, value in data.items:
                if name == key and isinstance(value, str):
                    title = f"JSON, {value[:60]}"
    return Reading("json", title, lambda start: islice(_lines(data), start, None), notes)


def _lines(data: Any) -> Iterator[Line]:
    for number, (depth, pieces) in enumerate(_of(data, "", (), 0, ""), 1):
        yield Line(str(number), pieces, "", depth)


def _of(value: Any, path: str, key: tuple[Piece, ...], depth: int, comma: str) -> Iterator[tuple[int, tuple[Piece, ...]]]:
    """(depth, pieces) of each line of a value; `key` stands before it."""
    end = (Piece(comma, role="delimiter"),) if comma else ()
    if depth >= _DEEPEST and isinstance(value, (_Object, list)):
        yield depth, (*key, Piece("…", path, "nested more deeply than is shown", "comment"), *end)
    elif isinstance(value, _Object) and value.items:
        yield depth, (*key, Piece("{", path, role="delimiter"))
        last = len(value.items) - 1
        for n, (name, inner) in enumerate(value.items):
            inner_path = _step(path, name)
            label = piece(_literal(name[: TEXT + 1]), inner_path, "", "key")
            yield from _of(inner, inner_path, (label, Piece(": ", role="delimiter")), depth + 1, "," if n < last else "")
        yield depth, (Piece("}", role="delimiter"), *end)
    elif isinstance(value, list) and value:
        yield depth, (*key, Piece("[", path, role="delimiter"))
        last = len(value) - 1
        for n, inner in enumerate(value):
            yield from _of(inner, below(path, f"[{n + 1}]"), (), depth + 1, "," if n < last else "")
        yield depth, (Piece("]", role="delimiter"), *end)
    else:
        yield depth, (*key, _leaf(value, path), *end)


def _step(path: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        return below(path, f"[{name[:TEXT]!r}]")
    return below(path, f".{name}" if path else name)


def _leaf(value: Any, path: str) -> Piece:
    if isinstance(value, str):
        if len(value) <= TEXT:
            literal = _literal(value)
            return Piece(literal, path, "", "text", value if literal[1:-1] != value else "")
        return Piece(_literal(value[:TEXT]), path, "", "text", "", len(value) - TEXT)
    if isinstance(value, _Written):
        return piece(value.text, path, "", "number")
    if isinstance(value, _Object):
        return Piece("{}", path, "", "delimiter")
    if isinstance(value, list):
        return Piece("[]", path, "", "delimiter")
    return Piece("null" if value is None else str(value).lower(), path, "", "null" if value is None else "constant")


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
