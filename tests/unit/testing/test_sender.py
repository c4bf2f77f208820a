"""The sender credits nothing that was not answered: on a network in memory, with a clock that tests move."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock

from engine.connectors.mllp.framing import Deframer, frame
from engine.testing.files import Item, item
from engine.testing.memory_network import MemoryNetwork
from engine.testing.sender import FAILED_CONNECTS, LINGER, MAX_OPTIONAL, NO_ANSWER, UNASKED, Result, Sender

Answer = Callable[[bytes], Iterable[bytes]]


def message(control: str, tail: str = "") -> Item:
    return item(control, f"MSH|^~\\&|A|B|C|D|2026||ADT^A01|{control}|P|2.5{tail}\rPID|1\r".encode())


def ack(control: str, code: str = "AA", text: str = "") -> bytes:
    return frame(f"MSH|^~\\&|C|D|A|B|2026||ACK|X|P|2.5\rMSA|{code}|{control}|{text}\r".encode())


class Peer(Protocol):
    """Answers each frame with whatever the test says, and keeps what it got."""

    transport: Any

    def __init__(self, answers: Answer, got: list[bytes]) -> None:
        self._deframer, self._answers, self.got = Deframer(1 << 20), answers, got

    def dataReceived(self, data: bytes) -> None:
        for content in self._deframer.receive(data):
            assert isinstance(content, bytes)
            self.got.append(content)
            for reply in self._answers(content):
                if reply == b"close":
                    self.transport.loseConnection()
                else:
                    self.transport.write(reply)


def control_of(content: bytes) -> str:
    return content.split(b"|")[9].decode()


def agreeing(content: bytes) -> list[bytes]:
    return [ack(control_of(content))]


class Run:
    """A sender at work, and what it told."""

    def __init__(self, items: list[Item], answers: Answer = agreeing, *, listens: bool = True, **options: Any) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.told: list[Result] = []
        self.got: list[bytes] = []
        if listens:
            self.network.listen(lambda: Peer(answers, self.got), "lab", 2575)
        self.sender = Sender(self.network, self.clock, ("lab", 2575), self.told.append, **{"timeout": 5.0, **options})
        self.done: Deferred[None] = ensureDeferred(self.sender.run(iter(items)))

    def advance(self, seconds: float = 0.0, turns: int = 100) -> Run:
        self.clock.pump([0.0] * turns)
        if seconds:
            self.clock.advance(seconds)
            self.clock.pump([0.0] * turns)
        return self

    @property
    def codes(self) -> dict[str, str]:
        return {result.item.source: result.code for result in self.told}


def test_each_message_is_sent_as_it_is_and_credited_with_its_answer() -> None:
    items = [message(str(number)) for number in range(5)]
    run = Run(items).advance()
    assert run.done.called
    assert run.got == [one.content for one in items]
    assert run.codes == dict.fromkeys("01234", "AA")
    assert not run.network.connections


def test_one_message_is_in_flight_on_each_connection() -> None:
    run = Run([message(str(number)) for number in range(9)], lambda content: [], connections=3).advance()
    assert len(run.got) == 3
    assert len(run.network.connections) == 3


def test_a_refusal_comes_with_its_reason_and_the_next_message_follows() -> None:
    def answers(content: bytes) -> list[bytes]:
        return [ack("1", "AE", "PID-3 is required")] if control_of(content) == "1" else agreeing(content)

    run = Run([message("1"), message("2")], answers).advance()
    assert run.codes == {"1": "AE", "2": "AA"}
    assert run.told[0].reason == "PID-3 is required"


def test_an_answer_for_another_message_is_no_answer_and_costs_the_connection() -> None:
    def answers(content: bytes) -> list[bytes]:
        return [ack("77")] if control_of(content) == "1" else agreeing(content)

    run = Run([message("1"), message("2")], answers).advance()
    assert run.codes == {"1": NO_ANSWER, "2": "AA"}
    assert run.told[0].reason == "the answer is for '77'"


def test_a_late_answer_is_not_credited_to_the_next_message() -> None:
    run = Run([message("1"), message("2")], lambda content: [] if control_of(content) == "1" else agreeing(content)).advance()
    (first, late), *_ = run.network.connections
    run.advance(5.0)
    late.write(ack("1"))
    run.advance()
    assert first.disconnected
    assert run.codes == {"1": NO_ANSWER, "2": "AA"}
    assert run.told[0].reason == "no answer within 5 s"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b"close", "the connection was closed before the answer came"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 70_000, "the answer is no MLLP frame: NO_SB"),
        (frame(b"what?"), "the answer is for ''"),
    ],
)
def test_what_is_no_answer_counts_as_none(reply: bytes, reason: str) -> None:
    run = Run([message("1")], lambda content: [reply]).advance()
    assert run.codes == {"1": NO_ANSWER}
    assert run.told[0].reason == reason
    assert run.done.called


def test_a_batch_takes_whatever_its_answer_names() -> None:
    run = Run([item("batch", b"FHS|^~\\&|\rBHS|^~\\&|\r")], lambda content: [ack("BATCH9", "AE")]).advance()
    assert run.codes == {"batch": "AE"}


def test_a_message_that_asks_for_no_answer_does_not_wait_for_one() -> None:
    run = Run([message("1", "|||NE|NE"), message("2")], lambda content: agreeing(content) if control_of(content) == "2" else [])
    run.advance()
    assert run.codes == {"2": "AA"}
    assert not run.done.called
    run.advance(LINGER)
    assert run.codes == {"1": UNASKED, "2": "AA"}
    assert run.done.called


def test_an_optional_answer_is_taken_when_it_comes() -> None:
    def answers(content: bytes) -> list[bytes]:
        return [ack("1", "CE"), ack("1", "CE"), ack("2")] if control_of(content) == "2" else []

    items = [message("1", "|||ER|NE"), message("1", "|||ER|NE"), message("2")]
    run = Run(items, answers).advance()
    assert [result.code for result in run.told] == ["CE", "CE", "AA"]
    assert run.done.called


def test_many_optional_answers_are_not_waited_for_without_end() -> None:
    items = [message(str(number), "|||NE|NE") for number in range(MAX_OPTIONAL + 10)]
    run = Run(items, lambda content: []).advance()
    assert [result.code for result in run.told] == [UNASKED] * 10
    run.advance(LINGER)
    assert len(run.told) == len(items)


def test_it_gives_up_when_nobody_listens() -> None:
    run = Run([message(str(number)) for number in range(9)], listens=False).advance()
    assert run.done.called
    assert len(run.told) == FAILED_CONNECTS
    assert "Connection refused" in run.sender.gave_up


def test_the_rate_is_kept_over_all_connections() -> None:
    run = Run([message(str(number)) for number in range(50)], connections=4, rate=10.0).advance()
    assert len(run.got) <= 2
    run.advance()
    for _ in range(20):
        run.advance(0.1)
    assert 20 <= len(run.got) <= 22
    for _ in range(40):
        run.advance(0.1)
    assert run.done.called
    assert len(run.got) == 50
