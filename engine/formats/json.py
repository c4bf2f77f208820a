"""JSON documents (RFC 8259), read strictly: exact decimals, no duplicate keys, no NaN, bounded depth.

Paths are those of `engine.dotted`: a name at the top of the document is a root, `order.lines[*].amount`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

from engine.contracts import Document, Editable, Node
from engine.dotted import PATHS, DataDocument, compile_path
from engine.errors import ContentError
from engine.model import NO_HEADING, Heading, Outcome, Receipt, Unknown
from engine.registry import FormatKind, Options

DEPTH: Final = 100


class JsonOptions(Options):
    """Options of `format: json`: there are none."""


FORMAT = FormatKind(
    name="json",
    about="JSON documents, one message each.",
    options=JsonOptions,
    implementation="engine.formats.json:JsonFormat",
    content_type="application/json",
)


class JsonDocument(DataDocument):
    """A parsed document that remembers its bytes, so that rendering gives them back."""

    __slots__ = ("content",)

    def __init__(self, data: Any, content: bytes) -> None:
        super().__init__(data)
        self.content = content


class JsonFormat:
    name = "json"
    content_type = "application/json"
    typed = True  # numbers are numbers: expressions need no conversion
    paths = re.compile(rf"(?<![\w.])(?:{PATHS.pattern})(?![\w(])")

    def __init__(self, options: JsonOptions | None = None) -> None:
        self._decoder = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_object)

    def heading(self, content: bytes) -> Heading:
        """JSON says nothing of itself; only its first character is looked at."""
        if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"["):
            raise ContentError("is not JSON: expected { or [ at the beginning", "", "100")
        return NO_HEADING

    def parse(self, content: bytes) -> Document:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ContentError(f"is not UTF-8 (byte {error.start + 1})", "", "102") from None
        try:
            data = self._decoder.decode(text)
        except json.JSONDecodeError as error:
            raise ContentError(f"is not JSON: {error.msg}", f"line {error.lineno} column {error.colno}", "102") from None
        except ValueError as error:
            raise ContentError(str(error)[:200], "", "102") from None
        except RecursionError:
            raise ContentError(f"is nested more than {DEPTH} levels deep", "", "102") from None
        if _deeper(data, DEPTH):
            raise ContentError(f"is nested more than {DEPTH} levels deep", "", "102")
        return JsonDocument(data, content)

    def render(self, document: Document) -> bytes:
        assert isinstance(document, JsonDocument)
        return document.content

    def edit(self, document: Document) -> Editable:
        raise NotImplementedError("a mapping to json builds its result with set")

    def identify(self, document: Editable, identity: str) -> None:
        """JSON carries no transport identity of its own."""

    def acknowledge(self, content: bytes, receipt: Receipt) -> bytes | None:
        """None: the transport's status is the answer."""
        return None

    def split(self, content: bytes) -> list[bytes]:
        """None: a document is one message."""
        return []

    def judge(self, content: bytes, reply: bytes) -> Outcome:
        return Unknown("JSON has no acknowledgement of its own that could be credited", reply)

    def check_path(self, path: str) -> None:
        compile_path(path)


def _no_constant(name: str) -> Any:
    raise ValueError(f"is not JSON: {name} is no number")


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"has the key {key[:40]!r} twice in one object")
            seen.add(key)
    return result


def _deeper(data: Any, limit: int) -> bool:
    level = [data]
    for _ in range(limit):
        level = [child for item in level for child in _children(item)]
        if not level:
            return False
    return True


def _children(item: Any) -> Iterator[Any]:
    if isinstance(item, dict):
        return (value for value in item.values() if isinstance(value, (dict, list)))
    if isinstance(item, list):
        return (value for value in item if isinstance(value, (dict, list)))
    return iter(())


__all__ = ["FORMAT", "JsonDocument", "JsonFormat", "JsonOptions", "Node"]
