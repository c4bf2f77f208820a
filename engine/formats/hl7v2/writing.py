"""Values as they stand in a message: escaped, in its delimiters, at the level they are put."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final

from engine.errors import ContentError
from engine.formats.hl7v2.syntax import Syntax
from engine.formats.hl7v2.values import COMPONENT, LEAF, NULL_TEXT, REPETITION, SEGMENT, Part
from engine.formats.hl7v2.values import FIELD as WHOLE_FIELD
from engine.values import NULL, Composite, Value, is_empty

_NEVER_EMPTY: Final = frozenset({Decimal, date, datetime})


def written(value: Value, level: int, syntax: Syntax) -> str:
    """A value as it stands in the message at `level`. Raises ContentError where it has no form there."""
    if type(value) in _NEVER_EMPTY:
        return syntax.escaped(_plain(value))
    if is_empty(value) and not isinstance(value, Composite):
        return ""
    if value is NULL:
        return NULL_TEXT
    if isinstance(value, Part) and value.level != SEGMENT:
        return redelimited(value.raw, level, value.syntax, syntax, value.level)
    if isinstance(value, str):
        return NULL_TEXT if value == NULL_TEXT else syntax.escaped(str(value))
    if isinstance(value, (list, tuple)):
        if level != WHOLE_FIELD:
            raise ContentError("a list can only be the repetitions of a field")
        return syntax.repetition.join(written(each, REPETITION, syntax) for each in value)
    return syntax.escaped(_plain(value))


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "Y" if value else "N"  # table 0136
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime):  # DTM, §2.A.22
        fraction = f".{value.microsecond // 100:04d}" if value.microsecond else ""
        return value.strftime("%Y%m%d%H%M%S").rjust(14, "0") + fraction + value.strftime("%z")[:5]
    if isinstance(value, date):
        return value.isoformat().replace("-", "")
    if isinstance(value, time):
        return value.strftime("%H%M%S")
    raise ContentError(f"a {type(value).__name__} cannot stand in an HL7 field; name one of its parts")


def redelimited(raw: str, level: int, source: Syntax, target: Syntax, came_from: int = WHOLE_FIELD) -> str:
    """Raw text with its structure, in another message's delimiters or at another level: the components of a field become
    the subcomponents of a component, and the other way round."""
    raws = raw.split(source.repetition) if came_from == WHOLE_FIELD and source.repetition in raw else [raw]
    if level != WHOLE_FIELD:
        del raws[1:]
    if source is target and (level == came_from or max(level, came_from) <= REPETITION):
        return target.repetition.join(raws)
    texts: list[str] = []
    for each in raws:
        tree = _tree(each, came_from, source)
        if level == LEAF:
            texts.append(_leaf(tree[0][0], source, target))
        elif level == COMPONENT:
            parts = tree[0] if len(tree) == 1 else [subs[0] for subs in tree]
            texts.append(target.subcomponent.join(_leaf(one, source, target) for one in parts))
        else:
            pieces = [[one] for one in tree[0]] if came_from == COMPONENT else tree
            texts.append(
                target.component.join(target.subcomponent.join(_leaf(one, source, target) for one in subs) for subs in pieces)
            )
    return target.repetition.join(texts)


def _tree(raw: str, level: int, syntax: Syntax) -> list[list[str]]:
    if level == LEAF:
        return [[raw]]
    if level == COMPONENT:
        return [raw.split(syntax.subcomponent)]
    return [piece.split(syntax.subcomponent) for piece in raw.split(syntax.component)]


def _leaf(raw: str, source: Syntax, target: Syntax) -> str:
    """Escapes that the target could not mean are written anew; the others stay as they were sent."""
    if source is target or raw == NULL_TEXT:
        return raw
    return target.escaped(source.unescape(raw))
