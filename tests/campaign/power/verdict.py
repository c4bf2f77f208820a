"""Opens what a power cut left, as the engine would, and compares it with what had been acknowledged."""

from __future__ import annotations

import hashlib
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from engine.contracts import Runtime
from engine.store import open_store
from engine.store.words import RECEIVED, WORDS


@dataclass
class Promised:
    """What the store had answered when the power went."""

    took: dict[int, str] = field(default_factory=dict)  # message: SHA-256
    translated: set[int] = field(default_factory=set)
    began: dict[int, int] = field(default_factory=dict)  # delivery: attempt
    ended: dict[int, str] = field(default_factory=dict)  # delivery: state
    forgotten: set[int] = field(default_factory=set)  # messages that may be there whole, in part or not at all

    @classmethod
    def read(cls, acks: bytes) -> Promised:
        """Only whole lines were acknowledged."""
        promised = cls()
        for line in acks.decode().rpartition("\n")[0].splitlines():
            word, number, *rest = line.split()
            if word == "took":
                promised.took[int(number)] = rest[0]
            elif word == "translated":
                promised.translated.add(int(number))
            elif word == "began":
                promised.began[int(number)] = int(rest[0])
            elif word == "forget":
                promised.forget(int(number), int(rest[0]))
            else:
                promised.ended[int(number)] = rest[0]
        return promised

    def forget(self, message_id: int, delivery_id: int) -> None:
        """Pruning may have taken it: nothing is promised of it any more."""
        self.took.pop(message_id, None)
        self.translated.discard(message_id)
        self.began.pop(delivery_id, None)
        self.ended.pop(delivery_id, None)
        self.forgotten.add(message_id)


def faults(directory: Path, promised: Promised) -> list[str]:
    """What is wrong with the store in `directory`; nothing, if every promise is kept."""
    clock: Any = Clock()
    runtime = Runtime(clock, None, _nobody, lambda: time.time_ns() // 1000, random.Random(0))  # type: ignore[arg-type]
    failures: list[Exception] = []
    try:
        store, _ = open_store(f"sqlite:///{directory}/store.db", runtime, failures.append, threaded=False)
    except Exception as error:
        return [f"does not open: {error}"]
    try:
        return _compare(store._writer._committer.ledger.driver.connection, promised)  # type: ignore[union-attr]
    finally:
        store.close()


def _compare(connection: Any, promised: Promised) -> list[str]:
    found = [row[0] for row in connection.execute("PRAGMA integrity_check(3)") if row[0] != "ok"]
    states = dict(connection.execute("SELECT id, state FROM message"))
    bodies = {owner: bytes(body) for owner, body in connection.execute("SELECT owner, content FROM content")}
    for owner, more in connection.execute("SELECT owner, content FROM chunk ORDER BY owner, n"):
        bodies[owner] += more
    for number, digest in promised.took.items():
        if number not in states:
            found.append(f"message {number} is lost")
        elif hashlib.sha256(bodies.get(number, b"")).hexdigest() != digest:
            found.append(f"message {number} is altered")
    deliveries = {row[0]: row[1:] for row in connection.execute("SELECT id, state, attempts, message_id, content FROM delivery")}
    translated = {row[2] for row in deliveries.values()}
    found += [f"message {n} is to be translated again" for n in promised.translated if states.get(n) == RECEIVED]
    found += [f"message {n} has lost its delivery" for n in promised.translated - translated]
    found += [
        f"delivery {n} has lost its content"
        for n, row in deliveries.items()
        if row[3] not in bodies and row[2] not in promised.forgotten
    ]
    for number, attempt in promised.began.items():
        if number not in deliveries or deliveries[number][1] < attempt:
            found.append(f"attempt {attempt} of delivery {number} is forgotten")
    for number, state in promised.ended.items():
        if number not in deliveries or (state != "waiting" and WORDS[deliveries[number][0]] != state):
            found.append(f"delivery {number} is no longer {state}")
    return found


def _nobody(event: object) -> None:
    pass
