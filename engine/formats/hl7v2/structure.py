"""Which segments belong together: the standard's message structures, matched to a message as it really came.

The tables come from `structures.json` (tools/hl7_structures.py). Matching goes through the segments once, in order, and
gives each the likeliest place; it never fails:

1. the next place in an open group, or a new instance of one, that the structure foresees (inner groups first);
2. the same with optional segments missing in front;
3. an open group that should have had the segment earlier: it joins that group, out of order;
4. a later group whose required first segment is missing (an OBR without its ORC);
5. any open group that could hold it somewhere: it starts a group of its own there, out of order.

What the structure does not know (Z segments, foreign ones) belongs to the group of the segment before it. Cardinalities
are ignored: real messages repeat what they should not. Moves are remembered, so that the next message of the same
shape costs a dictionary lookup a segment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple
from weakref import ref

Segment = list[str]
"""A segment: its text alone while nothing of it was read, then its pieces between field separators."""
MISSING: Final = 3  # the cost of a way past a required segment that is not there
MOST_MOVES: Final = 20_000  # remembered for one structure; a flood of odd messages starts afresh

Frame = tuple["Group", int]
"""An open group and the position reached in it."""


class Item(NamedTuple):
    """One position in a group: a segment (or a choice of them), or a nested group."""

    names: frozenset[str]  # of a group: every kind in it, however deep
    group: Group | None
    optional: bool
    repeats: bool


class Way(NamedTuple):
    """How a segment is reached from the beginning of a group: the groups to open (that one first), each with the position
    reached, and the cost: 0 begins the group, 1 optional segments are skipped, 2 a segment comes again that should not,
    3 a required one is missing."""

    cost: int
    frames: tuple[Frame, ...]


class Group:
    """A group of a structure. `kinds` is every segment kind in it, however deep; the root is the whole message."""

    __slots__ = ("_homes", "_ways", "items", "kinds", "name")

    def __init__(self, name: str, items: tuple[Item, ...]) -> None:
        self.name, self.items = name, items
        self.kinds: frozenset[str] = frozenset().union(*(item.names for item in items))
        self._homes: dict[str, Group | None] = {}
        self._ways: dict[str, Way | None] = {}

    def begins_with(self, kind: str) -> bool:
        """Whether `kind` may begin the group: its segments up to the first required one, or just the first of all."""
        for item in self.items:
            if item.group is None and kind in item.names:
                return True
            if not item.optional or all(each.optional for each in self.items):
                return False
        return False

    def holds(self, kind: str) -> bool:
        """Whether `kind` is a segment of this very group."""
        return any(item.group is None and kind in item.names for item in self.items)

    def way(self, kind: str) -> Way | None:
        """The cheapest way to a first `kind` in a new instance of this group."""
        if kind not in self._ways:
            ways: list[Way] = []
            skipped = 0
            for index, item in enumerate(self.items):
                if kind in item.names:
                    inner = Way(0, ()) if item.group is None else item.group.way(kind)
                    assert inner is not None
                    ways.append(Way(max(skipped, inner.cost), ((self, index), *inner.frames)))
                skipped = max(skipped, 1 if item.optional else MISSING)
            self._ways[kind] = min(ways, key=lambda way: way.cost, default=None)
        return self._ways[kind]

    def home(self, kind: str) -> Group | None:
        """The group, this one or one within it, whose `kind` is meant by the bare name here: the nearest, and among equally
        near ones the group that begins with it (in an order, OBX is the observation's and not the specimen's)."""
        if kind not in self._homes:
            best: tuple[float, Group | None] = (99, None)
            for depth, group in self.nested():
                for index, item in enumerate(group.items):
                    if item.group is None and kind in item.names:
                        distance = depth - 0.5 * (index == 0 and depth > 0)
                        best = (distance, group) if distance < best[0] else best
                        break
            self._homes[kind] = best[1]
        return self._homes[kind]

    def nested(self, depth: int = 0) -> Iterator[tuple[int, Group]]:
        """This group and every one within it, with its depth."""
        yield depth, self
        for item in self.items:
            if item.group is not None:
                yield from item.group.nested(depth + 1)


class Instance:
    """A group as it occurs in a message: segments and nested groups, in order. Foreign segments are among them.

    The tree is held by its root, and looks upwards weakly.
    """

    __slots__ = ("__weakref__", "_meant", "_parent", "entries", "group")

    def __init__(self, group: Group, parent: Instance | None) -> None:
        self.group = group
        self._parent = None if parent is None else ref(parent)
        self.entries: list[Segment | Instance] = []
        self._meant: dict[str, list[Segment]] | None = None

    @property
    def parent(self) -> Instance | None:
        return None if self._parent is None else self._parent()

    def meant(self, kind: str) -> list[Segment]:
        """The segments that the bare name `kind` means in this group; `kind` is one that the group can own."""
        if self._meant is None:
            self._meant = {}
        if kind not in self._meant:
            self._meant[kind] = list(self._at_home(kind, self.group.home(kind)))
        return self._meant[kind]

    def _at_home(self, kind: str, home: Group | None) -> Iterator[Segment]:
        own = self.group is home
        for entry in self.entries:
            if isinstance(entry, Instance):
                if kind in entry.group.kinds:
                    yield from entry._at_home(kind, home)
            elif own and entry[0][:3].upper() == kind:
                yield entry

    def segments(self) -> Iterator[Segment]:
        """Every segment, in order."""
        for entry in self.entries:
            if isinstance(entry, Instance):
                yield from entry.segments()
            else:
                yield entry

    def instances(self) -> Iterator[Instance]:
        """This one and every nested one, in order."""
        yield self
        for entry in self.entries:
            if isinstance(entry, Instance):
                yield from entry.instances()

    def first(self) -> Segment:
        entry = self.entries[0]
        return entry.first() if isinstance(entry, Instance) else entry


class Move(NamedTuple):
    """Where a segment goes: how many open groups stay open, which are opened, and the state after it."""

    keep: int
    opened: tuple[Group, ...]
    state: int


class Structure:
    """One message structure with its remembered moves."""

    def __init__(self, root: Group) -> None:
        self.root = root
        self._forget()

    def _forget(self) -> None:
        start: tuple[Frame, ...] = ((self.root, 0),)
        self._frames = [start]
        self._states = {start: 0}
        self._moves: dict[tuple[int, str], Move] = {}

    def match(self, segments: Iterable[tuple[str, Segment]]) -> tuple[Instance, dict[int, Instance]]:
        """The message as a tree, and for each segment (by `id`) the instance that holds it."""
        if len(self._moves) > MOST_MOVES:
            self._forget()
        root = Instance(self.root, None)
        homes: dict[int, Instance] = {}
        stack = [root]
        state = 0
        for kind, segment in segments:
            move = self._moves.get((state, kind)) or self._learn(state, kind)
            del stack[move.keep :]
            for group in move.opened:
                opened = Instance(group, stack[-1])
                stack[-1].entries.append(opened)
                stack.append(opened)
            stack[-1].entries.append(segment)
            homes[id(segment)] = stack[-1]
            state = move.state
        return root, homes

    def _learn(self, state: int, kind: str) -> Move:
        before = self._frames[state]
        if kind in self.root.kinds:
            keep, frames = _placed(before, kind)
        else:
            keep, frames = len(before), before
        number = self._states.setdefault(frames, len(self._frames))
        if number == len(self._frames):
            self._frames.append(frames)
        move = self._moves[state, kind] = Move(keep, tuple(group for group, _ in frames[keep:]), number)
        return move


def _placed(frames: tuple[Frame, ...], kind: str) -> tuple[int, tuple[Frame, ...]]:
    """How many of the open groups stay open for `kind`, and what is open with it. The steps are the module's."""
    levels = range(len(frames) - 1, -1, -1)
    onward = [(level, _onward(*frames[level], kind)) for level in levels]
    for cost in range(MISSING):
        for level, way in onward:
            if way is not None and way.cost == cost:
                return level + 1, frames[:level] + way.frames
    for level in levels[:-1]:
        group, _ = frames[level]
        if group.holds(kind):
            return level + 1, frames[: level + 1]
        for item in group.items:
            if item.group is not None and item.group.begins_with(kind):
                return level + 1, frames[: level + 1] + _alone(item.group, kind)
    for level, way in onward:
        if way is not None:
            return level + 1, frames[:level] + way.frames
    level = next(level for level in levels if kind in frames[level][0].kinds)
    return level + 1, frames[: level + 1] + _detached(frames[level][0], kind)


def _onward(group: Group, position: int, kind: str) -> Way | None:
    """The cheapest way to `kind` in an open group from `position` on: the same segment again, a later one, the group at
    `position` once more or a later one. A group starts again only where it may begin with `kind`."""
    best: Way | None = None
    for index in range(position, len(group.items)):
        item = group.items[index]
        if kind not in item.names:
            continue
        if item.group is None:
            # A segment that may not repeat begins its group again, where that is possible: OBX OBX are two observations.
            again = index == position and not item.repeats
            return Way(2 if again else 0, ((group, index),))
        way = item.group.way(kind)
        assert way is not None
        if index == position and way.cost == MISSING:
            continue
        if best is None or way.cost < best.cost:
            best = Way(way.cost, ((group, index), *way.frames))
    return best


def _alone(group: Group, kind: str) -> tuple[Frame, ...]:
    return ((group, next(index for index, item in enumerate(group.items) if item.group is None and kind in item.names)),)


def _detached(group: Group, kind: str) -> tuple[Frame, ...]:
    """The innermost group of its own that `kind` begins, without the groups around it; none where it is `group`'s own."""
    if group.holds(kind):
        return ()
    for _, inner in group.nested():
        if inner is not group and inner.begins_with(kind):
            return _alone(inner, kind)
    home = group.home(kind)
    assert home is not None
    return _alone(home, kind)


# ── the tables ─────────────────────────────────────────────────────────────────────────────────────────────────────

GENERIC: Final = (
    "MSH SFT* UAC? MSA? ERR* NTE* EVN? SCH? TXA? MFI? QRD? QRF? QPD? RCP? "
    "(PATIENT* PID PD1? NTE* MRG? NK1* (VISIT* PV1 PV2?)) AL1* "
    "(INSURANCE* IN1 IN2? IN3*) GT1? ACC? (MASTER_ENTRY* MFE STF? PRA* ORG*) "
    "(ORDER* ORC? OBR|RXO|RXE|RXD|RXA|RXG|ODS|ODT|RQD NTE* (TIMING* TQ1 TQ2*) RXR* RXC* CTD? DG1* "
    "(OBSERVATION* OBX NTE*) (SPECIMEN* SPM OBX*) CTI*) "
    "(FINANCIAL* FT1 NTE* (PROCEDURE* PR1 ROL*)) (PROBLEM* PRB NTE* ROL*) (GOAL* GOL NTE* ROL*) DG1* DRG? "
    "(RESOURCES* RGS (SERVICE* AIS NTE*) (GENERAL_RESOURCE* AIG NTE*) (LOCATION_RESOURCE* AIL NTE*) "
    "(PERSONNEL_RESOURCE* AIP NTE*)) DSC?"
)
"""For messages of no known structure: what usually belongs together."""

_TOKEN = re.compile(r"\(([A-Z0-9_]+)([?*+]?)|([A-Z0-9|]+)([?*+]?)|(\))")


def parsed(text: str) -> Group:
    """A structure in the notation of the tables, `MSH EVN (PATIENT+ PID PD1? MRG PV1?)`."""
    open_groups: list[tuple[str, str, list[Item]]] = [("", "", [])]
    for group, group_mark, names, mark, shut in _TOKEN.findall(text):
        if group:
            open_groups.append((group, group_mark, []))
        elif shut:
            name, its_mark, items = open_groups.pop()
            closed = Group(name, tuple(items))
            open_groups[-1][2].append(Item(closed.kinds, closed, its_mark in ("?", "*"), its_mark in ("*", "+")))
        else:
            open_groups[-1][2].append(Item(frozenset(names.split("|")), None, mark in ("?", "*"), mark in ("*", "+")))
    return Group("", tuple(open_groups[0][2]))


@cache
def _tables() -> Any:
    import orjson

    return orjson.loads(Path(__file__).with_name("structures.json").read_bytes())


@cache
def built(text: str) -> Structure:
    return Structure(parsed(text))


@lru_cache(1024)
def structure_of(version: str, message_type: str, event: str, declared: str) -> Structure:
    """The structure for MSH-12, MSH-9.1, MSH-9.2 and MSH-9.3. The event decides rather than MSH-9.3, which is often wrong;
    an unknown version is read as the nearest known one; an unknown message as `GENERIC`."""
    found = standard_structure(version, message_type, event, declared)
    tables = _tables()
    return built(GENERIC if found is None else tables["texts"][tables["versions"][found[0]][found[1]]])


def standard_structure(version: str, message_type: str, event: str, declared: str) -> tuple[str, str] | None:
    """(version, name) of the structure in the tables, ("2.5.1", "ADT_A39") for ADT^A40; None for an unknown message."""
    tables = _tables()
    both = f"{message_type}_{event}"
    names = (tables["events"].get(both), both, declared, tables["types"].get(message_type))
    versions = nearest(version, list(tables["versions"]))
    return next(((each, name) for name in names if name for each in versions if name in tables["versions"][each]), None)


def nearest(version: str, known: list[str]) -> list[str]:
    """`version` or the one before it, then later ones, then earlier ones; 2.5.1 where it is no version at all."""
    if not re.fullmatch(r"2(\.\d{1,3}){1,2}", version):
        version = "2.5.1"
    wanted = [int(n) for n in version.split(".")]
    at = max((n for n, each in enumerate(known) if [int(n) for n in each.split(".")] <= wanted), default=0)
    return known[at:] + known[:at][::-1]
