"""The API's description, made from the doors: what can be asked, with which right, and everything that may be answered."""

from __future__ import annotations

import re
from http import HTTPStatus
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

import orjson
from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from engine.console.answers import Done, Download, Live, Shown
from engine.console.doors import API, Door, Scope

REFS: Final = "#/components/schemas/"
PROBLEM: Final = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string", "description": "What kind of no this is."},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was expected, and what to do."},
        "problems": {
            "type": "array",
            "description": "Of 422: every field that is wrong.",
            "items": {
                "type": "object",
                "required": ["field", "problem"],
                "properties": {"field": {"type": "string"}, "problem": {"type": "string"}},
            },
        },
    },
}
SAID: Final = {
    400: "The engine or the site's files say no, and why.",
    401: "No token, or one that is no good (any more).",
    403: "The right is not yours there.",
    404: "There is no such thing, or you may not know of it.",
    408: "The body took too long to come.",
    409: "The world has changed meanwhile.",
    413: "The body is too large.",
    422: "What was asked cannot be understood: every problem by field.",
    429: "Too much at once; `Retry-After` says when to ask again.",
    500: "A fault of the console's.",
    503: "The engine or its store cannot be reached, or did not answer in time.",
}
ABOUT: Final = """What the console does, for programs.

A program shows a token: `Authorization: Bearer wl_…`. A right is asked on what the address names (`x-scope`): one channel, a
destination (then on every channel that delivers to it), a message's channel, or the whole site; `some` answers with what the
token may see. Instants are ISO 8601 in UTC with microseconds, ids of messages ten or eleven letters and digits, null where
there is none. Unknown fields are refused. A change answers with what it led to, and where it is seen (`location`)."""


def describe(doors: list[Door]) -> dict[str, Any]:
    """OpenAPI 3.1 of every door that has an address in the API."""
    found = [door for door in doors if door.api]
    inputs: list[tuple[Any, JsonSchemaMode, TypeAdapter[Any]]] = []
    for door in found:
        inputs.append(((door.api, door.method), "validation", TypeAdapter(door.asked)))
        if (model := told(door)) is not None:
            inputs.append(((door.api, door.method), "serialization", TypeAdapter(model)))
    schemas, shared = TypeAdapter.json_schemas(inputs, ref_template=f"{REFS}{{model}}")
    definitions: dict[str, Any] = {**shared.get("$defs", {}), "Problem": PROBLEM}
    paths: dict[str, dict[str, Any]] = {}
    for door in found:
        key = (door.api, door.method)
        asked = schemas[key, "validation"]
        asked = definitions[asked["$ref"].removeprefix(REFS)] if "$ref" in asked else asked
        operation = _operation(door, asked) | {"responses": _responses(door, schemas.get((key, "serialization")))}
        paths.setdefault(API + door.api, {})[door.method.lower()] = operation
    described = {
        "openapi": "3.1.0",
        "info": {"title": "Wardline", "version": API.rpartition("/")[2], "description": ABOUT},
        "tags": [{"name": name} for name in dict.fromkeys(noun(door) for door in sorted(found, key=lambda one: one.api))],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": _used(paths, definitions),
            "responses": {str(status): _refusal(status) for status in SAID},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }
    text = orjson.dumps(described).replace(b"engine__console__pages__", b"")  # names that two modules use
    named: dict[str, Any] = orjson.loads(text)
    return named


def noun(door: Door) -> str:
    """What a door is about: the first word of its address."""
    return door.api.split("/")[1]


def parameters(door: Door) -> list[str]:
    """The names in the path of its address in the API."""
    return re.findall(r"{(\w+)(?::\w+)?}", door.api)


def told(door: Door) -> Any:
    """The type of what the API answers; of a `Done` that of its result. None: a file, a stream, or no result."""
    for kind in _kinds(door):
        if get_origin(kind) is Done:
            return get_args(kind)[0]
        if kind not in (Done, Download, Live, Shown, Any, None):
            return kind
    return None


def _kinds(door: Door) -> tuple[Any, ...]:
    return get_args(door.answer) if get_origin(door.answer) in (Union, UnionType) else (door.answer,)


def _operation(door: Door, asked: dict[str, Any]) -> dict[str, Any]:
    properties, required = asked.get("properties", {}), asked.get("required", [])
    in_path = parameters(door)
    given = [{"name": name, "in": "path", "required": True, "schema": properties[name] | {"minLength": 1}} for name in in_path]
    rest = {name: one for name, one in properties.items() if name not in in_path}
    operation: dict[str, Any] = {
        "summary": door.summary,
        "operationId": f"{door.handler.__module__.rpartition('.')[2]}_{door.handler.__name__}",
        "tags": [noun(door)],
        "x-right": str(door.right or ""),
        "x-scope": str(door.scope),
        "parameters": given,
    }
    if door.method == "GET":
        given += [
            {"name": name, "in": "query", "required": name in required, "schema": _asked(one)} for name, one in rest.items()
        ]
    elif rest:
        rest = {name: _asked(one) for name, one in rest.items()}
        needed = [name for name in required if name in rest]
        body = {"type": "object", "properties": rest, "additionalProperties": False} | ({"required": needed} if needed else {})
        operation["requestBody"] = {"required": bool(needed), "content": {"application/json": {"schema": body}}}
    if door.scope is Scope.PUBLIC:
        operation["security"] = []
    return operation


def _asked(schema: dict[str, Any]) -> dict[str, Any]:
    """Without a default that is not of its type: an id's 0 means that none was given."""
    if schema.get("type") == "string" and not isinstance(schema.get("default", ""), str):
        return {name: one for name, one in schema.items() if name != "default"}
    return schema


def _responses(door: Door, model: dict[str, Any] | None) -> dict[str, Any]:
    kinds = _kinds(door)
    content: dict[str, Any]
    done = next((kind for kind in kinds if kind is Done or get_origin(kind) is Done), None)
    if Download in kinds:
        content = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
    elif done is not None:
        content = {"application/json": {"schema": _done(model)}}
    else:
        content = {"application/json": {"schema": model or {}}}
    said = {str(status): {"$ref": f"#/components/responses/{status}"} for status in _statuses(door)}
    return {str(door.status): {"description": HTTPStatus(door.status).phrase, "content": content}, **said}


def _done(result: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["note", "location", "result"],
        "properties": {
            "note": {"type": "string", "description": "For people."},
            "location": {"type": "string", "description": "The page on which it is seen."},
            "result": result or {"type": "null"},
        },
    }


def _statuses(door: Door) -> list[int]:
    found = {400, 404, 422, 429, 500, 503}
    if door.scope is not Scope.PUBLIC:
        found |= {401, 403}
    if door.method == "POST":
        found |= {403, 408, 409, 413}
    return sorted(found)


def _refusal(status: int) -> dict[str, Any]:
    return {"description": SAID[status], "content": {"application/problem+json": {"schema": {"$ref": f"{REFS}Problem"}}}}


def _used(paths: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schemas that something refers to."""
    found: dict[str, Any] = {"Problem": definitions["Problem"]}
    ahead: list[Any] = [paths]
    while ahead:
        one = ahead.pop()
        if isinstance(one, dict):
            name = str(one.get("$ref", "")).removeprefix(REFS)
            if name in definitions and name not in found:
                found[name] = definitions[name]
                ahead.append(definitions[name])
            ahead.extend(one.values())
        elif isinstance(one, list):
            ahead.extend(one)
    return dict(sorted(found.items()))
