"""MLLP over TLS on real sockets: the contract again, who is let in, and what is said of those who are not."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import deferToThread

from engine import net
from engine.connectors.mllp import ListenOptions
from engine.connectors.mllp.source import MllpSource
from engine.events import Irregular
from engine.quantities import parse_address
from engine.testing.held_intake import HeldIntake
from engine.testing.world import World, turn, until
from tests.acceptance.certificates import Authority
from tests.acceptance.test_mllp import MSH, Bench, real_world
from tests.contract.connectors import test_mllp as contract
from tests.contract.connectors.mllp_peers import Sender


@cache
def authority(name: str = "hospital authority") -> Authority:
    return Authority(Path(mkdtemp(prefix="wardline-test-")), name)


@cache
def issued(host: str, **how: Any) -> tuple[str, str]:
    return authority().issue(host, **how)


def serving(**more: Any) -> dict[str, Any]:
    certificate, key = issued("127.0.0.1")
    return {"certificate": certificate, "key": key, **more}


def mutual(**more: Any) -> dict[str, Any]:
    return serving(clients=str(authority().file), **more)


def client(certificate: tuple[str, str] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority().file))
    if certificate:
        context.load_cert_chain(*certificate)
    return context


class TestSource(contract.TestSource):
    def world(self) -> World:
        return real_world()

    def build(self, world: World) -> MllpSource:
        return self.build_at(world, "127.0.0.1:0")

    def build_at(self, world: World, address: str) -> MllpSource:
        options = ListenOptions(listen=address, max_in_flight=4, tls=mutual(subjects=["ehr.hospital.example"]))  # type: ignore[arg-type]
        return MllpSource(options, world.runtime, "charges")

    async def peer(self, world: World, source: MllpSource) -> Any:
        return await world.network.connect(Sender, *parse_address(source.address), 10, client(issued("ehr.hospital.example")))


def exchange(address: Any, context: ssl.SSLContext, content: bytes = MSH.format("T1", 1).encode()) -> bytes:
    """One message and its answer; raises OSError where the other side will not have us."""
    with socket.create_connection(address, 10) as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
        secured.sendall(b"\x0b" + content + b"\x1c\r")
        answer = b""
        while not answer.endswith(b"\x1c\r"):
            if not (got := secured.recv(65536)):
                raise ConnectionResetError("closed without an answer")
            answer += got
        return answer


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_sender_is_answered_and_its_certificate_is_named(version: ssl.TLSVersion) -> None:
    bench = await Bench(tls=mutual(subjects=["lab.hospital.example", "ehr.hospital.example"])).start()
    context = client(issued("ehr.hospital.example"))
    context.minimum_version = context.maximum_version = version
    for number in range(20):  # each sends at once, right behind its handshake
        answer = await deferToThread(exchange, bench.address, context, MSH.format(f"T{number}", number).encode())
        assert b"MSA|AA|T%d" % number in answer
    assert bench.headers == [{"tls-subject": "ehr.hospital.example"}] * 20
    assert bench.refusals == []
    await bench.source.stop()


async def test_without_clients_no_certificate_is_asked_for() -> None:
    bench = await Bench(tls=serving()).start()
    assert b"MSA|AA|T1" in await deferToThread(exchange, bench.address, client())
    assert bench.headers == [{}]
    await bench.source.stop()


async def test_a_large_message_comes_through() -> None:
    bench = await Bench(tls=serving(), max_frame="32MiB").start()
    content = MSH.format("BIG", 1).encode() + b"OBX|1|ED|||" + b"A" * 20_000_000 + b"\r"
    assert b"MSA|AA|BIG" in await deferToThread(exchange, bench.address, client(), content)
    assert bench.contents == [content]
    await bench.source.stop()


@pytest.mark.parametrize("politely", [True, False])
async def test_a_sender_that_ends_its_half_at_once_gets_its_answer(politely: bool) -> None:
    bench = await Bench(tls=serving()).start()

    def talk() -> bytes:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secured = client().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        with socket.create_connection(bench.address, 10) as plain:
            while True:
                try:
                    secured.do_handshake()
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                    incoming.write(plain.recv(65536))
                else:
                    break
            secured.write(b"\x0b" + MSH.format("H1", 1).encode() + b"\x1c\r")
            if politely:
                with contextlib.suppress(ssl.SSLWantReadError):
                    secured.unwrap()
            plain.sendall(outgoing.read())
            plain.shutdown(socket.SHUT_WR)
            while data := plain.recv(65536):
                incoming.write(data)
            return secured.read(65536)

    assert b"MSA|AA|H1" in await deferToThread(talk)
    await until("the connection to go", lambda: not bench.source.connections)
    assert bench.refusals == []
    await bench.source.stop()


def _issued_by_somebody_else() -> tuple[str, str]:
    return Authority(authority().directory, "another authority").issue("ehr.hospital.example")


def _issued_by_one_who_may_not() -> tuple[str, str]:
    """The chain is longer than the authority allows: signed with a certificate that is none of an authority."""
    middle = Authority(authority().directory, "middle")
    certificate, key = middle.issue("ehr.hospital.example")
    own, own_key = issued("middle.hospital.example")
    chain = authority().directory / "chain.pem"
    chain.write_bytes(Path(certificate).read_bytes() + Path(own).read_bytes())
    assert own_key
    return str(chain), key


SERVER_ONLY = ExtendedKeyUsageOID.SERVER_AUTH
NOT_LET_IN = {
    "no certificate": (lambda: None, "TLS_FAILED: peer did not return a certificate"),
    "another authority's": (_issued_by_somebody_else, "TLS_FAILED: unable to get local issuer certificate"),
    "expired": (lambda: issued("ehr.hospital.example", days=-1), "TLS_FAILED: certificate has expired"),
    "not yet valid": (lambda: issued("ehr.hospital.example", days=9, begins=3), "TLS_FAILED: certificate is not yet valid"),
    "not for clients": (lambda: issued("ehr.hospital.example", usage=SERVER_ONLY), "TLS_FAILED: unsuitable certificate purpose"),
    "a chain that does not hold": (_issued_by_one_who_may_not, "TLS_FAILED: unable to get local issuer certificate"),
    "another sender's": (lambda: issued("lab.hospital.example"), "SUBJECT_NOT_ALLOWED: lab.hospital.example"),
    "a name that only begins so": (lambda: issued("ehr.hospital.example.org"), "SUBJECT_NOT_ALLOWED: ehr.hospital.example.org"),
}


@pytest.mark.parametrize("who", NOT_LET_IN)
async def test_who_is_not_let_in_is_named_once_and_the_next_is_served(who: str) -> None:  # S34
    certificate, reason = NOT_LET_IN[who]
    bench = await Bench(tls=mutual(subjects=["ehr.hospital.example"])).start()
    context = client(certificate())
    for _ in range(3):
        with pytest.raises(OSError):  # noqa: PT011
            await deferToThread(exchange, bench.address, context)
    await until("the refusal", lambda: bench.refusals)
    assert [refusal.reason for refusal in bench.refusals] == [reason]
    assert bench.contents == []
    assert b"MSA|AA|T1" in await deferToThread(exchange, bench.address, client(issued("ehr.hospital.example")))
    await until("connections to go", lambda: not bench.source.connections)
    await bench.source.stop()


async def test_old_versions_are_refused() -> None:
    bench = await Bench(tls=serving()).start()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError):  # noqa: PT011
        await deferToThread(exchange, bench.address, context)
    await until("the refusal", lambda: bench.refusals)
    assert [refusal.reason for refusal in bench.refusals] == ["TLS_FAILED: unsupported protocol"]
    await bench.source.stop()


async def test_a_sender_that_does_not_trust_us_is_named() -> None:
    bench = await Bench(tls=serving()).start()
    with pytest.raises(ssl.SSLCertVerificationError):
        await deferToThread(exchange, bench.address, ssl.create_default_context())
    await until("the refusal", lambda: bench.refusals)
    assert [refusal.reason for refusal in bench.refusals] == ["TLS_FAILED: tlsv1 alert unknown ca"]
    await bench.source.stop()


@pytest.mark.parametrize("opening", [b"\x0b" + MSH.format("P1", 1).encode() + b"\x1c\r", b"GET / HTTP/1.1\r\n\r\n"])
async def test_what_comes_in_the_clear_is_told_once_and_closed(opening: bytes) -> None:  # B021
    bench = await Bench(tls=serving()).start()

    def visit() -> None:
        for _ in range(20):
            with socket.create_connection(bench.address, 10) as plain:
                plain.sendall(opening)
                with contextlib.suppress(ConnectionResetError):
                    while plain.recv(4096):
                        pass

    await deferToThread(visit)
    await until("the refusal", lambda: bench.refusals)
    assert [refusal[1:] for refusal in bench.refusals] == [("NOT_TLS", len(opening), opening)]
    assert bench.contents == []
    await until("connections to go", lambda: not bench.source.connections)
    await bench.source.stop()


async def test_a_probe_that_only_connects_is_not_told() -> None:
    bench = await Bench(tls=serving()).start()
    for _ in range(5):
        socket.create_connection(bench.address, 10).close()
    assert b"MSA|AA|T1" in await deferToThread(exchange, bench.address, client())
    await until("connections to go", lambda: not bench.source.connections)
    assert bench.refusals == []
    await bench.source.stop()


async def test_one_that_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "HANDSHAKE_TIMEOUT", 0.2)
    bench = await Bench(tls=serving()).start()
    with socket.create_connection(bench.address, 10) as silent:
        await until("the refusal", lambda: bench.refusals)
        assert [refusal.reason for refusal in bench.refusals] == ["TLS_FAILED: not done in time"]
        await until("connections to go", lambda: not bench.source.connections)
        assert silent.fileno() > 0
    await bench.source.stop()


async def test_a_stop_amid_a_handshake_leaves_nothing_open() -> None:
    world, intake = real_world(), HeldIntake()
    source = MllpSource(ListenOptions(listen="127.0.0.1:0", tls=serving()), world.runtime, "charges")  # type: ignore[arg-type]
    await source.start(intake)
    with socket.create_connection(parse_address(source.address), 10):
        await until("the connection", lambda: source.connections)
        stopping = ensureDeferred(source.stop())
        await until("the end", lambda: stopping.called)
    assert source.connections == set()
    for _ in range(5):
        await turn()


async def test_renewed_certificates_are_taken_up_and_broken_ones_are_not(tmp_path: Path) -> None:  # S37
    first, second = issued("127.0.0.1", days=5), issued("127.0.0.1", days=6)
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"

    def put(certificate: str, key: str) -> None:
        for file, text in zip(files, (certificate, key), strict=True):
            fresh = file.with_suffix(".new")
            fresh.write_text(text)
            os.replace(fresh, file)

    def put_issued(pair: tuple[str, str]) -> None:
        put(*(Path(name).read_text() for name in pair))

    def serial() -> Any:
        plain = socket.create_connection(bench.address, 10)
        with client().wrap_socket(plain, server_hostname="127.0.0.1") as secured:
            return secured.getpeercert()["serialNumber"]

    put_issued(first)
    bench = await Bench(tls={"certificate": str(files[0]), "key": str(files[1])}).start()
    before = await deferToThread(serial)
    put("no certificate at all", "no key")
    assert await deferToThread(serial) == before
    assert await deferToThread(serial) == before
    (told,) = bench.world.told(Irregular)
    assert f"tls: certificate {files[0]} and its key {files[1]} cannot be used" in told.reason
    put_issued(second)
    assert await deferToThread(serial) != before
    await bench.source.stop()


async def test_what_is_wrong_with_the_files_is_said_at_the_start(tmp_path: Path) -> None:
    certificate, key = issued("127.0.0.1")
    other_key = issued("lab.hospital.example")[1]
    locked = issued("127.0.0.1", password="open sesame")
    for_all = Path(shutil.copy(key, tmp_path / "for_all.key"))
    os.chmod(for_all, 0o666)
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    wrong = [
        ({"certificate": "/nowhere.pem"}, "tls: certificate: /nowhere.pem cannot be read: No such file or directory"),
        ({"certificate": certificate, "key": "/nowhere.key"}, "tls: key: /nowhere.key cannot be read"),
        ({"certificate": certificate}, f"tls: certificate {certificate} and its key {certificate} cannot be used"),
        ({"certificate": certificate, "key": other_key}, "cannot be used: key values mismatch"),
        ({"certificate": locked[0], "key": locked[1]}, "cannot be used: "),
        ({"certificate": locked[0], "key": locked[1], "password": "wrong"}, "cannot be used: "),
        ({"certificate": certificate, "key": str(for_all)}, f"chmod o-w {for_all}"),
        ({"certificate": certificate, "key": key, "clients": str(empty)}, f"tls: clients: {empty} holds no certificates"),
    ]
    for tls, said in wrong:
        with pytest.raises(OSError, match=r"^tls: ") as caught:
            await Bench(tls=tls).start()
        assert said in str(caught.value)
    bench = await Bench(tls={"certificate": locked[0], "key": locked[1], "password": "open sesame"}).start()
    assert b"MSA|AA|T1" in await deferToThread(exchange, bench.address, client())
    await bench.source.stop()
