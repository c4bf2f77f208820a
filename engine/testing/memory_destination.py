"""A destination that a test scripts: `contracts.Destination` without a wire."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from engine.contracts import Runtime
from engine.model import Delivered, Delivery, Outcome

Answers = Callable[[Delivery], Outcome]


class MemoryDestination:
    """Keeps what it is sent in `deliveries` and answers with `outcomes`, in turn, then with `answer`.

        destination = MemoryDestination(None, runtime, "billing-api")
        destination.outcomes.extend([Unreached("connection refused"), Delivered()])

    With `holds` set, sends wait in `held` until the test calls `let_go()` (first in, first out).
    """

    concurrency = 1

    def __init__(self, options: Any, runtime: Runtime, name: str) -> None:
        self.name = name
        self.deliveries: list[Delivery] = []
        self.outcomes: deque[Outcome] = deque()
        self.answer: Answers = lambda delivery: Delivered()
        self.holds = False
        self.held: deque[tuple[Delivery, Deferred[Outcome]]] = deque()
        self.most_at_once = 0
        self.stopped = False
        self.unusable = ""
        self._at_once = 0

    async def send(self, delivery: Delivery) -> Outcome:
        self.deliveries.append(delivery)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.holds:
                waiting: Deferred[Outcome] = Deferred()
                self.held.append((delivery, waiting))
                return await waiting
            return self._outcome(delivery)
        finally:
            self._at_once -= 1

    def let_go(self, outcome: Outcome | None = None) -> None:
        """Answer the send that has waited longest."""
        delivery, waiting = self.held.popleft()
        waiting.callback(outcome if outcome is not None else self._outcome(delivery))

    def _outcome(self, delivery: Delivery) -> Outcome:
        return self.outcomes.popleft() if self.outcomes else self.answer(delivery)

    async def check(self) -> str:
        return self.unusable

    async def stop(self) -> None:
        self.stopped = True
