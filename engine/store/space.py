"""Room on the store's disk: when to say so, when to take nothing more, and a reserve for the day there is none.

A SQLite database on a full disk can neither delete nor move its log. So taking stops well before, while deliveries and
pruning go on; and a file of real blocks lies beside the database, which the writer gives up when it is refused room.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

from engine.contracts import DiskPolicy
from engine.events import Emit, SpaceChanged
from engine.quantities import format_size

PIECE: Final = 32 << 20  # of the reserve that is laid in at one look, so that nobody waits for it
WORK: Final = 32 << 20  # two logs of a SQLite store: to move one into the file, the file may have to grow by all of it
GIB: Final = 1 << 30


class Room(StrEnum):
    AMPLE = "ample"
    LOW = "low"
    FULL = "full"


class Limits(NamedTuple):
    """Bytes."""

    stop: int
    warn: int
    ballast: int


def limits(policy: DiskPolicy, total: int, largest: int) -> Limits:
    """For a disk of `total` bytes and messages of at most `largest`.

    Where the policy does not say: stop below 5 %, 2 GiB or four messages, whichever is most, but the latter two never above
    a tenth of a small disk; warn below 20 %. The reserve is at most a fiftieth of the disk, but has room for a whole log and
    for work, where that is not a quarter of everything.
    """
    stop = policy.stop_below or max(total // 20, min(max(2 * GIB, 4 * largest), max(total // 10, WORK)))
    return Limits(stop, max(policy.warn_below or total // 5, stop), min(policy.ballast, max(total // 50, WORK), total // 4))


def judge(before: Room, free: int, limits: Limits, refused: bool) -> Room:
    """`refused`: the database found no room since the last look. Once full, it is full up to the level of the warning."""
    if refused or free < limits.stop or (before is Room.FULL and free < limits.warn):
        return Room.FULL
    return Room.LOW if free < limits.warn else Room.AMPLE


def ballast_of(database: Path) -> Path:
    return Path(f"{database}.ballast")


class Space:
    """Watches the disk below one database. `check` is called every few seconds; `refusal` says at once what it found."""

    def __init__(
        self, database: Path, policy: DiskPolicy, largest: int, emit: Emit, statvfs: Callable[[Path], Any] = os.statvfs
    ) -> None:
        self._directory, self._ballast = database.parent, ballast_of(database)
        self._policy, self._largest, self._emit, self._statvfs = policy, largest, emit, statvfs
        self._refused = False
        self.room = Room.AMPLE
        self.refusal = ""  # why nothing is taken; empty while it is

    def refused(self) -> None:
        """The database found no room, and may have been given the reserve: nothing is taken until there is more."""
        self._refused = True
        self.refusal = self.refusal or f"there is no room left in {self._directory}"

    def check(self) -> Room:
        """Look, tell of a change, and lay in the reserve. Raises OSError where the disk cannot be asked."""
        facts = self._statvfs(self._directory)
        total, available = facts.f_blocks * facts.f_frsize, facts.f_bavail * facts.f_frsize
        bounds = limits(self._policy, total, self._largest)
        missing = max(bounds.ballast - self._laid_in(), 0)
        free = available - missing
        refused, self._refused = self._refused, False
        before, self.room = self.room, judge(self.room, free, bounds, refused)
        if self.room is Room.FULL:
            self.refusal = f"{_rounded(free)} are free in {self._directory}: taking goes on at {_rounded(bounds.warn)}"
        else:
            self.refusal = ""
            if missing:
                self._lay_in(bounds.ballast)
        if self.room is not before:
            self._emit(SpaceChanged(self.room, free, total))
        return self.room

    def _laid_in(self) -> int:
        try:
            return os.stat(self._ballast).st_size
        except FileNotFoundError:
            return 0

    def _lay_in(self, wanted: int) -> None:
        """Real blocks, which a file of zeros would not be everywhere."""
        with suppress(OSError):  # no room for it: the next look says so
            file = os.open(self._ballast, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                at = os.fstat(file).st_size
                os.posix_fallocate(file, at, min(PIECE, wanted - at))
            finally:
                os.close(file)


def _rounded(size: int) -> str:
    return format_size(max(size, 0) >> 20 << 20) if size >= 1 << 20 else f"{max(size, 0)} bytes"
