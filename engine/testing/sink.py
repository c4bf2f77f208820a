"""Receivers that answer at once and count: `python -m engine.testing.sink [--mllp 127.0.0.1:0] [--http 127.0.0.1:0]`.

One process serves both. It prints where it listens as one line of JSON, then answers every line it reads on standard
input with one line: `stats` gives the counts, `reset` gives them and starts afresh. It ends with its standard input, so
it never outlives whoever started it.

With `--ledger FILE`, what has arrived is written and flushed to disk before it is answered: then nothing that the engine
was told is delivered can be missing from the ledger, whoever dies when.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, cast

from engine.reactor import new_loop
from engine.testing.ledger import Ledger, arrival
from engine.testing.load import address_of

_END = b"\x1c\r"
_HEAD_END = b"\r\n\r\n"


class Counter:
    """What has arrived, by transport identity."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self.ledger = ledger
        self.reset()

    def reset(self) -> None:
        self.received = self.unreadable = 0
        self.identities: set[bytes] = set()
        self.first_at = self.last_at = 0.0

    def note(self, identity: bytes, content: bytes) -> None:
        self.received += 1
        self.identities.add(identity)
        if self.ledger is not None:
            self.ledger.add(arrival(identity, content))

    def settle(self) -> None:
        """Called after each read, before its answers leave."""
        self.last_at = time.monotonic()
        self.first_at = self.first_at or self.last_at
        if self.ledger is not None:
            self.ledger.flush()

    def stats(self) -> dict[str, Any]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "received": self.received,
            "distinct": len(self.identities),
            "duplicates": self.received - len(self.identities),
            "unreadable": self.unreadable,
            "first_at": self.first_at,
            "last_at": self.last_at,
            "cpu_seconds": used.ru_utime + used.ru_stime,
        }


class MllpSink(asyncio.Protocol):
    """Answers AA to whatever begins with MSH, naming its MSH-10; anything else is answered AR without a name."""

    transport: asyncio.Transport

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.buffer:
            data = self.buffer + data
        *frames, self.buffer = data.split(_END)
        if not frames:
            return
        counter = self.counter
        replies = []
        for frame in frames:
            fields = frame.split(b"|", 10)
            if len(fields) == 11 and fields[0][-3:] == b"MSH":
                control = fields[9]
                counter.note(control, frame[1:])
                replies.append(b"\x0bMSH|^~\\&|SINK|WLGH|||20260301||ACK|K%b|P|2.5.1\rMSA|AA|%b\r\x1c\r" % (control, control))
            else:
                counter.unreadable += 1
                replies.append(b"\x0bMSH|^~\\&|SINK|WLGH|||20260301||ACK|K|P|2.5.1\rMSA|AR|\r\x1c\r")
        counter.settle()
        self.transport.write(replies[0] if len(replies) == 1 else b"".join(replies))


class HttpSink(asyncio.Protocol):
    """Just enough of an HTTP/1.1 server: POST with Content-Length, keep-alive, 200."""

    transport: asyncio.Transport

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self.buffer + data if self.buffer else data
        at = answered = 0
        while (end := data.find(_HEAD_END, at)) >= 0:
            head = data[at:end]
            lowered = head.lower()
            if (length := header(head, lowered, b"content-length")) is None:
                self.counter.unreadable += 1
                self.transport.write(b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                self.transport.close()
                return
            body, at_next = end + 4, end + 4 + int(length)
            if len(data) < at_next:
                break
            identity = header(head, lowered, b"idempotency-key") or b""
            self.counter.note(identity, data[body:at_next])
            answered += 1
            at = at_next
        self.buffer = data[at:]
        if answered:
            self.counter.settle()
            self.transport.write(
                b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}' * answered
            )


def header(head: bytes, lowered: bytes, name: bytes) -> bytes | None:
    """The value of a header, found by its name in lower case."""
    start = lowered.find(b"\r\n" + name + b":")
    if start < 0:
        return None
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip()


async def serve(mllp: str, http: str, counter: Counter, say: Callable[[dict[str, Any]], None]) -> None:
    """Listen, say where, and answer questions until standard input ends."""
    loop = asyncio.get_running_loop()
    listening: dict[str, str] = {}
    for name, where, kind in (("mllp", mllp, MllpSink), ("http", http, HttpSink)):
        if where:
            server = await loop.create_server(lambda kind=kind: kind(counter), *address_of(where), backlog=512)  # type: ignore[misc]
            host, port = server.sockets[0].getsockname()[:2]
            listening[name] = f"{host}:{port}"
    say(listening)
    ended = loop.create_future()
    loop.add_reader(sys.stdin.fileno(), _questions, counter, say, ended)
    await ended


def _questions(counter: Counter, say: Callable[[dict[str, Any]], None], ended: asyncio.Future[None]) -> None:
    read = os.read(sys.stdin.fileno(), 4096)
    if not read and not ended.done():
        ended.set_result(None)
    for line in read.split():
        say(counter.stats())
        if line == b"reset":
            counter.reset()


def _say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m engine.testing.sink", description=__doc__)
    parser.add_argument("--mllp", default="", help="host:port to answer MLLP at; port 0 chooses one")
    parser.add_argument("--http", default="", help="host:port to answer POST at")
    parser.add_argument("--ledger", default="", help="file to write what arrives to, flushed to disk before it is answered")
    options = parser.parse_args(arguments)
    counter = Counter(Ledger(options.ledger) if options.ledger else None)
    gc.freeze()
    gc.disable()
    new_loop().run_until_complete(serve(options.mllp, options.http, counter, _say))


if __name__ == "__main__":
    main()
