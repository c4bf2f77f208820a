"""Messages just taken, so that translating them reads nothing. Lives in the reactor's thread.

For each channel it holds what was received after its `floor`, without a gap, as long as there is room; when there is
none, the channel that holds most loses its oldest and its floor rises. Below the floor the tables are asked.
"""

from __future__ import annotations

from typing import Final

from engine.model import Message

ROOM: Final = 3 << 20  # bytes of content, over all channels
OVERHEAD: Final = 512  # bytes a message takes besides its content


class _Channel:
    __slots__ = ("floor", "messages", "size", "turns")

    def __init__(self, floor: int) -> None:
        self.floor = floor  # nothing is known about messages up to this id; none of these is held
        self.messages: dict[int, Message] = {}
        self.size = 0
        self.turns = 0  # how often the floor has been raised


class Tail:
    def __init__(self, floor: int, room: int = ROOM) -> None:
        self._floor, self._room = floor, room
        self._channels: dict[str, _Channel] = {}
        self._size = 0

    def _of(self, channel: str) -> _Channel:
        held = self._channels.get(channel)
        if held is None:
            held = self._channels[channel] = _Channel(self._floor)
        return held

    def size(self, channel: str) -> int:
        """Bytes it holds of a channel."""
        held = self._channels.get(channel)
        return held.size if held is not None else 0

    def add(self, message: Message) -> None:
        held = self._of(message.channel)
        if message.id <= held.floor:
            return
        size = len(message.content) + OVERHEAD
        held.messages[message.id] = message
        held.size += size
        self._size += size
        while self._size > self._room:
            self._drop()

    def _drop(self) -> None:
        largest = max(self._channels.values(), key=lambda one: one.size)
        oldest = next(iter(largest.messages))
        largest.floor = oldest
        largest.turns += 1
        self._forget(largest, oldest)

    def _forget(self, held: _Channel, number: int) -> None:
        message = held.messages.pop(number, None)
        if message is not None:
            size = len(message.content) + OVERHEAD
            held.size -= size
            self._size -= size

    def remove(self, channel: str, number: int) -> None:
        """It has been translated."""
        held = self._channels.get(channel)
        if held is not None:
            self._forget(held, number)

    def begin_above(self, channel: str, last: int) -> None:
        """Up to `last` the tables know better: messages are received there that were never added."""
        held = self._of(channel)
        held.turns += 1
        for number in [one for one in held.messages if one <= last]:
            self._forget(held, number)
        held.floor = max(held.floor, last)

    def after(self, channel: str, after: int, limit: int) -> list[Message] | None:
        """Messages above `after`, in order; None where the tables must be asked."""
        held = self._of(channel)
        if after < held.floor:
            return None
        found = []
        for number, message in held.messages.items():
            if number > after:
                found.append(message)
                if len(found) == limit:
                    break
        return found

    def turn(self, channel: str) -> int:
        """To be remembered when the tables are asked, for `read`."""
        return self._of(channel).turns

    def read(self, channel: str, after: int, messages: list[Message], everything: bool, turn: int) -> None:
        """The tables were asked: `messages` is what they hold above `after` (`everything`: all of it). What they hold no
        more of up to the floor needs no second asking, unless the floor was raised since: what fell out of the tail or was
        released while they were read may have come too late for their answer."""
        held = self._of(channel)
        if everything and after < held.floor and held.turns == turn:
            below = [one.id for one in messages if one.id <= held.floor]
            held.floor = below[-1] if below else after
