"""What a name reaches from within a group: its own segments, or those around it."""

from __future__ import annotations

from collections.abc import Iterator

from engine.formats.hl7v2.structure import Instance, Segment


def kind_of(segment: Segment) -> str:
    return segment[0][:3].upper()


def owned(around: Instance, kind: str, without: Instance | None = None, beside: str = "") -> list[Segment] | None:
    """Segments of `kind` that a name means in this group; None where the group cannot own the kind.

    `without` is the instance we come from: other instances of its group are siblings. `beside` is the kind of a segment we
    come from that stands for no group: what follows its siblings is theirs.
    """
    if kind in around.group.kinds:
        return around.meant(kind)
    # The structure does not know it: those at the smallest depth, outside siblings.
    level = [around]
    while level:
        found = [
            each
            for instance in level
            for each in foreign(instance, beside if instance is around else "")
            if kind_of(each) == kind
        ]
        if found:
            return found
        level = [
            entry
            for instance in level
            for entry in instance.entries
            if isinstance(entry, Instance) and (without is None or entry.group is not without.group)
        ]
    return None


def foreign(instance: Instance, beside: str) -> Iterator[Segment]:
    """Foreign segments directly in `instance`, but for those behind a segment of the kind `beside`."""
    behind = ""
    for entry in instance.entries:
        if isinstance(entry, Instance):
            behind = ""
        elif kind_of(entry) in instance.group.kinds:
            behind = kind_of(entry)
        elif not beside or behind != beside:
            yield entry


def behind(holder: Instance, anchor: Segment) -> list[Segment]:
    """Foreign segments directly behind `anchor`: they are its own."""
    entries = holder.entries
    start = next(n for n, each in enumerate(entries) if each is anchor) + 1
    found: list[Segment] = []
    for entry in entries[start:]:
        if isinstance(entry, Instance) or kind_of(entry) in root_of(holder).group.kinds:
            break
        found.append(entry)
    return found


def root_of(instance: Instance) -> Instance:
    while instance.parent is not None:
        instance = instance.parent
    return instance
