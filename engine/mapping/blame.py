"""Which place in the message is at fault: worked out only when something has gone wrong."""

from __future__ import annotations

from engine.mapping.faults import Refused
from engine.mapping.inline import as_written
from engine.mapping.scope import Fn, Scope
from engine.values import Value


def blamed(run: Fn, paths: tuple[str, ...]) -> Fn:
    """`run`, with the place in the message added to what it refuses. Costs nothing while nothing goes wrong."""
    if not paths:
        return run

    def guarded(scope: Scope) -> Value:
        try:
            return run(scope)
        except Refused as fault:
            raise placed(fault, scope, paths) from None

    return as_written(guarded, run)


def placed(fault: Refused, scope: Scope, paths: tuple[str, ...]) -> Refused:
    """The fault with its place, unless it has one from further inside."""
    if paths and not fault.place:
        fault.place = _place(scope, paths, fault)
    return fault


def _place(scope: Scope, paths: tuple[str, ...], fault: Refused) -> str:
    """The path at fault: the one that gave the value, else the only one, else all that were tried."""
    if fault.value is not None:
        for path in paths:
            values = scope.m.all(path)
            for index, value in enumerate(values):
                if value == fault.value:
                    starred = path.replace("[*]", f"[{index + 1}]", 1) if len(values) > 1 else path
                    return scope.m.place(starred)
    if fault.index >= 0:
        return scope.m.place(paths[0].replace("[*]", f"[{fault.index + 1}]", 1))
    return " or ".join(scope.m.place(path) for path in paths[:3])
