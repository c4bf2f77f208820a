"""What a chain of mappings makes of one message, and why: each result, and for each of its fields the line that filled it, what
that line read and where in the message it stood. The results are those of the chain itself, to the byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

from engine.contracts import Document, Entity, Facts, Product
from engine.dotted import DataDocument
from engine.errors import ConfigurationError, ContentError, Problem
from engine.mapping.library import Library, MappingChain
from engine.mapping.recorded import ReadDocument, recorded
from engine.mapping.recording import Entry, Made, Notes
from engine.mapping.sources import EntitySource
from engine.mapping.step import Step
from engine.mapping.targets import Result, TemplateTarget
from engine.mapping.texts import text_of

MOST_ROWS: Final = 2_000  # of one result; what is beyond is said to be left away
_PLACE: Final = re.compile(r"\(([^()\s]+):(\d+):(\d+)\)$")


@dataclass(slots=True)
class Row:
    """One field of a result. `value` is what is delivered there, as text or as JSON; None where nothing is."""

    path: str  # `charge.lines[2].account`, `PID-5.1`
    value: str | None
    entry: Entry | None  # the line that filled it; None for what the schema fills
    note: str = ""  # what is to be said of it besides: `left out: nothing was sent`


@dataclass(slots=True)
class Explained:
    """One result of one mapping."""

    n: int  # from 1
    rows: list[Row]
    lets: list[Entry]
    checks: list[Entry]  # the action and the checks
    reads: list[Entry] = field(default_factory=list)  # by a template, which has no fields
    cut: bool = False  # more rows than are kept


@dataclass(slots=True)
class Mapped:
    """One mapping of the chain."""

    mapping: str
    file: str
    turns: list[tuple[str, int]]  # what its `for_each` stood at, and how many turns that gave
    skipped: list[Entry]  # the turns that a `when` did not let pass
    unfinished: list[Entry]  # what had been worked out of the result that failed
    results: list[Explained]


@dataclass(slots=True)
class Delivered:
    """One result of the chain, as it would leave."""

    kind: str
    action: str
    content_type: str
    content: str
    idempotency_key: str


@dataclass(slots=True)
class Fault:
    """Why the message would park, in the words of `wardline map`; `file`, `line`, `column` where it names a line."""

    text: str
    reason: str
    place: str = ""
    file: str = ""
    line: int = 0
    column: int = 0


@dataclass(slots=True)
class Explanation:
    """What became of the message, `products` as the chain gives them. All else is ready for JSON."""

    steps: list[Mapped]
    delivered: list[Delivered]
    fault: Fault | None
    problems: list[Problem]  # of all files in mappings/, as `wardline check` has them
    products: list[Product] = field(default_factory=list)
    cut: bool = False  # so much was read that not all of it was noted

    def data(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("steps", "delivered", "fault", "problems", "cut")}


def explain(
    directory: Path,
    names: Sequence[str],
    content: bytes,
    facts: Facts,
    formats: Mapping[str, Any],
    entities: Mapping[str, Entity],
) -> Explanation:
    """`names`: mappings of the site in `directory`, one after another. Whatever is wrong is in the explanation; raises nothing
    of its own. `facts` are completed with what the content says of itself."""
    notes = Notes()
    built = {name: kind.build() if hasattr(kind, "build") else kind for name, kind in formats.items()}
    library = Library.load(directory, {name: recorded(one, notes) for name, one in built.items()}, entities, notes)
    done = Explanation([], [], None, list(library.problems))
    try:
        done.products = _run(library, names, content, facts, notes, done.steps)
    except ContentError as error:
        done.fault = _fault(error)
        if done.steps and len(done.steps[-1].results) < len(notes.step.made):
            done.steps[-1].unfinished += notes.step.made[-1].entries
        if done.steps:
            done.steps[-1].unfinished += notes.step.root
    except ConfigurationError as error:
        first = next((problem for problem in done.problems if problem.severity == "error"), error.problems[0])
        done.fault = Fault(str(error), "configuration", "", first.file, first.line, first.column)
    done.delivered = [_delivered(product) for product in done.products]
    done.cut = notes.full
    return done


def _run(
    library: Library, names: Sequence[str], content: bytes, facts: Facts, notes: Notes, steps: list[Mapped]
) -> list[Product]:
    compiled = [library.step(name) for name in names]
    if not compiled:
        raise ConfigurationError([Problem("", 0, 0, "a mapping's name is expected.")])
    first = compiled[0]
    library.chain(names, f"{first.source}[*]" if first.many else first.source)  # whether they fit one another
    chain = MappingChain([cast(Step, _Explaining(step, notes, steps, last=step is compiled[-1])) for step in compiled])
    source = library.source(first.source)
    if isinstance(source, EntitySource):
        payloads, facts = source.payloads(content), facts._replace(format="json")
        given: list[Document] = [source.document(payloads, many=True)] if first.many else []
        documents = given or [source.document([payload], many=False) for payload in payloads]
        return [product for document in documents for product in chain.apply(document, facts)]
    facts = facts._replace(format=source.name, heading=source.heading(content))
    return chain.apply(source.parse(content), facts)


class _Explaining:
    """A step that is looked on."""

    def __init__(self, step: Step, notes: Notes, steps: list[Mapped], last: bool) -> None:
        self._step, self._notes, self._steps, self._last = step, notes, steps, last
        self._mapped: Mapped | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._step, name)

    def apply(self, document: Document, facts: Facts, first: int) -> list[Result]:
        step = self._step
        if not isinstance(document, ReadDocument) and not (
            isinstance(step.output, TemplateTarget) and isinstance(document, DataDocument)  # which has roots to be read by name
        ):
            document = ReadDocument(document, self._notes)
        if self._mapped is None:
            self._mapped = Mapped(step.name, str(step.lines.mark.file), [], [], [], [])
            self._steps.append(self._mapped)
        notes = self._notes.begin(template=isinstance(step.output, TemplateTarget))
        mapped = self._mapped
        try:
            results = step.apply(document, facts, first)
        finally:
            mapped.turns += [turn for turn in notes.turns if turn not in mapped.turns]
            mapped.skipped += notes.skipped
        for made, result in zip(notes.made, results, strict=True):
            mapped.results.append(_explained(made, result, self._notes, step, facts))
        return results


def _explained(made: Made, result: Result, notes: Notes, step: Step, facts: Facts) -> Explained:
    told = Explained(result.n, [], [e for e in made.entries if e.kind == "let"], made.after)
    if made.written is not None:
        told.rows = [Row(one.path, one.value, one.entry, one.note) for one in made.written]
    elif isinstance(step.output, TemplateTarget):
        told.reads = [entry for entry in made.entries if entry.kind == "template"]
    else:
        root = getattr(getattr(step.output, "entity", None), "name", "")
        delivered = json.loads(step.output.product(result, facts).content, parse_float=Decimal)
        delivered = delivered["payload"] if root else delivered
        _rows(told.rows, made.value, delivered, root, notes)
    told.cut = len(told.rows) > MOST_ROWS
    del told.rows[MOST_ROWS:]
    return told


def _rows(rows: list[Row], value: Any, delivered: Any, path: str, notes: Notes) -> None:
    """The fields of an object of the result and of the objects in it, in the order of the file."""
    frame = notes.frame(value)
    if len(rows) > MOST_ROWS or not isinstance(value, dict) or frame is None:
        return
    parts: dict[str, list[Row]] = {}
    given = delivered if isinstance(delivered, dict) else {}
    for name, entries in frame.by_name():
        parts[name] = _of_field(f"{path}.{name}".lstrip("."), entries, given.get(name))
    for name, inner in value.items():
        here, below = f"{path}.{name}".lstrip("."), given.get(name)
        found: list[Row] = []
        _rows(found, inner, below, here, notes)
        for n, item in enumerate(inner if isinstance(inner, list) else ()):
            _rows(found, item, below[n] if isinstance(below, list) and n < len(below) else None, f"{here}[{n + 1}]", notes)
        if found or name not in parts:
            parts[name] = [*parts.get(name, ()), *found]
    for part in sorted(parts.values(), key=lambda part: next((row.entry.line for row in part if row.entry), 0)):
        rows += part
    for name in sorted(given.keys() - value.keys() - parts.keys()):
        rows.append(Row(f"{path}.{name}".lstrip("."), text_of(given[name]), None, "the schema's own"))


def _of_field(path: str, entries: Sequence[Entry], delivered: Any) -> list[Row]:
    """One row, or one for each entry of a list that is written out."""
    if len(entries) == 1:
        note = "" if delivered is not None or entries[0].value == "null" else "left out: nothing was sent"
        return [Row(path, text_of(delivered) if delivered is not None else None, entries[0], note)]
    rows, n = [], 0
    for entry in entries:
        given = delivered[n : n + entry.items] if isinstance(delivered, list) else []
        place = f"{path}[{n + 1}]" if entry.items == 1 else path
        rows.append(Row(place, text_of(given[0] if entry.items == 1 and given else given) if given else None, entry))
        n += entry.items
    return rows


def _delivered(product: Product) -> Delivered:
    content = product.content.decode("utf-8", "backslashreplace")
    return Delivered(product.kind, product.action, product.content_type, content, product.idempotency_key)


def _fault(error: ContentError) -> Fault:
    found = _PLACE.search(str(error))
    file, line, column = (found[1], int(found[2]), int(found[3])) if found else ("", 0, 0)
    return Fault(str(error), str(error.reason), error.place, file, line, column)
