"""Servers with TLS from the standard library, each in a thread of its own: peers that share nothing with the engine."""

from __future__ import annotations

import hashlib
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import BaseRequestHandler, StreamRequestHandler, TCPServer, ThreadingMixIn
from typing import Any

from tests.contract.connectors.mllp_peers import acknowledgement


class SecureServer(ThreadingMixIn, TCPServer):
    """`kept` is what its handler took; `failed` the handshakes and connections that came to nothing."""

    daemon_threads = True

    def __init__(self, handler: type[BaseRequestHandler], context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.context = context
        self.kept: dict[str, bytes] = {}
        self.failed: list[str] = []
        self.subjects: list[Any] = []

    def finish_request(self, request: Any, client_address: Any) -> None:
        with request.dup() as plain, self._agreed(request, plain) as secure:
            self.subjects.append((secure.getpeercert() or {}).get("subject"))
            super().finish_request(secure, client_address)

    def _agreed(self, request: Any, plain: Any) -> ssl.SSLSocket:
        try:
            return self.context.wrap_socket(request, server_side=True)
        except ssl.SSLError:
            plain.settimeout(5)
            while plain.recv(65536):  # what is closed unread is reset, and the alert may be lost with it
                pass
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.failed.append(str(sys.exc_info()[1]))


class Charges(BaseHTTPRequestHandler):
    """Keeps what it is sent, by its Idempotency-Key."""

    protocol_version = "HTTP/1.1"
    server: SecureServer

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.kept[self.headers["Idempotency-Key"]] = content
        digest = hashlib.sha256(content).hexdigest().encode()
        self.send_response(201)
        self.send_header("Content-Length", str(len(digest)))
        self.end_headers()
        self.wfile.write(digest)

    def log_message(self, *given: Any) -> None: ...


class Lab(StreamRequestHandler):
    """Acknowledges each MLLP frame."""

    server: SecureServer

    def handle(self) -> None:
        frame = b""
        while byte := self.rfile.read(1):
            frame += byte
            if frame.endswith(b"\x1c\r"):
                content = frame[1:-2]
                self.server.kept[str(len(self.server.kept))] = content
                self.wfile.write(b"\x0b" + acknowledgement(content, "AA") + b"\x1c\r")
                frame = b""


def serving(certificate: tuple[str, str], clients: Path | None = None, newest: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """For a server with `certificate`, which asks for one that an authority in `clients` has issued."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if clients is not None:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    if newest is not None:
        context.maximum_version = newest
    return context


@contextmanager
def secure_server(handler: type[BaseRequestHandler], context: ssl.SSLContext) -> Iterator[tuple[SecureServer, int]]:
    """The server and its port, on 127.0.0.1."""
    server = SecureServer(handler, context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server, server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
