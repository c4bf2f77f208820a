"""A source that a test feeds by hand: `contracts.Source` without a wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred

from engine.contracts import Intake, Runtime
from engine.events import Listening
from engine.model import NO_HEADERS, Arrival, Receipt


class MemorySource:
    """`put` hands content to intake; what was answered is in `receipts`, in the order of the answers.

        source = MemorySource(None, runtime, "charges")
        await source.start(intake)
        receipt = await source.put(b"MSH|...")

    `hears`: whether the peer is still there for its answers; set it to False to play a sender that hung up.
    """

    def __init__(self, options: Any, runtime: Runtime, name: str) -> None:
        self.receipts: list[Receipt] = []
        self.hears = True
        self._runtime, self._name = runtime, name
        self._intake: Intake | None = None
        self._in_hand: set[Deferred[Any]] = set()
        self._quiet: Deferred[None] | None = None

    async def start(self, intake: Intake) -> None:
        self._intake = intake
        self._runtime.emit(Listening(self._name, "memory"))

    def put(self, content: bytes, peer: str = "memory", headers: Mapping[str, str] = NO_HEADERS) -> Deferred[Receipt]:
        """Fires with the Receipt. Raises RuntimeError unless started."""
        if self._intake is None:
            raise RuntimeError("the source is not started")
        answered: Deferred[Receipt] = Deferred()

        async def reply(receipt: Receipt) -> bool:
            self.receipts.append(receipt)
            answered.callback(receipt)
            return self.hears

        intake = self._intake

        async def taken() -> None:
            try:
                await intake(Arrival(content, peer, headers), reply)
            except Exception:
                if answered.called:
                    raise
                answered.errback()
            else:
                if not answered.called:
                    answered.errback(AssertionError("intake ended without a reply"))

        running = ensureDeferred(taken())
        if not running.called:
            self._in_hand.add(running)
            running.addBoth(self._finished, running)
        return answered

    def refuse(self, reason: str, content: bytes, peer: str = "memory") -> None:
        """As a source does with bytes that are no message. Raises RuntimeError unless started."""
        if self._intake is None:
            raise RuntimeError("the source is not started")
        self._intake.refused(peer, reason, len(content), content)

    def _finished(self, result: Any, running: Deferred[Any]) -> Any:
        self._in_hand.discard(running)
        if self._quiet is not None and not self._in_hand:
            quiet, self._quiet = self._quiet, None
            quiet.callback(None)
        return result

    async def stop(self) -> None:
        self._intake = None
        if self._in_hand:
            self._quiet = Deferred()
            await self._quiet
