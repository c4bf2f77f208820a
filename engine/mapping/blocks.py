"""`set`, `let`, `for_each`, `when`: from lines of a file to functions of a scope.

A block runs once, or once for each turn of its `for_each`; each turn sees the document narrowed to it, its own `let` values
and `n`. Fields whose value is empty are left out. While nothing goes wrong, a field costs a call and a dictionary entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from engine.contracts import Document
from engine.errors import PathError
from engine.mapping.compile import Compiled
from engine.mapping.faults import Refused
from engine.mapping.inline import object_of, quick, quick_lets
from engine.mapping.operators import kind, nothing, text
from engine.mapping.report import Where, failure
from engine.mapping.scope import OMIT, Fn, Scope
from engine.values import EMPTY, NULL, Value

Emit = Callable[[Scope], list[Value]]
"""What one turn adds to the result: usually one value."""


class Field(NamedTuple):
    name: str
    run: Fn
    clean: bool  # an object or list of blocks: already without what is empty
    where: Where


class Let(NamedTuple):
    slot: int  # in Scope.lets
    run: Fn
    where: Where
    early: bool  # `when` needs it


class Loop(NamedTuple):
    """`for_each`: a path of the document, or an expression that gives a list."""

    path: str
    items: Compiled | None
    owns: tuple[str, ...]
    by: Fn | None
    where: Where


class Block(NamedTuple):
    """One level of `for_each`/`let`/`when`/`set`."""

    loop: Loop | None
    lets: tuple[Let, ...]
    when: tuple[Fn, Where] | None
    emit: Emit
    fill: Callable[[Scope], None] | None = None  # works out the lets that are not early

    def scopes(self, scope: Scope) -> Iterable[Scope]:
        """One ready scope for each turn that `when` lets pass."""
        if self.loop is None and not self.lets:
            return (scope,) if self.when is None or _guard(*self.when, scope) else ()
        turns = self._turns(scope)
        return turns if self.when is None and not self.lets else self._ready(turns, scope)

    def _ready(self, turns: list[Scope], scope: Scope) -> Iterator[Scope]:
        for turn in turns:
            turn.lets = [*scope.lets, *([EMPTY] * len(self.lets))]
            for let in self.lets:
                if let.early:
                    turn.lets[let.slot] = _guard(let.run, let.where, turn)
            if self.when is not None and not _guard(*self.when, turn):
                continue
            if self.fill is not None:
                self.fill(turn)
            yield turn

    def _turns(self, scope: Scope) -> list[Scope]:
        """A scope for each turn, with the lets around it."""
        loop, facts, lets = self.loop, scope.facts, scope.lets
        if loop is None:
            return [Scope(scope.m, facts, lets, scope.n, scope.item, scope.result)]
        if loop.items is not None:
            items = _listed(_guard(loop.items.run, loop.where, scope), loop.where)
            return [Scope(scope.m, facts, lets, n, item, scope.result) for n, item in enumerate(items, 1)]
        turns: Sequence[Document] = scope.m.turns(loop.path, loop.owns)
        if loop.by is not None:
            turns = _grouped(turns, loop, scope)
        return [Scope(document, facts, lets, n, scope.item, scope.result) for n, document in enumerate(turns, 1)]

    def run(self, scope: Scope) -> list[Value]:
        """The results of every turn, one after another."""
        results: list[Value] = []
        for turn in self.scopes(scope):
            results += self.emit(turn)
        return results


def filling(lets: Sequence[Let]) -> Callable[[Scope], None] | None:
    """What fills the lets that need not come before `when`."""
    late = [let for let in lets if not let.early]

    def fill(scope: Scope) -> None:
        for let in late:
            scope.lets[let.slot] = _guard(let.run, let.where, scope)

    return quick_lets([(let.slot, let.run) for let in late], fill) if late else None


def _guard(run: Fn, where: Where, scope: Scope) -> Value:
    try:
        return run(scope)
    except (Refused, PathError) as fault:
        raise failure(where, fault) from None


def _listed(value: Value, where: Where) -> list[Value]:
    if isinstance(value, list):
        return [item for item in value if not nothing(item)]
    if nothing(value) or value is NULL or value is OMIT:
        return []
    if isinstance(value, dict):
        return [value]
    raise failure(where, Refused(f"for_each needs a list, not {kind(value)}", value))


def _grouped(turns: Sequence[Document], loop: Loop, scope: Scope) -> list[Document]:
    """One document for each distinct value of `by`, in the order in which they first come."""
    assert loop.by is not None
    groups: dict[str, list[Document]] = {}
    for n, turn in enumerate(turns, 1):
        key = _guard(loop.by, loop.where, Scope(turn, scope.facts, scope.lets, n, scope.item))
        groups.setdefault(_key(key), []).append(turn)
    return [scope.m.grouped(group) for group in groups.values()]


def _key(value: Value) -> str:
    return "\x1f".join(map(_key, value)) if isinstance(value, list) else text(value)


def plain(value: Value) -> Any:
    """A value as the result keeps it; EMPTY where it is to be left out."""
    if type(value) is str:
        return value or EMPTY
    if value is EMPTY or value is OMIT:
        return EMPTY
    if value is NULL or value is None:
        return None
    if isinstance(value, str):
        return str.__str__(value) or EMPTY
    if isinstance(value, dict):
        for item in value.values():
            if not item or type(item) is not str:
                return {name: item for name, item in ((n, plain(v)) for n, v in value.items()) if item is not EMPTY} or EMPTY
        return value or EMPTY  # texts only, which is the commonest: it may stay as it is
    if isinstance(value, list):
        return [item for item in map(plain, value) if item is not EMPTY] or EMPTY
    return value


def fields(entries: Sequence[Field]) -> Fn:
    """An object of fields; EMPTY where none has a value."""
    items = tuple(entries)

    def run(scope: Scope) -> Value:
        result: dict[str, Any] = {}
        where = None
        try:
            for name, value_of, clean, where in items:  # noqa: B007  # `where` is read when something goes wrong
                value = value_of(scope)
                if type(value) is not str:
                    if not clean:
                        value = plain(value)
                    if value is EMPTY:
                        continue
                elif not value:
                    continue
                result[name] = value
        except (Refused, PathError) as fault:
            assert where is not None
            raise failure(where, fault) from None
        return result or EMPTY

    return object_of(run, [(name, value_of, clean) for name, value_of, clean, _ in items], plain)


def as_list(block: Block) -> Fn:
    return lambda scope: block.run(scope) or EMPTY


def as_one(block: Block) -> Fn:
    """A block without `for_each`: its one result, or nothing where `when` says no."""

    def run(scope: Scope) -> Value:
        results = block.run(scope)
        return results[0] if results else EMPTY

    return run


def single(run: Fn) -> Emit:
    """One value a turn, none where it is empty."""
    run = quick(run)

    def emit(scope: Scope) -> list[Value]:
        value = run(scope)
        return [] if value is EMPTY else [value]

    return emit


def item(run: Fn, where: Where) -> Emit:
    """A plain value as an entry of a list; a list gives its entries."""
    run = quick(run)

    def emit(scope: Scope) -> list[Value]:
        try:
            value = plain(run(scope))
        except (Refused, PathError) as fault:
            raise failure(where, fault) from None
        return [] if value is EMPTY else value if type(value) is list else [value]

    return emit


def listed(parts: Sequence[Emit]) -> Fn:
    """A list written out in the file."""
    return lambda scope: [value for part in parts for value in part(scope)] or EMPTY
