"""Several paths read at once: one function, made for just these paths, that looks up each segment once.

The plain forms, `PID-5` and `PID-5.1`, are written out: the text of the function is made from the numbers of compiled paths
and from names of our own. Any other path is read by its reader. Every value is what `document[path]` would give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from engine.formats.hl7v2.paths import Path, compiled
from engine.formats.hl7v2.select import reader
from engine.formats.hl7v2.values import COMPONENT, FIELD, HEADERS, LEAF, NULL_TEXT, composed, part
from engine.generated import function
from engine.values import EMPTY, Value

if TYPE_CHECKING:
    from engine.formats.hl7v2.document import View

Gather = Callable[["View"], Sequence[Value]]


@lru_cache(1024)
def gathered(paths: tuple[str, ...]) -> Gather:
    """A function from a document to the values of `paths`. Raises PathError."""
    values = [f"v{number}" for number in range(len(paths))]
    bound: dict[str, Any] = {
        "EMPTY": EMPTY, "composed": composed, "part": part,
        "NULL_TEXT": NULL_TEXT, "FIELD": FIELD, "COMPONENT": COMPONENT, "LEAF": LEAF,
    }  # fmt: skip
    lines: list[str] = []
    kinds: dict[str, list[tuple[Path, str]]] = {}
    for number, text in enumerate(paths):
        path = compiled(text)
        if _plain(path):
            kinds.setdefault(path.steps[0].name, []).append((path, values[number]))
        else:
            bound[f"read{number}"] = reader(text)
            lines.append(f"{values[number]} = read{number}(view)")
    for number, (kind, wanted) in enumerate(kinds.items()):
        bound[f"kind{number}"] = kind
        lines += _of_segment(f"kind{number}", kind in HEADERS, wanted)
    head = ["index = view.index", "syntax = view.syntax", "special = syntax.special"] if kinds else []
    body = "\n    ".join([*head, *lines, f"return {', '.join(values)},"])
    return function(f"def gather(view):\n    {body}", bound)


def _plain(path: Path) -> bool:
    """Whether `reader` would read a field or a component of the first segment of its kind."""
    if path.many or not path.field or len(path.steps) != 1 or path.steps[0].selectors or path.repeats:
        return False
    return path.steps[0].name not in HEADERS or path.field > 2


def _of_segment(kind: str, header: bool, wanted: list[tuple[Path, str]]) -> list[str]:
    fields: dict[int, list[tuple[Path, str]]] = {}
    for path, value in wanted:
        fields.setdefault(path.field - 1 if header else path.field, []).append((path, value))
    lines = [
        f"{' = '.join(value for _, value in wanted)} = EMPTY",
        f"found = index[{kind}]",
        "if found:",
        "    segment = found[0]",
        "    if len(segment) == 1: segment[:] = segment[0].split(syntax.field)",
        "    size = len(segment)",
    ]
    for at, several in fields.items():
        lines.append(f"    if size > {at:d} and (raw := segment[{at:d}]):")
        components = [(path, value) for path, value in several if path.component]
        for path, value in several:
            if not path.component:
                lines.append(f"        {value} = {_piece('raw', 'FIELD')}")
        if components:
            most = max(path.component for path, _ in components)
            lines.append("        if syntax.repetition in raw: raw = raw.partition(syntax.repetition)[0]")
            lines.append(f"        pieces = raw.split(syntax.component, {most:d})")
            lines.append("        count = len(pieces)")
        for path, value in components:
            before = path.component - 1
            lines.append(f"        if count > {before:d} and (raw := pieces[{before:d}]):")
            if path.sub:
                lines.append(f"            subs = raw.split(syntax.subcomponent, {path.sub:d})")
                lines.append(f"            if len(subs) >= {path.sub:d}: {value} = part(subs[{path.sub - 1:d}], LEAF, syntax)")
            else:
                lines.append(f"            {value} = {_piece('raw', 'COMPONENT')}")
    return lines


def _piece(raw: str, level: str) -> str:
    """Letters and digits are never delimiters, and the commonest text is made of them only."""
    return f"{raw} if {raw}.isalnum() or special({raw}) is None and {raw} != NULL_TEXT else composed({raw}, {level}, syntax)"
