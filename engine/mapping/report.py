"""Problems of mapping files, collected with their places; and mapping failures, told with field, place and line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from engine.errors import ContentError, MappingError, PathError, Problem, UnknownCode
from engine.mapping.faults import NoRow, Refused, RunAway, Unreadable
from engine.strictyaml import Mark, Text, mark


class Report:
    """Collects problems without stopping at the first."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._broken: set[tuple[str, int]] = set()  # lines that YAML itself reads in another way than they were meant

    def error(self, at: Any, text: str) -> None:
        """`at` is a value of a file or a Mark."""
        self._say(at if isinstance(at, Mark) else mark(at), text, "error")

    def warning(self, at: Any, text: str) -> None:
        self._say(at if isinstance(at, Mark) else mark(at), text, "warning")

    def broken(self, problems: Sequence[Problem]) -> None:
        """Problems of the YAML of a file: nothing more is said of their lines."""
        self.problems += problems
        self._broken |= {(problem.file, problem.line) for problem in problems}

    def _say(self, place: Mark, text: str, severity: str) -> None:
        if (place.file, place.line) not in self._broken:
            self.problems.append(place.problem(text, severity))

    def unreadable(self, text: str, error: Unreadable, skip: int = 1) -> None:
        """An expression of `text` is wrong; `skip` characters (the `=`) stand before the expression."""
        place = text.at(skip + error.at) if isinstance(text, Text) else mark(text)
        self._say(place, error.text, "error")

    @property
    def failed(self) -> bool:
        return any(problem.severity == "error" for problem in self.problems)


class Where(NamedTuple):
    """The field an expression fills: what a failure names."""

    mapping: str
    target: str  # `charge.department`, `PID-5.1`, `let mrn`
    text: Any  # the Text in the file

    def line(self) -> str:
        place = mark(self.text)
        return f"{place.file}:{place.line}:{place.column}" if place.line else place.file or "inline"


def failure(where: Where, fault: Refused | PathError) -> ContentError:
    """The error that parks the message: mapping, field, place in the message, what is wrong, line of the file."""
    if isinstance(fault, PathError):  # a path that has no meaning in this turn
        fault = Refused(f"{fault.path}: {fault.problem}")
    text = f"{where.mapping} {where.target}: {fault.sentence} ({where.line()})"
    return unusable(text, fault, MappingError)


def unusable(text: str, fault: Refused, kind: type[ContentError]) -> ContentError:
    """The error for a value that cannot be used: `kind`, or UnknownCode where a table has no row for it."""
    error = UnknownCode(text, table=fault.table, value=fault.key) if isinstance(fault, NoRow) else kind(text)
    error.place = fault.place
    if isinstance(fault, RunAway):
        error.reason = "poison"
    return error


def invalid(where: Where, problem: str, place: str) -> MappingError:
    """A result that its schema refuses."""
    error = MappingError(f"{where.mapping} {where.target}: {problem}{f' at {place}' if place else ''} ({where.line()})")
    error.place = place
    return error
