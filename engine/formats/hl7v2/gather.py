"""Several paths read at once: one function, made for just these paths, that looks up each segment once.

The plain forms (`PID-5`, `PID-5.1`, `FT1-26[*]`, `PID-3[.5='MR'].1`) are written out: the text of the function is made from
the numbers of compiled paths and from names of our own. Any other path is read by its reader. Every value is what
`document[path]` would give, or less where less is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from engine.formats.hl7v2.paths import STAR, Filter, Path, compiled
from engine.formats.hl7v2.select import leaf, reader
from engine.formats.hl7v2.values import COMPONENT, FIELD, HEADERS, LEAF, NULL_TEXT, REPETITION, composed, leading, leaves
from engine.generated import function
from engine.values import EMPTY, Value

if TYPE_CHECKING:
    from engine.formats.hl7v2.document import View

Gather = Callable[["View"], Sequence[Value]]

ENOUGH: Final = frozenset({"text", "parts"})
"""What may be enough of a value that has parts: `text`, its first leaf; `parts`, a plain list of the first leaf of each of
its components. Whoever says so must take the whole value as well, which comes where there is no simple answer."""

_MAKERS: Final = {"": "composed", "text": "leading", "parts": "leaves"}


class _Read(NamedTuple):
    path: Path
    value: str  # the variable
    enough: str

    @property
    def wanted(self) -> Filter | None:
        """The condition that chooses the repetition."""
        return self.path.repeats[0] if self.path.repeats and isinstance(self.path.repeats[0], Filter) else None

    def piece(self, raw: str, level: str) -> str:
        """Letters and digits are never delimiters, and the commonest text is made of them only."""
        make = _MAKERS["" if self.enough == "parts" and level not in ("FIELD", "REPETITION") else self.enough]
        return f"{raw} if {raw}.isalnum() or special({raw}) is None and {raw} != NULL_TEXT else {make}({raw}, {level}, syntax)"


@lru_cache(1024)
def gathered(paths: tuple[str, ...], enough: tuple[str, ...] = ()) -> Gather:
    """A function from a document to the values of `paths`; `enough` says for each what is enough of it. Raises PathError."""
    values = [f"v{number}" for number in range(len(paths))]
    bound: dict[str, Any] = {
        "EMPTY": EMPTY, "composed": composed, "leading": leading, "leaves": leaves, "leaf": leaf,
        "NULL_TEXT": NULL_TEXT, "FIELD": FIELD, "REPETITION": REPETITION, "COMPONENT": COMPONENT, "LEAF": LEAF,
    }  # fmt: skip
    lines: list[str] = []
    kinds: dict[str, list[_Read]] = {}
    for number, text in enumerate(paths):
        path = compiled(text)
        if _simple(path):
            read = _Read(path, values[number], enough[number] if enough else "")
            kinds.setdefault(path.steps[0].name, []).append(read)
            if read.wanted is not None:
                bound[f"text{values[number]}"], bound[f"where{values[number]}"] = read.wanted.value, read.wanted.where
        else:
            bound[f"read{number}"] = reader(text)
            lines.append(f"{values[number]} = read{number}(view)")
    for number, (kind, wanted) in enumerate(kinds.items()):
        bound[f"kind{number}"] = kind
        lines += _of_segment(f"kind{number}", kind in HEADERS, wanted)
    head = [
        "index = view.index", "syntax = view.syntax", "special = syntax.special",
        "component = syntax.component; repetition = syntax.repetition; sub = syntax.subcomponent",
    ]  # fmt: skip
    body = "\n    ".join([*(head if kinds else ()), *lines, f"return {', '.join(values)},"])
    return function(f"def gather(view):\n    {body}", bound)


def _simple(path: Path) -> bool:
    """Whether the path is written out: it reads a field of the first segment of its kind, or of its repetitions all or one
    that is told by letters and digits."""
    if not path.field or len(path.steps) != 1 or path.steps[0].selectors or len(path.repeats) > 1:
        return False
    if path.steps[0].name in HEADERS and path.field <= 2:
        return False
    chosen = path.repeats[0] if path.repeats else STAR
    if isinstance(chosen, Filter):
        return chosen.value.isalnum() and chosen.where[1:] in ((), (1,))
    return chosen == STAR


def _of_segment(kind: str, header: bool, reads: list[_Read]) -> list[str]:
    fields: dict[int, list[_Read]] = {}
    for read in reads:
        fields.setdefault(read.path.field - 1 if header else read.path.field, []).append(read)
    lines = [f"{read.value} = []" for read in reads if read.path.many]
    if single := [read.value for read in reads if not read.path.many]:
        lines.append(f"{' = '.join(single)} = EMPTY")
    lines += [
        f"found = index[{kind}]",
        "if found:",
        "    segment = found[0]",
        "    if len(segment) == 1: segment[:] = segment[0].split(syntax.field)",
        "    size = len(segment)",
    ]
    for at, several in fields.items():
        lines.append(f"    if size > {at:d} and (raw := segment[{at:d}]):")
        for read in several:
            if read.path.repeats:
                lines += [f"        {line}" for line in (_chosen(read) if read.wanted else _each(read))]
            elif not read.path.component:
                lines.append(f"        {read.value} = {read.piece('raw', 'FIELD')}")
        lines += [f"        {line}" for line in _components([r for r in several if r.path.component and not r.path.repeats])]
    return lines


def _components(reads: list[_Read]) -> list[str]:
    """Components of the first repetition of `raw`."""
    if not reads:
        return []
    most = max(read.path.component for read in reads)
    lines = [
        "if repetition in raw: raw = raw.partition(repetition)[0]",
        f"pieces = raw.split(component, {most:d})",
    ]
    if most > 1:
        lines.append("count = len(pieces)")
    for read in reads:
        number = read.path.component
        there = "(raw := pieces[0])" if number == 1 else f"count > {number - 1:d} and (raw := pieces[{number - 1:d}])"
        lines.append(f"if {there}:")
        lines += [f"    {line}" for line in _part(read, "raw", f"{read.value} = {{}}")]
    return lines


def _part(read: _Read, raw: str, take: str) -> list[str]:
    """`take` with the component `raw`, or with its subcomponent where the path names one."""
    if not read.path.sub:
        return [take.format(read.piece(raw, "COMPONENT"))]
    number = read.path.sub
    return [
        f"subs = {raw}.split(sub, {number:d})",
        f"if len(subs) > {number - 1:d} and (part := subs[{number - 1:d}]):",
        f"    {take.format(read.piece('part', 'LEAF'))}",
    ]


def _each(read: _Read) -> list[str]:
    """All repetitions of `raw`."""
    lines = ["for each in raw.split(repetition):"]
    take = f"{read.value}.append({{}})"
    number = read.path.component
    if not number:
        return [*lines, f"    if each: {take.format(read.piece('each', 'REPETITION'))}"]
    return [
        *lines,
        f"    pieces = each.split(component, {number:d})",
        f"    if len(pieces) > {number - 1:d} and (each := pieces[{number - 1:d}]):",
        *(f"        {line}" for line in _part(read, "each", take)),
    ]


def _chosen(read: _Read) -> list[str]:
    """The first repetition of `raw` that meets the condition."""
    assert read.wanted is not None
    where, number = read.wanted.where[0], read.path.component
    take = f"{read.value} = {{}}"
    lines = [
        "for each in raw.split(repetition):",
        f"    pieces = each.split(component, {max(where, number):d})",
        f"    if len(pieces) > {where - 1:d}:",
        f"        tested = pieces[{where - 1:d}]",
        f"        if tested == text{read.value} or not tested.isalnum() and "
        f"leaf(each, where{read.value}, syntax) == text{read.value}:",
    ]
    if not number:
        inside = [f"if each: {take.format(read.piece('each', 'REPETITION'))}"]
    else:
        inside = [f"if len(pieces) > {number - 1:d} and (each := pieces[{number - 1:d}]):"]
        inside += [f"    {line}" for line in _part(read, "each", take)]
    return [*lines, *(f"            {line}" for line in [*inside, "break"])]
