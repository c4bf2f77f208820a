"""Whose fault it is. Every error the engine raises on purpose is one of these.

The class says whose fault (content, peer, configuration, store); the text is what an operator or analyst reads:
what was expected, where, and what to do. Message content never appears in a text longer than the offending value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EXIT_FAILED = 1  # the check or test failed
EXIT_USAGE = 2  # wrong usage
EXIT_STORAGE = 74  # storage failed
EXIT_BUSY = 75  # another engine holds the store: try later
EXIT_CONFIGURATION = 78  # configuration is wrong, or the store is newer than this release


class WardlineError(Exception):
    """Anything the engine raises on purpose; `exit_code` is what a command ends with when it is not handled."""

    exit_code = EXIT_FAILED


class ContentError(WardlineError):
    """The content is at fault: it cannot be read, or a rule refuses it.

    `place` names the segment and field (or path) in the notation of the format, e.g. `MSH-10` or `OBX[2]-5`,
    or is empty when the whole is meant. `code` is the error code of HL7 table 0357 that fits.
    """

    reason = "mapping"  # ParkReason value under which such a message parks
    also: tuple[ContentError, ...] = ()  # further faults of the same content, where all were looked for

    def __init__(self, problem: str, place: str = "", code: str = "207") -> None:
        super().__init__(f"{place}: {problem}" if place else problem)
        self.problem, self.place, self.code = problem, place, code


class MappingError(ContentError):
    """A mapping could not produce a field. The text names mapping, field, expression, path and place."""


class UnknownCode(ContentError):
    """A code table has no row for a value; the message waits for the row."""

    reason = "unknown_code"

    def __init__(self, problem: str, place: str = "", table: str = "", value: str = "") -> None:
        super().__init__(problem, place, code="103")
        self.table, self.value = table, value


class PathError(WardlineError):
    """A path is not written in its format's grammar. `at` is the offset in the path where reading stopped."""

    def __init__(self, path: str, problem: str, at: int = 0) -> None:
        super().__init__(f"{path!r}: {problem}")
        self.path, self.problem, self.at = path, problem, at


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in a text file: `file:line:column  text`. Lines and columns count from 1; 0 means the whole file."""

    file: str
    line: int
    column: int
    text: str
    severity: str = "error"  # or "warning"

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{where}  {self.text}"


class ConfigurationError(WardlineError):
    """Site files are wrong. Carries every problem found, not just the first."""

    exit_code = EXIT_CONFIGURATION

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class StoreError(WardlineError):
    """The store failed in a way that makes its answers untrustworthy. The engine stops without another positive ACK."""

    exit_code = EXIT_STORAGE


class StoreFull(WardlineError):
    """No room to store: refuse honestly, keep delivering, resume when there is room."""

    exit_code = EXIT_STORAGE


class StoreBusy(WardlineError):
    """Another engine holds this store."""

    exit_code = EXIT_BUSY


class StoreTooNew(WardlineError):
    """The store was written by a newer release; this one cannot read it safely."""

    exit_code = EXIT_CONFIGURATION
