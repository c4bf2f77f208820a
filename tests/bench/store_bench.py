"""How fast the store is: a closed loop through all four verbs. A script, not a test.

    python tests/bench/store_bench.py [--url sqlite:////tmp/bench.db] [--messages 30000] [--callers 16,64] [--lanes 1000]

Each caller has one message in flight: it takes one, and takes the next when the first is on disk. A translator records
what was taken (one delivery and four business keys each), a deliverer begins what is due and settles each delivery on
its own. Callers wait while more than four times their number are undelivered, so the rate is the delivered rate.
CPU is the process's, both threads; the writer's part is printed beside it. The rest is the reactor's: answering, and this
script's own callers, about half and half.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import hashlib
import os
import pstats
import random
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import reactor as engine_reactor

reactor = engine_reactor.install()

from twisted.internet.defer import Deferred, ensureDeferred, gatherResults  # noqa: E402

from engine.contracts import Runtime  # noqa: E402
from engine.events import Committed  # noqa: E402
from engine.model import (  # noqa: E402
    Admission,
    Close,
    Delivered,
    DeliveryState,
    Heading,
    Message,
    MessageState,
    Outgoing,
    Settlement,
    Translation,
)
from engine.store import open_store  # noqa: E402

BODY = os.urandom(900).hex().encode()[:1800]
PRODUCT = os.urandom(500).hex().encode()
REPLY = b"MSH|^~\\&|LAB|HOSPITAL|ADT|HOSPITAL|20260101120000||ACK^A01|MSG00001|P|2.5.1\rMSA|AA|MSG00001\r"
CLOSED = Close(DeliveryState.DELIVERED)
ACCEPTED = Delivered(REPLY)


def admissions(count: int, lanes: int, chance: random.Random, first: int) -> list[Admission]:
    made = []
    for n in range(first, first + count):
        content = b"%012d" % n + BODY
        heading = Heading("ADT^A01", f"MSG{n:08}", f"ADT|HOSP{chance.randrange(lanes):04}", "2.5.1", "P")
        key = hashlib.blake2b(b"%d" % n, digest_size=16).digest()
        digest = hashlib.sha256(content).digest()
        made.append(Admission("adt", content, "10.1.2.3:50123", heading, 1_767_000_000_000_000 + n, digest, dedupe_key=key))
    return made


class Wake:
    """Somebody has something to do."""

    def __init__(self) -> None:
        self._waiting: Deferred[None] | None = None
        self._set = False

    def set(self) -> None:
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            reactor.callLater(0, waiting.callback, None)
        else:
            self._set = True

    def wait(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        if self._set:
            self._set = False
            done.callback(None)
        else:
            self._waiting = done
        return done


class Load:
    def __init__(self, store: Any, work: list[Admission], callers: int, chance: random.Random) -> None:
        self.store, self.work, self.callers = store, work, callers
        self.total = len(work)
        self.taken = self.delivered = 0
        self.translate, self.deliver, self.room = Wake(), Wake(), [Wake() for _ in range(callers)]
        self.keys = [str(chance.randrange(10**9)) for _ in range(self.total)]
        self.finished: Deferred[None] = Deferred()
        self.batches: list[int] = []

    async def caller(self, n: int) -> None:
        work, store = self.work, self.store
        while work:
            while self.taken - self.delivered > 4 * self.callers:
                await self.room[n].wait()
            if not work:
                break
            await store.take(work.pop())
            self.taken += 1
            self.translate.set()

    def translation(self, message: Message) -> Translation:
        key = self.keys[message.id % self.total]
        outgoing = Outgoing("journal", "erp", PRODUCT, "application/json", f"{message.id}-1", (message.heading.sender,))
        keys = (("mrn", key), ("account", "A" + key[::-1]), ("visit", "V" + key[3:]), ("order", "O" + key[1:]))
        return Translation(message.id, "adt", MessageState.TRANSLATED, outgoings=(outgoing,), keys=keys, config="c0ffee")

    async def translator(self) -> None:
        after = 0
        while self.delivered < self.total:
            messages = await self.store.untranslated("adt", after, 64)
            if not messages:
                await self.translate.wait()
                continue
            after = messages[-1].id
            await self.store.translated([self.translation(one) for one in messages])
            self.deliver.set()

    async def deliverer(self) -> None:
        while self.delivered < self.total:
            deliveries = await self.store.take_due("erp", 64, 16)
            if not deliveries:
                await self.deliver.wait()
                continue
            for one in deliveries:
                settlement = Settlement(one, ACCEPTED, CLOSED, one.created_at, one.created_at)
                self.store.attempted([settlement]).addCallback(self.settled)

    def settled(self, _: None) -> None:
        self.delivered += 1
        self.deliver.set()
        for wake in self.room:
            if wake._waiting is not None:
                wake.set()
        if self.delivered == self.total:
            self.translate.set()
            self.finished.callback(None)

    async def run(self) -> None:
        tasks = [ensureDeferred(self.translator()), ensureDeferred(self.deliverer())]
        tasks += [ensureDeferred(self.caller(n)) for n in range(self.callers)]
        await self.finished
        await gatherResults(tasks)


def run(loop: Any, awaitable: Any) -> Any:
    return loop.run_until_complete(ensureDeferred(awaitable).asFuture(loop))


def measure(url: str, callers: int, count: int, lanes: int, report: Callable[[str], None], profile: bool) -> None:
    loop = engine_reactor.loop_of(reactor)
    chance = random.Random(7)
    commits: list[Committed] = []
    runtime = Runtime(reactor, None, commits.append, lambda: time.time_ns() // 1000, chance)  # type: ignore[arg-type]
    store, _ = open_store(url, runtime, lambda error: report(f"FAILED: {error}"))
    run(loop, Load(store, admissions(500, lanes, chance, 0), callers, chance).run())
    commits.clear()
    load = Load(store, admissions(count, lanes, chance, 500), callers, chance)
    profiler = cProfile.Profile() if profile else None
    gc.collect()
    gc.freeze()  # the prepared load is this script's, not the engine's
    writer = next(one for one in threading.enumerate() if one.name == "wardline-store")
    clock = time.pthread_getcpuclockid(writer.ident or 0)
    written = time.clock_gettime(clock)
    started, cpu = time.perf_counter(), time.process_time()
    if profiler:
        profiler.enable()
    run(loop, load.run())
    if profiler:
        profiler.disable()
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    written = time.clock_gettime(clock) - written
    run(loop, closing(store))
    items = sum(one.items for one in commits) / len(commits)
    seconds = sorted(one.seconds for one in commits)
    report(
        f"{callers:3} callers: {count / wall:8,.0f} msg/s  {cpu / count * 1e6:6.1f} µs CPU/message ({written / count * 1e6:.1f} in the writer)  "
        f"{len(commits):6} commits of {items:5.1f} items, p50 {seconds[len(seconds) // 2] * 1e3:.2f} ms, "
        f"p99 {seconds[int(len(seconds) * 0.99)] * 1e3:.2f} ms, max {seconds[-1] * 1e3:.1f} ms"
    )
    if profiler:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


async def closing(store: Any) -> None:
    await store.close()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--url", default="")
    options.add_argument("--messages", type=int, default=30_000)
    options.add_argument("--callers", default="16,64")
    options.add_argument("--lanes", type=int, default=1000)
    options.add_argument("--profile", action="store_true")
    asked = options.parse_args()
    reactor.startRunning(installSignalHandlers=False)
    for callers in map(int, asked.callers.split(",")):
        with tempfile.TemporaryDirectory(prefix="store-bench-", dir=Path.cwd()) as directory:
            url = asked.url or f"sqlite:///{directory}/bench.db"
            measure(url, callers, asked.messages, asked.lanes, print, asked.profile)


if __name__ == "__main__":
    main()
