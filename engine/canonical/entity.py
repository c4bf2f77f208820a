"""An entity's schema at work: validation, the envelope, the JSON Schema."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Any, Final, NamedTuple

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from engine.canonical.money import digits
from engine.contracts import Facts
from engine.errors import ContentError
from engine.values import EMPTY, NULL

ACTIONS: Final = ("create", "update", "upsert", "cancel", "reverse", "merge", "link", "delete")
SHOWN: Final = 40  # characters of an offending value that an error text may show


class Keys(NamedTuple):
    """What an entity's payload says about its own identity and order."""

    business_key: list[str]  # the fact, as its source names it
    business_version: str  # which state of it; '' where a fact never changes
    ordering_key: str  # facts with the same one are applied in order
    effective_at: Any  # date, datetime or text; '' where unknown


class SchemaEntity:
    """A `contracts.Entity` over a typed dict; the schema is compiled when it is first used."""

    def __init__(
        self,
        name: str,
        version: str,
        schema: Any,
        keys: Callable[[Mapping[str, Any], Facts], Keys],
        *,
        classification: str,
        action: str,
    ) -> None:
        self.name, self.version = name, version
        self._schema, self._keys = schema, keys
        self._classification, self._action = classification, action
        self._label = f"canonical/{name}/{version}"

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self._schema)

    @cached_property
    def _check(self) -> Callable[[Any], Any]:
        return self._adapter.validator.validate_python

    def validate(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """The payload with every type as the schema has it. Raises ContentError naming the first field at fault."""
        try:
            checked: dict[str, Any] = self._check(value)
        except ValidationError as error:
            if (tidy := _tidy(value)) != value:
                return self.validate(tidy)
            raise self._fault(error) from None
        return checked

    def envelope(self, payload: Mapping[str, Any], action: str, facts: Facts) -> dict[str, Any]:
        """The envelope around a validated payload, JSON-ready. The idempotency key is of the business fact: the same when
        the message is sent or replayed again under another control id."""
        return {**self._sealed(payload, action, facts), "payload": plain(payload)}

    def delivered(self, payload: Mapping[str, Any], action: str, facts: Facts) -> tuple[bytes, str, str]:
        """The envelope as JSON, its action and its idempotency key: the same as `envelope`, without a copy of the payload."""
        made = self._sealed(payload, action, facts)
        content = orjson.dumps({**made, "payload": payload}, _as_json, orjson.OPT_PASSTHROUGH_DATETIME)
        return content, made["action"], made["idempotency_key"]

    def _sealed(self, payload: Mapping[str, Any], action: str, facts: Facts) -> dict[str, Any]:
        """The envelope without what is in it."""
        action = action or self._action
        if action not in ACTIONS:
            raise ContentError(f"{action[:SHOWN]!r} is no action; expected one of {', '.join(ACTIONS)}", f"{self.name}.action")
        heading = facts.heading
        keys = self._keys(payload, facts)
        fact = [facts.organization, heading.sender, self.name, keys.business_key, action, keys.business_version]
        provenance = {
            "message_id": facts.message_id,
            "channel": facts.channel,
            "route": facts.route,
            "source_system": heading.sender,
            "source_type": facts.format,
            "source_version": heading.version,
            "source_control_id": heading.control_id,
            "event_type": heading.kind,
            "received_at": _instant(facts.received_at),
            "organization": facts.organization,
            "environment": facts.environment,
        }
        return {
            "schema": self._label,
            "action": action,
            "idempotency_key": sha256(orjson.dumps(fact)).hexdigest(),
            "ordering_key": keys.ordering_key,
            "effective_at": plain(keys.effective_at) or provenance["received_at"],
            "classification": self._classification,
            "provenance": {name: text for name, text in provenance.items() if text},
        }

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema 2020-12 of the payload as it is delivered: decimals are text."""
        schema = self._adapter.json_schema()
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"urn:wardline:{self._label.replace('/', ':')}",
            **schema,
        }

    def _fault(self, error: ValidationError) -> ContentError:
        """The first fault; an unknown field before a missing one, since the one is often the other, misspelt."""
        faults = error.errors(include_url=False, include_context=False)
        unknown = next((fault for fault in faults if fault["type"] == "extra_forbidden"), None)
        fault = unknown or faults[0]
        missing = [other["loc"] for other in faults if other["type"] == "missing"]
        return ContentError(_problem(fault, missing), _place(self.name, fault["loc"]))


def plain(value: Any) -> Any:
    """As JSON carries it: decimals as digits, dates and instants in ISO 8601."""
    kind = type(value)
    if kind is dict:  # most values are text: sparing them the call halves the time
        return {name: item if type(item) is str else plain(item) for name, item in value.items()}
    if kind is list:
        return [item if type(item) is str else plain(item) for item in value]
    if kind is Decimal:
        return digits(value)
    if kind is str or value is None or kind is int or kind is bool:
        return value
    if isinstance(value, date):  # datetime is one
        return value.isoformat()
    raise TypeError(f"a validated payload holds no {kind.__name__}")


def _as_json(value: Any) -> str:
    """What JSON has no form for, as `plain` writes it."""
    if type(value) is Decimal:
        return digits(value)
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"a validated payload holds no {type(value).__name__}")


def fingerprint(payload: Mapping[str, Any], facts: Facts) -> str:
    """A version for a fact that carries none: its content, and the message that told it, so that a value that went
    back to what it was before is still news."""
    content = orjson.dumps(plain(payload), option=orjson.OPT_SORT_KEYS)
    return sha256(content + b"\0" + facts.heading.control_id.encode()).hexdigest()


def _instant(microseconds: int) -> str:
    return f"{_second(microseconds // 1_000_000)}.{microseconds // 1000 % 1000:03d}Z"


@lru_cache(64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:-6]


def _tidy(value: Any) -> Any:
    """Without what was never sent, and with HL7's explicit null as JSON's: alone in a list it deletes the whole list."""
    if isinstance(value, Mapping):
        return {name: _tidy(item) for name, item in value.items() if item is not EMPTY}
    if isinstance(value, (list, tuple)):
        items = [_tidy(item) for item in value if item is not EMPTY]
        return None if items == [None] else items
    return None if value is NULL else value


def _place(entity: str, location: tuple[int | str, ...]) -> str:
    """`('lines', 0, 'amount')` → `journal.lines[1].amount`; items count from 1, as everywhere in paths."""
    return entity + "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in location)


def _problem(fault: ErrorDetails, missing: list[tuple[int | str, ...]]) -> str:
    kind, given = fault["type"], fault["input"]
    if kind == "extra_forbidden":
        parent = fault["loc"][:-1]
        near = difflib.get_close_matches(str(fault["loc"][-1]), [str(m[-1]) for m in missing if m[:-1] == parent], 1)
        return "there is no such field" + (f"; did you mean {near[0]}?" if near else "")
    if kind == "missing":
        return "is required"
    if given is None:
        return "is required and must not be null"
    text = _WORDS.get(kind) or fault["msg"].replace("Input should be ", "expected ")
    shown = repr(given if isinstance(given, str) else str(given))
    return text if isinstance(given, (dict, list)) or given == "" else f"{text}, got {shown[:SHOWN]}"


_WORDS: Final = {  # where pydantic's own words are a programmer's
    "string_type": "expected text",
    "string_too_short": "must not be empty",
    "list_type": "expected a list",
    "dict_type": "expected named fields",
    "int_parsing": "expected a whole number",
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "too_short": "needs more items",
}
