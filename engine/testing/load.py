"""A load generator cheap enough that the engine is what is measured: `python -m engine.testing.load mllp://host:port …`.

It runs in a process of its own, sends charges over MLLP from a number of connections with a number of messages in flight
on each, checks that every answer is AA and names the message it answers, and prints what it saw as JSON. Every message
that was begun is waited for. Sending costs about 11 µs of CPU a message, most of it in the kernel.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import sys
import time
from array import array
from collections import deque
from collections.abc import Iterator
from typing import Any, cast

from engine.reactor import new_loop
from engine.testing.charges import Deck

_END = b"\x1c\r"


class Tally:
    """What all connections of one run saw together."""

    def __init__(self, deck: Deck, seconds: float, count: int) -> None:
        self.deck, self.left = deck, count or sys.maxsize
        self.until = time.monotonic() + seconds if seconds else float("inf")
        self.seconds_to_ack = array("d")
        self.sent = self.refused = self.uncorrelated = self.broken = 0
        self.first_sent = self.last_acked = 0.0
        self.examples: list[str] = []

    def example(self, text: str) -> None:
        if len(self.examples) < 5:
            self.examples.append(text)

    def report(self, cpu: float) -> dict[str, Any]:
        latencies = sorted(self.seconds_to_ack)
        acked, seconds = len(latencies), max(self.last_acked - self.first_sent, 1e-9)
        return {
            "sent": self.sent,
            "acked": acked,
            "refused": self.refused,
            "uncorrelated": self.uncorrelated,
            "unanswered": self.sent - acked - self.refused - self.uncorrelated,
            "broken_connections": self.broken,
            "seconds": seconds,
            "started_at": self.first_sent,
            "ended_at": self.last_acked,
            "acked_per_second": acked / seconds if acked else 0.0,
            "ack_ms": {name: quantile(latencies, q) * 1000 for name, q in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))},
            "cpu_us_per_message": cpu / max(self.sent, 1) * 1e6,
            "examples": self.examples,
        }


def quantile(ordered: list[float], q: float) -> float:
    """The smallest value that at least the share `q` of all does not exceed; 0 where there are none."""
    return ordered[max(0, -int(-q * len(ordered) // 1) - 1)] if ordered else 0.0


class Sender(asyncio.Protocol):
    """One connection. `done` fires when everything it has begun is answered, or when it is closed."""

    transport: asyncio.Transport

    def __init__(self, tally: Tally, numbers: Iterator[int], in_flight: int) -> None:
        self.tally, self.numbers, self.in_flight = tally, numbers, in_flight
        self.expected: deque[tuple[bytes, float]] = deque()
        self.buffer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def begin(self) -> None:
        self.tally.first_sent = self.tally.first_sent or time.monotonic()
        self._send(self.in_flight, time.monotonic())

    def _send(self, room: int, now: float) -> None:
        tally, expected = self.tally, self.expected
        if now >= tally.until:
            room = 0
        room = min(room, tally.left)
        tally.left -= room
        tally.sent += room
        frames = []
        for _ in range(room):
            control, content = tally.deck.content(next(self.numbers))
            expected.append((b"\rMSA|AA|" + control, now))
            frames.append(b"\x0b%b\x1c\r" % content)
        if frames:
            self.transport.write(frames[0] if room == 1 else b"".join(frames))
        elif not expected and not self.done.done():
            self.done.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self.buffer:
            data = self.buffer + data
        *frames, self.buffer = data.split(_END)
        now = time.monotonic()
        tally, expected = self.tally, self.expected
        for frame in frames:
            if not expected:
                tally.uncorrelated += 1
                tally.example("an answer to nothing")
                continue
            positive, began = expected.popleft()
            end = frame.find(positive) + len(positive)
            if end >= len(positive) and frame[end : end + 1] in (b"", b"\r", b"|"):
                tally.seconds_to_ack.append(now - began)
            else:
                self._negative(frame, positive)
        tally.last_acked = now
        self._send(len(frames), now)

    def _negative(self, frame: bytes, positive: bytes) -> None:
        control = positive[8:]
        answer = frame.partition(b"\rMSA|")[2].partition(b"\r")[0]
        if answer.split(b"|")[1:2] == [control]:
            self.tally.refused += 1
        else:
            self.tally.uncorrelated += 1
        self.tally.example(f"{control.decode()} was answered {answer[:160].decode('latin-1')!r}")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.tally.broken += 1
            self.tally.example(f"connection lost with {len(self.expected)} unanswered: {exc or 'closed by the peer'}")
            self.done.set_result(None)


async def run(address: tuple[str, int], tally: Tally, connections: int, in_flight: int, patience: float) -> dict[str, Any]:
    """Send until the tally's time or count is up and all is answered, at most `patience` seconds later."""
    loop = asyncio.get_running_loop()
    senders = []
    for part in range(connections):
        numbers = tally.deck.turns(part, connections)
        sender = Sender(tally, numbers, in_flight)
        await loop.create_connection(lambda sender=sender: sender, *address)  # type: ignore[misc]
        senders.append(sender)
    cpu = time.process_time()
    for sender in senders:
        sender.begin()
    limit = max(tally.until - time.monotonic(), 0) + patience if tally.until != float("inf") else None
    waiting = asyncio.gather(*(sender.done for sender in senders))
    try:
        await asyncio.wait_for(waiting, limit)
    except TimeoutError:
        tally.example(f"not all was answered within {patience:g} s after the end")
    report = tally.report(time.process_time() - cpu)
    for sender in senders:
        sender.transport.close()
    return report


def address_of(url: str) -> tuple[str, int]:
    """`mllp://host:port`, or `host:port`."""
    host, _, port = url.removeprefix("mllp://").rpartition(":")
    return host.strip("[]") or "127.0.0.1", int(port)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m engine.testing.load", description=__doc__)
    parser.add_argument("to", help="mllp://host:port")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--in-flight", type=int, default=1, help="messages unanswered at once on each connection")
    parser.add_argument("--accounts", type=int, default=1000, help="different PID-18.1")
    parser.add_argument("--seconds", type=float, default=0.0, help="how long to send; or use --count")
    parser.add_argument("--count", type=int, default=0, help="how many to send; or use --seconds")
    parser.add_argument("--prefix", default="L", help="beginning of the control ids: another for every run")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for the last answers")
    options = parser.parse_args(arguments)
    if not options.seconds and not options.count:
        parser.error("say --seconds or --count")
    loop = new_loop()
    deck = Deck(options.prefix, options.accounts)
    gc.freeze()
    gc.disable()
    tally = Tally(deck, options.seconds, options.count)
    report = loop.run_until_complete(run(address_of(options.to), tally, options.connections, options.in_flight, options.patience))
    report["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
