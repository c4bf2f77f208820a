"""Whether a destination is sent to: it runs, a person paused it, it is held, or its breaker is open.

The breaker opens when the peer as a whole is away, never for what befalls one lane. While it is open, one delivery at a
time goes out as a probe, and only what becomes of a probe closes it: an answer to what left before says nothing.
"""

from __future__ import annotations

from typing import Final

from engine.contracts import Clock
from engine.model import Busy, DestinationState, Outcome, Unreached

LANES_IN_A_ROW: Final = 3  # different lanes that fail with no success between them: it is not the lane

_RUNNING, _OPEN = DestinationState.RUNNING, DestinationState.OPEN


class Gate:
    """`shut`: nothing is to be sent now. `failures`: how often in a row the peer as a whole was found away."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.state: DestinationState = _RUNNING
        self.reason = ""
        self.shut = False
        self.failures = 0
        self._until = 0.0
        self._failing: set[int] = set()  # lanes, since the last success

    @property
    def open(self) -> bool:
        return self.state is _OPEN

    def passed(self, probe: bool) -> bool:
        """The peer answered. True where that was the probe, and the breaker closes."""
        if self._failing:
            self._failing.clear()
        if not (probe and self.open):
            return False
        self.set(_RUNNING)
        return True

    def away(self, outcome: Outcome, lane: int, probe: bool, alone: bool) -> bool:
        """A send failed: whether the peer as a whole is away. Counts it as one failure, however many sends it took along.
        `alone`: no other was under way."""
        self._failing.add(lane)
        if self.open:
            self.failures += probe
            return probe or isinstance(outcome, Busy)
        plain = (isinstance(outcome, Unreached) and alone) or (isinstance(outcome, Busy) and outcome.after > 0)
        if plain or len(self._failing) >= LANES_IN_A_ROW:
            self.failures = 1
            return True
        return False

    def rest(self, seconds: float, reason: str) -> bool:
        """Open the breaker, or keep it open, for at least so long. True where it has just opened."""
        if self.state not in (_RUNNING, _OPEN):
            return False
        news = not self.open
        self.state, self.reason, self.shut = _OPEN, reason, True
        self._until = max(self._until, self._clock.seconds() + seconds)
        return news

    def probe(self) -> bool:
        """Let one delivery through if the rest is over. True where it is."""
        if self.open and self._clock.seconds() >= self._until:
            self.shut = False
        return not self.shut

    def resting(self) -> float:
        """Seconds until a probe may go."""
        return max(0.0, self._until - self._clock.seconds()) if self.open else 0.0

    def set(self, state: DestinationState, reason: str = "") -> None:
        """A new beginning, or a standstill."""
        self.state, self.reason = state, reason
        self.shut = state is not _RUNNING
        self.failures, self._until = 0, 0.0
        self._failing.clear()
