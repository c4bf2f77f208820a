"""Numbers for the names a site brings, known in memory and written in the transaction that first uses them."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Table, select

from engine.errors import WardlineError
from engine.store.driver import Driver
from engine.store.schema import channel, destination, name
from engine.store.statements import Insert, Statement
from engine.store.words import FIRST_NAME, RUNNING

LARGEST = (1 << 15) - 1  # channels and destinations: their numbers are the upper bits of a lane's


class Numbering:
    """One table's numbers. What a failed transaction handed out is forgotten by `undo`."""

    def __init__(self, table: Table, first: int) -> None:
        self.table, self.first = table, first
        self.owned = table is not name
        title = table.c.name if self.owned else table.c.text
        self._read = Statement(f"{table.name}_all", select(table.c.id, title))
        columns = ("id", "name", "state", "reason", "since", "node", "epoch") if self.owned else ("id", "text")
        self._write = Insert(table, *columns)

    def load(self, driver: Driver) -> Numbers:
        return Numbers(self, {text: number for number, text in driver.rows(self._read)})

    def write(self, driver: Driver, fresh: dict[str, int], now: int) -> None:
        if self.owned:
            driver.many(self._write, [(number, text, RUNNING, "", now, "", 0) for text, number in fresh.items()])
        else:
            driver.many(self._write, [(number, text) for text, number in fresh.items()])


NAMES = Numbering(name, FIRST_NAME)
CHANNELS = Numbering(channel, 1)
DESTINATIONS = Numbering(destination, 1)


class Numbers:
    """Callable: the number of a name."""

    def __init__(self, numbering: Numbering, known: dict[str, int]) -> None:
        self._numbering, self._known = numbering, known
        self._texts = {number: text for text, number in known.items()}
        self._next = max([numbering.first - 1, *self._texts]) + 1
        self._fresh: dict[str, int] = {}  # of the transaction under way
        self._unwritten: dict[str, int] = {}

    def get(self, text: str) -> int | None:
        """The number of a name that may never have been used."""
        number = self._known.get(text)
        return self._fresh.get(text) if number is None else number

    def __call__(self, text: str) -> int:
        number = self._known.get(text)
        return self._new(text) if number is None else number

    def _new(self, text: str) -> int:
        number = self._fresh.get(text)
        if number is None:
            number = self._next
            if self._numbering.owned and number > LARGEST:
                raise WardlineError(f"a store holds at most {LARGEST} {self._numbering.table.name}s, ever")
            self._fresh[text] = self._unwritten[text] = number
            self._next += 1
        return number

    def numbers(self) -> list[int]:
        return list(self._texts)

    def texts(self) -> list[str]:
        return list(self._known)

    def text(self, number: int) -> str:
        found = self._texts.get(number)
        if found is None:
            found = next(text for text, fresh in self._fresh.items() if fresh == number)
        return found

    def write(self, driver: Driver, now: Callable[[], int]) -> None:
        """Before the commit; may be done more than once in one transaction."""
        if self._unwritten:
            self._numbering.write(driver, self._unwritten, now())
            self._unwritten.clear()

    def keep(self) -> None:
        """After the commit."""
        if self._fresh:
            self._known.update(self._fresh)
            self._texts.update((number, text) for text, number in self._fresh.items())
            self._fresh.clear()

    def undo(self) -> None:
        self._fresh.clear()
        self._unwritten.clear()
