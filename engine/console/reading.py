"""What a request says: its body within its limit, and its fields as the door's model. Nothing here is called before the
person is known to have the right."""

from __future__ import annotations

from enum import Enum, auto
from typing import Any
from urllib.parse import parse_qsl

import anyio
import orjson
from pydantic import ValidationError
from starlette.requests import Request

from engine.console.answers import Invalid, TooLarge, TooSlow
from engine.console.doors import Door

FIELDS = 2000  # of a form or a query
WITHIN = 60.0  # seconds for a body to come
JSON = "application/json"


def kind_of(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def body_of(request: Request, most: int) -> bytes:
    """The body. Raises TooLarge as soon as it is longer than `most` bytes, TooSlow where it takes longer than `WITHIN`."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > 15 or int(declared) > most):
        raise TooLarge(f"At most {most:,} bytes are taken here.")
    parts, size = [], 0
    try:
        with anyio.fail_after(WITHIN):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise TooLarge(f"At most {most:,} bytes are taken here.")
                parts.append(part)
    except TimeoutError as error:
        raise TooSlow(f"A request's body is to be here within {WITHIN:.0f} seconds.") from error
    return b"".join(parts)


def fields_of(request: Request, content: bytes) -> dict[str, Any]:
    """The fields of a JSON object or a form; of a field that stands several times, a list. Raises Invalid."""
    if not content:
        return {}
    kind = kind_of(request)
    if kind == JSON:
        try:
            found = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise Invalid(("", f"the body is no JSON: {error}")) from error
        if not isinstance(found, dict):
            raise Invalid(("", "the body must be a JSON object"))
        return found
    if kind == "application/x-www-form-urlencoded":
        try:
            pairs = parse_qsl(content.decode(), keep_blank_values=True, strict_parsing=False, max_num_fields=FIELDS)
        except ValueError as error:
            raise Invalid(("", f"the form cannot be read: {error}")) from error
        return _gathered(pairs)
    raise Invalid(("", "the body must be application/json or a form"))


def _gathered(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, list[Any]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def query_of(request: Request) -> dict[str, Any]:
    """Raises Invalid."""
    try:
        pairs = parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=FIELDS)
    except ValueError as error:
        raise Invalid(("", f"the query cannot be read: {error}")) from error
    return _gathered(pairs)


class Given(Enum):
    """How fields were given."""

    JSON = auto()  # with JSON's types
    TEXT = auto()  # everything is text; one value may stand for a list of it
    FORM = auto()  # as TEXT, and a field that was left empty was not given


def asked(door: Door, fields: dict[str, Any], path: dict[str, Any], given: Given = Given.FORM) -> Any:
    """The door's model. Raises Invalid with every problem."""
    address = {**path, **(fields if door.method == "GET" else {})}
    if any("\0" in text for one in address.values() for text in (one if isinstance(one, list) else [one])):
        raise Invalid(("", "the address holds a character that nothing is called by"))
    try:
        if given is Given.JSON:
            return door.asked.model_validate_json(orjson.dumps({**fields, **path}), strict=True)
        return door.asked.model_validate({**_as_text(door, fields, given), **path})
    except ValidationError as error:
        raise Invalid(*((".".join(map(str, one["loc"])), one["msg"]) for one in error.errors(include_url=False))) from error


def _as_text(door: Door, fields: dict[str, Any], given: Given) -> dict[str, Any]:
    known = {one.alias or name: one for name, one in door.asked.model_fields.items()}
    found = dict(fields)
    for name, about in known.items():
        if given is Given.FORM and found.get(name) == "" and not about.is_required():
            del found[name]
        elif name in found and str(about.annotation).startswith(("list[", "tuple[")) and not isinstance(found[name], list):
            found[name] = [found[name]]
    return found
