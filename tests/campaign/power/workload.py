"""One run of the store, as `python -m tests.campaign.power.workload DIRECTORY SEED LIFE`: every verb, in group commits.

What the store has answered is appended to `acks` before anything else is done: `took ID SHA-256`, `translated ID`,
`began DELIVERY ATTEMPT`, `ended DELIVERY STATE`; and before pruning, `forget MESSAGE DELIVERY` for what it may take.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from engine.contracts import Runtime
from engine.model import (
    Admission,
    Close,
    Delivered,
    Delivery,
    DeliveryState,
    Heading,
    MessageState,
    Outgoing,
    Refused,
    Retry,
    Settlement,
    Translation,
    Unknown,
    Walk,
)
from engine.store import commit, duplicates, keys, open_store, sqlite
from engine.store.commit import Job
from engine.store.words import DELIVERED
from tests.campaign.power.images import ACKS

ROUNDS = 24
SIZES = (120, 900, 900, 3_000, 20_000)


class Run:
    """One life of an engine on the store in `directory`."""

    def __init__(self, directory: Path, seed: int, life: int) -> None:
        self.chance = random.Random(f"{seed} {life}")
        self.life = life
        self._acks = os.open(directory / ACKS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        runtime = Runtime(Clock(), None, _nobody, lambda: time.time_ns() // 1000, self.chance)  # type: ignore[arg-type]
        self.store, _ = open_store(f"sqlite:///{directory}/store.db", runtime, _broken, threaded=False)
        self._committer: Any = self.store._writer._committer  # type: ignore[union-attr]
        self._waiting = self._untranslated()

    def ack(self, *lines: str) -> None:
        """After the commit, as an acknowledgement would be."""
        os.write(self._acks, "".join(f"{line}\n" for line in lines).encode())

    def _untranslated(self) -> list[int]:
        found: list[int] = []
        self.store.untranslated("adt", 0, 1000).addCallback(lambda messages: found.extend(one.id for one in messages))
        return found

    def commit(self, *asked: tuple[int, Any]) -> list[Any]:
        """Several verbs in one group commit; their answers, in order."""
        answers: list[Any] = [None] * len(asked)
        jobs = []
        for n, (verb, load) in enumerate(asked):
            answer: Deferred[Any] = Deferred()
            answer.addCallback(lambda result, n=n: answers.__setitem__(n, result))
            jobs.append(Job(verb, load, answer))
        self.store._finish(self._committer(jobs), 0.0)
        return answers

    def go(self) -> None:
        begun: list[Delivery] = []
        for _ in range(self.chance.randint(ROUNDS // 2, ROUNDS)):
            taking = [(commit.TAKE, self._admission()) for _ in range(self.chance.randint(0, 6))]
            translating = [(commit.TRANSLATED, [self._translation(one)]) for one in self._waiting[: self.chance.randint(0, 8)]]
            ended = begun[: self.chance.randint(0, len(begun))]
            settlements = [_settlement(one, self.chance) for one in ended]
            del begun[: len(ended)]
            room = self.chance.randint(1, 8)
            asked = [*taking, *translating, (commit.ATTEMPTED, settlements), (commit.TAKE_DUE, ("erp", room, 4))]
            answers = self.commit(*asked)
            took = answers[: len(taking)]
            began: list[Delivery] = answers[-1]
            self.ack(
                *(f"took {one.message_id} {load.digest.hex()}" for one, (_, load) in zip(took, taking, strict=True)),
                *(f"translated {load[0].message_id}" for _, load in translating),
                *(f"ended {one.delivery.id} {_state(one)}" for one in settlements),
                *(f"began {one.id} {one.attempts}" for one in began),
            )
            self._waiting = [*self._waiting[len(translating) :], *(one.message_id for one in took)]
            begun += began
            self._committer.tidy()
            if self.chance.random() < 0.1:
                self._forget()

    def _forget(self) -> None:
        connection = self._committer.ledger.driver.connection
        done = connection.execute("SELECT message_id, id FROM delivery WHERE state = ?", (DELIVERED,)).fetchall()
        self.ack(*(f"forget {message_id} {delivery_id}" for message_id, delivery_id in done))
        walk = self.chance.choice(list(Walk))
        self.commit((commit.PRUNE, (walk, {"": 1 << 62}, 0, 500)))
        self.commit((commit.SHRINK, self.chance.random() < 0.5))
        self._committer.tidy()

    def _admission(self) -> Admission:
        body = b"MSH|" + self.chance.randbytes(self.chance.choice(SIZES))
        digest = hashlib.sha256(body).digest()
        heading = Heading("ADT^A01", f"C{self.chance.randrange(10**9)}", "ADT|HOSPITAL", "2.5.1", "P")
        return Admission("adt", body, "peer", heading, time.time_ns() // 1000, digest, dedupe_key=self.chance.randbytes(16))

    def _translation(self, message_id: int) -> Translation:
        body = self.chance.randbytes(self.chance.choice(SIZES))
        lane = f"account {self.chance.randrange(12)}"
        product = Outgoing("route", "erp", body, "application/json", f"I{message_id}", (lane,))
        return Translation(message_id, "adt", MessageState.TRANSLATED, outgoings=(product,), keys=(("mrn", lane),), config="v1")


def _settlement(delivery: Delivery, chance: random.Random) -> Settlement:
    now = time.time_ns() // 1000
    outcome, decision = chance.choice(
        (
            *((Delivered(b"AA"), Close(DeliveryState.DELIVERED)),) * 3,
            (Refused("AE"), Close(DeliveryState.PARKED, "AE")),
            (Unknown("no answer"), Retry(now)),
        )
    )
    return Settlement(delivery, outcome, decision, now, now)  # type: ignore[arg-type]


def _state(one: Settlement) -> str:
    return one.decision.state if isinstance(one.decision, Close) else "waiting"


def _nobody(event: object) -> None:
    pass


def _broken(error: Exception) -> None:
    raise error


def main(directory: str, seed: str, life: str) -> None:
    # A small store does what a large one does: its log is moved and its keys are gathered every few commits.
    sqlite.LOG_BYTES, keys.GATHER, duplicates.GATHER, duplicates.SLICE = 128 << 10, 40, 60, 16  # type: ignore[misc]
    if bug := os.environ.get("POWER_BUG"):
        _seed(bug)
    run = Run(Path(directory), int(seed), int(life))
    run.go()
    if run.chance.random() < 0.5:
        run.store.close()
    os._exit(0)  # or as if killed


def _seed(bug: str) -> None:
    """A mistake that the checker must catch."""
    assert bug == "synchronous=NORMAL", bug
    connect = sqlite.SqliteDriver._open

    def careless(self: sqlite.SqliteDriver) -> Any:
        connection = connect(self)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    sqlite.SqliteDriver._open = careless  # type: ignore[method-assign]


if __name__ == "__main__":
    main(*sys.argv[1:])
