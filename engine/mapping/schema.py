"""The fields of a canonical entity, walked through its JSON Schema, so that a misspelt one is found before a message comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
    def choices(self) -> list[str]:
        """The texts that a plain value may have; empty where it is free."""
        if "const" in self._node:
            return [str(self._node["const"])]
        return [str(choice) for choice in self._node.get("enum", ()) if choice is not None]
