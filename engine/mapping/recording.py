"""What is noted while a mapping runs: each line of it that was worked out, with its value and what it read.

Only so much is kept of a message that makes a mapping work out a great deal; it runs to its end all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final, NamedTuple

from engine.contracts import Document, Editable
from engine.errors import PathError
from engine.mapping.codes import CodeTable, DatedLookup, Lookup, named
from engine.mapping.faults import NoRow, Refused
from engine.mapping.operators import nothing
from engine.mapping.scope import MESSAGE, OMIT, SITE, Fn, Scope, received
from engine.mapping.texts import cut, text_of
from engine.mapping.watching import Line
from engine.strictyaml import mark
from engine.values import EMPTY, Value

MOST: Final = 20_000  # entries of one message
MATCHES: Final = 20  # of one path that are noted
_FIXED: Final = re.compile(r"\b(message|site)\.(\w+)")


@dataclass(frozen=True, slots=True)
class Read:
    """A path that was read, what it gave, and where that stood."""

    path: str
    place: str
    value: str
    let: str = ""  # through which it was read


@dataclass(frozen=True, slots=True)
class Looked:
    """A row of a code table that answered; line 0 where none did."""

    file: str
    key: str
    line: int
    value: str
    let: str = ""  # in whose expression


@dataclass(slots=True)
class Entry:
    """One line of a mapping, worked out once."""

    kind: str  # as of watching.Line; `drop` and `template` besides
    target: str
    file: str
    line: int
    column: int
    expression: str  # as the file has it: `=PID-5.1 | upper`, or a literal
    n: int = 1  # the turn
    value: str = ""
    empty: bool = False  # nothing came of it
    items: int = 1  # how many entries it gives where it stands in a list
    reads: list[Read] = field(default_factory=list)
    looked: list[Looked] = field(default_factory=list)
    names: list[tuple[str, str]] = field(default_factory=list)  # lets, facts and the turn's item, with their values
    error: str = ""


class Placed(NamedTuple):
    """A place of a message that was written."""

    path: str
    value: str | None
    entry: Entry | None
    note: str = ""


@dataclass(slots=True)
class Frame:
    """The lines of one object of a result."""

    target: str
    entries: list[Entry] = field(default_factory=list)
    value: Any = None  # kept, so that its id stays its own

    def by_name(self) -> Iterator[tuple[str, list[Entry]]]:
        """The object's own fields, each with its lines: several where a list is written out."""
        found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            name = entry.target.removeprefix(self.target).lstrip(".")
            if entry.kind == "field" and name and "." not in name:
                found.setdefault(name, []).append(entry)
        return iter(found.items())


@dataclass(slots=True)
class Made:
    """One result, before its schema saw it."""

    value: Any
    entries: list[Entry]  # outside of any object: lets, a template
    written: list[Placed] | None  # where the result is a message
    after: list[Entry] = field(default_factory=list)  # the action and the checks


@dataclass(slots=True)
class StepNotes:
    """What one run of one mapping gave."""

    root: list[Entry] = field(default_factory=list)  # of the result that is being made
    made: list[Made] = field(default_factory=list)
    skipped: list[Entry] = field(default_factory=list)
    turns: list[tuple[str, int]] = field(default_factory=list)


class Notes:
    """watching.Watch and recorded.Listener."""

    def __init__(self) -> None:
        self.step = StepNotes()
        self.full = False
        self._count = 0
        self._open: list[Frame] = []
        self._frames: dict[int, Frame] = {}
        self._template = False
        self._writing = False  # a message, so that `when` leaves out a segment of it and not the result
        self._lets: dict[str, Entry] = {}  # as they are in the turn at hand
        self._entry: Entry | None = None
        self._pending: list[Entry] = []  # values for a message, on their way into it
        self._written: dict[int, list[Placed]] = {}

    def begin(self, template: bool = False) -> StepNotes:
        """Another run of a mapping begins; `template`: of one that has no lines for what it reads."""
        self.step, self._open, self._pending = StepNotes(), [], []
        self._template, self._writing = template, False
        return self.step

    def frame(self, value: Any) -> Frame | None:
        return self._frames.get(id(value)) if isinstance(value, dict) else None

    # ── watching.Watch ─────────────────────────────────────────────────────────────────────────────────────────────

    def line(self, run: Fn, line: Line) -> Fn:
        place = mark(line.text)
        facts = _FIXED.findall(str(line.text)) if line.names & {"message", "site"} else []

        def seen(scope: Scope) -> Value:
            if (entry := self._begun(line, place, scope, facts)) is None:
                return run(scope)
            try:
                value = run(scope)
            except Refused as fault:
                entry.error = fault.sentence
                raise
            except PathError as fault:
                entry.error = f"{fault.path}: {fault.problem}"
                raise
            finally:
                self._entry = None
            self._ended(entry, value)
            return value

        return seen

    def fields(self, run: Fn, target: str) -> Fn:
        def seen(scope: Scope) -> Value:
            frame = Frame(target)
            self._open.append(frame)
            try:
                value = run(scope)
            except BaseException:
                self._below(frame)
                raise
            self._open.pop()
            if isinstance(value, dict) and not self.full:
                frame.value = value
                self._frames[id(value)] = frame
            return value

        return seen

    def _below(self, frame: Frame) -> None:
        """What was worked out of an object that failed is told with what it is a part of."""
        self._open.pop()
        (self._open[-1].entries if self._open else self.step.root).extend(frame.entries)

    def table(self, table: CodeTable) -> CodeTable:
        seen = _SeenTable.__new__(_SeenTable)
        seen.__dict__.update(table.__dict__, told=self.looked)
        return seen

    def made(self, value: Any) -> None:
        step = self.step
        written = self._written.pop(id(getattr(value, "inner", None)), None)
        step.made.append(Made(value, step.root, written))
        step.root, self._pending, self._writing = [], [], False

    # ── lines ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _begun(self, line: Line, place: Any, scope: Scope, facts: Iterable[tuple[str, str]]) -> Entry | None:
        self._count += 1
        if self._count > MOST:
            self.full = True
            return None
        entry = Entry(line.kind, line.target, place.file, place.line, place.column, cut(str(line.text)), scope.n)
        for name in line.names:
            if name in line.lets and line.lets[name] < len(scope.lets):
                entry.names.append((name, text_of(scope.lets[line.lets[name]])))
                self._through(entry, name)
        if "." in line.names:
            entry.names.append(("item", text_of(scope.item)))
        if "n" in line.names and "n" not in line.lets:
            entry.names.append(("n", str(scope.n)))
        if "today" in line.names:
            entry.names.append(("today", received(scope).date().isoformat()))
        for root, name in dict.fromkeys(facts):
            known: Mapping[str, Fn] = MESSAGE if root == "message" else SITE
            if name in known:
                entry.names.append((f"{root}.{name}", text_of(known[name](scope))))
        self._entry = entry
        if line.kind in ("action", "check") and self.step.made:
            self.step.made[-1].after.append(entry)
        elif self._open:
            self._open[-1].entries.append(entry)
        else:
            self.step.root.append(entry)
        return entry

    def _through(self, entry: Entry, name: str) -> None:
        """What a let read, the line that uses the let has read too."""
        if (let := self._lets.get(name)) is not None:
            entry.reads += [replace(one, let=name) for one in let.reads]
            entry.looked += [replace(one, let=name) for one in let.looked]

    def _ended(self, entry: Entry, value: Value) -> None:
        entry.value = text_of(value) if value is not OMIT else ""
        entry.empty = value is OMIT or value == [] or (not isinstance(value, list) and nothing(value))
        if isinstance(value, list):
            entry.items = sum(not nothing(one) for one in value)
        elif entry.empty:
            entry.items = 0
        if entry.kind == "let":
            self._lets[entry.target] = entry
        if entry.kind == "when" and not value and not self._open:
            self.step.skipped.append(entry)
            if not self._writing:
                self.step.root[:] = [one for one in self.step.root if one.kind not in ("let", "when")]
        elif entry.kind == "field" and not self._open:
            self._pending.append(entry)

    # ── recorded.Listener ──────────────────────────────────────────────────────────────────────────────────────────

    def read(self, document: Document, path: str, value: Value) -> None:
        entry = self._entry or self._of_template()
        if entry is None or any(one.path == path and not one.let for one in entry.reads):
            return
        values = value if isinstance(value, list) else [value]
        for n, one in enumerate(values[:MATCHES], 1):
            starred = path.replace("[*]", f"[{n}]", 1) if isinstance(value, list) else path
            entry.reads.append(Read(path, cut(document.place(starred)), text_of(one)))
        if not values:
            entry.reads.append(Read(path, cut(document.place(path)), ""))

    def _of_template(self) -> Entry | None:
        """A template reads without lines of its own: all it read is noted together."""
        if not self._template or self.full:
            return None
        root = self.step.root
        if not root or root[-1].kind != "template":
            root.append(Entry("template", "", "", 0, 0, ""))
        return root[-1]

    def turned(self, path: str, number: int) -> None:
        if len(self.step.turns) < MATCHES:
            self.step.turns.append((path, number))

    def wrote(self, document: Editable, path: str, value: Value) -> None:
        entry = self._pending.pop() if self._pending else None
        text = text_of(value)
        self._place(document, Placed(path, text if value is not EMPTY else None, entry, "" if text else "emptied"))

    def dropped(self, document: Editable, path: str, number: int) -> None:
        entry = self._pending.pop() if self._pending else None
        self._place(document, Placed(path, None, entry, f"dropped: {number} of them" if number != 1 else "dropped"))

    def added(self, document: Editable, name: str, fields: Mapping[str, Value], after: str) -> None:
        lines = {entry.target: entry for entry in self._pending}
        self._pending.clear()
        n = len(document.all(f"{name}[*]-1")) if not after else 0
        where = f"{name}[{n}]" if n > 1 else name
        for position, value in fields.items():
            self._place(document, Placed(f"{where}-{position}", text_of(value), lines.get(f"{name}-{position}"), "added"))

    def edited(self, before: Document, document: Editable) -> None:
        """A copy begins with what was written into what it is a copy of."""
        self._writing = True
        self._written[id(document)] = list(self._written.get(id(before), ()))

    def _place(self, document: Editable, placed: Placed) -> None:
        found = self._written.setdefault(id(document), [])
        if len(found) < MOST:
            found.append(placed)

    def looked(self, table: CodeTable, keys: tuple[str, ...], wanted: tuple[str, ...], day: date | None, value: Value) -> None:
        if self._entry is None or len(self._entry.looked) >= MATCHES:
            return
        line = 0 if value is EMPTY else _line_of(table, keys, wanted, day)
        self._entry.looked.append(Looked(table.file, cut(named(keys, wanted)), line, text_of(value)))


class _SeenTable(CodeTable):
    """A code table that tells who looks in it. It has no quick way: everybody looks."""

    told: Any

    def lookup(self, keys: tuple[str, ...] = ()) -> Lookup:
        keys = keys or self.columns[:1]
        find = super().lookup(keys)

        def seen(wanted: tuple[str, ...]) -> Value:
            with self._telling(keys, wanted) as say:
                return say(find(wanted))

        return seen

    def lookup_on(self, keys: tuple[str, ...] = ()) -> DatedLookup:
        keys = keys or self.columns[:1]
        find = super().lookup_on(keys)

        def seen(wanted: tuple[str, ...], day: date) -> Value:
            with self._telling(keys, wanted, day) as say:
                return say(find(wanted, day))

        return seen

    def exact(self) -> dict[str, Value] | None:
        return None

    def __contains__(self, value: object) -> bool:
        found = super().__contains__(value)
        self.told(self, self.columns[:1], (str(value),), None, "listed" if found else EMPTY)
        return found

    @contextmanager
    def _telling(self, keys: tuple[str, ...], wanted: tuple[str, ...], day: date | None = None) -> Iterator[Any]:
        def say(value: Value) -> Value:
            self.told(self, keys, wanted, day, value)
            return value

        try:
            yield say
        except NoRow:
            self.told(self, keys, wanted, day, EMPTY)
            raise


def _line_of(table: CodeTable, keys: tuple[str, ...], wanted: tuple[str, ...], day: date | None) -> int:
    """The line of the first row that answers; 0 where none does."""
    places = [table.columns.index(key) for key in keys]
    for number, row in enumerate(table.rows):
        span = table.spans[number]
        if all(row[place] in ("*", text) for place, text in zip(places, wanted, strict=True)) and (
            day is None or span.first <= day <= span.last
        ):
            return table.lines[number]
    return 0
