"""How much of messages a source may hold in memory, over all its connections."""

from __future__ import annotations

from typing import Protocol

FREE = 64 * 1024  # bytes of a frame still arriving that do not count: small messages never wait for large ones


class Reader(Protocol):
    """A connection, as the budget knows it."""

    counted: int  # bytes of its frame still arriving that the budget counts

    def go_on(self) -> None:
        """There is room again."""


class Budget:
    """Half of it is for messages not yet answered: while they are more, nobody reads. Half is for large frames still
    arriving: while they are more, only one of those goes on, since none would ever end otherwise.

    Both can be passed by one largest frame.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit // 2
        self.in_hand = 0  # bytes of messages not yet answered
        self.arriving = 0
        self.waiting = False  # somebody waits
        self._all: dict[Reader, None] = {}  # those who wait for answers to be given, in order
        self._large: dict[Reader, None] = {}  # those who wait amid a large frame
        self._first: Reader | None = None  # the one of these that goes on

    def count(self, reader: Reader, pending: int) -> None:
        """`pending` bytes of the reader's frame have come and it has not ended."""
        size = max(0, pending - FREE)
        self.arriving += size - reader.counted
        reader.counted = size
        if not size and reader is self._first:
            self._first = None
        if self.waiting:
            self.relieve()

    def must_wait(self, reader: Reader) -> bool:
        """Whether `reader` is to stop reading; if so, its `go_on` is called when there is room."""
        if self.in_hand > self.limit:
            self._all[reader] = None
        elif reader.counted and self.arriving > self.limit and self._first not in (None, reader):
            self._large[reader] = None
        else:
            if reader.counted and self.arriving > self.limit:
                self._first = reader
            return False
        self.waiting = True
        return True

    def relieve(self) -> None:
        """Something was given back: let go on who may."""
        ready: list[Reader] = []
        if self.in_hand <= self.limit:
            ready, self._all = list(self._all), {}
            while self._large and (self.arriving <= self.limit or self._first is None):
                one = next(iter(self._large))
                del self._large[one]
                if self.arriving > self.limit:
                    self._first = one
                ready.append(one)
        self.waiting = bool(self._all or self._large)
        for one in ready:
            one.go_on()

    def forget(self, reader: Reader) -> None:
        """It reads no more."""
        self._all.pop(reader, None)
        self._large.pop(reader, None)
        self.count(reader, 0)
