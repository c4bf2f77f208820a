"""The counterpart's answers, in order and in time: on a network in memory, with a clock that tests move."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hl7
import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock

from engine.quantities import parse_address
from engine.testing.counterpart import Counterpart
from engine.testing.faults import HTTP, MLLP, Faults
from engine.testing.ledger import Ledger, digest, read_ledger
from engine.testing.memory_network import MemoryNetwork

NOW = 1_790_000_000_000_000


def message(control: str) -> bytes:
    return f"MSH|^~\\&|WARDLINE|GENERAL|LAB|WEST|20260911||ADT^A08^ADT_A01|{control}|P|2.5.1\rPID|1||4711\r".encode()


def wire(*controls: str) -> bytes:
    return b"".join(b"\x0b" + message(control) + b"\x1c\r" for control in controls)


class Sender(Protocol):
    transport: Any

    def __init__(self) -> None:
        self.got, self.lost = b"", False

    def dataReceived(self, data: bytes) -> None:
        self.got += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = True

    def acknowledged(self) -> list[str]:
        """MSA-1 and MSA-2 of each whole frame."""
        frames = self.got.split(b"\x1c\r")[:-1]
        return [" ".join(frame.partition(b"\rMSA|")[2].partition(b"\r")[0].decode().split("|")[:2]) for frame in frames]


class Bench:
    def __init__(self, *faults: str, protocol: str = MLLP, ledger: Ledger | None = None) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        plan = Faults(faults, protocol)
        self.counterpart = Counterpart(protocol, self.network, self.clock, lambda: NOW, plan, ledger)
        self.done(self.counterpart.start(parse_address("127.0.0.1:2575")))

    def done(self, coroutine: Any) -> Any:
        deferred = ensureDeferred(coroutine)
        self.pump()
        results: list[Any] = []
        deferred.addCallbacks(results.append, lambda failure: results.append(failure.value))
        assert results, "it did not end at once"
        return results[0]

    def connect(self) -> Sender:
        async def connected() -> Any:
            return await self.network.connect(Sender, "127.0.0.1", 2575, 5.0)

        sender: Sender = self.done(connected())
        return sender

    def say(self, sender: Sender, data: bytes, wait: float = 0.0) -> None:
        sender.transport.write(data)
        self.pump()
        self.wait(wait)

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.pump()

    def pump(self) -> None:
        self.clock.pump([0.0] * 20)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(str(tmp_path / "ledger"))
    yield made
    made.close()


def test_a_good_answer_is_one_that_others_can_read(ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(ledger=ledger)
    sender = bench.connect()
    bench.say(sender, wire("M1"))
    answer = hl7.parse(sender.got[1:-2].decode())
    assert [str(answer["MSH"][0][n]) for n in (3, 4, 5, 6, 9)] == ["LAB", "WEST", "WARDLINE", "GENERAL", "ACK^A08"]
    assert [str(answer["MSA"][0][n]) for n in (1, 2)] == ["AA", "M1"]
    assert list(read_ledger(str(tmp_path / "ledger"))) == [
        {"is": "received", "identity": "M1", "sha256": digest(message("M1")), "at": NOW}
    ]


def test_repeats_are_counted_by_their_identity() -> None:
    bench = Bench()
    sender = bench.connect()
    bench.say(sender, wire("M1", "M2", "M1") + b"\x0bno message\x1c\r")
    facts = bench.counterpart.stats()
    assert (facts["received"], facts["distinct"], facts["repeated"], facts["unreadable"]) == (4, 2, 1, 1)
    assert sender.acknowledged() == ["AA M1", "AA M2", "AA M1", "AR "]


def test_a_delayed_answer_holds_up_those_behind_it() -> None:
    bench = Bench("delay:2s@1")
    sender = bench.connect()
    bench.say(sender, wire("M1", "M2"), 1.9)
    assert sender.acknowledged() == []
    bench.wait(0.2)
    assert sender.acknowledged() == ["AA M1", "AA M2"]


def test_a_late_answer_comes_after_those_behind_it() -> None:
    bench = Bench("late:2s@1")
    sender = bench.connect()
    bench.say(sender, wire("M1", "M2"))
    assert sender.acknowledged() == ["AA M2"]
    bench.wait(2.1)
    assert sender.acknowledged() == ["AA M2", "AA M1"]


def test_a_late_answer_to_somebody_who_has_gone_is_nobody_s() -> None:
    bench = Bench("late:2s")
    sender = bench.connect()
    bench.say(sender, wire("M1"))
    sender.transport.abortConnection()
    bench.pump()
    bench.wait(3)
    assert sender.got == b""
    assert not bench.clock.getDelayedCalls()


def test_a_wrong_name_is_that_of_the_message_before() -> None:
    bench = Bench("wrong-id")
    sender = bench.connect()
    bench.say(sender, wire("M1", "M2"))
    assert sender.acknowledged() == ["AA M1X", "AA M1"]


def test_an_error_code_is_in_err_3() -> None:
    bench = Bench("ar:207")
    sender = bench.connect()
    bench.say(sender, wire("M1"))
    assert sender.acknowledged() == ["AR M1"]
    assert b"\rERR|||207|E\r" in sender.got


def test_what_breaks_the_connection_before_a_message_is_taken_leaves_no_trace_of_it() -> None:
    bench = Bench("unread@2")
    sender = bench.connect()
    bench.say(sender, wire("M1", "M2", "M3"))
    assert sender.lost
    assert bench.counterpart.stats()["received"] == 1


def test_what_breaks_it_after_has_taken_the_message() -> None:
    bench = Bench("drop")
    sender = bench.connect()
    bench.say(sender, wire("M1"))
    assert (sender.lost, sender.got, bench.counterpart.stats()["received"]) == (True, b"", 1)


def test_half_an_answer_is_half_a_frame() -> None:
    bench = Bench("half", "drop@2")
    first, second = bench.connect(), bench.connect()
    bench.say(first, wire("M1"))
    bench.say(second, wire("M2"))
    assert first.got[:1] == second.got[:1] == b"\x0b"
    assert b"\x1c" not in first.got + second.got
    assert (first.lost, second.lost) == (False, True)


def test_flapping_closes_what_is_open_and_comes_back_at_the_same_address() -> None:
    bench = Bench("down:5s/30s")
    sender = bench.connect()
    bench.wait(24.9)
    assert not sender.lost
    bench.wait(0.2)
    assert sender.lost
    assert isinstance(bench.connect(), ConnectionRefusedError)
    bench.wait(5)
    again = bench.connect()
    bench.say(again, wire("M1"))
    assert again.acknowledged() == ["AA M1"]
    bench.wait(25)
    assert again.lost


def request(key: str, body: bytes = b"{}") -> bytes:
    return b"POST /x HTTP/1.1\r\nHost: a\r\nIdempotency-Key: %b\r\nContent-Length: %d\r\n\r\n%b" % (key.encode(), len(body), body)


def test_http_requests_are_answered_in_order_and_counted_by_their_key() -> None:
    bench = Bench("status:500@2", "busy:7s@3", protocol=HTTP)
    sender = bench.connect()
    bench.say(sender, request("K1") + request("K1") + request("K2"))
    heads = [part.split(b"\r\n\r\n")[0] for part in sender.got.split(b"HTTP/1.1 ")[1:]]
    assert [head[:3] for head in heads] == [b"200", b"500", b"503"]
    assert b"Retry-After: 7" in heads[2]
    assert bench.counterpart.stats()["repeated"] == 1


def test_what_is_no_http_is_refused_and_counted() -> None:
    bench = Bench(protocol=HTTP)
    sender = bench.connect()
    bench.say(sender, b"\x0bMSH|\x1c\r")
    assert sender.got.startswith(b"HTTP/1.1 400")
    assert sender.lost
    assert bench.counterpart.stats()["unreadable"] == 1
