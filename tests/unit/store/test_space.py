"""When a disk counts as low and as full, and the reserve."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.contracts import DiskPolicy
from engine.events import Event, SpaceChanged
from engine.store import space
from engine.store.space import Limits, Room, Space, ballast_of, judge, limits

MIB, GIB = 1 << 20, 1 << 30
LIMITS = Limits(stop=100, warn=200, ballast=0)


@pytest.mark.parametrize(
    ("total", "largest", "expected"),
    [
        (1000 * GIB, 16 * MIB, Limits(50 * GIB, 200 * GIB, 256 * MIB)),  # 5 %
        (30 * GIB, 16 * MIB, Limits(2 * GIB, 6 * GIB, 256 * MIB)),  # 2 GiB
        (30 * GIB, 600 * MIB, Limits(2400 * MIB, 6 * GIB, 256 * MIB)),  # four messages
        (GIB, 16 * MIB, Limits(GIB // 10, GIB // 5, 32 * MIB)),  # a small disk
        (100 * MIB, MIB, Limits(32 * MIB, 32 * MIB, 25 * MIB)),
    ],
)
def test_what_fits_the_disk(total: int, largest: int, expected: Limits) -> None:
    assert limits(DiskPolicy(), total, largest) == expected


def test_what_the_site_says_counts_and_the_warning_is_never_below_the_stop() -> None:
    assert limits(DiskPolicy(5 * GIB, 8 * GIB, MIB), 100 * GIB, MIB) == Limits(5 * GIB, 8 * GIB, MIB)
    assert limits(DiskPolicy(stop_below=50 * GIB), 100 * GIB, MIB).warn == 50 * GIB


@pytest.mark.parametrize(
    ("before", "free", "refused", "after"),
    [
        (Room.AMPLE, 200, False, Room.AMPLE),
        (Room.AMPLE, 199, False, Room.LOW),
        (Room.LOW, 100, False, Room.LOW),
        (Room.LOW, 99, False, Room.FULL),
        (Room.FULL, 199, False, Room.FULL),  # not before the level of the warning
        (Room.FULL, 200, False, Room.AMPLE),
        (Room.AMPLE, 900, True, Room.FULL),  # the database knows better, as with a quota
        (Room.AMPLE, -5, False, Room.FULL),
    ],
)
def test_the_decision(before: Room, free: int, refused: bool, after: Room) -> None:
    assert judge(before, free, LIMITS, refused) is after


class Disk:
    """A disk of which the tests say how much is free."""

    def __init__(self, directory: Path, total: int) -> None:
        self.free = self.total = total
        self.events: list[Event] = []
        policy = DiskPolicy(stop_below=total // 10, warn_below=total // 5, ballast=MIB)
        self.space = Space(directory / "store.db", policy, MIB, self.events.append, self.statvfs)

    def statvfs(self, directory: Path) -> Any:
        return SimpleNamespace(f_blocks=self.total, f_bavail=self.free, f_frsize=1)

    def check(self, free: int) -> Room:
        self.free = free
        return self.space.check()


def test_changes_are_told_and_refused_until_there_is_room_again(tmp_path: Path) -> None:
    disk = Disk(tmp_path, 100 * MIB)
    rooms = [disk.check(free * MIB) for free in (90, 90, 18, 9, 15, 30)]
    assert rooms == [Room.AMPLE, Room.AMPLE, Room.LOW, Room.FULL, Room.FULL, Room.AMPLE]
    assert [one.state for one in disk.events if isinstance(one, SpaceChanged)] == ["low", "full", "ample"]
    disk.check(9 * MIB)
    assert disk.space.refusal == f"9MiB are free in {tmp_path}: taking goes on at 20MiB"
    disk.check(21 * MIB)
    assert disk.space.refusal == ""


def test_the_reserve_has_real_blocks_and_counts_as_used(tmp_path: Path) -> None:
    disk = Disk(tmp_path, 100 * MIB)
    ballast = ballast_of(tmp_path / "store.db")
    assert disk.check(21 * MIB - 1) is Room.LOW  # once it is laid in, less than 20 MiB will be free
    assert ballast.stat().st_size == MIB
    assert ballast.stat().st_blocks * 512 >= MIB
    assert disk.check(20 * MIB) is Room.AMPLE


def test_a_large_reserve_is_laid_in_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "PIECE", MIB // 4)
    disk = Disk(tmp_path, 100 * MIB)
    sizes = []
    for _ in range(5):
        disk.check(90 * MIB)
        sizes.append(ballast_of(tmp_path / "store.db").stat().st_size * 4 // MIB)
    assert sizes == [1, 2, 3, 4, 4]


def test_a_reserve_that_was_given_up_comes_back_when_there_is_room(tmp_path: Path) -> None:
    disk = Disk(tmp_path, 100 * MIB)
    ballast = ballast_of(tmp_path / "store.db")
    disk.check(90 * MIB)
    ballast.unlink()
    disk.space.refused()
    assert "no room left" in disk.space.refusal  # at once, before anybody has looked
    assert disk.check(MIB) is Room.FULL
    assert not ballast.exists()
    assert disk.check(20 * MIB) is Room.FULL  # with the reserve back, less than 20 MiB would be free
    assert disk.check(21 * MIB) is Room.AMPLE
    assert ballast.exists()
