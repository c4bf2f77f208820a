"""A web service that receives deliveries; its reading of HTTP is h11's, not ours."""

from __future__ import annotations

from typing import Any

import h11
from twisted.internet.protocol import Protocol

STATUS = {"accept": 201, "refuse": 422, "busy": 503}


class WebService:
    """`connector_suite.Counterpart` for HTTP. `requests` are (request line and headers, body)."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.received: list[bytes] = []
        self.requests: list[h11.Request] = []
        self.mood = "accept"
        self.script: list[bytes] = []  # raw answers to give instead, one for each request
        self.open: list[_Serving] = []
        self.made = 0
        self.address = ""

    async def start(self, address: tuple[str, int]) -> WebService:
        self.port = await self.network.listen(lambda: _Serving(self), *address)
        self.address = self.port.address
        return self

    @property
    def connections(self) -> int:
        return len(self.open)

    def late(self) -> None:
        for connection in self.open:
            connection.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def stop(self) -> None:
        await self.port.stop()


class _Serving(Protocol):
    def __init__(self, service: WebService) -> None:
        self.service = service
        self.parser = h11.Connection(h11.SERVER)
        self.body = b""

    def connectionMade(self) -> None:
        self.service.open.append(self)
        self.service.made += 1

    def connectionLost(self, reason: Any = None) -> None:
        self.service.open.remove(self)

    def dataReceived(self, data: bytes) -> None:
        self.parser.receive_data(data)
        while (event := self.parser.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if type(event) is h11.Request:
                self.request, self.body = event, b""
            elif type(event) is h11.Data:
                self.body += bytes(event.data)
            elif type(event) is h11.EndOfMessage:
                self.service.requests.append(self.request)
                self.service.received.append(self.body)
                self.answer(self.service.mood)
                return

    def answer(self, mood: str) -> None:
        if self.service.script:
            self.transport.write(self.service.script.pop(0))
            self.parser = h11.Connection(h11.SERVER)
        elif mood == "reset":
            self.transport.abortConnection()
        elif mood == "garbage":
            self.transport.write(b"\x0bMSH|^~\\&|this is another protocol\x1c\r")
        elif mood != "silent":
            headers = [("Content-Type", "application/json"), ("Content-Length", "15"), ("Server", "test")]
            for event in (
                h11.Response(status_code=STATUS[mood], headers=headers),
                h11.Data(data=b'{"status":"ok"}'),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.parser.send(event))
            self.parser.start_next_cycle()
