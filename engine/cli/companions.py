"""Processes beside the engine: the console, the full-text index. They read the store; the engine never waits for them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from engine.events import Emit, EngineChanged

FIRST = 1.0  # seconds until one that ended is started again; twice as long each time
LONGEST = 60.0
SETTLED = 60.0  # seconds of life after which it counts as well


class Companion(ProcessProtocol):
    """`wardline NAME --companion` for as long as the engine lives. It ends with its standard input, however we end."""

    def __init__(self, reactor: Any, name: str, arguments: Sequence[str], emit: Emit) -> None:
        self._reactor, self._name, self._emit = reactor, name, emit
        self._command = [sys.executable, "-m", "engine.cli", name, *arguments, "--companion"]
        self._wait = FIRST
        self._born = 0.0
        self._process: Any = None
        self._again: Any = None
        self._ended: Deferred[None] | None = None

    def start(self) -> None:
        self._born = self._reactor.seconds()
        try:  # its own input; what it says goes where ours goes
            self._process = self._reactor.spawnProcess(
                self, sys.executable, self._command, env=None, childFDs={0: "w", 1: 1, 2: 2}
            )
        except OSError as error:  # no room for another process
            self._later(f"cannot be started ({error.strerror})")

    async def stop(self) -> None:
        """Have it end, and wait for that a few seconds."""
        if self._again is not None and self._again.active():
            self._again.cancel()
        if self._process is None:
            return
        self._ended = ended = Deferred[None]()
        self._process.closeStdin()
        killing = self._reactor.callLater(8.0, self._process.signalProcess, "KILL")
        await ended
        if killing.active():
            killing.cancel()

    def processEnded(self, reason: Failure) -> None:
        self._process = None
        if self._ended is not None:
            self._ended.callback(None)
            return
        value: Any = reason.value
        if reason.check(ProcessDone):
            self._later("ended")
        else:
            self._later(f"was ended by signal {value.signal}" if value.signal else f"ended with {value.exitCode}")

    def _later(self, how: str) -> None:
        lived = self._reactor.seconds() - self._born
        self._wait = FIRST if lived > SETTLED else min(2 * self._wait, LONGEST)
        self._emit(EngineChanged("fault", f"the {self._name} {how}; it is started again in {self._wait:.0f} s"))
        self._again = self._reactor.callLater(self._wait, self.start)
