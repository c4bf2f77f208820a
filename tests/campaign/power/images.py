"""What a power cut may leave of a recorded run.

The model is harsher than most file systems. What was written since a file's last flush may be there or not, piece by piece,
in any order, and torn at 512 or 4096 bytes. A name that was made, changed or removed is certain only once its directory was
flushed; names change in order.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ACKS = "acks"  # the file in which the run notes what was acknowledged; it survives everything
_HEAD = struct.Struct("<cQqQQ")
SECTORS = (512, 4096)


class Change(NamedTuple):
    """One record of `disk.c`."""

    kind: str
    inode: int
    offset: int
    path: str
    data: bytes


def read_log(path: Path) -> Iterator[Change]:
    log = path.read_bytes()
    at = 0
    while at < len(log):
        kind, inode, offset, named, length = _HEAD.unpack_from(log, at)
        at += _HEAD.size
        name = log[at : at + named].decode()
        at += named
        yield Change(kind.decode(), inode, offset, name, log[at : at + length])
        at += length


class File:
    """Its flushed content, and what has been done to it since: (offset, data) written, or (length, None) cut."""

    def __init__(self) -> None:
        self.flushed = bytearray()
        self.since: list[tuple[int, bytes | None]] = []

    def flush(self) -> None:
        for offset, data in self.since:
            _apply(self.flushed, offset, data)
        self.since.clear()

    def left(self, chance: random.Random) -> bytes:
        content = bytearray(self.flushed)
        for offset, data in _kept(self.since, chance):
            _apply(content, offset, data)
        return bytes(content)


class Disk:
    """Replays changes; `left` is what there may be after a power cut now."""

    def __init__(self) -> None:
        self._files: dict[int, File] = {}  # by inode, those that have a name
        self._names: dict[str, File] = {}  # flushed
        self._live: dict[str, File] = {}
        self._renamed: list[tuple[str, str, File | None]] = []  # (directory, path, what it names now), not flushed
        self.acks = bytearray()

    def apply(self, change: Change) -> bool:
        """Whether it was an acknowledgement."""
        kind, inode, offset, path, data = change
        if path.endswith(f"/{ACKS}"):
            self.acks += data
            return kind == "W"
        if path.endswith("-shm"):  # shared memory: made anew by whoever opens first
            return False
        if kind == "O":
            self._files[inode] = File()
            self._name(path, self._files[inode])
        elif kind == "W":
            self._files[inode].since.append((offset, data))
        elif kind == "T":
            self._files[inode].since.append((offset, None))
        elif kind == "S" and path in self._live:
            self._live[path].flush()
        elif kind == "S":
            self._flush_directory(path)
        elif kind == "U":
            self._name(path, None)
        elif kind == "R":
            file = self._live[path]
            self._name(data.decode(), file)
            self._name(path, None)
        return False

    def _name(self, path: str, file: File | None) -> None:
        self._renamed.append((path.rpartition("/")[0], path, file))
        _set(self._live, path, file)

    def _flush_directory(self, directory: str) -> None:
        for where, path, file in self._renamed:
            if where == directory:
                _set(self._names, path, file)
        self._renamed = [one for one in self._renamed if one[0] != directory]

    def left(self, chance: random.Random) -> dict[str, bytes]:
        """File name → content."""
        names = dict(self._names)
        for _, path, file in self._renamed[: chance.choice((0, len(self._renamed), chance.randint(0, len(self._renamed))))]:
            _set(names, path, file)
        return {path.rpartition("/")[2]: file.left(chance) for path, file in names.items()}


def _set(names: dict[str, File], path: str, file: File | None) -> None:
    if file is None:
        names.pop(path, None)
    else:
        names[path] = file


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        content.extend(bytes(offset - len(content)))
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _kept(since: list[tuple[int, bytes | None]], chance: random.Random) -> list[tuple[int, bytes | None]]:
    """Of what was not flushed: nothing, everything, its beginning, or some of it, torn or whole."""
    how = chance.choice(("none", "all", "beginning", "some", "some", "torn", "torn"))
    if how == "none":
        return []
    if how == "all":
        return since
    if how == "beginning":
        return since[: chance.randint(0, len(since))]
    share = chance.choice((0.1, 0.5, 0.9))
    kept = [one for one in since if chance.random() < share]
    return kept if how == "some" else [piece for one in kept for piece in _torn(one, chance)]


def _torn(one: tuple[int, bytes | None], chance: random.Random) -> list[tuple[int, bytes | None]]:
    """The sectors of one write that reached the disk."""
    offset, data = one
    if data is None or chance.random() < 0.5:
        return [one]
    sector = chance.choice(SECTORS)
    edges = [0, *range(sector - offset % sector, len(data), sector), len(data)]
    return [(offset + a, data[a:b]) for a, b in pairwise(edges) if chance.random() < 0.5]
