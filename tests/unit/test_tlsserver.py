"""TLS without a socket, against OpenSSL's own client."""

from __future__ import annotations

import contextlib
import ssl
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

from engine.tlsserver import TlsServer
from tests.acceptance.certificates import Authority


@cache
def authority() -> Authority:
    return Authority(Path(mkdtemp(prefix="wardline-test-")))


class Pair:
    """A client and our server; `cut` is how many bytes the server gets at a time."""

    def __init__(self, cut: int = 65536) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority().issue("lab.example"))
        trusting = ssl.create_default_context(cafile=str(authority().file))
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = trusting.wrap_bio(self._in, self._out, server_hostname="lab.example")
        self.server = TlsServer(context, self._in.write)
        self._cut = cut
        self.plain = b""

    def agree(self) -> None:
        while not self.server.agreed:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            self.move()

    @property
    def ended(self) -> bool:
        """The server has said so; a line that only broke would have it wait."""
        try:
            return self.client.read(100) == b""
        except ssl.SSLZeroReturnError:
            return True

    def move(self) -> None:
        """What the client has said goes to the server."""
        data = self._out.read()
        for at in range(0, len(data), self._cut):
            self.plain += self.server.receive(data[at : at + self._cut])


@pytest.mark.parametrize("cut", [1, 7, 65536])
def test_bytes_go_both_ways_however_they_are_cut(cut: int) -> None:
    pair = Pair(cut)
    assert pair.server.certificate is None
    pair.agree()
    said = bytes(range(256)) * 400
    pair.client.write(said)
    pair.client.write(b"and more")
    pair.move()
    assert pair.plain == said + b"and more"
    pair.server.send(b"heard")
    assert pair.client.read(100) == b"heard"


def test_what_follows_the_handshake_in_the_same_bytes_is_not_lost() -> None:
    pair = Pair()
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.do_handshake()
    pair.move()
    pair.client.do_handshake()
    pair.client.write(b"at once")
    pair.move()
    assert pair.server.agreed
    assert pair.plain == b"at once"


def test_either_side_may_say_that_it_has_ended() -> None:
    pair = Pair()
    pair.agree()
    pair.client.write(b"the last")
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.unwrap()
    pair.move()
    assert pair.plain == b"the last"
    assert pair.server.ended
    pair.server.send(b"heard")  # it may still listen
    assert pair.client.read(100) == b"heard"
    pair.server.close()
    assert pair.ended

    other = Pair()
    other.agree()
    other.server.close()
    assert other.ended


def test_what_is_no_tls_is_an_error_and_the_peer_is_told() -> None:
    pair = Pair()
    with pytest.raises(ssl.SSLError) as caught:
        pair.server.receive(b"\x0bMSH|^~\\&|EHR|HOSPITAL|\r\x1c\r")
    assert caught.value.reason == "WRONG_VERSION_NUMBER"
    assert not pair.server.agreed
    pair.server.close()  # harmless


def test_records_that_were_tampered_with_are_an_error() -> None:
    pair = Pair()
    pair.agree()
    pair.client.write(b"pay 100")
    data = bytearray(pair._out.read())
    data[-1] ^= 1
    with pytest.raises(ssl.SSLError):
        pair.server.receive(bytes(data))
