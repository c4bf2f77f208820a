"""Every function and test of the language: `first`, `joined`, `code`; `is listed`, `is matching`, `is empty`, `is null`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

from engine.mapping import lookups
from engine.mapping.faults import Unreadable
from engine.mapping.inline import written
from engine.mapping.operators import bounded, nothing, text
from engine.mapping.regex import matching
from engine.mapping.scope import Arguments, Fn, Scope
from engine.text import did_you_mean, listed
from engine.values import EMPTY, NULL, Value, is_empty


def _first(arguments: Arguments) -> Fn:
    arguments.expect(1, 50, "first(a, b, …)")
    choices = [argument.fn for argument in arguments.given]

    def first(scope: Scope) -> Value:
        parts: Value = EMPTY
        for choice in choices:
            value = choice(scope)
            if value:
                if type(value) is not list or not nothing(value):
                    return value
            elif not is_empty(value) and type(value) is not list:
                return value  # a zero, false or an explicit null is something
            elif parts is EMPTY and not nothing(value):
                parts = value  # its first leaf is empty, but it has others
        return parts

    # Nothing goes on to the next choice, a text or a number that is something ends it; what is neither is the closure's.
    template = "EMPTY"
    for number in reversed(range(len(choices))):
        template = (
            f"({{t}} if type({{t}} := {{{number}}}) in {{decided}} and {{t}} "
            f"else {template} if {{t}} is EMPTY else {{first}}(scope))"
        )
    return written(first, template, *choices, strict=False, decided=_DECIDED, first=first)


_DECIDED: Final = frozenset({str, Decimal, int})


def _joined(arguments: Arguments) -> Fn:
    arguments.expect(2, 50, "joined(', ', a, b, …)")
    if arguments.given[0].paths:
        raise Unreadable("joined begins with what stands between the texts: joined(', ', a, b).", arguments.given[0].at)
    separator, *items = [argument.fn for argument in arguments.given]

    def joined(scope: Scope) -> Value:
        texts: list[str] = []
        for item in items:
            value = item(scope)
            for part in value if isinstance(value, list) else (value,):
                if written := text(part):
                    texts.append(written)
        return bounded(text(separator(scope)).join(texts)) if texts else EMPTY

    def together(by: str, *values: Value) -> Value:
        texts: list[str] = []
        for value in values:
            if type(value) is list:
                texts += map(text, value)
            elif value is not EMPTY:
                texts.append(value if type(value) is str else text(value))
        return bounded(by.join(filter(None, texts))) if any(texts) else EMPTY

    if not arguments.given[0].literal or not isinstance(arguments.given[0].constant, str):
        return joined
    slots = ", ".join(f"{{{number}}}" for number in range(len(items)))
    by = arguments.given[0].constant
    return written(joined, f"{{together}}({{by}}, {slots})", *items, together=together, by=by)


def _code(arguments: Arguments) -> Fn:
    usage = "code('table', column=value, …)"
    if not arguments.given or (len(arguments.given) > 1 and not arguments.named):
        raise Unreadable(f"code is written {usage}, or value | code('table').", arguments.at)
    table = arguments.table(0)
    arguments.expect(1, 1, usage, tuple(arguments.named))
    named = {name: argument for name, argument in arguments.named.items() if not (table.dated and name == "on")}
    if "on" not in table.columns:
        lookups.undated(table, arguments)
    for name, argument in named.items():
        if name not in table.columns:
            hint = did_you_mean(name, table.columns) or f" It has {listed(table.columns)}."
            raise Unreadable(f"{table.label} has no column '{name}'.{hint}", argument.at)
    if not named:
        raise Unreadable(f"code needs the columns to look in: code('{table.name}', {table.columns[0]}=…).", arguments.at)
    if not table.gives(tuple(named)):
        raise Unreadable(f"every column of {table.label} is named, so nothing is left to give.", arguments.at)
    keys = [argument.fn for argument in named.values()]
    if table.dated:
        find = lookups.dated(table, tuple(named), arguments)
        return lambda scope: find(scope, tuple([text(key(scope)) for key in keys]))
    lookup = table.lookup(tuple(named))
    slots = "".join(f"{{text}}({{{number}}}), " for number in range(len(keys)))
    run: Fn = lambda scope: lookup(tuple([text(key(scope)) for key in keys]))  # noqa: E731  # as the others
    return written(run, f"{{lookup}}(({slots}))", *keys, lookup=lookup, text=text)


CALLS: Final[Mapping[str, Callable[[Arguments], Fn]]] = {"first": _first, "joined": _joined, "code": _code}

CALL_USAGE: Final = {
    "first": ("first(a, b, …)", "the first of its values that was sent"),
    "joined": ("joined(', ', a, b, …)", "texts with something between them; what was not sent is skipped"),
    "code": ("code('table', column=value, …, on=day)", "the row of a code table whose columns match, of those valid on a day"),
}


def _listed(arguments: Arguments) -> Callable[[Value], bool]:
    arguments.expect(1, 1, "is listed('table')")
    table = arguments.table(0)
    return lambda value: not is_empty(value) and value is not NULL and text(value) in table


def _matching(arguments: Arguments) -> Callable[[Value], bool]:
    arguments.expect(1, 1, "is matching('pattern')")
    try:
        return matching(arguments.text(0, "a pattern"))
    except ValueError as error:
        raise Unreadable(str(error), arguments.given[0].at) from None


def _empty(arguments: Arguments) -> Callable[[Value], bool]:
    arguments.expect(0, 0, "is empty")
    return nothing


def _null(arguments: Arguments) -> Callable[[Value], bool]:
    arguments.expect(0, 0, "is null")
    return lambda value: value is NULL


TESTS: Final[Mapping[str, Callable[[Arguments], Callable[[Value], bool]]]] = {
    "listed": _listed,
    "matching": _matching,
    "empty": _empty,
    "null": _null,
}
TEST_USAGE: Final = {
    "listed": ("is listed('table')", "whether the first column of a code table has the value"),
    "matching": ("is matching('pattern')", "whether a regular expression is found in the value"),
    "empty": ("is empty", "whether nothing was sent"),
    "null": ("is null", "whether an explicit null was sent"),
}
