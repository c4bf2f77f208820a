"""What there is to know about every declaration, gathered from the declarations themselves: for `describe` and the pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.text import listed

SHOWN = 8  # choices that are listed; more are counted


class Row(NamedTuple):
    """One option or field."""

    name: str  # `auth.basic.user`, `lines[].amount`
    type: str
    default: str  # `required`, or the value as people write it, or ''
    text: str


@dataclass(frozen=True, slots=True)
class Part:
    """A table: one end of a connector, the fields of an entity."""

    title: str  # `source`, `destination`, ''
    about: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    kind: str  # connector, format, file, function, filter, test, name, entity
    name: str
    about: str
    usage: str = ""
    parts: tuple[Part, ...] = ()


ABOUT_MESSAGE = {
    "id": "the id under which the store has it, as `wardline search` shows it",
    "received": "when it came, in the site's time zone",
    "channel": "the channel it came in on",
    "route": "the route this mapping runs for",
    "type": "its kind, `ADT^A01`",
    "control_id": "its control id, MSH-10",
    "sender": "who sent it, MSH-3 and MSH-4 as `APP|FACILITY`",
    "version": "the version of its standard, MSH-12",
}
"""What `message.…` gives in an expression."""


def entries() -> list[Entry]:
    """Everything, in the order in which people read it."""
    return [*connector_entries(), *format_entries(), *file_entries(), *language_entries(), *entity_entries()]


def connector_entries() -> Iterator[Entry]:
    from engine.registry import connectors

    for connector in connectors().values():
        ends = (("source", connector.source), ("destination", connector.destination))
        parts = tuple(_part(title, end.options) for title, end in ends if end)
        yield Entry("connector", connector.name, connector.about, parts=parts)


def format_entries() -> Iterator[Entry]:
    from engine.registry import formats

    for kind in formats().values():
        yield Entry("format", kind.name, kind.about, kind.content_type, (_part("", kind.options),))


def file_entries() -> Iterator[Entry]:
    from engine.config.files import ChannelFile, DestinationFile, EngineFile
    from engine.config.mapping_schema import mapping_schema
    from engine.registry import formats

    named = [(key, f"{file.folder}/NAME.yaml", file.load()) for kind in formats().values() for key, file in kind.files.items()]
    for name, where, model in (
        ("engine.yaml", "conf/engine.yaml", EngineFile),
        ("destinations.yaml", "conf/destinations.yaml", DestinationFile),
        ("channel", "channels/NAME.yaml", ChannelFile),
        *named,
    ):
        part = _part("", model)
        yield Entry("file", name, part.about, where, (part,))
    schema = mapping_schema()
    part = Part("", str(schema["description"]), tuple(rows(schema["anyOf"][0])))
    yield Entry("file", "mapping", part.about, "mappings/NAME.yaml", (part,))


def language_entries() -> Iterator[Entry]:
    from engine.mapping.calls import CALL_USAGE, TEST_USAGE
    from engine.mapping.filters import DEFAULT_USAGE, FILTERS
    from engine.mapping.scope import MESSAGE, SITE

    for name, (usage, about) in CALL_USAGE.items():
        yield Entry("function", name, about, usage)
    filters = {name: (made.usage, made.about) for name, made in FILTERS.items()}
    filters["default"] = (DEFAULT_USAGE, "another value where nothing was sent; default(omit) leaves the field out")
    for name, (usage, about) in sorted(filters.items()):
        yield Entry("filter", name, about, usage)
    for name, (usage, about) in TEST_USAGE.items():
        yield Entry("test", name, about, usage)
    for name in MESSAGE:
        yield Entry("name", f"message.{name}", ABOUT_MESSAGE[name], f"=message.{name}")
    for name in SITE:
        yield Entry("name", f"site.{name}", f"the {name} of conf/engine.yaml", f"=site.{name}")


def entity_entries() -> Iterator[Entry]:
    from engine.registry import entities

    for name, entity in entities().items():
        schema = entity.json_schema()
        about = str(schema.get("description", "")).partition("\n")[0]
        yield Entry("entity", name, about, parts=(Part("", about, tuple(rows(schema))),))


def _part(title: str, model: Any) -> Part:
    schema = model.model_json_schema()
    return Part(title, _one_line(schema.get("description", "")), tuple(rows(schema)))


def rows(schema: Mapping[str, Any]) -> Iterator[Row]:
    """The properties of a JSON Schema, those of nested objects below theirs with dotted names."""
    yield from _rows(schema, schema.get("$defs", {}), "", ())


def _rows(schema: Mapping[str, Any], shared: Mapping[str, Any], prefix: str, way: tuple[str, ...]) -> Iterator[Row]:
    required = schema.get("required", [])
    for name, described in schema.get("properties", {}).items():
        default = "required" if name in required else _default(described)
        text = _one_line(described.get("description", ""))
        yield Row(f"{prefix}{name}", type_words(described, shared), default, text)
        for reference, suffix in _below(described):
            if reference in shared and reference not in way:
                yield from _rows(shared[reference], shared, f"{prefix}{name}{suffix}.", (*way, reference))


def _below(described: Mapping[str, Any], suffix: str = "") -> Iterator[tuple[str, str]]:
    """The definitions a property leads to: `(name, what comes between: '', '[]' or '.NAME')`."""
    if "$ref" in described:
        yield str(described["$ref"]).rpartition("/")[2], suffix
    for form in (*described.get("anyOf", ()), *described.get("allOf", ())):
        yield from _below(form, suffix)
    if isinstance(items := described.get("items"), dict):
        yield from _below(items, f"{suffix}[]")
    if more := _values(described):
        yield from _below(more, f"{suffix}.NAME")


def _values(described: Mapping[str, Any]) -> dict[str, Any]:
    """What the values of an object with free names are."""
    patterns = described.get("patternProperties", {})
    more = next(iter(patterns.values())) if patterns else described.get("additionalProperties")
    return more if isinstance(more, dict) else {}


def type_words(described: Mapping[str, Any], shared: Mapping[str, Any]) -> str:
    """A property's type in words: `duration`, `POST, PUT or PATCH`, `list of text`."""
    if described.get("secret") is True:
        return "secret reference"
    if words := described.get("x-type"):
        return str(words)
    if special := next((key for key in _SPECIAL if key in described), ""):
        return _SPECIAL[special]
    if quantity := described.get("x-quantity"):
        return str(quantity)
    if choices := described.get("enum"):
        return listed(map(str, choices), "or") if len(choices) <= SHOWN else f"one of {len(choices)} codes"
    if "const" in described:
        return str(described["const"])
    if reference := str(described.get("$ref", "")).rpartition("/")[2]:
        return _referred(shared.get(reference, {}), shared)
    forms = [form for form in (*described.get("anyOf", ()), *described.get("allOf", ())) if form != {"type": "null"}]
    if forms:
        return " or ".join(dict.fromkeys(type_words(form, shared) for form in forms))
    return _plain_type(described, shared)


_SPECIAL = {
    "x-expression": "expression",
    "x-connector": "connector with its options",
    "x-format": "format, or format with its options",
    "x-destination": "destination, or connector with its options",
}


def _referred(definition: Mapping[str, Any], shared: Mapping[str, Any]) -> str:
    return "fields below" if "properties" in definition else type_words(definition, shared)


def _plain_type(described: Mapping[str, Any], shared: Mapping[str, Any]) -> str:
    kind = described.get("type")
    if kind == "array":
        return f"list of {type_words(described.get('items', {}), shared)}"
    if kind == "object":
        more = _values(described)
        return f"names with {type_words(more, shared)}" if more else "keys with values"
    if described.get("format") == "password" or described.get("secret") == "allowed":
        return "text or secret reference"
    if kind == "string":
        if described.get("pattern") == "^=":
            return "expression"
        decimal = str(described.get("pattern", "")).startswith("^-?[0-9]+")
        return "decimal number" if decimal else {"date": "date", "date-time": "instant"}.get(described.get("format", ""), "text")
    words = {"integer": "whole number", "number": "number", "boolean": "true or false", "null": "nothing"}.get(
        str(kind), "anything"
    )
    bounds = [f"{sign} {described[key]}" for sign, key in (("≥", "minimum"), ("≤", "maximum")) if key in described]
    return f"{words} {', '.join(bounds)}" if bounds else words


def _default(described: Mapping[str, Any]) -> str:
    value = described.get("default")
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None or value in ("", [], {}) else str(value)


def _one_line(text: str) -> str:
    return " ".join(text.split())
