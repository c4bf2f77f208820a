"""Which elements of two sequences belong together, in a time that is known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

CELLS: Final = 1_000_000  # comparisons; half a second

Pair = tuple[int | None, int | None]
"""Positions in both sequences; None where one of them has nothing that belongs to the other's."""


def pairs(old: Sequence[str], new: Sequence[str]) -> tuple[list[Pair], bool]:
    """Every position of both once, in order; equal elements stand together wherever the longest common subsequence has them.

    False where what differs is too long to be compared so: then what stands between the common beginning and the common
    end is paired position by position.
    """
    begin = 0
    while begin < min(len(old), len(new)) and old[begin] == new[begin]:
        begin += 1
    end = 0
    while end < min(len(old), len(new)) - begin and old[-1 - end] == new[-1 - end]:
        end += 1
    here, there = old[begin : len(old) - end], new[begin : len(new) - end]
    exact = len(here) * len(there) <= CELLS
    inner = _common(here, there) if exact else _by_position(len(here), len(there))
    found: list[Pair] = [(n, n) for n in range(begin)]
    found += [(None if a is None else a + begin, None if b is None else b + begin) for a, b in inner]
    found += [(len(old) - end + n, len(new) - end + n) for n in range(end)]
    return found, exact


def _by_position(old: int, new: int) -> list[Pair]:
    return [(n if n < old else None, n if n < new else None) for n in range(max(old, new))]


def _common(old: Sequence[str], new: Sequence[str]) -> list[Pair]:
    """The longest common subsequence by its table: slow, and never slower than the table is large."""
    table = [[0] * (len(new) + 1)]
    for one in reversed(old):
        below = table[-1]
        row = [0] * (len(new) + 1)
        for n in range(len(new) - 1, -1, -1):
            row[n] = below[n + 1] + 1 if one == new[n] else max(below[n], row[n + 1])
        table.append(row)
    table.reverse()
    found: list[Pair] = []
    a = b = 0
    while a < len(old) and b < len(new):
        if old[a] == new[b]:
            found.append((a, b))
            a, b = a + 1, b + 1
        elif table[a + 1][b] >= table[a][b + 1]:
            found.append((a, None))
            a += 1
        else:
            found.append((None, b))
            b += 1
    found += [(n, None) for n in range(a, len(old))]
    return found + [(None, n) for n in range(b, len(new))]
