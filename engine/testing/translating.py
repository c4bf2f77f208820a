"""Translating outside the engine: in the same processes, with the same bounds on time and memory, for callers that wait."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import orjson

from engine.errors import WardlineError
from engine.model import Message, Translation
from engine.pipeline import parcels
from engine.pipeline.keeper import Work, hatch, poisoned, receive

DEATHS = 3  # processes that one message may take with it


class KeeperGone(WardlineError):
    """The process that starts translators is not there any more."""


class Translator:
    """One process at a time, and the next when one dies. Make it before there are threads; use it from one thread at a time."""

    def __init__(self, work: Work) -> None:
        self._control = hatch(work)
        self._wire: socket.socket | None = None
        self._rest = b""
        self._how = "it was killed"  # how the last one to die did

    def translate(self, version: str, channel: str, messages: Sequence[Message]) -> list[Translation]:
        """In order. A message that ends its process is parked as poison, and takes nobody along. Raises KeeperGone."""
        done = self._asked(version, channel, messages)
        if done is not None:
            return done
        return [one for message in messages for one in self._singly(version, channel, message)]

    def _singly(self, version: str, channel: str, message: Message) -> list[Translation]:
        for _ in range(DEATHS):
            if (done := self._asked(version, channel, [message])) is not None:
                return done
        return [poisoned(channel, message, f"translating it ended the process {DEATHS} times: {self._how}")]

    def _asked(self, version: str, channel: str, messages: Sequence[Message]) -> list[Translation] | None:
        """None where the process ended over it."""
        wire = self._wire or self._born()
        parcel = parcels.of_messages(version, channel, messages)
        answer = b""
        with suppress(OSError):
            wire.sendall(len(parcel).to_bytes(4) + parcel)
            if size := receive(wire, 4):
                answer = receive(wire, int.from_bytes(size))
        if answer:
            return parcels.read_translations(answer)
        wire.close()
        self._wire = None
        self._born()
        return None

    def _born(self) -> socket.socket:
        """The socket of the next translator."""
        while b"\n" not in self._rest:
            data, handles, _, _ = socket.recv_fds(self._control, 65536, 1)
            if not data:
                raise KeeperGone("the keeper of translators is gone: try again")
            self._rest += data
            if handles:
                self._wire = socket.socket(fileno=handles[0])
        line, _, self._rest = self._rest.partition(b"\n")
        told: dict[str, Any] = orjson.loads(line)
        self._how = told.get("born") or self._how
        assert self._wire is not None
        return self._wire

    def close(self) -> None:
        self._control.close()
        if self._wire is not None:
            self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def at_once() -> int:
    """How many translators this machine is given: one core is left to what runs besides."""
    return max(1, len(os.sched_getaffinity(0)) - 1)
