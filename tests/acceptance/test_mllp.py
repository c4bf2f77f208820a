"""MLLP over real sockets: the contract again, and peers that others wrote."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import hl7
import pytest
from twisted.internet.defer import DeferredList
from twisted.internet.threads import deferToThread

from engine import reactor as engine_reactor
from engine import registry
from engine.bridge import from_asyncio
from engine.connectors.mllp import ConnectOptions, ListenOptions
from engine.connectors.mllp.destination import MllpDestination
from engine.connectors.mllp.source import MllpSource
from engine.contracts import Runtime
from engine.model import Arrival, Delivered, Receipt, Refused, Unknown, Unreached, Verdict
from engine.net import LoopNetwork
from engine.quantities import parse_address
from engine.testing import world as worlds
from engine.testing.held_intake import Refusal
from engine.testing.world import World, until
from tests.contract.connectors import test_mllp as contract
from tests.contract.connectors.mllp_peers import Receiver

reactor = engine_reactor.install()
LOOP = engine_reactor.loop_of(reactor)
MSH = "MSH|^~\\&|EHR|HOSPITAL|WARDLINE|HOSPITAL|20260911120000||ADT^A08^ADT_A01|{}|P|2.5.1\rEVN|A08|20260911\rPID|1||{}\r"


def real_world() -> World:
    return World(network=LoopNetwork(reactor))


class TestSource(contract.TestSource):
    def world(self) -> World:
        return real_world()

    def build(self, world: World) -> MllpSource:
        return self.build_at(world, "127.0.0.1:0")


class TestSourceThatDials(contract.TestSourceThatDials):
    def world(self) -> World:
        self.port = _free_port()
        return real_world()

    def build(self, world: World) -> MllpSource:
        return MllpSource(ListenOptions(connect=f"127.0.0.1:{self.port}", max_in_flight=4), world.runtime, "charges")

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port


class TestDestination(contract.TestDestination):
    def world(self) -> World:
        return real_world()

    async def counterpart(self, world: World) -> Receiver:
        return await Receiver(world.network).start(("127.0.0.1", 0))

    def build_unreachable(self, world: World) -> MllpDestination:
        return MllpDestination(ConnectOptions(connect=f"127.0.0.1:{_free_port()}"), world.runtime, "lab")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Bench:
    """A source on a real socket whose intake stores in memory and answers in HL7."""

    def __init__(self, **options: Any) -> None:
        self.world = real_world()
        # Real sockets need real time-outs.
        runtime = self.world.runtime
        self.runtime = Runtime(reactor, runtime.network, runtime.emit, runtime.now, runtime.chance)
        self.contents: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.refusals: list[Refusal] = []
        self.format = registry.formats()["hl7v2"].build()
        self.source = MllpSource(ListenOptions(**({"listen": "127.0.0.1:0"} | options)), self.runtime, "charges")

    async def start(self) -> Bench:
        await self.source.start(self)
        self.address = parse_address(self.source.address)
        return self

    async def __call__(self, arrival: Arrival, reply: Any) -> None:
        self.contents.append(arrival.content)
        self.headers.append(dict(arrival.headers))
        receipt = Receipt(Verdict.ACCEPTED, len(self.contents), worlds.NOW)
        await reply(receipt._replace(reply=self.format.acknowledge(arrival.content, receipt)))

    def refused(self, peer: str, reason: str, size: int, content: bytes = b"") -> None:
        self.refusals.append(Refusal(peer, reason, size, content))


def test_mllp_send_of_python_hl7_is_answered(spin: Any, tmp_path: Path) -> None:
    messages = [MSH.format(f"M{number}", number) for number in range(20)]
    file = tmp_path / "messages.hl7"
    file.write_bytes(b"".join(b"\x0b" + message.encode() + b"\x1c\r" for message in messages))

    async def run() -> Any:
        bench = await Bench().start()
        command = [str(Path(sys.executable).with_name("mllp_send")), "-p", str(bench.address.port), "-f", str(file), "127.0.0.1"]
        done = await deferToThread(subprocess.run, command, capture_output=True, timeout=60, check=False)
        await bench.source.stop()
        return bench, done

    bench, done = spin(run())
    assert done.returncode == 0, done.stderr
    # mllp_send drops the last segment's terminator, as many senders do.
    assert [content.decode() + "\r" for content in bench.contents] == messages
    assert done.stdout.count(b"MSA|AA|M") == 20


def test_the_client_of_python_hl7_reads_our_acknowledgement(spin: Any) -> None:
    def talk(port: int) -> Any:
        from hl7.client import MLLPClient

        with MLLPClient("127.0.0.1", port) as client:
            return [client.send_message(hl7.parse(MSH.format(f"C{number}", number))) for number in range(5)]

    async def run() -> Any:
        bench = await Bench().start()
        answers = await deferToThread(talk, bench.address.port)
        await bench.source.stop()
        return answers

    for number, answer in enumerate(spin(run())):
        message = hl7.parse(answer.strip(b"\x0b\x1c\r").decode() + "\r")
        assert (str(message["MSA"][0][1]), str(message["MSA"][0][2])) == ("AA", f"C{number}")


def test_the_server_of_python_hl7_acknowledges_what_we_send(spin: Any) -> None:
    """Its ACK is made by `hl7.Message.create_ack`, its framing by asyncio streams."""
    from hl7.mllp import start_hl7_server

    got: list[str] = []
    closed: list[bool] = []

    async def serve(reader: Any, writer: Any) -> None:
        with contextlib.suppress(Exception):
            while not writer.is_closing():
                message = await reader.readmessage()
                got.append(str(message.extract_field("MSH", 1, 10)))
                code = "AE" if got[-1] == "W3" else "AA"
                writer.writemessage(message.create_ack(code))
                await writer.drain()
        writer.close()
        await writer.wait_closed()
        closed.append(True)

    async def run() -> Any:
        server = await from_asyncio(LOOP, start_hl7_server(serve, "127.0.0.1", 0, encoding="utf-8"))
        port = server.sockets[0].getsockname()[1]
        runtime = Bench().runtime
        destination = MllpDestination(ConnectOptions(connect=f"127.0.0.1:{port}"), runtime, "lab")
        outcomes = [
            await destination.send(worlds.delivery(MSH.format(f"W{number}", number).encode(), number)) for number in range(1, 6)
        ]
        await destination.stop()
        server.close()
        await until("the server's side to close", lambda: closed)
        return outcomes

    outcomes = spin(run())
    assert got == ["W1", "W2", "W3", "W4", "W5"]
    assert [type(outcome) for outcome in outcomes] == [Delivered, Delivered, Refused, Delivered, Delivered]


NODE = """
const net = require('net');
const text = process.argv[2];
const client = net.connect(Number(process.argv[1]), '127.0.0.1', () => client.end('\\x0b' + text + '\\x1c\\r'));
client.on('data', (data) => process.stdout.write(data));
"""


@pytest.mark.needs("node")
async def test_a_node_client_that_ends_its_half_at_once_gets_its_answer() -> None:
    bench = await Bench().start()
    command = ["node", "-e", NODE, str(bench.address.port), MSH.format("N1", 1)]
    done = await deferToThread(subprocess.run, command, capture_output=True, timeout=30, check=False)
    assert b"MSA|AA|N1" in done.stdout, done.stderr
    await bench.source.stop()


async def test_what_is_on_the_port_by_mistake_is_closed_and_named() -> None:  # B019, B020
    bench = await Bench().start()

    def visit() -> list[bytes]:
        import http.client
        import ssl

        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(bench.address, 10) as plain, pytest.raises(OSError):  # noqa: PT011
            context.wrap_socket(plain)
        connection = http.client.HTTPConnection(*bench.address, timeout=10)
        connection.request("GET", "/")
        with pytest.raises((http.client.HTTPException, OSError)):
            connection.getresponse()
        connection.close()
        return []

    await deferToThread(visit)
    await until("both refusals", lambda: len(bench.refusals) == 2)
    assert [refusal.reason for refusal in bench.refusals] == ["TLS_ON_PLAIN", "HTTP_ON_MLLP"]
    assert bench.refusals[0].content.startswith(b"\x16\x03\x01")
    assert bench.refusals[1].content.startswith(b"GET / HTTP/1.1\r\nHost: ")
    await bench.source.stop()


async def test_a_large_message_and_many_small_ones_arrive_whole() -> None:
    bench = await Bench().start()

    def talk() -> bytes:
        large = MSH.format("BIG", 1).encode() + b"OBX|1|ED|||" + b"A" * 10_000_000 + b"\r"
        small = [MSH.format(f"S{number}", number).encode() for number in range(1000)]
        with socket.create_connection(bench.address, 10) as peer:
            peer.sendall(b"".join(b"\x0b" + content + b"\x1c\r" for content in [large, *small]))  # reads nothing meanwhile
            answers = b""
            while answers.count(b"\x1c\r") < 1001:
                answers += peer.recv(65536)
        return answers

    answers = await deferToThread(talk)
    assert len(bench.contents[0]) > 10_000_000
    named = [part.split(b"\r")[0].split(b"|")[0] for part in answers.split(b"MSA|AA|")[1:]]
    assert named == [b"BIG", *(b"S%d" % number for number in range(1000))]
    await bench.source.stop()


async def test_a_receiver_that_is_killed_and_started_again() -> None:
    world = real_world()
    receiver = await Receiver(world.network).start(("127.0.0.1", 0))
    destination = MllpDestination(ConnectOptions(connect=receiver.address), world.runtime, "lab")
    message = worlds.delivery(MSH.format("W1", 1).encode())
    assert type(await destination.send(message)) is Delivered
    receiver.mood = "reset"
    assert type(await destination.send(message)) is Unknown
    await receiver.stop()
    assert type(await destination.send(message)) is Unreached
    again = await Receiver(world.network).start(tuple(parse_address(receiver.address)))
    assert type(await destination.send(message)) is Delivered
    await destination.stop()
    await again.stop()


async def test_a_name_that_is_not_found_was_not_reached() -> None:
    world = real_world()
    for host in ("no-such-host.invalid", "a" * 63 + "." + "b" * 63):
        destination = MllpDestination(ConnectOptions(connect=f"{host}:2575"), world.runtime, "lab")
        outcome = await destination.send(worlds.delivery(b"MSH|"))
        assert type(outcome) is Unreached, outcome
        assert "2575" not in outcome.reason


async def test_stop_during_traffic_loses_no_answer() -> None:
    """Every message that intake took is answered, though stop comes in the middle."""
    bench = await Bench().start()

    def talk() -> int:
        answered = 0
        with socket.create_connection(bench.address, 10) as peer:
            try:
                for number in range(100_000):
                    peer.sendall(b"\x0b" + MSH.format(f"T{number}", number).encode() + b"\x1c\r")
                    answers = b""
                    while not answers.endswith(b"\x1c\r"):
                        if not (got := peer.recv(65536)):
                            return answered
                        answers += got
                    answered += 1
            except OSError:
                pass
        return answered

    talking = DeferredList([deferToThread(talk), deferToThread(talk)], fireOnOneErrback=True)
    await until("some traffic", lambda: len(bench.contents) > 200)
    await bench.source.stop()
    answered = [result for _, result in await talking]
    assert sum(answered) == len(bench.contents)
