"""The other way round: a sender that waits to be called. We keep one connection to it, as long as it lets us."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred

from engine.connectors.mllp.connection import Inbound
from engine.contracts import Runtime
from engine.links import why
from engine.quantities import Address

FIRST = 1.0  # seconds until the second attempt; each further one waits up to twice as long
UP_TO = 60.0
CONNECT_TIMEOUT = 10.0


class Dialling:
    """Calls `address` and, when the connection ends, calls again: the longer it fails, the more rarely.

    `away` is told why it cannot be reached, `reached` that it was.
    """

    def __init__(
        self, address: Address, runtime: Runtime, build: Callable[[], Inbound],
        reached: Callable[[], None], away: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._address, self._runtime, self._build = address, runtime, build
        self._reached, self._away = reached, away
        self._failures = 0
        self._began = 0.0
        self._stopped = False
        self._timer: Any = None
        self._attempt: Deferred[None] | None = None

    def start(self) -> None:
        self._timer = None
        attempt: Deferred[None] = ensureDeferred(self._dial())
        self._attempt = None if attempt.called else attempt

    async def _dial(self) -> None:
        host, port = self._address
        self._began = self._runtime.clock.seconds()
        try:
            await self._runtime.network.connect(self._build, host, port, CONNECT_TIMEOUT)
        except CancelledError:
            return
        except OSError as problem:
            self._away(why(problem))
            self._again()
            return
        finally:
            self._attempt = None
        self._reached()

    def lost(self, spoke: bool) -> None:
        """The connection has ended. `spoke`: the sender had sent something, and so is what we took it for."""
        if spoke or self._runtime.clock.seconds() - self._began >= UP_TO:
            self._failures = 0
        self._again()

    def _again(self) -> None:
        if self._stopped or self._timer is not None:
            return
        wait = min(UP_TO, FIRST * 2.0**self._failures)
        self._failures = min(self._failures + 1, 16)
        # Jitter, so that a hundred channels do not call at once when the sender is back.
        self._timer = self._runtime.clock.callLater(self._runtime.chance.uniform(wait / 2, wait), self.start)

    def stop(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._attempt is not None:
            self._attempt.cancel()
