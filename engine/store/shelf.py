"""A bounded copy of what was just written."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

OVERHEAD: Final = 600  # bytes


class Shelf(Generic[Item]):
    """Items by id, up to a number of bytes; when there is no room the ones put there first go."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.used = 0
        self._items: dict[int, tuple[Item, int]] = {}

    def put(self, key: int, item: Item, size: int) -> None:
        """`size`: of its content; what the object itself takes is counted besides."""
        size += OVERHEAD
        self._items[key] = (item, size)
        self.used += size
        while self.used > self.room:
            _, dropped = self._items.pop(next(iter(self._items)))
            self.used -= dropped

    def get(self, key: int) -> Item | None:
        found = self._items.get(key)
        return found[0] if found else None

    def take(self, key: int) -> Item | None:
        found = self._items.pop(key, None)
        if found is None:
            return None
        self.used -= found[1]
        return found[0]

    def __len__(self) -> int:
        return len(self._items)
