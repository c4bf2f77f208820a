"""A store in which a hundred thousand messages have been: `python -m tests.browser.crowd URL MESSAGES`.

Laid down through the store's own verbs, with the business keys by which people look. A process of its own, because it needs
a reactor.
"""

from __future__ import annotations

import random
import sys
import time
from hashlib import blake2b, sha256
from typing import Any, cast

from engine import reactor as engine_reactor
from engine.contracts import Runtime
from engine.events import silent
from engine.model import Admission, Heading, MessageState, Translation
from engine.store import open_store

BATCH = 1000
AHEAD = 4  # batches that wait for the disk
PATIENTS = 25_000
SPACING = 300_000  # microseconds between messages: a hundred thousand are eight hours
KINDS = (("adt", "ADT^A08"), ("charges", "DFT^P03"), ("results", "ORU^R01"))


def mrn(number: int) -> str:
    """Of the message's patient: each has four of a hundred thousand."""
    return f"{500_000 + number * 7 % PATIENTS}"


def admission(number: int, start: int) -> Admission:
    channel, kind = KINDS[number % 3]
    control_id = f"CROWD{number:06}"
    content = (
        f"MSH|^~\\&|EHR|GENERAL|W|GENERAL|20261101101500||{kind}|{control_id}|P|2.5.1\r"
        f"PID|1||{mrn(number)}^^^GENERAL^MR||DOE^JANE||19700101|F||||||||||A{number % 9000:05}\r"
    ).encode()
    key = blake2b(control_id.encode(), digest_size=16).digest()
    heading = Heading(kind, control_id, "EHR|GENERAL", "2.5.1", "P")
    digest = sha256(content).digest()
    return Admission(channel, content, "10.1.2.3:50123", heading, start + number * SPACING, digest, dedupe_key=key)


async def fill(store: Any, messages: int, start: int) -> None:
    from twisted.internet.defer import Deferred, ensureDeferred, gatherResults

    async def batch(numbers: range) -> None:
        admissions = [admission(number, start) for number in numbers]
        taken = await gatherResults([store.take(one) for one in admissions])
        by_channel: dict[str, list[Translation]] = {}
        for number, one, fact in zip(numbers, admissions, taken, strict=True):
            keys = (("mrn", mrn(number)), ("account", f"A{number % 9000:05}"))
            made = Translation(fact.message_id, one.channel, MessageState.TRANSLATED, keys=keys, config="crowd")
            by_channel.setdefault(one.channel, []).append(made)
        await gatherResults([store.translated(many) for many in by_channel.values()])

    under_way: list[Deferred[None]] = []
    for first in range(0, messages, BATCH):
        under_way.append(ensureDeferred(batch(range(first, min(first + BATCH, messages)))))
        if len(under_way) >= AHEAD:
            await under_way.pop(0)
    await gatherResults(under_way)


def main(url: str, messages: int) -> None:
    from twisted.internet.defer import ensureDeferred

    reactor = engine_reactor.install()
    reactor.startRunning(installSignalHandlers=False)
    runtime = Runtime(cast(Any, reactor), cast(Any, None), silent, lambda: time.time_ns() // 1000, random.Random(7))

    async def run() -> None:
        store, _ = open_store(url, runtime, lambda error: sys.exit(f"the store has failed: {error}"))
        await fill(store, messages, time.time_ns() // 1000 - messages * SPACING)
        await store.close()

    engine_reactor.loop_of(reactor).run_until_complete(ensureDeferred(run()).asFuture(engine_reactor.loop_of(reactor)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
