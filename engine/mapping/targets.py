"""What a mapping's results become: canonical JSON in its envelope, plain JSON, a message, text from a template."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

import orjson

from engine.contracts import Document, Editable, Entity, Facts, Format, Product
from engine.dotted import DataDocument
from engine.errors import ContentError
from engine.mapping import operators
from engine.mapping.faults import Refused
from engine.mapping.report import Where, failure, invalid
from engine.mapping.templates import Template
from engine.strictyaml import Text


class Result(NamedTuple):
    """One result, before it is rendered: what the next mapping of a chain reads."""

    value: Any  # payload, data, Editable, or rendered text
    action: str
    n: int  # 1 for the first of the chain


class Target(Protocol):
    kind: str

    def check(self, value: Any, where: Where, marks: dict[str, Text]) -> Any:
        """The value as its schema has it. Raises MappingError."""

    def product(self, result: Result, facts: Facts) -> Product:
        """The result as it is delivered."""

    def document(self, results: list[Result], *, many: bool) -> Document:
        """What a next mapping reads: one result, or all of them as one input."""


class EntityTarget:
    def __init__(self, entity: Entity) -> None:
        self.entity = entity
        self.kind = f"{entity.name}/{entity.version}"

    def check(self, value: Any, where: Where, marks: dict[str, Text]) -> Any:
        try:
            return self.entity.validate(value)
        except ContentError as error:
            raise _explained(error, where, marks) from None

    def product(self, result: Result, facts: Facts) -> Product:
        content, action, key = self.entity.delivered(result.value, result.action, facts)
        return Product(content, "application/json", self.kind, action, key, result.value)

    def document(self, results: list[Result], *, many: bool) -> Document:
        return DataDocument({self.entity.name: [result.value for result in results] if many else results[0].value})


def _explained(error: ContentError, where: Where, marks: dict[str, Text]) -> ContentError:
    """The schema's complaint with the line that fills the field, or the `set` it is missing from."""
    path = "".join(part.partition("[")[0] for part in error.place.split("]"))
    field = path
    while field and field not in marks:
        field = field.rpartition(".")[0]
    return invalid(Where(where.mapping, error.place or where.target, marks.get(field, where.text)), error.problem, "")


class JsonTarget:
    kind = "json"

    def check(self, value: Any, where: Where, marks: dict[str, Text]) -> Any:
        return value

    def product(self, result: Result, facts: Facts) -> Product:
        try:
            content = orjson.dumps(result.value, default=_as_json)
        except orjson.JSONEncodeError as error:  # around what `_as_json` refused, or of its own: an integer beyond 64 bits
            raise ContentError(f"cannot be written as JSON: {error.__cause__ or error}") from None
        return Product(content, "application/json", self.kind, result.action, "", result.value)

    def document(self, results: list[Result], *, many: bool) -> Document:
        return DataDocument([result.value for result in results] if many else results[0].value)


def _as_json(value: Any) -> Any:
    """Decimals as exact JSON numbers: they never pass through a float."""
    if isinstance(value, Decimal):
        return orjson.Fragment(operators.written_out(value))
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


class MessageTarget:
    """A message in `format`; its identity is the engine's unless the mapping sets it."""

    def __init__(self, format_: Format, *, identified: bool) -> None:
        self.format, self.identified = format_, identified
        self.kind = format_.name

    def check(self, value: Any, where: Where, marks: dict[str, Text]) -> Any:
        return value

    def product(self, result: Result, facts: Facts) -> Product:
        document: Editable = result.value
        if not self.identified:
            self.format.identify(document, facts.identity(result.n - 1))
        content = self.format.render(document)
        return Product(content, self.format.content_type, self.kind, result.action, "", document)

    def document(self, results: list[Result], *, many: bool) -> Document:
        document: Document = results[0].value
        return document


class TemplateTarget:
    def __init__(self, kind: str, template: Template | None) -> None:
        self.kind, self.template = kind, template

    def check(self, value: Any, where: Where, marks: dict[str, Text]) -> Any:
        return value

    def render(self, document: Document, names: dict[str, Any], facts: Facts, where: Where) -> str:
        assert self.template is not None
        try:
            return self.template.render(document, names, facts)
        except Refused as fault:
            raise failure(where, fault) from None

    def product(self, result: Result, facts: Facts) -> Product:
        content_type = {"xml": "application/xml", "text": "text/plain", "json": "application/json"}[self.kind]
        return Product(result.value.encode(), content_type, self.kind, result.action, "", result.value)

    def document(self, results: list[Result], *, many: bool) -> Document:
        raise Refused("text from a template cannot be mapped further")
