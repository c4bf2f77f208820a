"""What differs between two contents: by field where both have the same paths, else line by line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from engine.views import align
from engine.views.lines import Line, Piece, Reading
from engine.views.marks import plain

LINES: Final = 5000  # of each content that are compared
PIECES: Final = 40_000
SHOWN: Final = 500  # differences


_PATH: Final = re.compile(r"-?(\d+)(?:\[(\d+)\])?(?:[.-](\d+))?(?:\.(\d+))?")  # of a field, behind its segment


class Change(NamedTuple):
    """One difference. Texts are as they were sent; `marks` shows them."""

    path: str  # in the newer one where it has it; of lines their number
    name: str  # the standard's
    old: str | None  # None: it is not there
    new: str | None
    line: int = 0  # the line of the newer reading, from 0, where it has one


class Difference(NamedTuple):
    by: str  # `field` or `line`
    changes: tuple[Change, ...]
    same: int  # values, or lines, that are equal
    notes: tuple[str, ...]  # what was left out
    more: int = 0  # changes that are not shown


def compared(old: Reading, new: Reading) -> Difference:
    """Bounded in time: the first 5,000 lines of both are read, and what is too different is compared by position."""
    notes = [*_notes("The older one", old), *_notes("The newer one", new)]
    before, whole = _beginning(old)
    after, all_too = _beginning(new)
    if not whole or not all_too:
        notes.append(f"They are long: {len(before):,} lines of the older one and {len(after):,} of the newer one are compared.")
    if old.kind != new.kind:
        notes.append(f"One is {old.title}, the other {new.title}: they share no paths, and are compared as text.")
        return _made("line", *_by_line(before, after), notes)
    if old.kind in ("hl7v2", "x12"):
        return _made("field", *_by_segment(before, after), notes)
    if old.kind in ("json", "xml"):
        return _made("field", *_by_path(before, after), notes)
    return _made("line", *_by_line(before, after), notes)


def _beginning(reading: Reading) -> tuple[list[Line], bool]:
    """The lines that are compared, and whether these are all."""
    lines: list[Line] = []
    pieces = 0
    for line in reading.lines(0):
        pieces += len(line.pieces)
        if len(lines) == LINES or pieces > PIECES:
            return lines, False
        lines.append(line)
    return lines, True


def _notes(which: str, reading: Reading) -> Iterator[str]:
    for note in reading.notes:
        yield f"{which}: {note[0].lower()}{note[1:]}"


def _made(by: str, changes: list[Change], same: int, exact: bool, notes: Sequence[str]) -> Difference:
    if not exact:
        notes = [*notes, "They differ too much to be aligned: what differs is compared position by position."]
    return Difference(by, tuple(changes[:SHOWN]), same, tuple(notes), max(0, len(changes) - SHOWN))


# ── by line ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _text(line: Line) -> str:
    return "  " * line.depth + "".join(piece.text for piece in line.pieces)


def _by_line(old: Sequence[Line], new: Sequence[Line]) -> tuple[list[Change], int, bool]:
    before, after = [_text(line) for line in old], [_text(line) for line in new]
    found, exact = align.pairs(before, after)
    changes: list[Change] = []
    same = 0
    for a, b in _joined(found, before, after):
        if a is not None and b is not None and before[a] == after[b]:
            same += 1
        else:
            label = new[b].label if b is not None else old[a].label if a is not None else ""
            changes.append(Change(label, "", None if a is None else before[a], None if b is None else after[b], b or 0))
    return changes, same, exact


def _joined(found: Iterable[align.Pair], before: Sequence[str], after: Sequence[str]) -> Iterator[align.Pair]:
    """What was taken away and what came in its place, side by side."""
    gone: list[int] = []
    came: list[int] = []

    def close() -> Iterator[align.Pair]:
        for n in range(max(len(gone), len(came))):
            yield gone[n] if n < len(gone) else None, came[n] if n < len(came) else None
        gone.clear()
        came.clear()

    for a, b in found:
        if a is not None and b is not None and before[a] == after[b]:
            yield from close()
            yield a, b
        else:
            gone += [a] * (a is not None)  # type: ignore[list-item]
            came += [b] * (b is not None)  # type: ignore[list-item]
    yield from close()


# ── by segment ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _by_segment(old: Sequence[Line], new: Sequence[Line]) -> tuple[list[Change], int, bool]:
    """Segments that are equal stand together, and between them those of one kind in their order."""
    before, after = [_kind(line) + _text(line) for line in old], [_kind(line) + _text(line) for line in new]
    found, exact = align.pairs(before, after)
    changes: list[Change] = []
    same = 0
    gone: list[int] = []
    came: list[int] = []

    def close() -> None:
        nonlocal same
        for a, b in _by_kind(gone, came, old, new):
            fields, equal = _fields(None if a is None else old[a], None if b is None else new[b], b or 0)
            changes.extend(fields)
            same += equal
        gone.clear()
        came.clear()

    for a, b in found:
        if a is not None and b is not None and before[a] == after[b]:
            close()
            same += sum(1 for piece in new[b].pieces if piece.path)
        else:
            gone += [a] * (a is not None)  # type: ignore[list-item]
            came += [b] * (b is not None)  # type: ignore[list-item]
    close()
    return changes, same, exact


def _by_kind(gone: Sequence[int], came: Sequence[int], old: Sequence[Line], new: Sequence[Line]) -> list[align.Pair]:
    """In the order of the newer one; what has gone stands before what came after it."""
    waiting: dict[str, list[int]] = {}
    for a in gone:
        waiting.setdefault(_kind(old[a]), []).append(a)
    partner = {b: ones.pop(0) for b in came if (ones := waiting.get(_kind(new[b])))}
    alone = sorted(set(gone) - set(partner.values()), reverse=True)
    found: list[align.Pair] = []
    for b in came:
        while alone and b in partner and alone[-1] < partner[b]:
            found.append((alone.pop(), None))
        found.append((partner.get(b), b))
    return [*found, *((a, None) for a in reversed(alone))]


def _kind(line: Line) -> str:
    return line.label.partition("[")[0]


def _fields(old: Line | None, new: Line | None, number: int) -> tuple[list[Change], int]:
    """Of a segment that only one of them has, one change."""
    if old is None or new is None:
        line = new or old or Line("", ())
        text = "".join(piece.text for piece in line.pieces)
        return [Change(line.label, line.name, None if old is None else text, None if new is None else text, number)], 0
    before, after = _keyed(old), _keyed(new)
    changes: list[Change] = []
    same = 0
    for key in sorted(before.keys() | after.keys()):
        a, b = before.get(key), after.get(key)
        if a is not None and b is not None and (a.text, a.more) == (b.text, b.more):
            same += 1
            continue
        path = b.path if b is not None else a.path.replace(old.label, new.label, 1) if a is not None else ""
        changes.append(Change(path, (b or a or Piece("")).name, _shown(a), _shown(b), number))
    return changes, same


def _keyed(line: Line) -> dict[tuple[int, ...], Piece]:
    """By field, repetition, component and subcomponent, each 1 where it is not written: a field that has no components is
    its first one."""
    found: dict[tuple[int, ...], Piece] = {}
    for piece in line.pieces:
        match = _PATH.match(piece.path, len(line.label))
        if match and piece.path:
            found[tuple(int(number or 1) for number in match.groups())] = piece
    return found


# ── by path ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _by_path(old: Sequence[Line], new: Sequence[Line]) -> tuple[list[Change], int, bool]:
    before, _ = _values(old)
    after, numbers = _values(new)
    changes, same = _changed(before, after, numbers)
    return changes, same, True


def _values(lines: Sequence[Line]) -> tuple[dict[str, Piece], dict[str, int]]:
    found: dict[str, Piece] = {}
    numbers: dict[str, int] = {}
    for number, line in enumerate(lines):
        for piece in line.pieces:
            if piece.path and piece.role not in ("delimiter", "key", "tag"):
                path = piece.path
                n = 1
                while path in found:  # keys that come twice, text between elements
                    n += 1
                    path = f"{piece.path}({n})"
                    if n > 100:
                        break
                found[path] = piece
                numbers[path] = number
    return found, numbers


def _changed(before: dict[str, Piece], after: dict[str, Piece], numbers: dict[str, int]) -> tuple[list[Change], int]:
    changes: list[Change] = []
    same = 0
    for path in [*after, *(path for path in before if path not in after)]:
        old, new = before.get(path), after.get(path)
        if old is not None and new is not None and (old.text, old.more) == (new.text, new.more):
            same += 1
            continue
        name = (new or old or Piece("")).name
        changes.append(Change(path, name, _shown(old), _shown(new), numbers.get(path, 0)))
    return changes, same


def _shown(piece: Piece | None) -> str | None:
    return None if piece is None else f"{piece.text}… ({piece.more:,} characters more)" if piece.more else piece.text


def as_texts(difference: Difference) -> list[tuple[str, str, str, str]]:
    """(path, name, old, new) with marks for what does not print, for a terminal; `-` where it is not there."""
    return [
        (plain(one.path), one.name, "-" if one.old is None else plain(one.old), "-" if one.new is None else plain(one.new))
        for one in difference.changes
    ]
