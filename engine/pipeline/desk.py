"""Who takes what arrives at one address: the one channel there, or the first of several that picks it."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import NamedTuple

from engine.contracts import Channel, Facts, Intake, Reply
from engine.model import Arrival


class Seat(NamedTuple):
    """A channel at the desk. One without `picks` takes what no other picked."""

    channel: Channel
    facts: Facts
    intake: Intake


class Desk:
    """`contracts.Intake` for one source. Whoever sits there may change between two arrivals; the source never notices."""

    def __init__(self) -> None:
        self._picking: list[Seat] = []
        self._rest: Intake

    def seat(self, seats: Sequence[Seat]) -> None:
        """Exactly one of `seats` has no `picks`, or there is only one (config sees to it)."""
        self._rest = next((seat for seat in seats if seat.channel.picks is None), seats[0]).intake
        self._picking = [seat for seat in seats if seat.channel.picks is not None and seat.intake is not self._rest]

    def __call__(self, arrival: Arrival, reply: Reply) -> Awaitable[None]:
        taker = next((seat.intake for seat in self._picking if _picks(seat, arrival)), self._rest)
        return taker(arrival, reply)

    def refused(self, peer: str, reason: str, size: int, content: bytes = b"") -> None:
        self._rest.refused(peer, reason, size, content)


def _picks(seat: Seat, arrival: Arrival) -> bool:
    channel = seat.channel
    try:
        return channel.picks is not None and bool(channel.picks(channel.format.parse(arrival.content), seat.facts))
    except Exception:  # a rule may fail on content nobody foresaw: whoever takes the rest says what is wrong with it
        return False
