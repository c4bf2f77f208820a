"""The repository's site under a real engine and its console, with receivers that answer as they are told."""

from __future__ import annotations

import json
import shutil
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from engine.connectors.mllp.framing import Deframer, frame
from engine.console.people import Actor, People
from engine.console.people.passwords import Passwords
from engine.console.rights import Grant, Role
from engine.testing.files import read_acknowledgement
from engine.testing.processes import EngineProcess, free_port
from tests.corpus.runner import wait_for

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples" / "hl7v2"
PASSWORD = "gravel lantern otter quilt"


class Taken(NamedTuple):
    """A request that the receiver was sent."""

    path: str
    identity: str  # of the delivery, in its header
    body: Any

    @property
    def key(self) -> str:
        """The idempotency key of the business fact."""
        return str(self.body["idempotency_key"])

    @property
    def transaction(self) -> str:
        return str(self.body["payload"]["transaction_id"])


Answer = Callable[[Taken], tuple[int, bytes]]


def accept(taken: Taken) -> tuple[int, bytes]:
    return 200, b""


class Receiver:
    """An HTTP API that keeps what it is sent, and answers as `answer` says."""

    def __init__(self) -> None:
        self.answer: Answer = accept
        self._taken: list[Taken] = []
        self._changed = threading.Condition()
        own = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                taken = Taken(self.path, self.headers.get("Idempotency-Key", ""), body)
                status, answer = own.answer(taken)
                with own._changed:
                    own._taken.append(taken)
                    own._changed.notify_all()
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def taken(self, path: str) -> list[Taken]:
        with self._changed:
            return [one for one in self._taken if one.path == path]

    def await_taken(self, path: str, count: int) -> list[Taken]:
        def enough() -> bool:
            return sum(one.path == path for one in self._taken) >= count

        with self._changed:
            assert self._changed.wait_for(enough, timeout=30), f"{path}: {len(self._taken)} requests, not {count}"
        return self.taken(path)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Refuser(socketserver.ThreadingTCPServer):
    """A receiver over MLLP that refuses every message, with what `says` gives as text."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, says: Callable[[], bytes] = lambda: b"no") -> None:
        own = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                deframer = Deframer(1 << 20)
                while data := self.request.recv(1 << 16):
                    for content in deframer.receive(data):
                        assert isinstance(content, bytes)
                        asked = content.split(b"\r")[0].split(b"|")
                        text = own.says()
                        self.request.sendall(
                            frame(
                                b"MSH|^~\\&|LIS|G|W|G|20261101||ACK|1|P|2.5\rMSA|AE|%s|%s\rERR||PID^1|207|E||||%s\r"
                                % (asked[9], text, text)
                            )
                        )

        super().__init__(("127.0.0.1", 0), Handler)
        self.says = says
        self.address = f"127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # the engine closes its connections when it ends


class Place:
    """A copy of the site, an engine with its console on it, receivers, and letting people in.

    `lis` is the laboratory system's address; nobody is there without it. Not `first`: somebody is let in beforehand, so that no
    first token is offered.
    """

    admin = Grant(Role.ADMIN)

    def __init__(self, directory: Path, *, lis: str = "", first: bool = False) -> None:
        for name in ("conf", "channels", "mappings", "samples"):
            shutil.copytree(ROOT / name, directory / name)
        self.directory = directory
        self.port, monitor = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        settings = directory / "conf" / "engine.yaml"
        settings.write_text(settings.read_text("utf-8").replace("127.0.0.1:8071", f"127.0.0.1:{monitor}"), "utf-8")
        self.receiver = Receiver()
        self.ports = {name: free_port() for name in ("adt", "charges", "results")}
        self.engine = EngineProcess(
            directory,
            {
                "CONSOLE_LISTEN": f"127.0.0.1:{self.port}",
                **{f"{name.upper()}_LISTEN": f"127.0.0.1:{port}" for name, port in self.ports.items()},
                "MPI_URL": f"{self.receiver.url}/patients",
                "ENCOUNTERS_URL": f"{self.receiver.url}/encounters",
                "BILLING_URL": f"{self.receiver.url}/charges",
                "BILLING_TOKEN": "a-token-for-tests",
                "LIS_CONNECT": lis or f"127.0.0.1:{free_port()}",
            },
        )
        if not first:
            self.let_in("root", self.admin)

    def start(self) -> None:
        self.engine.start()
        for port in (*self.ports.values(), self.port):
            self.engine.await_port(("127.0.0.1", port))

    def let_in(self, name: str, *grants: Grant) -> str:
        """Somebody new, logged in by password. The session's secret."""
        people = People(self.directory, lambda: time.time_ns() // 1000, passwords=Passwords(1, 8))
        try:
            invitation = people.persons.add(Actor("tests", "local"), name, name.title(), grants)
            people.persons.accept(invitation, PASSWORD, "127.0.0.1")
            return people.login.password(name, PASSWORD, "127.0.0.1", "tests").cookie
        finally:
            people.close()

    def await_file(self, name: str) -> str:
        """A file of the site, once it is there and not empty."""
        path = self.directory / name
        return str(wait_for(lambda: (path.exists() and path.read_text("utf-8")) or None, f"there is {name}"))

    def send(self, channel: str, *contents: bytes) -> list[str]:
        """MSA-1 of each answer; all on one connection."""
        with socket.create_connection(("127.0.0.1", self.ports[channel]), timeout=30) as wire:
            deframer, answers = Deframer(1 << 20), []
            for content in contents:
                wire.sendall(frame(content))
                while not (found := deframer.receive(wire.recv(1 << 16) or _closed())):
                    pass
                answers += found
        return [read_acknowledgement(answer).code for answer in answers if isinstance(answer, bytes)]

    def close(self) -> None:
        with suppress(AssertionError):  # it has been stopped
            self.engine.kill()
        self.receiver.close()


def _closed() -> bytes:
    raise AssertionError("the engine closed the connection")


@contextmanager
def running(directory: Path, **about: Any) -> Iterator[Place]:
    place = Place(directory, **about)
    try:
        place.start()
        yield place
    finally:
        place.close()


def charge(number: int | str, account: str = "ACC-1", department: str = "PHA-1", mrn: str = "100200") -> bytes:
    """A charge whose control id and transaction are `number`."""
    return (
        f"MSH|^~\\&|ORDERS|GENERAL|W|GENERAL|20261101101500||DFT^P03^DFT_P03|C{number}|P|2.5.1\r"
        f"EVN|P03|20261101101500\rPID|1||{mrn}^^^GENERAL^MR||TESTER^TINA||19700101|F||||||||||{account}\r"
        f"PV1|1|I|W1^101^1||||||||||||||||V-1\r"
        f"FT1|1|T{number}||20261101||CG|RX-1^Tablets^L|||2|18.40&USD||{department}^Pharmacy\r"
    ).encode()


__all__ = ["PASSWORD", "SAMPLES", "Place", "Receiver", "Refuser", "Taken", "charge", "running", "wait_for"]
