"""What a mapping does not find where it looks, although the message has it elsewhere: the mistake that gives no error.

`PR1-3` inside `for_each: FT1` is this charge's own PR1. If no turn ever has one while the message does, the analyst is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from engine.contracts import Document, Facts, Node
from engine.errors import PathError
from engine.mapping.step import Step
from engine.mapping.targets import MessageTarget
from engine.values import Value, is_empty


class Watched:
    """A document that notes what was read of it in turns, and whether anything was found there."""

    def __init__(self, document: Document, notes: dict[tuple[str, str], bool], loop: str = "") -> None:
        self._document, self._notes, self._loop = document, notes, loop

    def _note(self, path: str, found: bool) -> None:
        if self._loop:
            key = (self._loop, path)
            self._notes[key] = self._notes.get(key, False) or found

    def __getitem__(self, path: str) -> Value:
        value = self._document[path]
        self._note(path, bool(value) if isinstance(value, list) else not is_empty(value))
        return value

    def all(self, path: str) -> list[Value]:
        values = self._document.all(path)
        self._note(path, bool(values))
        return values

    def place(self, path: str) -> str:
        return self._document.place(path)

    def turns(self, path: str, owns: Sequence[str] = ()) -> list[Document]:
        turns = self._document.turns(path, owns)
        self._note(path, bool(turns))
        return [Watched(turn, self._notes, path) for turn in turns]

    def grouped(self, turns: Sequence[Document]) -> Document:
        inner = [turn._document if isinstance(turn, Watched) else turn for turn in turns]
        loop = next((turn._loop for turn in turns if isinstance(turn, Watched)), self._loop)
        return Watched(self._document.grouped(inner), self._notes, loop)

    def nodes(self) -> Iterator[Node]:
        return self._document.nodes()

    def __getattr__(self, name: str) -> Any:
        if name != "resolve":  # what reads documents from within must fail here, so that it reads by paths, which are noted
            raise AttributeError(name)
        return getattr(self._document, name)


def hints(step: Step, document: Document, facts: Facts) -> list[str]:
    """What `step` looked for in vain in its turns of `document`. It is run once more for that; a copy of a message is not."""
    if isinstance(step.output, MessageTarget):
        return []
    notes: dict[tuple[str, str], bool] = {}
    step.apply(Watched(document, notes), facts, 1)
    return unfound(document, notes)


def unfound(document: Document, notes: dict[tuple[str, str], bool]) -> list[str]:
    """One sentence for each path that no turn of its `for_each` has, while the whole message has it."""
    hints: list[str] = []
    for (loop, path), found in notes.items():
        if found or path.startswith("."):
            continue
        try:
            elsewhere = [value for value in document.all(path) if not is_empty(value)]
        except PathError:
            continue
        if elsewhere:
            hints.append(
                f"{path} inside for_each {loop} is that turn's own, and no turn has one; the message has "
                f"{len(elsewhere)} elsewhere. If it belongs to the turn, say so with owns: [{path.partition('-')[0]}]."
            )
    return hints
