"""What may look on while mappings are compiled and run, so that a result can be explained. The engine itself has nobody look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from engine.mapping.codes import CodeTable
from engine.mapping.scope import Fn


class Line(NamedTuple):
    """One value of a mapping file: where it stands, what it fills, and what it can read besides the document."""

    kind: str  # `field`, `let`, `when`, `for_each`, `by`, `action`, `check`
    target: str  # `charge.department`, `PID-5.1`, a let's or a check's name
    text: Any  # the Text in the file
    names: frozenset[str]  # roots that its expression reads
    lets: Mapping[str, int]  # name → index in Scope.lets


class Watch(Protocol):
    """Each verb gives back what is to be used in place of what it was given, and that must do the same."""

    def line(self, run: Fn, line: Line) -> Fn:
        """One expression or literal."""

    def fields(self, run: Fn, target: str) -> Fn:
        """An object whose fields are lines of a file, and where in the result it stands."""

    def table(self, table: CodeTable) -> CodeTable:
        """A code table, when it has been read."""

    def made(self, value: Any) -> None:
        """A result, before its schema and the mapping's checks have seen it."""
