"""JSON Schema of `mappings/NAME.yaml`, for editors. The engine reads files itself and says more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from engine.mapping.build import BLOCK_KEYS
from engine.mapping.cases import KEYS as CASE_KEYS
from engine.mapping.edits import SEGMENT_KEYS
from engine.mapping.step import KEYS

_TEXT: Final = {"type": "string"}
_VALUE: Final = {"type": ["string", "number", "boolean", "null"], "description": "Literal text, or =expression."}
_CONDITION: Final = {"type": "string", "pattern": "^=", "description": "=condition"}
_CONDITIONS: Final = {"type": "object", "additionalProperties": _CONDITION}
_NAMED: Final = {"type": "object", "additionalProperties": _VALUE}
_NAMES: Final = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}

_ABOUT: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "mapping": ("The mapping's name: that of its file.", _TEXT),
    "about": ("What it does, in words.", _TEXT),
    "from": ("What it reads: a format, or a canonical entity; charge/v1[*] takes all results of the step before.", _TEXT),
    "to": ("What it makes: a canonical entity, a format, json, xml or text.", _TEXT),
    "for_each": ("One turn for each match of a path, or each item of an =expression.", _TEXT),
    "by": ("Turns with the same value become one.", _CONDITION),
    "owns": ("Segments that belong to a turn besides those of the standard's structure.", _NAMES),
    "when": ("A turn is skipped where this is not true.", _CONDITION),
    "let": ("Names for values, in order; each may use those above it.", _NAMED),
    "include": ("Fragments whose let and set come before this one's own.", _NAMES),
    "action": ("The canonical envelope's action.", _VALUE),
    "set": ("The fields of the result; paths on the left where the result is a message.", {"$ref": "#/$defs/Content"}),
    "drop": ("Paths that are removed from the copy.", _NAMES),
    "segments": ("Segments that are added.", {"type": "array", "items": {"$ref": "#/$defs/Row"}}),
    "render": ("A template in mappings/ that makes the whole result.", {"$ref": "#/$defs/Render"}),
    "check": ("Conditions on the result, by name; a false one parks the message.", _CONDITIONS),
    "tests": ("What is given and what is expected.", {"type": "array", "items": {"$ref": "#/$defs/Case"}}),
    "after": ("The segment, or the group of the path, behind which the new one stands.", _TEXT),
    "name": ("What the test is called.", _TEXT),
    "given": ("A file from the site's directory, or the content itself.", _TEXT),
    "expect": ("One entry for each result; every named field must match.", {"type": ["array", "object"]}),
    "parks": ("Part of the error with which the message parks.", _TEXT),
    "expect_error": ("The same as parks.", _TEXT),
}  # fmt: skip


def _object(keys: tuple[str, ...], **more: Any) -> dict[str, Any]:
    properties = {key: {**_ABOUT[key][1], "description": _ABOUT[key][0]} for key in keys}
    return {"type": "object", "properties": properties, **more}


def mapping_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a mapping file, with `$defs`."""
    content = {"$ref": "#/$defs/Content"}
    return {
        "title": "Mapping",
        "description": "`mappings/NAME.yaml`: how one content becomes another.",
        **_object(KEYS, required=["mapping", "from", "to"], additionalProperties=False),
        "$defs": {
            "Content": {
                "anyOf": [
                    _VALUE,
                    {"$ref": "#/$defs/Block"},
                    {"type": "object", "additionalProperties": content},
                    {"type": "array", "items": content},
                ]
            },
            "Block": _object(BLOCK_KEYS, anyOf=[{"required": ["for_each"]}, {"required": ["set"]}], additionalProperties=False),
            "Row": _object(SEGMENT_KEYS, additionalProperties=_NAMED),
            "Render": {
                "type": "object",
                "properties": {"template": _TEXT},
                "required": ["template"],
                "additionalProperties": False,
            },
            "Case": _object(CASE_KEYS, required=["given"], additionalProperties=False),
        },
    }
