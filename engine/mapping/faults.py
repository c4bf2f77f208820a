"""What goes wrong inside an expression, before it has a file, a field and a place in the message.

`Unreadable` is the analyst's (the expression itself is wrong) and becomes a Problem; `Refused` is the content's (a value
cannot be used) and becomes a MappingError.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from engine.values import Composite

SHOWN = 40  # characters of an offending value that an error text may show


class Unreadable(Exception):
    """An expression is wrong at `at` (offset after the `=`); `text` says what to write instead."""

    def __init__(self, text: str, at: int = 0) -> None:
        super().__init__(text)
        self.text, self.at = text, at


class Refused(Exception):
    """A value cannot be used. `problem` reads on from the place: `is not a date (month 23)`.

    `value` is the offending one, `index` its position in a list (from 0, or -1), `place` is filled in on the way up.
    """

    def __init__(self, problem: str, value: Any = None) -> None:
        super().__init__(problem)
        self.problem, self.value = problem, value
        self.index = -1
        self.place = ""

    @property
    def sentence(self) -> str:
        """The whole text: place, value, problem."""
        return " ".join(part for part in (self.place, shown(self.value), self.problem) if part)


class RunAway(Refused):
    """A bound on steps or on output was reached: the message parks as poison."""


class NoRow(Refused):
    """A code table has no row for a value; `key` names it, with its columns where there are several."""

    def __init__(self, problem: str, table: str, key: str, value: Any = None) -> None:
        super().__init__(problem, value)
        self.table, self.key = table, key

    @property
    def sentence(self) -> str:
        return f"{self.problem}, from {self.place}" if self.place else self.problem


def shown(value: Any) -> str:
    """An offending value as an error text quotes it, cut short; '' for what has no short text."""
    if isinstance(value, Composite):
        value = value.raw
    if isinstance(value, str) and value:
        return repr(value if len(value) <= SHOWN else value[: SHOWN - 1] + "…")
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return str(value)[:SHOWN]
    return ""
