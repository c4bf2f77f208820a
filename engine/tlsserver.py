"""TLS without a socket: what came off the wire in, what was said out, and the other way round (RFC 8446, RFC 5246)."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from typing import Any

_PIECE = 64 * 1024  # bytes asked for at a time; a record has no more than 16 KiB


class TlsServer:
    """The server's side of one connection. `put` sends bytes to the peer, at any time and any number of them."""

    def __init__(self, context: ssl.SSLContext, put: Callable[[bytes], None]) -> None:
        self._put = put
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.agreed = False  # the handshake is done
        self.ended = False  # the peer has said that no more comes

    def receive(self, data: bytes) -> bytes:
        """What the peer says with `data`; nothing while the handshake goes on. Raises ssl.SSLError, the peer being told."""
        self._incoming.write(data)
        try:
            if not self.agreed:
                self._object.do_handshake()
                self.agreed = True
            return self._read()
        except ssl.SSLWantReadError:
            return b""
        finally:
            self._flush()

    def send(self, data: bytes) -> None:
        self._object.write(data)
        self._flush()

    def close(self) -> None:
        """Say that no more comes, so that the peer can tell this from a broken line."""
        if self.agreed:
            with contextlib.suppress(ssl.SSLError):  # it waits for the peer's own word, and we do not
                self._object.unwrap()
            self._flush()

    @property
    def certificate(self) -> Any:
        return self._object.getpeercert() if self.agreed else None

    def _read(self) -> bytes:
        pieces: list[bytes] = []
        try:
            while piece := self._object.read(_PIECE):
                pieces.append(piece)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return b"".join(pieces)

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._put(self._outgoing.read())
