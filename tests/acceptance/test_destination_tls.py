"""TLS and mutual TLS of the destinations, against servers of the standard library."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from engine import reactor as engine_reactor
from engine.connectors.http import RequestOptions
from engine.connectors.http.destination import HttpDestination
from engine.connectors.mllp import ConnectOptions
from engine.connectors.mllp.destination import MllpDestination
from engine.model import Delivered, Delivery, Misconfigured, Unreached
from engine.net import LoopNetwork
from engine.testing import world as worlds
from engine.testing.world import World
from engine.tlsclient import ClientTls, Credentials, Unusable
from tests.acceptance.certificates import Authority
from tests.acceptance.tls_servers import Charges, Lab, secure_server, serving

reactor = engine_reactor.install()
MSH = b"MSH|^~\\&|WARDLINE|HOSPITAL|LAB|HOSPITAL|20260911120000||ADT^A08|W1|P|2.5.1\rPID|1||1\r"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("strangers"), "another authority")


def delivery(kind: str, number: int = 1) -> Delivery:
    return worlds.delivery(
        MSH if kind == "mllp" else b"{}", number, "application/hl7-v2" if kind == "mllp" else "application/json"
    )


def build(kind: str, port: int, tls: dict[str, Any], host: str = "localhost") -> Any:
    runtime = World(network=LoopNetwork(reactor)).runtime
    if kind == "mllp":
        return MllpDestination(ConnectOptions(connect=f"{host}:{port}", tls=tls), runtime, "lab")
    return HttpDestination(RequestOptions(url=f"https://{host}:{port}/charges", tls=tls), runtime, "billing")


KINDS = [("mllp", Lab), ("http", Charges)]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize(("kind", "handler"), KINDS)
@pytest.mark.parametrize("version", VERSIONS)
async def test_mutual_tls(authority: Authority, kind: str, handler: Any, version: ssl.TLSVersion) -> None:
    certificate, key = authority.issue("wardline")
    with secure_server(handler, serving(authority.issue("localhost"), authority.file, version)) as (server, port):
        destination = build(kind, port, {"ca": str(authority.file), "certificate": certificate, "key": key})
        for number in (1, 2):
            assert type(await destination.send(delivery(kind, number))) is Delivered
        assert await destination.check() == ""
        await destination.stop()
        assert server.subjects[0] == ((("commonName", "wardline"),),)
        assert server.kept


@pytest.mark.parametrize(("kind", "handler"), KINDS)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shown", ["none", "a stranger's", "expired"])
async def test_a_certificate_of_ours_that_is_not_taken_holds_the_destination(
    authority: Authority, stranger: Authority, kind: str, handler: Any, version: ssl.TLSVersion, shown: str
) -> None:
    tls = {"ca": str(authority.file)}
    if shown != "none":
        certificate, key = stranger.issue("wardline") if shown == "a stranger's" else authority.issue("wardline", days=-1)
        tls |= {"certificate": certificate, "key": key}
    with secure_server(handler, serving(authority.issue("localhost"), authority.file, version)) as (server, port):
        destination = build(kind, port, tls)
        outcome = await destination.send(delivery(kind))
        if shown == "none" and version is ssl.TLSVersion.TLSv1_2:  # which has no alert for that (RFC 5246 §7.4.6)
            assert type(outcome) is Unreached, outcome
        else:
            assert type(outcome) is Misconfigured, outcome
            assert outcome.reason == "the peer does not take our certificate: see tls in the destination's file"
        await destination.stop()
        assert server.kept == {}


@pytest.mark.parametrize(("kind", "handler"), KINDS)
async def test_the_peer_s_certificate_must_be_the_one_of_the_name(authority: Authority, kind: str, handler: Any) -> None:
    with secure_server(handler, serving(authority.issue("lab.example.org"))) as (server, port):
        destination = build(kind, port, {"ca": str(authority.file)}, "127.0.0.1")
        outcome = await destination.send(delivery(kind))
        assert type(outcome) is Misconfigured, outcome
        assert outcome.reason.startswith("the certificate is not trusted: ")
        await destination.stop()
        assert server.kept == {}
        destination = build(kind, port, {"ca": str(authority.file), "server_name": "lab.example.org"}, "127.0.0.1")
        assert type(await destination.send(delivery(kind))) is Delivered
        await destination.stop()


async def test_mllp_is_not_sent_in_clear_to_a_peer_without_tls(authority: Authority) -> None:
    from tests.contract.connectors.mllp_peers import Receiver

    world = World(network=LoopNetwork(reactor))
    receiver = await Receiver(world.network).start(("127.0.0.1", 0))
    port = int(receiver.address.rpartition(":")[2])
    options = ConnectOptions(connect=f"127.0.0.1:{port}", tls={"ca": str(authority.file)}, connect_timeout="300ms")
    destination = MllpDestination(options, world.runtime, "lab")
    outcome = await destination.send(delivery("mllp"))
    assert type(outcome) is Unreached, outcome
    assert receiver.received == []
    await destination.stop()
    await receiver.stop()


# ── the files ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_files_are_read_again_when_they_change(authority: Authority, tmp_path: Path) -> None:
    certificate, key = tmp_path / "client.crt", tmp_path / "client.key"
    for file, source in zip((certificate, key), authority.issue("wardline"), strict=True):
        file.write_bytes(Path(source).read_bytes())
    credentials = Credentials(ClientTls(ca=str(authority.file), certificate=str(certificate), key=str(key)))
    first = credentials.context()
    assert credentials.context() is first
    for file, source in zip((certificate, key), authority.issue("wardline"), strict=True):
        file.write_bytes(Path(source).read_bytes())
        os.utime(file, (1, 1))
    assert credentials.context() is not first


def test_an_encrypted_key_is_opened_with_its_password(authority: Authority) -> None:
    certificate, key = authority.issue("wardline", password="open sesame")
    given = ClientTls(ca=str(authority.file), certificate=certificate, key=key, password=SecretStr("open sesame"))
    Credentials(given).context()
    for wrong in ("", "hush"):
        with pytest.raises(Unusable, match=r"certificate .* and key .* cannot be used: ") as caught:
            Credentials(given.model_copy(update={"password": SecretStr(wrong)})).context()
        assert "hush" not in str(caught.value)


def test_files_that_cannot_be_used_are_named_with_their_option(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("wardline")
    other_key = authority.issue("wardline")[1]
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for given, said in [
        ({"ca": "nowhere.pem"}, "tls: ca: nowhere.pem cannot be read: No such file or directory"),
        ({"ca": str(empty)}, f"tls: ca: {empty} holds no certificates in PEM form"),
        ({"certificate": certificate, "key": "nowhere.key"}, "tls: key: nowhere.key cannot be read: No such file"),
        ({"certificate": certificate, "key": other_key}, "cannot be used: key values mismatch"),
        ({"certificate": key, "key": key}, "cannot be used: "),
    ]:
        with pytest.raises(Unusable) as caught:
            Credentials(ClientTls(**given)).context()
        assert said in str(caught.value)
