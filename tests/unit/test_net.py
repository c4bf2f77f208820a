"""Twisted protocols on the loop's own transports: what they are promised, over real sockets on this machine."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol

from engine import reactor as engine_reactor
from engine.bridge import from_asyncio, to_asyncio
from engine.net import KEEPALIVE, LoopNetwork
from engine.quantities import parse_address
from engine.testing.memory_network import MemoryNetwork
from engine.testing.world import turn, until

reactor = engine_reactor.install()
LOOP = engine_reactor.loop_of(reactor)


class Recorder(Protocol):
    def __init__(self) -> None:
        self.data, self.lost, self.pauses = b"", [], []

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.append(reason)

    # as a producer
    def pauseProducing(self) -> None:
        self.pauses.append("pause")

    def resumeProducing(self) -> None:
        self.pauses.append("resume")

    def stopProducing(self) -> None:
        self.pauses.append("stop")


class Patient(Recorder):
    """Knows of half-closed connections."""

    ended = False

    def readConnectionLost(self) -> None:
        self.ended = True


class Wire:
    """Both ends of one connection."""

    def __init__(self, network: Any) -> None:
        self.network = network

    async def make(self, near: type[Recorder] = Recorder, far: type[Recorder] = Recorder) -> tuple[Recorder, Recorder]:
        accepted: list[Recorder] = []

        def build() -> Recorder:
            accepted.append(far())
            return accepted[-1]

        self.port = await self.network.listen(build, "127.0.0.1", 0)
        dialled = await self.network.connect(near, *parse_address(self.port.address), 10)
        await until("the other end", lambda: accepted and accepted[0].transport)
        await self.port.stop()
        return dialled, accepted[0]


@pytest.fixture(params=["loop", "memory"])
def wire(request: pytest.FixtureRequest) -> Wire:
    return Wire(LoopNetwork(reactor) if request.param == "loop" else MemoryNetwork(reactor))


async def test_bytes_go_both_ways_and_the_end_comes_once(wire: Wire) -> None:
    near, far = await wire.make()
    near.transport.write(b"to ")
    near.transport.writeSequence([b"the ", b"far"])
    far.transport.write(b"to the near")
    await until("both", lambda: far.data == b"to the far" and near.data == b"to the near")
    near.transport.write(b", and more")
    near.transport.loseConnection()
    near.transport.write(b"too late")
    await until("the end", lambda: near.lost and far.lost)
    assert far.data == b"to the far, and more", "what was written before the close arrives"
    assert (len(near.lost), len(far.lost)) == (1, 1)
    assert near.lost[0].check(ConnectionDone)
    for end in (near, far):  # all of these are harmless afterwards
        end.transport.write(b"x")
        end.transport.writeSequence([b"x"])
        end.transport.pauseProducing()
        end.transport.resumeProducing()
        end.transport.loseConnection()
        end.transport.abortConnection()
        end.transport.unregisterProducer()
    await turn()
    assert (len(near.lost), len(far.lost)) == (1, 1)


async def test_a_producer_is_paused_while_the_peer_does_not_read(wire: Wire) -> None:
    near, far = await wire.make()
    near.transport.registerProducer(near, True)
    far.transport.pauseProducing()
    written = 0
    while not near.pauses:
        assert written < 100_000_000
        near.transport.write(b"x" * 65536)
        written += 65536
        await turn()
    assert near.pauses == ["pause"]
    got = len(far.data)
    await turn()
    assert len(far.data) == got, "a paused end reads nothing"
    far.transport.resumeProducing()
    await until("everything", lambda: len(far.data) == written)
    assert near.pauses == ["pause", "resume"]
    near.transport.loseConnection()
    await until("the end", lambda: near.lost and far.lost)
    assert near.pauses[2:] in (["stop"], [])


async def test_a_peer_that_ends_its_half_may_still_be_answered() -> None:
    wire = Wire(LoopNetwork(reactor))
    near, far = await wire.make(far=Patient)
    near.transport.write(b"all I have to say")
    near.transport._transport.write_eof()
    await until("the end of that half", lambda: far.ended)
    far.transport.write(b"heard")
    await until("the answer", lambda: near.data == b"heard")
    assert not far.lost
    far.transport.loseConnection()
    await until("the end", lambda: near.lost and far.lost)


async def test_a_peer_that_ends_its_half_ends_it_all_for_other_protocols(wire: Wire) -> None:
    near, far = await wire.make()
    if isinstance(wire.network, LoopNetwork):
        near.transport._transport.write_eof()
    else:
        near.transport.shutdown()
    await until("the end", lambda: far.lost and near.lost)


async def test_the_addresses_of_both_ends(wire: Wire) -> None:
    near, far = await wire.make()
    assert near.transport.getPeer().port == far.transport.getHost().port == parse_address(wire.port.address).port
    assert near.transport.getHost() == far.transport.getPeer()
    near.transport.abortConnection()
    await until("the end", lambda: near.lost and far.lost)


async def test_an_address_in_use_and_one_where_nobody_listens_are_os_errors(wire: Wire) -> None:
    network = wire.network
    port = await network.listen(Recorder, "127.0.0.1", 0)
    address = parse_address(port.address)
    with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
        await network.listen(Recorder, *address)
    await port.stop()
    with pytest.raises(ConnectionRefusedError):
        await network.connect(Recorder, *address, 10)
    again = await network.listen(Recorder, *address)
    await again.stop()


async def test_what_never_answers_is_a_time_out() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        with socket.create_connection(deaf.getsockname()), pytest.raises(TimeoutError, match="no answer"):
            await LoopNetwork(reactor).connect(Recorder, *deaf.getsockname(), 0.2)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64, "a..b", "\udcff"])
async def test_a_name_that_cannot_be_found_is_an_os_error(host: str) -> None:
    with pytest.raises(OSError, match=r"\w"):
        await LoopNetwork(reactor).connect(Recorder, host, 1, 5)


async def test_sockets_are_tuned(wire: Wire) -> None:
    if isinstance(wire.network, MemoryNetwork):
        return
    near, far = await wire.make()
    for end in (near, far):
        sock = end.transport._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        for name, value in KEEPALIVE.items():
            assert sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value
    near.transport.abortConnection()
    await until("the end", lambda: near.lost and far.lost)


async def test_asyncio_is_crossed_in_both_directions() -> None:
    async def asyncios(fails: bool) -> str:
        await asyncio.sleep(0)
        if fails:
            raise KeyError("asyncio's")
        return "asyncio's"

    async def twisteds() -> str:
        await turn()
        return "Twisted's"

    assert await from_asyncio(LOOP, asyncios(False)) == "asyncio's"
    with pytest.raises(KeyError):
        await from_asyncio(LOOP, asyncios(True))

    async def both() -> str:
        return await to_asyncio(LOOP, twisteds())

    assert await from_asyncio(LOOP, both()) == "Twisted's"
