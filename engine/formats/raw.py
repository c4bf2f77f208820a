"""Bytes as they come: for channels that only pass content on. Nothing in them can be named, and nothing is answered."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import cast

from engine.contracts import Document, Editable, Node
from engine.errors import PathError
from engine.model import NO_HEADING, Heading, Outcome, Receipt, Unknown
from engine.registry import FormatKind, Options
from engine.values import Value

SHOWN = 2000  # bytes of content that the tree shows


class RawOptions(Options):
    """Options of `format: raw`: none."""


FORMAT = FormatKind(
    name="raw",
    about="Bytes in, bytes out: content is passed on as it came, and no path names anything in it.",
    options=RawOptions,
    implementation="engine.formats.raw:Raw",
    content_type="application/octet-stream",
)


class RawDocument:
    """Content without parts. Every path raises PathError."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __getitem__(self, path: str) -> Value:
        raise _no_paths(path)

    def all(self, path: str) -> list[Value]:
        raise _no_paths(path)

    def place(self, path: str) -> str:
        raise _no_paths(path)

    def turns(self, path: str, owns: Sequence[str] = ()) -> list[Document]:
        raise _no_paths(path)

    def grouped(self, turns: Sequence[Document]) -> Document:
        return self

    def nodes(self) -> Iterator[Node]:
        text = self.content[:SHOWN].decode("utf-8", "backslashreplace")
        yield Node("", f"{len(self.content)} bytes", text)


def _no_paths(path: str) -> PathError:
    return PathError(path, "format raw has no paths; name the format of the content in the channel, such as format: hl7v2")


class Raw:
    """A `Format` (`engine.contracts`) that leaves everything as it is."""

    name = FORMAT.name
    content_type = FORMAT.content_type
    paths = re.compile(r"(?!)")

    def __init__(self, options: RawOptions) -> None:
        self.options = options

    def heading(self, content: bytes) -> Heading:
        return NO_HEADING

    def parse(self, content: bytes) -> Document:
        return RawDocument(content)

    def render(self, document: Document) -> bytes:
        return cast(RawDocument, document).content

    def edit(self, document: Document) -> Editable:
        raise NotImplementedError("format raw cannot be edited")

    def identify(self, document: Editable, identity: str) -> None:
        """Bytes carry no identity; it travels in the transport alone."""

    def acknowledge(self, content: bytes, receipt: Receipt) -> bytes | None:
        return None

    def split(self, content: bytes) -> list[bytes]:
        return []

    def judge(self, content: bytes, reply: bytes) -> Outcome:
        return Unknown("format raw cannot tell what an answer means", reply)

    def check_path(self, path: str) -> None:
        raise _no_paths(path)
