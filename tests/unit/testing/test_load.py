"""The load generator and the receivers: real processes on real sockets, and peers that answer wrongly."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.testing.charges import Deck
from engine.testing.ledger import digest, read_ledger
from engine.testing.load import Tally, address_of, quantile, run
from engine.testing.processes import SinkProcess, free_port, run_load
from engine.testing.sink import Counter, HttpSink, MllpSink

DECK = Deck("U", accounts=10)


def frame(content: bytes) -> bytes:
    return b"\x0b" + content + b"\x1c\r"


def test_everything_sent_is_answered_and_counted_once() -> None:
    with SinkProcess("--mllp", "127.0.0.1:0") as sink:
        report = run_load(sink.addresses["mllp"], connections=8, in_flight=3, count=2000, prefix="U1")
        assert (report["sent"], report["acked"], report["unanswered"]) == (2000, 2000, 0)
        assert report["examples"] == []
        assert 0 < report["ack_ms"]["p50"] <= report["ack_ms"]["p99"] <= report["ack_ms"]["max"]
        assert report["acked_per_second"] == pytest.approx(2000 / report["seconds"])
        run_load(sink.addresses["mllp"], connections=1, count=10, prefix="U1")
        arrived = sink.ask("reset")
        assert (arrived["received"], arrived["distinct"], arrived["duplicates"], arrived["unreadable"]) == (2010, 2000, 10, 0)
        assert sink.ask()["received"] == 0


def test_sending_for_a_time_ends_with_everything_answered() -> None:
    with SinkProcess("--mllp", "127.0.0.1:0") as sink:
        report = run_load(f"mllp://{sink.addresses['mllp']}", connections=4, seconds=0.3, prefix="U2")
        assert report["acked"] == report["sent"] == sink.ask()["distinct"] > 0


class Wrong(asyncio.Protocol):
    """Answers every frame with what `reply` makes of its control id; None closes the connection."""

    def __init__(self, reply: Callable[[bytes], bytes | None]) -> None:
        self._reply = reply

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for content in data.split(b"\x1c\r")[:-1]:
            reply = self._reply(content.split(b"|")[9])
            if reply is None:
                self.transport.close()
            else:
                self.transport.write(frame(b"MSH|^~\\&|X\rMSA|" + reply + b"\r"))


def load_against(reply: Callable[[bytes], bytes | None], count: int = 3, patience: float = 5.0) -> dict[str, Any]:
    async def go() -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Wrong(reply), "127.0.0.1", 0)
        try:
            return await run(server.sockets[0].getsockname(), Tally(DECK, 0, count), 1, 1, patience)
        finally:
            server.close()

    return asyncio.run(go())


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (lambda control: b"AA|" + control, {"acked": 3}),
        (lambda control: b"AA|" + control + b"|fine", {"acked": 3}),
        (lambda control: b"AE|" + control + b"|no", {"refused": 3}),
        (lambda control: b"AA|" + control + b"9", {"uncorrelated": 3}),
        (lambda control: b"AA|" + control[:-1], {"uncorrelated": 3}),
        (lambda control: b"AA|", {"uncorrelated": 3}),
        (lambda control: None, {"sent": 1, "unanswered": 1, "broken_connections": 1}),
    ],
    ids=["AA", "AA with text", "AE", "longer id", "shorter id", "no id", "closed"],
)
def test_only_a_positive_answer_that_names_the_message_counts(
    reply: Callable[[bytes], bytes | None], expected: dict[str, int]
) -> None:
    report = load_against(reply)
    counted = dict.fromkeys(("acked", "refused", "uncorrelated", "unanswered", "broken_connections"), 0) | {"sent": 3}
    assert {name: report[name] for name in counted} == counted | expected
    assert bool(report["examples"]) == ("acked" not in expected)


def test_quantiles_are_values_that_were_seen() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [quantile(values, q) for q in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert quantile([7.0], 0.5) == 7.0
    assert quantile([], 0.99) == 0.0


def test_addresses() -> None:
    assert address_of("mllp://127.0.0.1:6661") == ("127.0.0.1", 6661)
    assert address_of("[::1]:6661") == ("::1", 6661)
    assert 1024 < free_port() < 65536


class Written:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.data = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.data += data

    def close(self) -> None:
        self.closed = True


def connected(kind: Callable[[Counter], Any]) -> tuple[Any, Written, Counter]:
    counter, transport = Counter(), Written()
    protocol = kind(counter)
    protocol.connection_made(transport)
    return protocol, transport, counter


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_mllp_frames_are_answered_wherever_they_are_cut(size: int) -> None:
    protocol, transport, counter = connected(MllpSink)
    stream = frame(DECK.content(1)[1]) + frame(DECK.content(2)[1])
    for at in range(0, len(stream), size):
        protocol.data_received(stream[at : at + size])
    assert transport.data.count(b"MSA|AA|U00000001\r") == transport.data.count(b"MSA|AA|U00000002\r") == 1
    assert counter.stats()["distinct"] == 2


def test_what_is_no_hl7_is_refused_and_counted_apart() -> None:
    protocol, transport, counter = connected(MllpSink)
    protocol.data_received(frame(b'{"schema": "canonical/charge/v1"}') + frame(b"MSH|short"))
    assert transport.data.count(b"MSA|AR|") == 2
    assert (counter.received, counter.unreadable) == (0, 2)


def post(key: bytes, body: bytes) -> bytes:
    return b"POST /charges HTTP/1.1\r\nHost: x\r\nIdempotency-Key: %b\r\ncontent-length: %d\r\n\r\n%b" % (key, len(body), body)


@pytest.mark.parametrize("size", [1, 13, 100_000])
def test_http_posts_are_answered_wherever_they_are_cut(size: int) -> None:
    protocol, transport, counter = connected(HttpSink)
    stream = post(b"k1", b'{"a": 1}') + post(b"k2", b"") + post(b"k1", b"again")
    for at in range(0, len(stream), size):
        protocol.data_received(stream[at : at + size])
    assert transport.data.count(b"HTTP/1.1 200 OK") == 3
    assert (counter.received, counter.identities) == (3, {b"k1", b"k2"})


def test_a_post_without_its_length_is_refused() -> None:
    protocol, transport, counter = connected(HttpSink)
    protocol.data_received(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert transport.data.startswith(b"HTTP/1.1 411")
    assert transport.closed
    assert counter.unreadable == 1


def test_what_was_answered_is_in_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    charge = DECK.charge(3)
    with (
        SinkProcess("--mllp", "127.0.0.1:0", "--ledger", str(path)) as sink,
        socket.create_connection(address_of(sink.addresses["mllp"]), timeout=10) as connection,
    ):
        connection.sendall(frame(charge.content))
        assert b"MSA|AA|" in connection.recv(4096)
        entries = list(read_ledger(str(path)))
    assert entries == json.loads(
        json.dumps([{"is": "received", "identity": "U00000003", "facts": charge.facts(), "sha256": digest(charge.content)}])
    )
