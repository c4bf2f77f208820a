"""Values as people are shown them: cut short, and always text that can be written."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any, Final

from engine.values import EMPTY, NULL, Composite, Value

SHOWN: Final = 400  # characters of one value
MOST: Final = 50  # entries of an object or a list
DEEPEST: Final = 6


def text_of(value: Value) -> str:
    """`WORTHING`, `64.00`, `{"code":"99213"}`; `null` for an explicit null, nothing for nothing."""
    text = json.dumps(_bounded(value), ensure_ascii=False) if isinstance(value, (dict, list)) else _text(value)
    return cut(text)


def cut(text: str) -> str:
    """At most SHOWN characters, and none that is half of one."""
    short = text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
    return short.encode("utf-8", "backslashreplace").decode()


def _text(value: Value) -> str:
    if isinstance(value, Composite):
        return value.raw
    if value is NULL or value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f") if abs(value.adjusted()) < SHOWN else str(value)
    if isinstance(value, int):
        return str(value) if value.bit_length() < 4 * SHOWN else "a very large number"
    return value.isoformat() if isinstance(value, date) else str(value)


def _bounded(value: Any, depth: int = DEEPEST) -> Any:
    if isinstance(value, dict) and depth:
        return {cut(str(key)): _bounded(inner, depth - 1) for key, inner in list(value.items())[:MOST]}
    if isinstance(value, list) and depth:
        return [_bounded(inner, depth - 1) for inner in value[:MOST]]
    if value is None or value is NULL or isinstance(value, bool):
        return None if value is NULL else value
    if isinstance(value, int) and value.bit_length() < 64:
        return value
    return "…" if isinstance(value, (dict, list)) else "" if value is EMPTY else cut(_text(value))
