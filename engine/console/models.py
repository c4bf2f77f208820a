"""Types that the doors' models share: how instants and ids look to the API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from engine.ids import format_id
from engine.query import message_id


class Asked(BaseModel):
    """What a request says: its path, query and form or JSON fields. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False)


class Told(BaseModel):
    """What a door answers."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=False)


class Nothing(Asked):
    """A request that says nothing but its address."""


Problems = Annotated[list[tuple[str, str]], Field(exclude=True)]
"""What is wrong with a form, by field: for its page. Programs are told by `problem+json`."""


def iso(instant: int) -> str | None:
    """`2026-11-21T10:30:00.000000Z`; None for an instant that is not."""
    if not instant:
        return None
    return datetime.fromtimestamp(instant / 1_000_000, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Instant = Annotated[
    int,
    PlainSerializer(iso, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}, mode="serialization"),
]
"""Microseconds since 1970, 0 for none; ISO 8601 in the API."""


ID = "^[0-9A-TV-Za-tv-z-]{1,16}$"  # what may be an id: U is no letter of one
LARGEST = 2**63 - 1  # that a store can hold


def _id(value: Any) -> Any:
    number = message_id(value) if isinstance(value, str) else value
    if value == "" or (isinstance(number, int) and not 0 <= number <= LARGEST):
        raise ValueError("there is no message of this id")
    return number


MessageId = Annotated[
    int,
    BeforeValidator(_id),
    PlainSerializer(lambda number: format_id(number) if number else None, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": ID, "examples": ["8000000000"]}, mode="validation"),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "null"}]}, mode="serialization"),
]
"""A message's id: as people read it in addresses and in the API, a number inside."""
