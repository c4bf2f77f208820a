"""Receives MLLP: listens, and looks after its connections until the last reply has left."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from engine.connectors.mllp import ListenOptions
from engine.connectors.mllp.connection import Inbound
from engine.contracts import Intake, Port, Runtime
from engine.events import FrameRefused, Listening


class MllpSource:
    """`contracts.Source`. `address` is where it listens, once started."""

    address = ""

    def __init__(self, options: ListenOptions, runtime: Runtime, name: str) -> None:
        self.options, self.runtime, self.name = options, runtime, name
        self.intake: Intake
        self.connections: set[Inbound] = set()
        self.running: set[Deferred[Any]] = set()  # intakes under way: nothing else holds them
        self._port: Port | None = None
        self._quiet: Deferred[None] | None = None

    async def start(self, intake: Intake) -> None:
        self.intake = intake
        self._port = await self.runtime.network.listen(lambda: Inbound(self), *self.options.listen)
        self.address = self._port.address
        self.runtime.emit(Listening(self.name, self.address))

    async def stop(self) -> None:
        if self._port is not None:
            await self._port.stop()
        for connection in list(self.connections):
            connection.finish()
        if self.connections or self.running:
            self._quiet = Deferred()
            await self._quiet

    # ── what connections tell ──

    def opened(self, connection: Inbound) -> bool:
        """False where there is no room for one more."""
        if len(self.connections) >= self.options.max_connections:
            return False
        self.connections.add(connection)
        return True

    def closed(self, connection: Inbound) -> None:
        self.connections.discard(connection)
        self._settle()

    def finished(self, intake: Deferred[Any]) -> None:
        self.running.discard(intake)
        self._settle()

    def refused(self, peer: str, reason: str, size: int) -> None:
        self.runtime.emit(FrameRefused(self.name, peer, reason, size))

    def _settle(self) -> None:
        if self._quiet is not None and not self.connections and not self.running:
            quiet, self._quiet = self._quiet, None
            quiet.callback(None)
