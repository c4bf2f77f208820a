"""A converter (`| date`, `| coded`) applied to what stands before it: to each item of a list, and to nothing not at all."""

from __future__ import annotations

from collections.abc import Callable

from engine.mapping.blame import placed
from engine.mapping.composites import of_leaves
from engine.mapping.faults import Refused
from engine.mapping.filters import direct_of
from engine.mapping.inline import path_in_parts, written
from engine.mapping.operators import nothing
from engine.mapping.scope import OMIT, Fn, Scope
from engine.values import EMPTY, NULL, Value

Apply = Callable[[Scope, Value], Value]


def converted(apply: Apply, inner: Fn, paths: tuple[str, ...]) -> Fn:
    """`inner | apply`; what is refused is blamed on one of `paths`."""

    def other(scope: Scope, value: Value) -> Value:
        if type(value) is list:
            return _each(apply, scope, value)
        if not value and (value is NULL or value is OMIT or nothing(value)):
            return value if value is NULL or value is OMIT else EMPTY
        return apply(scope, value)

    def run(scope: Scope) -> Value:
        value = inner(scope)
        try:
            return other(scope, value)
        except Refused as fault:
            raise placed(fault, scope, paths) from None

    return _in_parts(run, apply, inner, other) or _directly(run, apply, inner, other)


def _each(apply: Apply, scope: Scope, values: list[Value]) -> list[Value]:
    results: list[Value] = []
    for index, value in enumerate(values):
        if not value and (value is NULL or nothing(value)):
            if value is NULL:
                results.append(value)
            continue
        try:
            results.append(apply(scope, value))
        except Refused as fault:
            fault.index = index
            raise
    return results


def _directly(run: Fn, apply: Apply, inner: Fn, other: Apply) -> Fn:
    """`run` as it is written: what is commonest for its converter first, everything else as the closure has it."""
    convert = direct_of(apply)
    use, test = "{apply}({t})", "{t} and type({t}) is not list"
    if convert is None:
        use = "{apply}(scope, {t})"
    elif convert.texts:
        test = "type({t}) is str and {t}"
    template = f"(EMPTY if ({{t}} := {{0}}) is EMPTY else {use} if {test} else {{other}}(scope, {{t}}))"
    enough = "text" if convert and convert.texts else ""
    return written(run, template, inner, enough=enough, apply=convert.convert if convert else apply, other=other)


def _in_parts(run: Fn, apply: Apply, inner: Fn, other: Apply) -> Fn | None:
    """The same for a converter of composites right behind its path, which may give plain lists of leaves instead of them;
    None where it is something else."""
    path, convert = path_in_parts(inner), direct_of(apply)
    from_leaves = of_leaves(convert.convert) if convert else None
    if not path or convert is None or from_leaves is None:
        return None

    def each(scope: Scope, values: list[Value]) -> Value:
        found: list[Value] = []
        for value in values:
            if type(value) is list:
                found.append(from_leaves(value))
            else:
                found += other(scope, [value])
        return found

    if "[*]" in path:
        return written(run, "{each}(scope, {0})", inner, enough="parts", each=each)
    template = (
        "(EMPTY if ({t} := {0}) is EMPTY else {from_leaves}({t}) if type({t}) is list "
        "else {convert}({t}) if {t} else {other}(scope, {t}))"
    )
    return written(run, template, inner, enough="parts", tidy=True, from_leaves=from_leaves, convert=convert.convert, other=other)
