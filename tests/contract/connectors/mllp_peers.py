"""The other sides of MLLP, written without the engine's framing: a sender and a receiver."""

from __future__ import annotations

import re
import socket
import struct
from typing import Any

from twisted.internet.protocol import Protocol

FRAME = re.compile(rb"\x0b(.*?)\x1c\r", re.DOTALL)
CONTROL_ID = re.compile(rb"^MSH\|(?:[^|\r]*\|){8}([^|\r]*)")


def frames(buffer: bytes) -> tuple[list[bytes], bytes]:
    """The complete frames' contents, and the bytes that are left."""
    found = [match[1] for match in FRAME.finditer(buffer)]
    return found, buffer[buffer.rfind(b"\x1c\r") + 2 :] if found else buffer


def acknowledgement(content: bytes, code: str, control_id: bytes | None = None, error: str = "") -> bytes:
    named = control_id if control_id is not None else CONTROL_ID.match(content)[1]
    return (
        b"MSH|^~\\&|LAB|HOSPITAL|WARDLINE|HOSPITAL|20260911120000||ACK^A08^ACK|R%b|P|2.5.1\rMSA|%b|%b\r"
        % (named, code.encode(), named)
    ) + (f"ERR||PID^1|{error}|E\r".encode() if error else b"")


class Sender(Protocol):
    """`connector_suite.Peer`: sends frames, keeps what comes back."""

    def __init__(self) -> None:
        self.replies: list[bytes] = []
        self.raw = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        found, self.raw = frames(self.raw + data)
        self.replies += found

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = True

    async def send(self, *contents: bytes) -> None:
        self.transport.write(b"".join(b"\x0b" + content + b"\x1c\r" for content in contents))

    async def close(self) -> None:
        """As a process that is killed with unread data: a reset, where the sockets are real."""
        if (inner := getattr(self.transport, "_transport", None)) is not None:
            linger = struct.pack("ii", 1, 0)
            inner.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abortConnection()


class Receiver:
    """`connector_suite.Counterpart` for MLLP."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.received: list[bytes] = []
        self.mood = "accept"
        self.scripted = b""  # an acknowledgement to give instead
        self.open: list[_Receiving] = []
        self.most_open = self.made = 0
        self.address = ""

    async def start(self, address: tuple[str, int]) -> Receiver:
        self.port = await self.network.listen(lambda: _Receiving(self), *address)
        self.address = self.port.address
        return self

    @property
    def connections(self) -> int:
        return len(self.open)

    def late(self) -> None:
        for connection in self.open:
            connection.answer(self.received[0], "accept")

    async def stop(self) -> None:
        await self.port.stop()


class _Receiving(Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self.receiver, self.buffer = receiver, b""

    def connectionMade(self) -> None:
        self.receiver.open.append(self)
        self.receiver.made += 1
        self.receiver.most_open = max(self.receiver.most_open, len(self.receiver.open))

    def connectionLost(self, reason: Any = None) -> None:
        self.receiver.open.remove(self)

    def dataReceived(self, data: bytes) -> None:
        found, self.buffer = frames(self.buffer + data)
        for content in found:
            self.receiver.received.append(content)
            self.answer(content, self.receiver.mood)

    def answer(self, content: bytes, mood: str) -> None:
        if self.receiver.scripted:
            self.transport.write(b"\x0b" + self.receiver.scripted + b"\x1c\r")
        elif mood == "reset":
            self.transport.abortConnection()
        elif mood == "garbage":
            self.transport.write(b"\x0b\xff\xfe nothing that MLLP should carry \x00\x1c\r")
        elif mood != "silent":
            reply = {
                "accept": lambda: acknowledgement(content, "AA"),
                "refuse": lambda: acknowledgement(content, "AE", error="101^Required field missing^HL70357"),
                "busy": lambda: acknowledgement(content, "AR", error="207^Application internal error^HL70357"),
                "mismatch": lambda: acknowledgement(content, "AA", b"ANOTHER"),
            }[mood]()
            self.transport.write(b"\x0b" + reply + b"\x1c\r")
