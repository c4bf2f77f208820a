"""Append-only ledgers of what a sender and a receiver know, one JSON object a line, flushed to disk before it counts.

A sender writes `attempted` before the first byte of a message leaves and `answered` after its acknowledgement was read; a
receiver writes `received` before it answers. Whatever a comparison of the two says is lost, was lost.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import orjson

from engine.testing.charges import facts_of


class Ledger:
    """One file, written by one process. Lines added are on disk when `flush` returns; threads may share it."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lines: list[bytes] = []
        self._lock = threading.Lock()

    def add(self, entry: dict[str, Any]) -> None:
        line = orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)
        with self._lock:
            self._lines.append(line)

    def flush(self) -> None:
        """Whoever finds nothing left to write has waited for the flush that took it."""
        with self._lock:
            lines, self._lines = self._lines, []
            if not lines:
                return
            data = b"".join(lines)
            while data:
                data = data[os.write(self._file, data) :]
            os.fdatasync(self._file)

    def close(self) -> None:
        self.flush()
        os.close(self._file)


def read_ledger(path: str) -> Iterator[dict[str, Any]]:
    """Every entry in the order written. A last line without its end was never flushed: it does not count."""
    with open(path, "rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield orjson.loads(line)


def attempted(control_id: str, content: bytes, connection: int) -> dict[str, Any]:
    return {"is": "attempted", "control_id": control_id, "sha256": digest(content), "connection": connection}


def answered(control_id: str, code: str, text: str = "") -> dict[str, Any]:
    """`code` is MSA-1, or `lost` where the connection ended before an answer came."""
    return {"is": "answered", "control_id": control_id, "code": code, "text": text}


def arrival(identity: bytes, content: bytes) -> dict[str, Any]:
    """What a receiver writes: the transport identity, and the facts of the charge as it arrived."""
    return {
        "is": "received",
        "identity": identity.decode("latin-1"),
        "facts": facts_of(content),
        "sha256": digest(content),
    }


def taken(identity: bytes, content: bytes, at: int) -> dict[str, Any]:
    """What a receiver writes that knows nothing of what it gets: no content. `at` in microseconds since 1970."""
    return {"is": "received", "identity": identity.decode("latin-1"), "sha256": digest(content), "at": at}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
