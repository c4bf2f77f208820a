"""Formats and documents that tell a listener what is read of them and what is written into them, and otherwise are as they were.

They have none of the quick ways of their formats (`reader`, `gather`, `composer`), so that everything goes by paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

from engine.contracts import Document, Editable, Format, Node
from engine.values import Value


class Listener(Protocol):
    def read(self, document: Document, path: str, value: Value) -> None: ...

    def turned(self, path: str, number: int) -> None: ...

    def edited(self, before: Document, document: Editable) -> None: ...

    def wrote(self, document: Editable, path: str, value: Value) -> None: ...

    def dropped(self, document: Editable, path: str, number: int) -> None: ...

    def added(self, document: Editable, name: str, fields: Mapping[str, Value], after: str) -> None: ...


class ReadDocument:
    """contracts.Document."""

    def __init__(self, inner: Document, listener: Listener) -> None:
        self.inner, self.listener = inner, listener

    def __getitem__(self, path: str) -> Value:
        value = self.inner[path]
        self.listener.read(self.inner, path, value)
        return value

    def all(self, path: str) -> list[Value]:
        values = self.inner.all(path)
        self.listener.read(self.inner, path, values)
        return values

    def place(self, path: str) -> str:
        return self.inner.place(path)

    def turns(self, path: str, owns: Sequence[str] = ()) -> list[Document]:
        turns = self.inner.turns(path, owns)
        self.listener.turned(path, len(turns))
        return [ReadDocument(turn, self.listener) for turn in turns]

    def grouped(self, turns: Sequence[Document]) -> Document:
        return ReadDocument(self.inner.grouped([bare(turn) for turn in turns]), self.listener)

    def nodes(self) -> Iterator[Node]:
        return self.inner.nodes()

    def __getattr__(self, name: str) -> Any:
        if name != "resolve":  # what reads documents from within must fail here, so that it reads by paths
            raise AttributeError(name)
        return getattr(self.inner, name)


class WrittenDocument(ReadDocument):
    """contracts.Editable."""

    inner: Editable

    def targets(self, path: str) -> list[tuple[Document, str]]:
        return [(ReadDocument(turn, self.listener), place) for turn, place in self.inner.targets(path)]

    def assign(self, path: str, value: Value) -> None:
        self.inner.assign(path, value)
        self.listener.wrote(self.inner, path, value)

    def drop(self, path: str) -> int:
        number = self.inner.drop(path)
        self.listener.dropped(self.inner, path, number)
        return number

    def add(self, name: str, fields: Mapping[str, Value], after: str = "") -> None:
        self.inner.add(name, fields, after)
        self.listener.added(self.inner, name, fields, after)


class RecordedFormat:
    """contracts.Format, as far as mappings use one."""

    def __init__(self, inner: Format, listener: Listener) -> None:
        self.inner, self.listener = inner, listener
        self.name, self.content_type, self.paths = inner.name, inner.content_type, inner.paths
        self.typed = getattr(inner, "typed", False)
        self.check_path, self.heading = inner.check_path, inner.heading

    def parse(self, content: bytes) -> Document:
        return ReadDocument(self.inner.parse(content), self.listener)

    def render(self, document: Document) -> bytes:
        return self.inner.render(bare(document))

    def edit(self, document: Document) -> Editable:
        copy = self.inner.edit(bare(document))
        self.listener.edited(bare(document), copy)
        return WrittenDocument(copy, self.listener)

    def identify(self, document: Editable, identity: str) -> None:
        self.inner.identify(cast(Editable, bare(document)), identity)


def recorded(format_: Format, listener: Listener) -> Format:
    return cast(Format, RecordedFormat(format_, listener))


def bare(document: Document) -> Document:
    return document.inner if isinstance(document, ReadDocument) else document
