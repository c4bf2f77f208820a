"""Receives MLLP: listens (or dials), and looks after its connections until the last reply has left."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from engine.connectors.mllp import ListenOptions
from engine.connectors.mllp.budget import Budget
from engine.connectors.mllp.connection import Inbound
from engine.connectors.mllp.dialling import Dialling
from engine.connectors.mllp.door import STOPPING, Door, Once, networks
from engine.connectors.mllp.owed import Owed
from engine.connectors.mllp.secure import Identity
from engine.contracts import Intake, Port, Runtime
from engine.events import Irregular, Listening

IDLE_SLACK = 16  # of `idle_timeout`, the fraction by which a close may be late


class MllpSource:
    """`contracts.Source`. `address` is where it listens, once started, or the sender that it dials."""

    address = ""

    def __init__(self, options: ListenOptions, runtime: Runtime, name: str) -> None:
        self.options, self.runtime, self.name = options, runtime, name
        self.intake: Intake
        self.identity: Identity | None = None
        self.budget = Budget(options.max_inbound)
        self.connections: set[Inbound] = set()
        self.running: set[Owed] = set()  # intakes under way
        self._door = Door(networks(options.allow), options.max_connections, options.takeover)
        self._once = Once(runtime.clock)
        self._port: Port | None = None
        self._dialling: Dialling | None = None
        self._away = True  # the sender that we dial was not reached, or not yet
        self._idle_timer: Any = None
        self._stopping = False
        self._quiet: Deferred[None] | None = None

    async def start(self, intake: Intake) -> None:
        self.intake = intake
        if self.options.connect is not None:
            self.address = str(self.options.connect)
            self._dialling = Dialling(self.options.connect, self.runtime, lambda: Inbound(self), self._reached, self._unreached)
            self._dialling.start()
            return
        assert self.options.listen is not None, "options have one of listen and connect"
        if self.options.tls is not None:
            self.identity = Identity(self.options.tls, lambda problem: self.irregular("", problem))
        self._port = await self.runtime.network.listen(lambda: Inbound(self), *self.options.listen)
        self.address = self._port.address
        self.runtime.emit(Listening(self.name, self.address))

    async def stop(self) -> None:
        self._stopping = True
        if self._port is not None:
            await self._port.stop()
        if self._dialling is not None:
            self._dialling.stop()
        for connection in list(self.connections):
            connection.finish()
        if self.connections or self.running:
            self._quiet = Deferred()
            await self._quiet
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _reached(self) -> None:
        if self._away:
            self._away = False
            self.runtime.emit(Listening(self.name, self.address))

    def _unreached(self, why: str) -> None:
        self._away = True
        self.irregular(self.address, f"not connected: {why}; it is tried again")

    # ── what connections tell ──

    def opened(self, connection: Inbound) -> str:
        """'' where it may stay, otherwise the reason why not."""
        refusal = STOPPING if self._stopping else self._door.enter(connection)
        if not refusal:
            self.connections.add(connection)
            if self.options.idle_timeout and self._idle_timer is None:
                self._idle_timer = self.runtime.clock.callLater(self.options.idle_timeout, self._look_for_idle)
        return refusal

    def closed(self, connection: Inbound) -> None:
        self.connections.discard(connection)
        self._door.leave(connection)
        if self._dialling is not None:
            self._dialling.lost(connection.spoke)
        self._settle()

    def finished(self, intake: Owed) -> None:
        self.running.discard(intake)
        self._settle()

    def refused(self, peer: str, reason: str, size: int, content: bytes = b"") -> None:
        self.intake.refused(peer, reason, size, content)

    def turned_away(self, connection: Inbound, reason: str, received: bytes = b"") -> None:
        """Before it could send a message; told once a host and reason, for whoever knocks may knock without end."""
        if reason != STOPPING and self._once.may(connection.host, reason):
            self.intake.refused(connection.peer, reason, len(received), received)

    def irregular(self, peer: str, reason: str) -> None:
        if self._once.may(peer.rpartition(":")[0], reason):
            self.runtime.emit(Irregular(self.name, peer, reason))

    def _look_for_idle(self) -> None:
        """One timer for all connections: it fires when the first of them may have been idle for long enough."""
        self._idle_timer = None
        now, limit = self.runtime.clock.seconds(), self.options.idle_timeout
        last = now
        for connection in list(self.connections):
            if connection.busy:
                connection.active = now
            elif now - connection.active >= limit:
                connection.finish()
            else:
                last = min(last, connection.active)
        if self.connections:
            wait = max(last + limit - now, limit / IDLE_SLACK)
            self._idle_timer = self.runtime.clock.callLater(wait, self._look_for_idle)

    def _settle(self) -> None:
        if self._quiet is not None and not self.connections and not self.running:
            quiet, self._quiet = self._quiet, None
            quiet.callback(None)
