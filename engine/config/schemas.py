"""JSON Schemas (2020-12) of a site's files, made from the declarations, for editors that understand them.

Editors type YAML's scalars by themselves, so the schemas are as lenient as the reader: a bare `0` is a quantity, and where
variables are replaced `${NAME}` may stand for anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from engine.config.files import ChannelFile, DestinationFile, EngineFile
from engine.config.mapping_schema import mapping_schema
from engine.registry import connectors, formats

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE = {"type": "string", "pattern": r"\$\{[A-Za-z_]"}
_REFERENCE = {"type": "string", "pattern": r"^secret://(env|file)/."}


def engine_schema() -> dict[str, Any]:
    """`conf/engine.yaml`."""
    schema, shared = _schemas([EngineFile])
    return _file("engine", schema[0], shared)


def destinations_schema() -> dict[str, Any]:
    """`conf/destinations.yaml`."""
    ends, shared = _ends()
    names = {"type": "object", "additionalProperties": _destination(ends, shared)}
    top = {
        "title": "Destinations",
        "description": "`conf/destinations.yaml`: named systems that messages are delivered to.",
        "type": "object",
        "properties": {"destinations": names},
        "additionalProperties": False,
    }
    return _file("destinations", top, shared)


def channel_schema() -> dict[str, Any]:
    """`channels/NAME.yaml`."""
    ends, shared = _ends()
    (top,), own = _schemas([ChannelFile])
    shared |= own
    properties = top["properties"]
    properties["source"] |= _one_of(ends["source"], {})
    properties["format"] = _format(properties["format"], shared)
    route = shared["RouteFile"]["properties"]
    destination = _destination(ends, shared)
    route["to"] = {"description": route["to"].get("description", ""), "anyOf": [{"type": "string"}, destination]}
    return _file("channel", top, shared)


def file_schemas() -> dict[str, dict[str, Any]]:
    """All of them, by the names that `wardline schema` takes."""
    return {
        "channel": channel_schema(),
        **_named_files(),
        "mapping": {"$schema": DIALECT, "$id": "urn:wardline:file:mapping", **mapping_schema()},
        "destinations": destinations_schema(),
        "engine": engine_schema(),
    }


def _named_files() -> dict[str, dict[str, Any]]:
    """What the options of formats name: `profiles/NAME.yaml`."""
    found: dict[str, dict[str, Any]] = {}
    for key, file in ((key, file) for kind in formats().values() for key, file in kind.files.items()):
        (top,), shared = _schemas([file.load()])
        found[key] = _file(key, top, shared)
    return found


def _schemas(models: Iterable[type[BaseModel]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Each model's schema, and what they share; names stay distinct across models of the same name."""
    listing = list(models)
    references, whole = models_json_schema([(model, "validation") for model in listing])
    shared: dict[str, Any] = deepcopy(whole.get("$defs", {}))
    for schema in shared.values():
        _tidy(schema)
        _lenient(schema)
    tops = [shared[references[model, "validation"]["$ref"].rpartition("/")[2]] for model in listing]
    return [deepcopy(top) for top in tops], shared


def _ends() -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """`{source | destination: {connector: its options' schema}}`, and the definitions they share."""
    ends: dict[str, dict[str, Any]] = {"source": {}, "destination": {}}
    models = [(end, name, getattr(one, end)) for name, one in connectors().items() for end in ends if getattr(one, end)]
    tops, shared = _schemas([declared.options for _, _, declared in models])
    for top in [*tops, *shared.values()]:
        _variable(top)
    for (end, name, _), top in zip(models, tops, strict=True):
        ends[end][name] = {**top, "description": connectors()[name].about}
    return ends, shared


def _destination(ends: Mapping[str, Mapping[str, Any]], shared: dict[str, Any]) -> dict[str, Any]:
    (queue,), own = _schemas([DestinationFile])
    shared |= own
    return _one_of(ends["destination"], queue["properties"])


def _one_of(named: Mapping[str, Any], beside: Mapping[str, Any]) -> dict[str, Any]:
    """Exactly one of the named keys, with its schema, and any of those beside it."""
    return {
        "type": "object",
        "properties": {**named, **beside},
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in named],
    }


def _format(given: Mapping[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    kinds = formats()
    tops, own = _schemas([kind.options for kind in kinds.values()])
    shared |= own
    names = {"enum": list(kinds)}
    return {"description": given.get("description", ""), "anyOf": [names, _one_of(dict(zip(kinds, tops, strict=True)), {})]}


def _tidy(schema: dict[str, Any]) -> None:
    """Without what pydantic adds for itself: titles made of names, and null where a key may only be left out."""
    for described in schema.get("properties", {}).values():
        described.pop("title", None)
        if described.get("default", "") is None:
            del described["default"]
        forms = [form for form in described.get("anyOf", []) if form != {"type": "null"}]
        if len(forms) == 1:
            del described["anyOf"]
            described.update(forms[0])


def _leaves(schema: dict[str, Any]) -> Iterable[tuple[dict[str, Any], str]]:
    """Where scalars are described: (holder, key)."""
    for holder, key in ((schema.get("properties", {}), None), (schema, "items"), (schema, "additionalProperties")):
        keys = list(holder) if key is None else [key]
        for name in keys:
            described = holder.get(name)
            if not isinstance(described, dict):
                continue
            if "type" in described and described["type"] not in ("object", "array"):
                yield holder, name
            else:
                yield from _leaves(described)
    for option in schema.get("anyOf", []):
        yield from _leaves(option)


def _lenient(schema: dict[str, Any]) -> None:
    for holder, key in list(_leaves(schema)):
        described = holder[key]
        if described.get("secret") is True:
            holder[key] = _around(described, [_REFERENCE])
        elif described.get("x-quantity") in ("duration", "size", "rate"):
            holder[key] = _around(described, [{"type": "string", "pattern": described["pattern"]}, {"const": 0}])


def _variable(schema: dict[str, Any]) -> None:
    for holder, key in list(_leaves(schema)):
        described = holder[key]
        if described["type"] != "string" or described.get("pattern"):
            bare = {name: value for name, value in described.items() if name not in _TEXTS}
            holder[key] = _around(described, [bare, _VARIABLE])
    for holder in [schema.get("properties", {})]:
        for described in holder.values():
            if "x-quantity" in described and "anyOf" in described and _VARIABLE not in described["anyOf"]:
                described["anyOf"].append(_VARIABLE)


_TEXTS = ("title", "description", "default", "x-quantity", "secret", "examples")


def _around(described: dict[str, Any], forms: list[dict[str, Any]]) -> dict[str, Any]:
    return {**{name: value for name, value in described.items() if name in _TEXTS}, "anyOf": forms}


def _file(name: str, top: dict[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    used = _used(top, shared)
    whole = {"$schema": DIALECT, "$id": f"urn:wardline:file:{name}", **top}
    return {**whole, "$defs": {key: shared[key] for key in sorted(used)}} if used else whole


def _used(value: Any, shared: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> set[str]:
    found: set[str] = set()
    if isinstance(value, Mapping):
        reference = str(value.get("$ref", "")).rpartition("/")[2]
        if reference in shared and reference not in seen:
            found |= {reference} | _used(shared[reference], shared, seen | {reference})
        for item in value.values():
            found |= _used(item, shared, seen)
    elif isinstance(value, list):
        for item in value:
            found |= _used(item, shared, seen)
    return found
