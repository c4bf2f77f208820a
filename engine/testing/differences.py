"""What differs between two contents, field by field. Only where: never which values, so that it may be shown to whoever sees
no bodies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final, NamedTuple

from engine import registry
from engine.contracts import Format, Node
from engine.errors import WardlineError
from engine.model import Outgoing

MOST: Final = 200  # fields of one pair that are told

_INDEX: Final = re.compile(r"\[\d+\]")
_SEGMENT: Final = re.compile(r"\b([A-Z][A-Z0-9]{2})\[\d+\](?=[-/])")


class Difference(NamedTuple):
    """A field that is not the same. `field` stands for all items of a list, and all segments of a name:
    `payload.lines[*].account`, `OBX-3.1`."""

    route: str
    field: str
    change: str  # `changed`, `added`, `gone`


def between(before: Iterable[Outgoing], after: Iterable[Outgoing]) -> list[Difference]:
    """Of all that a message gave, each difference once. The order of the results of a route, and of the routes, counts."""
    was, now = _by_route(before), _by_route(after)
    found: dict[Difference, None] = {}
    for route in was.keys() | now.keys():
        old, new = was.get(route, []), now.get(route, [])
        if not old or not new:
            found[Difference(route, "(route)", "added" if new else "gone")] = None
            continue
        if len(old) != len(new):
            found[Difference(route, "(results)", "added" if len(new) > len(old) else "gone")] = None
        for one, other in zip(old, new, strict=False):
            found.update(dict.fromkeys(_pair(route, one, other)))
    together = [route for route in was if route in now]
    if together != [route for route in now if route in was]:
        found[Difference("", "(order of routes)", "changed")] = None
    return sorted(found)


def _by_route(outgoings: Iterable[Outgoing]) -> dict[str, list[Outgoing]]:
    found: dict[str, list[Outgoing]] = {}
    for one in outgoings:
        found.setdefault(one.route, []).append(one)
    return found


_FACTS: Final = (
    ("destination", "(destination)"),
    ("content_type", "(content type)"),
    ("kind", "(kind)"),
    ("action", "(action)"),
    ("identity", "(identity)"),
    ("idempotency_key", "(idempotency key)"),
)


def _pair(route: str, one: Outgoing, other: Outgoing) -> Iterator[Difference]:
    for name, title in _FACTS:
        if getattr(one, name) != getattr(other, name):
            yield Difference(route, title, "changed")
    if set(one.order_keys) != set(other.order_keys):
        yield Difference(route, "(order key)", "changed")
    if one.content == other.content:
        return
    fields = list(_contents(one, other))
    yield from (Difference(route, field, change) for field, change in fields[:MOST])
    if len(fields) > MOST:
        yield Difference(route, "(more fields)", "changed")


def _contents(one: Outgoing, other: Outgoing) -> Iterator[tuple[str, str]]:
    format_ = _formats().get(one.content_type) if one.content_type == other.content_type else None
    try:
        was = _leaves(format_, one.content) if format_ else None
        now = _leaves(format_, other.content) if format_ else None
    except WardlineError:  # one of them cannot be read at all
        was = now = None
    if was is None or now is None:
        yield "(text)", "changed"
        return
    if was == now:
        yield "(order, or how it is written)", "changed"
        return
    found: dict[tuple[str, str], None] = {}
    for path in was.keys() | now.keys():
        if was.get(path) != now.get(path):
            change = "changed" if path in was and path in now else "added" if path in now else "gone"
            found[every(path), change] = None
    yield from sorted(found)


def every(path: str) -> str:
    """`lines[2].amount` as all of them: `lines[*].amount`; of `OBX[2]-3`, where a single one has no number, `OBX-3`."""
    return _INDEX.sub("[*]", _SEGMENT.sub(r"\1", path))


@cache
def _formats() -> dict[str, Format]:
    """By content type."""
    built = [kind.build() for kind in registry.formats().values()]
    return {format_.content_type: format_ for format_ in built if format_.name != "raw"}


def _leaves(format_: Format, content: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    stack: list[Node] = list(format_.parse(content).nodes())
    while stack:
        node = stack.pop()
        if node.children:
            stack += node.children
        else:
            found[node.path] = node.value
    return found
