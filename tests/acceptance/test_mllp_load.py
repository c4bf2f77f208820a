"""MLLP at its limits, on real sockets: very large messages, very many connections."""

from __future__ import annotations

import socket
import tracemalloc
from typing import Any

from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from engine.model import Arrival
from engine.testing.world import until
from tests.acceptance.test_mllp import MSH, Bench

MESSAGE = 100_000_000
CONNECTIONS = 1_000
EACH = 16 * 1024  # bytes of memory for an idle connection


async def test_a_message_of_100_mb_takes_no_more_than_twice_its_size() -> None:  # B046, I9
    bench = await Bench(max_frame="128MiB").start()
    chunk = b"A" * 100_000

    def talk() -> bytes:
        with socket.create_connection(bench.address, 10) as peer:
            peer.sendall(b"\x0b" + MSH.format("BIG", 1).encode() + b"OBX|1|ED|||")
            for _ in range(MESSAGE // len(chunk)):
                peer.sendall(chunk)
            peer.sendall(b"\r\x1c\r")
            return peer.recv(65536)

    tracemalloc.start()
    try:
        answer = await deferToThread(talk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert b"MSA|AA|BIG" in answer
    assert [len(content) > MESSAGE for content in bench.contents] == [True]
    assert peak < 2.5 * MESSAGE
    assert (bench.source.budget.in_hand, bench.source.budget.arriving) == (0, 0)
    await bench.source.stop()


class Forgetful(Bench):
    """Keeps no message."""

    async def __call__(self, arrival: Arrival, reply: Any) -> None:
        await super().__call__(arrival, reply)
        self.contents[-1] = arrival.content[:100]


async def test_large_messages_at_once_stay_within_the_memory_allowed() -> None:  # I9
    senders, size, allowed = 8, 10_000_000, 16 * 2**20
    bench = await Forgetful(max_frame="16MiB", max_inbound="16MiB").start()
    chunk = b"A" * 100_000

    def talk(number: int) -> bytes:
        with socket.create_connection(bench.address, 30) as peer:
            peer.sendall(b"\x0b" + MSH.format(f"B{number}", 1).encode() + b"OBX|1|ED|||")
            for _ in range(size // len(chunk)):
                peer.sendall(chunk)
            peer.sendall(b"\r\x1c\r")
            return peer.recv(65536)

    tracemalloc.start()
    try:
        answers = await gatherResults([deferToThread(talk, number) for number in range(senders)])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(b"MSA|AA|B%d" % number in answer for number, answer in enumerate(answers))
    assert peak < allowed + 3 * size < senders * size
    assert (bench.source.budget.in_hand, bench.source.budget.arriving) == (0, 0)
    await bench.source.stop()


async def test_a_thousand_idle_connections_cost_little_memory_and_no_timer() -> None:
    bench = await Bench(max_connections=CONNECTIONS + 1).start()
    peers = [socket.socket() for _ in range(CONNECTIONS)]
    timers = len(bench.runtime.clock.getDelayedCalls())  # type: ignore[attr-defined]

    def connect() -> None:
        for peer in peers:
            peer.connect(bench.address)

    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await deferToThread(connect)
        await until("all of them", lambda: len(bench.source.connections) == CONNECTIONS)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / CONNECTIONS < EACH
    assert len(bench.runtime.clock.getDelayedCalls()) <= timers  # type: ignore[attr-defined]

    def talk() -> bytes:
        peers[0].sendall(b"\x0b" + MSH.format("M1", 1).encode() + b"\x1c\r")
        return peers[0].recv(65536)

    assert b"MSA|AA|M1" in await deferToThread(talk)
    for peer in peers:
        peer.close()
    await until("the end of all", lambda: not bench.source.connections)
    await bench.source.stop()
