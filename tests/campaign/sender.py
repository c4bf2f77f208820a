"""A sender that never gives up: `python -m tests.campaign.sender --to host:port --ledger FILE …`.

Each connection has a few messages in flight, written to the ledger before their first byte leaves. When it breaks or no
answer comes, it connects again and sends the same bytes of all that is unanswered, in their order, until it is answered. It
goes on until its standard input ends, finishes what it has begun, and prints what it did as JSON.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import threading
from collections import Counter, deque
from itertools import islice

from engine.testing.charges import Deck
from engine.testing.ledger import Ledger, answered, attempted
from engine.testing.load import address_of

_END = b"\x1c\r"
ANSWER_WITHIN = 10.0  # seconds
BETWEEN_CONNECTS = 0.02


class Connection(threading.Thread):
    """One connection and the accounts that are its own."""

    def __init__(self, part: int, options: argparse.Namespace, deck: Deck, ledger: Ledger, ended: threading.Event) -> None:
        super().__init__(name=f"connection {part}")
        self.part, self.to, self.in_flight = part, address_of(options.to), options.in_flight
        self.deck, self.ledger, self.ended = deck, ledger, ended
        self.numbers = deck.turns(part, options.connections)
        self.counts: Counter[str] = Counter()
        self.unanswered: deque[tuple[str, bytes]] = deque()
        self._socket: socket.socket | None = None
        self._buffer = b""

    def run(self) -> None:
        while True:
            begun = self._begin()
            if not self.unanswered:
                break
            try:
                if self._socket is None:
                    self._socket, self._buffer = self._connect(), b""
                    self.counts["resent"] += len(self.unanswered) - len(begun)
                    begun = list(self.unanswered)
                self._socket.sendall(b"".join(b"\x0b" + content + _END for _, content in begun))
                self._take_answers(self._socket)
            except (OSError, ValueError) as error:
                self._lost(str(error))
        self._close()

    def _begin(self) -> list[tuple[str, bytes]]:
        """New messages for the room there is, already in the ledger."""
        if self.ended.is_set():
            return []
        begun = []
        for number in islice(self.numbers, self.in_flight - len(self.unanswered)):
            control, content = self.deck.content(number)
            self.ledger.add(attempted(control.decode(), content, self.part))
            begun.append((control.decode(), content))
        self.ledger.flush()
        self.unanswered += begun
        return begun

    def _take_answers(self, connection: socket.socket) -> None:
        """At least some bytes of them. Raises OSError or ValueError where the connection is of no more use."""
        data = connection.recv(65536)
        if not data:
            raise OSError("closed before the answer")
        *frames, self._buffer = (self._buffer + data).split(_END)
        for frame in frames:
            code, said, text = [*frame.partition(b"\rMSA|")[2].partition(b"\r")[0].decode().split("|"), "", "", ""][:3]
            if not self.unanswered or said != self.unanswered[0][0]:
                raise ValueError(f"an answer for {said!r}, which is not the next one")
            self.ledger.add(answered(said, code, text))
            self.counts[code] += 1
            if code == "AR":
                raise ValueError("asked to wait")
            self.unanswered.popleft()
        self.ledger.flush()

    def _lost(self, why: str) -> None:
        self._close()
        for control, _ in self.unanswered:
            self.ledger.add(answered(control, "lost", why))
            self.counts["lost"] += 1
        self.ledger.flush()

    def _connect(self) -> socket.socket:
        while True:
            try:
                connection = socket.create_connection(self.to, timeout=ANSWER_WITHIN)
            except OSError:
                self.counts["not reached"] += 1
                threading.Event().wait(BETWEEN_CONNECTS)
            else:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return connection

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.sender", description=__doc__)
    parser.add_argument("--to", required=True)
    parser.add_argument("--ledger", required=True)
    parser.add_argument("--prefix", default="K")
    parser.add_argument("--accounts", type=int, default=12)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--in-flight", type=int, default=8)
    options = parser.parse_args(arguments)
    deck, ledger, ended = Deck(options.prefix, options.accounts), Ledger(options.ledger), threading.Event()
    connections = [Connection(part, options, deck, ledger, ended) for part in range(options.connections)]
    for connection in connections:
        connection.start()
    sys.stdin.read()
    ended.set()
    for connection in connections:
        connection.join()
    ledger.close()
    total: Counter[str] = sum((connection.counts for connection in connections), Counter())
    sys.stdout.write(json.dumps(total) + "\n")


if __name__ == "__main__":
    main()
