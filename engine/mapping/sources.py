"""A canonical entity as the source of a mapping (`from: charge/v1`): its paths, and its payloads as a Document."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from engine.contracts import Entity
from engine.dotted import STEPS, DataDocument, compile_path, gathered
from engine.errors import ContentError, PathError
from engine.mapping.schema import Shape
from engine.text import did_you_mean
from engine.values import Value


class EntitySource:
    """What a Format is to bytes, this is to canonical payloads: enough of one for expressions and for `wardline map`."""

    typed = True
    content_type = "application/json"

    def __init__(self, entity: Entity) -> None:
        self.entity = entity
        self.name = f"{entity.name}/{entity.version}"
        self.paths = re.compile(
            rf"(?<![\w.]){re.escape(entity.name)}(?![\w(]){STEPS.pattern}|\.(?:[A-Za-z_]\w*|\d+){STEPS.pattern}"
        )
        self._shape = Shape(entity.json_schema())

    def check_path(self, path: str) -> None:
        """Raises PathError for a path that names a field the entity does not have."""
        compiled = compile_path(path)
        if compiled.relative:
            return
        shape: Shape | None = self._shape
        walked = self.entity.name
        for kind, key in compiled.steps[1:]:
            if kind != "name" or shape is None:
                continue
            shape = shape.item
            if shape.fields is not None and key not in shape.fields:
                hint = did_you_mean(key, shape.fields) or f" It has {', '.join(list(shape.fields)[:12])}."
                raise PathError(path, f"{walked} has no field '{key}'.{hint}", len(walked) + 1)
            shape, walked = shape.field(key), f"{walked}.{key}"

    def gather(self, paths: Sequence[str], enough: Sequence[str] = ()) -> Callable[[Any], Sequence[Value]]:
        return gathered(paths)

    def document(self, payloads: Sequence[Any], *, many: bool) -> DataDocument:
        return DataDocument({self.entity.name: list(payloads) if many else payloads[0]})

    def payloads(self, content: bytes) -> list[Any]:
        """From JSON: an envelope, a payload, or a list of either. Raises ContentError."""
        try:
            value = json.loads(content, parse_float=Decimal)
        except (ValueError, RecursionError) as error:
            raise ContentError(f"is not JSON: {error}"[:200]) from None
        items = value if isinstance(value, list) else [value]
        payloads = [item["payload"] if isinstance(item, dict) and "payload" in item else item for item in items]
        return [self.entity.validate(payload if isinstance(payload, dict) else {}) for payload in payloads]
