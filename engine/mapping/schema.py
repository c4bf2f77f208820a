"""The fields of a canonical entity, walked through its JSON Schema, so that a misspelt one is found before a message comes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final

_DATE: Final = re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}")
_TRUTH: Final = frozenset({"true", "false", "yes", "no", "on", "off", "t", "f", "y", "n", "1", "0"})


class Shape:
    """One place in a schema: an object with fields, a list of shapes, or a plain value."""

    def __init__(self, root: Mapping[str, Any], node: Mapping[str, Any] | None = None) -> None:
        self._root = root
        self._node = self._resolved(root if node is None else node)

    def _resolved(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        for _ in range(10):
            if "$ref" in node:
                node = self._root.get("$defs", {}).get(str(node["$ref"]).rpartition("/")[2], {})
            elif "anyOf" in node and "properties" not in node:
                choices = [choice for choice in node["anyOf"] if choice.get("type") != "null"]
                if len(choices) != 1:
                    return node
                node = choices[0]
            elif len(node.get("allOf", ())) == 1:
                node = node["allOf"][0]
            else:
                return node
        return node

    @property
    def is_list(self) -> bool:
        return self._node.get("type") == "array"

    @property
    def is_object(self) -> bool:
        return "properties" in self._node

    @property
    def item(self) -> Shape:
        """What a list holds; of anything else itself."""
        items = self._node.get("items")
        return Shape(self._root, items) if self.is_list and isinstance(items, Mapping) else self

    @property
    def fields(self) -> Mapping[str, Any] | None:
        """Names of the fields, None where any name goes."""
        found: Mapping[str, Any] | None = self._node.get("properties")
        return found

    def field(self, name: str) -> Shape | None:
        """The field `name`; None where the schema does not say, which is no error."""
        fields = self.fields
        return Shape(self._root, fields[name]) if fields and name in fields else None

    @property
    def required(self) -> list[str]:
        """Fields without which an object is not valid."""
        return list(self._node.get("required", ()))

    def expected(self, text: str) -> str:
        """What is expected instead of the literal `text`; '' where it fits, as far as the schema says."""
        forms = [form for form in self._node.get("anyOf", [self._node]) if form.get("type") != "null"]
        wanted = [_wanted(form, text.strip()) for form in forms]
        return "" if "" in wanted else wanted[0] if wanted else ""

    @property
    def choices(self) -> list[str]:
        """The texts that a plain value may have; empty where it is free."""
        if "const" in self._node:
            return [str(self._node["const"])]
        return [str(choice) for choice in self._node.get("enum", ()) if choice is not None]


def _wanted(form: Mapping[str, Any], text: str) -> str:
    """What one form of a plain value wants, '' where `text` is that."""
    kind, pattern = form.get("type"), str(form.get("pattern", ""))
    if kind == "integer":
        return "" if re.fullmatch(r"[+-]?[0-9]+", text) else "a whole number"
    if kind == "boolean":
        return "" if text.lower() in _TRUTH else "true or false"
    if form.get("format") == "date":
        return "" if _DATE.fullmatch(text) and _reads(date.fromisoformat, text) else "a date such as 2026-01-31"
    if form.get("format") == "date-time":
        moment = len(text) > 10 and _reads(datetime.fromisoformat, text)
        return "" if moment else "a time such as 2026-01-31T10:30:00+01:00"
    if pattern.startswith("^-?[0-9]+"):
        return "" if re.fullmatch(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)", text) else "a decimal number such as 12.50"
    if pattern:
        return "" if re.search(pattern, text) else f"text like {pattern}"
    longest = form.get("maxLength")
    return f"at most {longest} characters" if longest is not None and len(text) > longest else ""


def _reads(read: Any, text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True
