"""What messages with the same names of segments in the same order have in common: feeds send few shapes, and send them often.

Which segments there are by name, and which of them a name means in a turn, follow from the names, their order and the
structure alone. So both are worked out once, on an empty message of that shape, and kept as positions in the message.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from engine.formats.hl7v2.structure import Segment

if TYPE_CHECKING:
    from engine.formats.hl7v2.document import Hl7Message, Turn

MOST_SHAPES: Final = 512  # remembered; a flood of odd messages starts afresh
MOST_STRUCTURES: Final = 16  # remembered for one shape
MOST_SEGMENTS: Final = 100  # of a message whose shape is remembered

_NAME = re.compile(r"[A-Z][A-Z0-9]{2}")


class Index(dict[str, list[Segment]]):
    """Segments by name; absent names are empty lists, without being entered."""

    def __missing__(self, name: str) -> list[Segment]:
        return []


class Meant(dict[str, list[Segment]]):
    """The segments that a name means in one turn of a message of known shape."""

    __slots__ = ("_meanings", "_segments")

    def __init__(self, meanings: Meanings, segments: list[Segment]) -> None:
        self._meanings, self._segments = meanings, segments

    def __missing__(self, kind: str) -> list[Segment]:
        segments = self._segments
        found = self[kind] = [segments[n] for n in self._meanings[kind]]
        return found


class Shape:
    """`positions` are those of the segments by name. `empties` has the empty message of each structure it was read as."""

    __slots__ = ("empties", "positions")

    def __init__(self, heads: tuple[str, ...], field: str) -> None:
        self.positions = _positions(heads, field)
        self.empties: dict[Any, Empty] = {}

    def index(self, segments: list[Segment]) -> Index:
        index = Index()
        for name, positions in self.positions:
            index[name] = [segments[positions[0]]] if len(positions) == 1 else [segments[n] for n in positions]
        return index

    def remember(self, key: Any, empty: Empty) -> Empty:
        if len(self.empties) >= MOST_STRUCTURES:
            self.empties.clear()
        self.empties[key] = empty
        return empty


class Empty:
    """An empty message of a shape, and what names mean in its turns."""

    __slots__ = ("_message", "_places", "_turns")

    def __init__(self, message: Hl7Message) -> None:
        self._message = message
        self._places = {id(segment): n for n, segment in enumerate(message.source.segments)}
        self._turns: dict[int, Meanings] = {}

    def turn(self, position: int) -> Meanings:
        """What names mean in the turn of the segment at `position`."""
        found = self._turns.get(position)
        if found is None:
            turn = self._message.narrowed(self._message.source.segments[position])
            found = self._turns[position] = Meanings(turn, self._places)
        return found


class Meanings(dict[str, tuple[int, ...]]):
    """The positions of the segments that a name means in one turn."""

    __slots__ = ("_places", "_turn")

    def __init__(self, turn: Turn, places: dict[int, int]) -> None:
        self._turn, self._places = turn, places

    def __missing__(self, kind: str) -> tuple[int, ...]:
        found = tuple([self._places[id(segment)] for segment in self._turn.index[kind]])
        if len(self) < MOST_SEGMENTS:
            self[kind] = found
        return found


_shapes: dict[tuple[str, ...], Shape] = {}


def shape_of(segments: list[Segment], field: str) -> Shape:
    """The shape of a message, remembered."""
    heads = tuple([segment[0][:4] for segment in segments])
    if len(heads) > MOST_SEGMENTS:
        return Shape(heads, field)
    found = _shapes.get((field, *heads))
    if found is None:
        if len(_shapes) >= MOST_SHAPES:
            _shapes.clear()
        found = _shapes[(field, *heads)] = Shape(heads, field)
    return found


def _positions(heads: tuple[str, ...], field: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """What is no segment (blank lines, names of another length, stray text) is in none of the lists."""
    found: dict[str, list[int]] = {}
    for n, head in enumerate(heads):
        name = head[:3]
        if head[3:] not in ("", field):
            continue
        if not (name.isupper() and name.isalnum() and name.isascii()) or len(name) < 3:
            name = name.upper()  # lower case occurs, and is no other segment
            if _NAME.fullmatch(name) is None:
                continue
        found.setdefault(name, []).append(n)
    return tuple((name, tuple(positions)) for name, positions in found.items())
