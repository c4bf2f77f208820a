"""Documents → what is delivered."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from typing import Any, NamedTuple, Protocol

from engine.contracts.formats import Document
from engine.model import (
    Heading,
)
from engine.values import Value


class Facts(NamedTuple):
    """What a mapping may know besides the document: it is pure, so time and ids are inputs."""

    message_id: str = "0000000000"  # as people read it
    received_at: int = 0
    channel: str = ""
    route: str = ""
    heading: Heading = Heading("", "", "")
    organization: str = ""
    environment: str = ""
    timezone: str = "UTC"
    first_ordinal: int = 1  # ordinal of the route's first product
    format: str = ""  # what the message was read as: `hl7v2`

    def identity(self, n: int) -> str:
        """Transport identity of the route's n-th product (from 0): the message's id and the ordinal."""
        return f"{self.message_id}-{self.first_ordinal + n}"


class Expression(Protocol):
    """A compiled `=…` of a channel file (mappings compile theirs together). Text without `=` is a constant."""

    text: str

    def __call__(self, document: Document, facts: Facts) -> Value:
        """Raises ContentError with the path and place at fault."""

    # Optional, found by name: `together(others)`, a function that gives the values of this one and of `others` (of the same
    # class) at once, and raises anything where one of them would.


class Product(NamedTuple):
    """One result of a mapping chain, rendered."""

    content: bytes
    content_type: str
    kind: str  # `charge/v1`, `hl7v2`, `xml`
    action: str = ""
    idempotency_key: str = ""
    value: Any = None  # the canonical payload as plain data, for tests and `wardline map`


class Mapping(Protocol):
    """A chain of one or more mapping files, compiled. Pure: the same input gives the same output."""

    name: str  # `dft-to-charge`, or `dft-to-charge, charge-to-journal`

    def apply(self, document: Document, facts: Facts) -> list[Product]:
        """Raises MappingError or UnknownCode, naming the mapping, the field and the place in the message.
        An empty list means that every result was skipped by `when`."""


class Entity(Protocol):
    """A canonical entity's schema, found by name (`charge/v1`) in the registry."""

    name: str  # `charge`
    version: str  # `v1`

    def validate(self, value: MappingABC[str, Any]) -> dict[str, Any]:
        """The payload with every type as the schema has it (JSON-ready but for Decimals and dates).
        Raises ContentError naming the first field at fault, `charge.quantity`."""

    def envelope(self, payload: MappingABC[str, Any], action: str, facts: Facts) -> dict[str, Any]:
        """The canonical envelope: schema, action, idempotency_key, ordering_key, provenance and the payload, JSON-ready."""

    def delivered(self, payload: MappingABC[str, Any], action: str, facts: Facts) -> tuple[bytes, str, str]:
        """The envelope as JSON, its action and its idempotency key."""

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema 2020-12 of the payload."""
