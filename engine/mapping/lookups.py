"""Lookups in dated code tables: `FT1-6 | code('t', on=FT1-4 | date)`.

The day is an input like any other: what `on` says, else the day on which the message came, in the site's time zone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime

from engine.mapping.codes import CodeTable, Overlap
from engine.mapping.faults import Refused, Unreadable
from engine.mapping.operators import kind
from engine.mapping.scope import Arguments, Scope, received
from engine.values import Value


def dated(table: CodeTable, keys: tuple[str, ...], arguments: Arguments) -> Callable[[Scope, tuple[str, ...]], Value]:
    """What a dated table gives for the texts of its key columns in a scope. Raises Unreadable."""
    if not table.gives(keys):
        raise Unreadable(
            f"{table.label} has one column, so it gives nothing: use it with is listed('{table.name}').", arguments.at
        )
    try:
        find = table.lookup_on(keys)
    except Overlap as overlap:
        raise Unreadable(f"{table.label}: {overlap}", arguments.at) from None
    given = arguments.named.get("on")

    def day(scope: Scope) -> date:
        if given is None:
            return received(scope).date()
        value = given.fn(scope)
        if isinstance(value, datetime):
            return value.date()
        if isinstance(value, date):
            return value
        if not kind(value):
            raise Refused(f"the day for {table.label} was not sent: say which one counts then, on=first(…, message.received)")
        raise Refused(f"is {kind(value)}, and on takes a day: convert it with | date", value)

    return lambda scope, wanted: find(wanted, day(scope))


def undated(table: CodeTable, arguments: Arguments) -> None:
    """Raises Unreadable where a day is named for a table that knows no days."""
    if not table.dated and "on" in arguments.named:
        raise Unreadable(f"{table.label} has no column valid_from or valid_to, so 'on' says nothing.", arguments.named["on"].at)
