"""The stages over a real store (SQLite, its writer inline) and a clock that only the test moves."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from engine import events
from engine.contracts import Channel, DestinationSpec, RetryPolicy, Route, Runtime, Site
from engine.errors import ContentError, StoreFull
from engine.model import (
    SECOND,
    Arrival,
    Busy,
    Delivered,
    MessageState,
    Misconfigured,
    Receipt,
    Refused,
    Unknown,
    Unreached,
    Verdict,
)
from engine.pipeline.deliver import Deliver
from engine.pipeline.intake import Intake
from engine.pipeline.keeper import SiteWork, facts_of
from engine.pipeline.translating import Translating
from engine.pipeline.translators import Inline
from engine.pipeline.worker import Wake, Worker
from engine.registry import formats
from engine.store import open_store
from engine.store.history import History
from engine.testing.memory_destination import MemoryDestination

PATIENT = RetryPolicy(first=1, up_to=60)
START = 1_790_000_000_000_000


class Rule:
    """An expression, in Python: `Rule('PID-3.1')` reads a path, `Rule('MSH-9.1', 'ADT')` compares it."""

    def __init__(self, path: str, *allowed: str) -> None:
        self.text = f"={path}" + (f" in {list(allowed)}" if allowed else "")
        self._path, self._allowed = path, allowed

    def __call__(self, document: Any, facts: Any) -> Any:
        if self._path == "broken":
            raise ContentError("is not a date", "PID-7")
        value = document[self._path]
        return value in self._allowed if self._allowed else value


def adt(control_id: str, patient: str = "4711", kind: str = "ADT^A01", processing: str = "P") -> bytes:
    return (
        f"MSH|^~\\&|EHR|GENERAL|WARDLINE|GENERAL|20260901101500||{kind}|{control_id}|{processing}|2.5.1\r"
        f"PID|1||{patient}^^^GENERAL^MR||TESTER^TINA\r"
    ).encode()


class Bench:
    """One channel to one destination, everything real but the wires."""

    def __init__(self, directory: Path, retry: RetryPolicy = PATIENT, **spec: Any) -> None:
        self.clock = Clock()
        self.events: list[events.Event] = []
        chance = random.Random(7)
        chance.random = lambda: 1.0  # type: ignore[method-assign]  # full jitter at its longest: times are exact
        self.runtime = Runtime(self.clock, None, self.events.append, self.now, chance)  # type: ignore[arg-type]
        self.url = f"sqlite:///{directory / 'store.db'}"
        self.channel = Channel(
            "adt", "", "memory", None, formats()["hl7v2"].build(), (Route("out", "ehr"),),
            accept=(Rule("MSH-9.1", "ADT"),), skip=(("test patient", Rule("MSH-11", "T")),),
            order_by=(Rule("PID-3.1"),), unique_by=(Rule("MSH-3"), Rule("MSH-10")), index=(("mrn", Rule("PID-3.1")),),
        )  # fmt: skip
        self.site = Site(str(directory), "General", "test", "UTC", self.url, "", (self.channel,), (), "v1")
        self.spec = DestinationSpec("ehr", "memory", None, retry, **spec)
        self.destination = MemoryDestination(None, self.runtime, "ehr")
        self.open()

    def now(self) -> int:
        return START + int(self.clock.seconds() * SECOND)

    def open(self) -> None:
        self.store, _ = open_store(self.url, self.runtime, self.events.append, threaded=False)  # type: ignore[arg-type]
        self.wakes = Wake(), Wake()
        self.deliver = Deliver(self.spec, self.destination, self.store, self.runtime, self.wakes[1])
        translating = Translating(
            self.channel,
            self.site.version,
            Inline(SiteWork(self.site)),
            self.store,
            self.runtime,
            lambda names: self.wakes[1].ring(),
        )
        faults = self.events.append
        self.workers = (
            Worker(translating.step, self.wakes[0], self.clock, faults),  # type: ignore[arg-type]
            Worker(self.deliver.step, self.wakes[1], self.clock, faults),  # type: ignore[arg-type]
        )
        self.intake = Intake(self.channel, facts_of(self.site, self.channel), self.store, self.runtime, self.wakes[0].ring)

    def start(self) -> None:
        for worker in self.workers:
            worker.start()

    def receive(self, content: bytes) -> Receipt:
        given: list[Receipt] = []

        async def reply(receipt: Receipt) -> bool:
            given.append(receipt)
            return True

        done = ensureDeferred(self.intake(Arrival(content, "peer:1"), reply))
        assert done.called
        (receipt,) = given
        return receipt

    def stop(self) -> None:
        for worker in self.workers:
            ensureDeferred(worker.stop())
        ensureDeferred(self.deliver.stop())
        self.store.close()

    def sent(self) -> list[bytes]:
        return [delivery.content for delivery in self.destination.deliveries]

    def told(self, kind: type) -> list[Any]:
        return [event for event in self.events if type(event) is kind]

    def states(self) -> list[str]:
        with_rows = History(self.url)
        found = [row for message in with_rows.find() for row in with_rows.deliveries(message.id)]
        return sorted(row.state for row in found)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.stop()


# ── intake ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_stored_is_answered_positively(bench: Bench) -> None:
    receipt = bench.receive(adt("A1"))
    assert receipt.verdict is Verdict.ACCEPTED
    assert receipt.message_id
    assert b"MSA|AA|A1" in (receipt.reply or b"")


def test_what_accept_refuses_is_kept_and_answered_with_segment_and_field(bench: Bench) -> None:
    receipt = bench.receive(adt("A1", kind="ORU^R01"))
    assert (receipt.verdict, receipt.place, receipt.code) == (Verdict.REFUSED, "MSH-9.1", "200")
    assert b"MSA|AR|A1" in (receipt.reply or b"")
    (rejected,) = bench.told(events.Rejected)
    assert rejected.message_id == receipt.message_id


def test_what_skip_names_is_answered_positively_and_goes_nowhere(bench: Bench) -> None:
    bench.start()
    assert bench.receive(adt("A1", processing="T")).verdict is Verdict.ACCEPTED
    assert bench.sent() == []
    assert "test patient" in bench.told(events.Filtered)[0].reason


def test_a_re_send_gets_the_same_bytes_and_goes_nowhere_twice(bench: Bench) -> None:
    bench.start()
    first = bench.receive(adt("A1"))
    bench.clock.advance(3600)
    assert bench.receive(adt("A1")).reply == first.reply
    assert len(bench.sent()) == 1
    other = bench.receive(adt("A1", patient="4712"))  # the same key with other content is never dropped
    assert other.message_id != first.message_id
    assert len(bench.sent()) == 2
    assert len(bench.told(events.KeyReuse)) == 1


def test_a_refused_message_is_judged_anew_when_it_is_sent_again(bench: Bench) -> None:
    content = adt("A1", kind="ORU^R01")
    assert bench.receive(content).verdict is bench.receive(content).verdict is Verdict.REFUSED


def test_what_cannot_be_stored_is_never_answered_positively(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (StoreFull("no room"), ValueError("a bug")):
        failed: Deferred[Any] = Deferred()
        failed.errback(error)
        monkeypatch.setattr(bench.store, "take", lambda admission, failed=failed: failed)
        receipt = bench.receive(adt("A1"))
        assert (receipt.verdict, receipt.message_id) == (Verdict.UNAVAILABLE, 0)
        assert b"MSA|AR|A1" in (receipt.reply or b"")
    assert len(bench.told(events.Unavailable)) == 2


# ── deliver ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_patient_in_order_whatever_fails(bench: Bench) -> None:
    bench.start()
    bench.destination.outcomes.extend([Unknown("no answer"), Delivered(), Delivered()])
    for number in range(3):
        bench.receive(adt(f"A{number}"))
    assert bench.sent() == [adt("A0")]
    bench.clock.advance(1.1)
    assert bench.sent() == [adt("A0"), adt("A0"), adt("A1"), adt("A2")]
    assert bench.states() == ["delivered"] * 3


def test_a_refusal_parks_that_one_and_the_lane_goes_on(bench: Bench) -> None:
    bench.start()
    bench.destination.outcomes.extend([Refused("AE: PID-3")])
    bench.receive(adt("A0"))
    bench.receive(adt("A1"))
    assert bench.sent() == [adt("A0"), adt("A1")]
    assert bench.states() == ["delivered", "parked"]


def test_a_dead_peer_is_asked_by_one_probe_at_a_time(bench: Bench) -> None:
    bench.start()
    bench.destination.answer = lambda delivery: Unreached("connection refused")
    for number in range(50):
        bench.receive(adt(f"A{number}", patient=f"P{number}"))
    asked = [len(bench.sent())]
    for _ in range(6):
        bench.clock.advance(70)
        asked.append(len(bench.sent()))
    assert all(later - earlier <= 3 for earlier, later in pairwise(asked)), asked
    bench.destination.answer = lambda delivery: Delivered()
    for _ in range(20):
        bench.clock.advance(70)
    assert bench.states() == ["delivered"] * 50
    order = [content for content in bench.sent() if content not in bench.sent()[: asked[-1]]]
    assert order == sorted(order, key=bench.sent().index)


def test_busy_waits_as_long_as_the_peer_asks(bench: Bench) -> None:
    bench.start()
    bench.destination.outcomes.append(Busy("503", after=120))
    bench.receive(adt("A0"))
    bench.clock.advance(119)
    assert len(bench.sent()) == 1
    bench.clock.advance(2)
    assert len(bench.sent()) == 2


def test_a_configuration_fault_holds_the_destination_and_loses_nothing(bench: Bench) -> None:
    bench.start()
    bench.destination.outcomes.append(Misconfigured("HTTP 401"))
    bench.receive(adt("A0"))
    bench.receive(adt("A1", patient="P2"))
    bench.clock.advance(100_000)
    assert len(bench.sent()) == 1
    assert bench.states() == ["waiting", "waiting"]
    (held,) = bench.told(events.DestinationChanged)
    assert (held.state, held.reason) == ("held", "HTTP 401")


def test_giving_up_ends_as_expired(tmp_path: Path) -> None:
    bench = Bench(tmp_path, RetryPolicy(first=1, up_to=60, give_up_after=100))
    bench.start()
    bench.destination.answer = lambda delivery: Unreached("down")
    bench.receive(adt("A0"))
    for _ in range(20):
        bench.clock.advance(30)
    assert bench.states() == ["expired"]
    bench.stop()


def test_a_rate_is_kept(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rate=2.0)
    bench.start()
    for number in range(10):
        bench.receive(adt(f"A{number}", patient=f"P{number}"))
    counts = []
    for _ in range(6):
        counts.append(len(bench.sent()))
        bench.clock.pump([0.1] * 10 + [0.01])
    assert counts == [1, 3, 5, 7, 9, 10]
    bench.stop()


def test_after_a_crash_what_was_on_the_wire_is_sent_again_first(bench: Bench) -> None:
    bench.start()
    bench.destination.holds = True
    bench.receive(adt("A0"))
    bench.receive(adt("A1"))
    assert bench.sent() == [adt("A0")]
    bench.store.close()  # nothing more is recorded, as in a crash
    bench.destination = MemoryDestination(None, bench.runtime, "ehr")
    bench.open()
    bench.start()
    assert bench.sent() == [adt("A0"), adt("A1")]
    assert [delivery.in_doubt for delivery in bench.destination.deliveries] == [True, False]


def test_stopping_finishes_what_is_on_the_wire_and_withdraws_the_rest(bench: Bench) -> None:
    bench.start()
    bench.destination.holds = True
    for number in range(3):
        bench.receive(adt(f"A{number}"))
    ensureDeferred(bench.workers[1].stop())
    stopped = ensureDeferred(bench.deliver.stop())
    assert not stopped.called
    bench.destination.let_go()
    assert stopped.called
    assert bench.sent() == [adt("A0")]
    assert bench.states() == ["delivered", "waiting", "waiting"]
    assert bench.destination.stopped


def test_a_message_no_mapping_can_read_parks_with_its_place(bench: Bench, tmp_path: Path) -> None:
    channel = bench.channel
    object.__setattr__(channel, "order_by", (Rule("broken"),))
    bench.start()
    bench.receive(adt("A0"))
    (parked,) = bench.told(events.Parked)
    assert (parked.park_reason, parked.reason) == ("mapping", "PID-7: is not a date")
    (row,) = History(bench.url).find()
    assert row.state == MessageState.PARKED


# ── when the store says no ─────────────────────────────────────────────────────────────────────────────────────────


def failing(error: Exception) -> Deferred[Any]:
    failed: Deferred[Any] = Deferred()
    failed.errback(error)
    return failed


def test_ends_of_attempts_that_the_store_has_no_room_for_are_given_to_it_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, full = bench.store.attempted, [True, True]
    monkeypatch.setattr(
        bench.store, "attempted", lambda ended: failing(StoreFull("no room")) if full and full.pop() else real(ended)
    )
    bench.start()
    for number in range(3):
        bench.receive(adt(f"A{number}"))
    bench.clock.pump([1.1] * 4)
    assert bench.sent() == [adt("A0"), adt("A1"), adt("A2")]
    assert bench.states() == ["delivered"] * 3


def test_what_cannot_be_recorded_parks_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real = bench.store.translated
    ids = [bench.receive(adt(f"A{number}")).message_id for number in range(4)]

    def translated(batch: Any) -> Deferred[None]:
        if any(one.message_id == ids[2] and one.outgoings for one in batch):
            return failing(ValueError("something no database takes"))
        return real(batch)

    monkeypatch.setattr(bench.store, "translated", translated)
    bench.start()
    bench.clock.pump([1.1] * 4)
    assert bench.sent() == [adt("A0"), adt("A1"), adt("A3")]
    (parked,) = (row for row in History(bench.url).find() if row.state == MessageState.PARKED)
    assert parked.id == ids[2]


def test_a_rule_that_breaks_refuses_the_message_and_answers(bench: Bench) -> None:
    def broken(document: Any, facts: Any) -> Any:
        raise ZeroDivisionError

    broken.text = "=1 / 0"  # type: ignore[attr-defined]
    object.__setattr__(bench.channel, "accept", (broken,))
    receipt = bench.receive(adt("A1"))
    assert receipt.verdict is Verdict.REFUSED
    assert b"MSA|A" in (receipt.reply or b"")
    assert "ZeroDivisionError" in bench.told(events.Rejected)[0].reason
