"""JSON Schema of a mapping file: what an editor can know of it. The engine's own reading says the rest."""

from __future__ import annotations

from typing import Any

from engine.config.files import NAME
from engine.registry import entities, formats

_NAME = {"type": "string", "pattern": f"^{NAME.pattern}$"}
_EXPRESSION = {"type": "string", "pattern": "^="}
_ANYTHING: dict[str, Any] = {}
_NAMED = {"type": "object", "additionalProperties": _ANYTHING}
_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_TURNS = {"type": "string", "x-type": "path or expression"}
_SIDES: dict[str, tuple[dict[str, Any], str]] = {
    "for_each": (_TURNS, "One turn for each match: a segment, a repetition, a list item."),
    "by": (_EXPRESSION, "One turn for each distinct value instead."),
    "owns": (_TEXTS, "Segments that belong to a turn, where the standard's structure does not say so."),
    "when": (_EXPRESSION, "Skips the turn where this is false."),
    "let": (_NAMED, "Names for values that are used below."),
    "include": (_TEXTS, "Fragments whose lines belong here too."),
}


def mapping_schema() -> dict[str, Any]:
    """`mappings/NAME.yaml`: a mapping, or a fragment that mappings include."""
    return {
        "title": "Mapping",
        "description": "`mappings/NAME.yaml`: how content becomes other content.",
        "anyOf": [_mapping(), _fragment()],
        "$defs": {"segments": _segments()},
    }


def _described(schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"description": text, **schema}


def _mapping() -> dict[str, Any]:
    results = [*entities(), *formats(), "json", "xml", "text"]
    sources = [*formats(), *entities(), *(f"{name}[*]" for name in entities())]
    template = {"type": "object", "properties": {"template": {"type": "string"}}, "additionalProperties": False}
    properties = {
        "mapping": _described(_NAME, "Its name, the same as the file's."),
        "about": _described({"type": "string"}, "One sentence for people."),
        "from": _described(
            {"enum": sources, "x-type": "format or entity"}, "What it reads; with [*] all results of the step before, as one."
        ),
        "to": _described(
            {"enum": list(dict.fromkeys(results)), "x-type": "entity, format, json, xml or text"},
            "What it makes; the same format as from: a copy with changes.",
        ),
        **{key: _described(schema, text) for key, (schema, text) in _SIDES.items()},
        "action": _described({"type": "string", "x-type": "text or expression"}, "The canonical envelope's action."),
        "set": _described(
            {"type": ["object", "array"], "x-type": "fields, or paths, with values"},
            "The result: fields of the entity, or paths of the message.",
        ),
        "drop": _described(_TEXTS, "Paths to remove from the copy."),
        "segments": _described({"$ref": "#/$defs/segments", "x-type": "list of segments"}, "Segments to add."),
        "render": _described(template, "A template in mappings/ that makes the whole result."),
        "check": _described({"type": "object", "additionalProperties": _EXPRESSION}, "Conditions; a false one parks."),
        "tests": _described({"type": "array", "items": _test()}, "Examples, run by `wardline test`."),
    }
    return {
        "type": "object",
        "properties": properties,
        "required": ["mapping", "from", "to"],
        "additionalProperties": False,
        "allOf": [_fields_of(name) for name in entities()],
    }


def _fields_of(entity: str) -> dict[str, Any]:
    """Under `set`, the names of the entity's own fields."""
    fields = entities()[entity].json_schema().get("properties", {})
    named = {name: {"description": str(field.get("description", ""))} for name, field in fields.items()}
    return {
        "if": {"properties": {"to": {"const": entity}}, "required": ["to"]},
        "then": {"properties": {"set": {"properties": named}}},
    }


def _fragment() -> dict[str, Any]:
    properties = {
        "fragment": _NAME,
        "about": {"type": "string"},
        "from": {"type": "string"},
        "let": _NAMED,
        "set": _NAMED,
    }
    return {"type": "object", "properties": properties, "required": ["fragment"], "additionalProperties": False}


def _test() -> dict[str, Any]:
    properties = {
        "name": _described({"type": "string"}, "For people, where the file's name does not say it."),
        "given": _described({"type": "string"}, "A file, from the site's directory, or the content itself."),
        "expect": _described({"type": ["object", "array"]}, "One entry for each result: fields that must have these values."),
        "parks": _described({"type": "string"}, "Part of the error with which the message parks."),
        "action": _described({"type": "string"}, "Of every result."),
    }
    return {"type": "object", "properties": properties, "required": ["given"], "additionalProperties": False}


def _segments() -> dict[str, Any]:
    sides = {key: schema for key, (schema, _) in _SIDES.items() if key != "include"}
    properties = {**sides, "after": {"type": "string"}, "segments": {"$ref": "#/$defs/segments"}}
    return {"type": "array", "items": {"type": "object", "properties": properties}}
