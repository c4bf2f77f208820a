"""Bytes ↔ documents."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as MappingABC
from typing import NamedTuple, Protocol

from engine.model import (
    Heading,
    Outcome,
    Receipt,
)
from engine.values import Value


class Node(NamedTuple):
    """One line of a message's tree, for people: `inspect` and the console."""

    path: str  # in the format's notation, e.g. `PID-5.1`
    name: str  # the standard's name, e.g. `Family Name`
    value: str  # '' where it has children
    children: tuple[Node, ...] = ()


class Document(Protocol):
    """A message as its format reads it, lazily; or one turn of it: the part that a `for_each` stands at.

    Paths are text in the format's grammar (LANGUAGE: `PID-3[.5='MR'].1`, `OBR[2]/OBX[*]-5`, `charge.quantity`). In a turn
    a name means the turn's own segments; kinds it cannot own are found outwards, never in siblings.
    Bad syntax raises PathError; implementations cache compiled paths by their text.
    """

    def __getitem__(self, path: str) -> Value:
        """What an expression sees: the first match (its first leaf as text, `Composite` where it has parts), a list for
        a path with `[*]`, NULL for an explicit null, EMPTY where there is nothing."""

    def all(self, path: str) -> list[Value]:
        """Every match, in order, as `__getitem__` would give each."""

    def place(self, path: str) -> str:
        """Where `path` points from here, absolutely, for error texts: `FT1[2]-13.1`."""

    def turns(self, path: str, owns: Sequence[str] = ()) -> list[Document]:
        """`for_each: path`: one narrowed document for each match: of a segment (with what the standard's structure gives
        to it, or what `owns` says), of a repetition (then `.1` is relative), of a list item."""

    def grouped(self, turns: Sequence[Document]) -> Document:
        """Several turns as one, for `by:`: a bare name is the first turn's, `[*]` runs over all of them."""

    def nodes(self) -> Iterator[Node]:
        """The tree for people."""


class Editable(Document, Protocol):
    """A document that a mapping may change: a copy, so that the message itself never changes."""

    def targets(self, path: str) -> list[tuple[Document, str]]:
        """The places a left-hand path names: for each match of `[*]` the turn its right side sees and the exact path."""

    def assign(self, path: str, value: Value) -> None:
        """Set one place, creating field, component and missing segment as needed. EMPTY empties it."""

    def drop(self, path: str) -> int:
        """Remove every match (`Z*`, `PD1`, `OBX[-11='X']`, `PID-3[.5='SS']`); how many there were."""

    def add(self, name: str, fields: MappingABC[str, Value], after: str = "") -> None:
        """Add a segment at the end, or after the last segment named `after` (or after its group where it is a path)."""


class Format(Protocol):
    """Bytes ↔ Document, pure. Built as `Class(options)`."""

    name: str
    content_type: str
    paths: re.Pattern[str]
    """Matches one path at the place where an expression may have one; used to find the paths in expressions."""

    def heading(self, content: bytes) -> Heading:
        """Cheap facts without parsing. Raises ContentError (with place) where even these cannot be read."""

    def parse(self, content: bytes) -> Document:
        """Lazily. Raises ContentError where there is no way to read it."""

    def render(self, document: Document) -> bytes:
        """Lossless: `render(parse(x)) == x`. Raises ContentError for text its character set cannot hold."""

    def edit(self, document: Document) -> Editable:
        """A copy to change, for mappings whose `to` is the same format. Raises NotImplementedError where there is none."""

    def identify(self, document: Editable, identity: str) -> None:
        """Put our transport identity where the format carries it (MSH-10)."""

    def acknowledge(self, content: bytes, receipt: Receipt) -> bytes | None:
        """The acknowledgement: a pure function of both, so that a duplicate gets the same bytes. Works on content that
        `heading` refuses, as far as it can be read; None where none may be sent (an acknowledgement is never answered).
        A receipt with parts is for a batch: one answer for all of it."""

    def split(self, content: bytes) -> list[bytes]:
        """The messages of a batch, each as it would have come alone; empty where `content` is one message.
        Raises ContentError where a batch is broken (its counts do not match)."""

    def judge(self, content: bytes, reply: bytes) -> Outcome:
        """What a peer's `reply` to `content` means: correlation is checked, unknown is never success."""

    def check_path(self, path: str) -> None:
        """Raises PathError where `path` is not in the grammar."""

    # Optional, found by name: `admit(document)`, raising ContentError for what can be read and yet must not be taken from a
    # sender; `answer(content, receipt, identity)`, the application acknowledgement as a message of its own, or None where
    # the content does not ask for one.
    # Optional, found by name: `reader(path)` and `gather(paths, enough)`, functions of a document, sooner than
    # `document[path]`; `enough` says for each path what is enough of a value that has parts: '' all of it, or one of the
    # words in the format's `enough`. `composer(rows, absent)`: a function that adds segments of known fields at once.
