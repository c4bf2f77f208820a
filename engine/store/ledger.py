"""What the writer knows in memory besides what is in the tables. Only the writer's thread touches it.

Everything here can be lost: it is either a copy, bounded by bytes, or true only while this engine lives (what is under
way). What decides anything is changed through `after`, which runs when its transaction is on disk and never when it is
not. Copies are put here at once: ids are never used twice, so those of a failed transaction are never asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from engine.model import Delivery
from engine.store.driver import Driver
from engine.store.duplicates import Duplicates
from engine.store.names import CHANNELS, DESTINATIONS, NAMES, Numbers
from engine.store.shelf import Shelf

SHELF_BYTES: Final = 3 << 20  # deliveries just recorded, so that beginning them reads nothing
BODY_BYTES: Final = 2 << 20  # messages just taken, to see that a route passes its content on unchanged


class Flight:
    """The deliveries of one lane that are under way, in order; the first is the lane's head."""

    __slots__ = ("ids", "kept", "more")

    def __init__(self, ids: list[int], more: bool, kept: dict[int, int]) -> None:
        self.ids = ids
        self.more = more  # others stand behind these
        self.kept = kept  # those that failed while later ones are still under way, with their due times


class Begun(NamedTuple):
    """One attempt under way."""

    n: int
    lane: int
    lanes: int
    in_doubt: bool  # an earlier one may have arrived


class Ledger:
    """The writing connection and the memory that goes with it."""

    def __init__(self, driver: Driver, now: Callable[[], int], epoch: int, next_id: int) -> None:
        self.driver, self.now, self.epoch, self.next_id = driver, now, epoch, next_id
        self.names: Numbers = NAMES.load(driver)
        self.channels: Numbers = CHANNELS.load(driver)
        self.destinations: Numbers = DESTINATIONS.load(driver)
        self._numbers = (self.names, self.channels, self.destinations)
        self.standing: set[int] = set()  # destinations that are not running
        self.stopping: set[int] = set()  # those that stop with the transaction under way
        self.unblocked: set[int] = set()  # destinations where the transaction under way lets a lane go on
        self.late: set[int] = set()  # destinations that may have lanes with a due time
        self.flights: dict[int, Flight] = {}
        self.begun: dict[int, Begun] = {}
        self.rejoining: set[int] = set()  # lanes that deliveries are to stand in again, when what is under way there has ended
        self.shelf: Shelf[Delivery] = Shelf(SHELF_BYTES)
        self.bodies: Shelf[bytes] = Shelf(BODY_BYTES)
        self.duplicates = Duplicates()
        self.unkeyed = 0  # messages whose control id is not in the index yet
        self.fresh = 0  # messages whose business keys are not in the index yet
        self.after: list[Callable[[], None]] = []

    def ids(self, count: int) -> int:
        """The first of `count` new ids. Those of a failed transaction are never used."""
        first = self.next_id
        self.next_id += count
        return first

    def write_names(self) -> None:
        for numbers in self._numbers:
            numbers.write(self.driver, self.now)

    def committed(self) -> None:
        for numbers in self._numbers:
            numbers.keep()
        after, self.after = self.after, []
        for effect in after:
            effect()
        self.stopping.clear()

    def undone(self) -> None:
        for numbers in self._numbers:
            numbers.undo()
        self.after.clear()
        self.unblocked.clear()
        self.stopping.clear()
