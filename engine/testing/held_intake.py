"""An intake in the hands of a test."""

from __future__ import annotations

from typing import NamedTuple

from twisted.internet.defer import Deferred

from engine.contracts import Reply
from engine.model import Arrival, Receipt, Verdict


class Refusal(NamedTuple):
    """What a source said of bytes that are no message."""

    peer: str
    reason: str
    size: int
    content: bytes


class HeldIntake:
    """An intake that answers only when the test says so. `arrivals` is what came, in order, `refusals` what was none."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.refusals: list[Refusal] = []
        self.heard: dict[int, bool] = {}  # what reply gave, by the arrival's number
        self.in_hand = self.most_in_hand = 0  # not yet answered
        self._waiting: dict[int, Deferred[Receipt]] = {}

    async def __call__(self, arrival: Arrival, reply: Reply) -> None:
        number = len(self.arrivals)
        self.arrivals.append(arrival)
        self.in_hand += 1
        self.most_in_hand = max(self.most_in_hand, self.in_hand)
        self._waiting[number] = Deferred()
        try:
            receipt = await self._waiting[number]
        finally:
            self.in_hand -= 1
        self.heard[number] = await reply(receipt)

    def refused(self, peer: str, reason: str, size: int, content: bytes = b"") -> None:
        self.refusals.append(Refusal(peer, reason, size, content))

    def holds(self, number: int) -> bool:
        """Arrival `number` waits for its answer."""
        return number < len(self.arrivals)

    def let_go(self, number: int, reply: bytes = b"") -> None:
        """Answer arrival `number` (from 0) positively, by default with its own content after `ACK `."""
        content = reply or b"ACK " + self.arrivals[number].content
        self._waiting[number].callback(Receipt(Verdict.ACCEPTED, number + 1, reply=content))

    def fail(self, number: int) -> None:
        """Break the promise that intake never raises."""
        self._waiting[number].errback(ZeroDivisionError())
