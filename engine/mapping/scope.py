"""What an expression can see while it runs, and what it may ask for while it is compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from engine.contracts import Document, Facts
from engine.mapping.codes import CodeTable
from engine.mapping.dates import zone
from engine.mapping.faults import Unreadable
from engine.text import did_you_mean
from engine.values import Value

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=zone("UTC"))


class Omit:
    """`omit`: the field is left out, or removed where the result started as a copy. There is one instance, `OMIT`."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return ""

    def __repr__(self) -> str:
        return "OMIT"


OMIT: Final = Omit()


class Scope:
    """One turn: the document as seen from here, the `let` values so far, the facts. Nothing else can be reached."""

    __slots__ = ("facts", "item", "lets", "m", "n", "result")

    def __init__(self, m: Document, facts: Facts, lets: list[Value], n: int = 1, item: Value = None, result: Any = None) -> None:
        self.m, self.facts, self.lets, self.n, self.item, self.result = m, facts, lets, n, item, result


Fn = Callable[[Scope], Value]


def received(scope: Scope) -> datetime:
    """When the message came, in the site's time zone."""
    return (_EPOCH + timedelta(microseconds=scope.facts.received_at)).astimezone(zone(scope.facts.timezone))


MESSAGE: Final[Mapping[str, Fn]] = {
    "id": lambda s: s.facts.message_id,
    "received": received,
    "channel": lambda s: s.facts.channel,
    "route": lambda s: s.facts.route,
    "type": lambda s: s.facts.heading.kind,
    "control_id": lambda s: s.facts.heading.control_id,
    "sender": lambda s: s.facts.heading.sender,
    "version": lambda s: s.facts.heading.version,
}
SITE: Final[Mapping[str, Fn]] = {
    "organization": lambda s: s.facts.organization,
    "environment": lambda s: s.facts.environment,
    "timezone": lambda s: s.facts.timezone,
}


class Argument:
    """One value given to a filter, test or function: a constant where it is a literal, else a function of the scope."""

    __slots__ = ("at", "constant", "fn", "literal", "paths")

    def __init__(self, fn: Fn, at: int, literal: bool, constant: Value, paths: tuple[str, ...]) -> None:
        self.fn, self.at, self.literal, self.constant, self.paths = fn, at, literal, constant, paths


class Arguments:
    """The values given to a filter, test or function, and the tables it may use. All checks raise Unreadable."""

    def __init__(
        self, name: str, at: int, given: list[Argument], named: dict[str, Argument], tables: Mapping[str, CodeTable]
    ) -> None:
        self.name, self.at, self.given, self.named, self.tables = name, at, given, named, tables

    def expect(self, low: int, high: int, usage: str, names: tuple[str, ...] = ()) -> None:
        """Between `low` and `high` values by position; by name only `names`."""
        if not low <= len(self.given) <= high:
            raise Unreadable(f"{self.name} is written {usage}.", self.at)
        for name, argument in self.named.items():
            if name not in names:
                raise Unreadable(f"{self.name} has no '{name}': it is written {usage}.{did_you_mean(name, names)}", argument.at)

    def text(self, index: int, what: str) -> str:
        """A literal text."""
        argument = self.given[index]
        if not argument.literal or not isinstance(argument.constant, str):
            raise Unreadable(f"{self.name} takes {what} as a text in quotes here.", argument.at)
        return argument.constant

    def number(self, index: int, default: int, low: int, high: int) -> int:
        """A literal whole number; `default` where none is given."""
        if index >= len(self.given):
            return default
        argument = self.given[index]
        value = argument.constant if argument.literal else None
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise Unreadable(f"{self.name} takes a whole number from {low} to {high:,} here.", argument.at)
        return value

    def table(self, index: int) -> CodeTable:
        name = self.text(index, "the name of a code table")
        table = self.tables.get(name)
        if table is None:
            hint = did_you_mean(name, self.tables)
            raise Unreadable(f"there is no code table '{name}': expected mappings/codes/{name}.csv.{hint}", self.given[index].at)
        return table
