"""pydantic's errors in the words of an analyst: what was expected, and what stands there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_core import ErrorDetails

from engine.strictyaml import Map, Seq
from engine.text import did_you_mean, listed

WRONG_TYPE = {
    "string_type": "text",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "decimal_parsing": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "keys with values",
    "mapping_type": "keys with values",
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
    "url_parsing": "a URL",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def problem_text(details: Sequence[ErrorDetails], name: str, value: Any) -> str:
    """One sentence about the option `name`, which has `value` in the file; several details are of the forms it may have."""
    detail = details[0]
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in ("value_error", "assertion_error"):
        text = str(context.get("error", "")) or detail["msg"].partition(", ")[2]
        sentence = text if text.endswith((".", "?")) else f"{text}."
        return f"{name}: {sentence}" if name else sentence
    return f"'{name}' takes {' or '.join(dict.fromkeys(map(_expected, details)))}, {_given(value)}"


def _expected(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in WRONG_TYPE:
        return WRONG_TYPE[kind]
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"{words} {context[bound]}"
    if kind in ("literal_error", "enum"):
        return listed(str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", "), "or")
    if kind == "string_pattern_mismatch":
        return "an expression" if context["pattern"] == "^=" else f"text like {context['pattern']}"
    if kind == "string_too_short":
        return "text that is not empty" if context["min_length"] == 1 else f"at least {context['min_length']} characters"
    if kind == "too_short":
        return "at least one entry" if context["min_length"] == 1 else f"at least {context['min_length']} entries"
    if kind == "too_long":
        return f"at most {context['max_length']} entries"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return f"one of {context.get('expected_tags', 'several forms')}"
    return f"something else: {detail['msg'][:1].lower()}{detail['msg'][1:]}"


def _given(value: Any) -> str:
    if value in ("", {}, []):
        return "but nothing stands here."
    if isinstance(value, Map):
        return "not keys with values."
    if isinstance(value, Seq):
        return "not a list."
    return f"not '{str(value)[:40]}'."


def choice(value: str, allowed: list[str]) -> str:
    """Refuse `value`: the choices, and the nearest."""
    return f"'{value[:40]}' is none of {listed(allowed, 'or')}.{did_you_mean(value, allowed)}"
