"""Counting for the trends: nothing is counted twice, nothing is lost but a last minute, and the messages pay nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.internet.task import Clock

from engine import events as e
from engine.contracts import Counted, Runtime
from engine.errors import StoreBusy, StoreFull
from engine.model import SECOND
from engine.observe import Bus, Metrics
from engine.observe.activity import Activity
from engine.observe.metrics import SECONDS, Histogram
from engine.observe.tally import MINUTE, ROWS, Tally, Tallying

START = 1_790_000_040_000_000  # a minute begins


class Wall:
    """A store that keeps what it is told to count, and a wall clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.bus, self.metrics = Bus(), Metrics()
        self.bus.subscribe(self.metrics)
        self.tally = Tally(self.metrics)
        self.written: list[tuple[int, dict[tuple[str, str, str], int]]] = []
        self.refusals: list[Exception] = []
        self.slip = 0.0
        runtime = Runtime(self.clock, None, self.bus.emit, self.now, random.Random(1))  # type: ignore[arg-type]
        self.tallying = Tallying(self.tally, SimpleNamespace(tally=self.take), runtime)  # type: ignore[arg-type]

    def now(self) -> int:
        return START + int((self.clock.seconds() + self.slip) * SECOND)

    def take(self, at: int, counted: Sequence[Counted]) -> Deferred[None]:
        if self.refusals:
            return fail(self.refusals.pop())
        assert len({one[:3] for one in counted}) == len(counted)
        self.written.append((at, {one[:3]: one.amount for one in counted}))
        return succeed(None)

    def step(self) -> float:
        found: list[Any] = []
        ensureDeferred(self.tallying.step()).addBoth(found.append)
        assert isinstance(found[0], float), found
        return found[0]

    def write(self) -> None:
        ensureDeferred(self.tallying.write())


@pytest.fixture
def wall() -> Wall:
    return Wall()


def test_a_minute_is_written_when_it_is_over_and_only_what_is_new(wall: Wall) -> None:
    emit = wall.bus.emit
    assert wall.step() == 60.0
    for _ in range(3):
        emit(e.Received("adt", 1, 300))
    emit(e.Parked("adt", 1, "mapping", "why"))
    emit(e.Parked("adt", 1, "unknown_code", "why"))
    emit(e.Acknowledged("adt", 1, True, 0.25))
    emit(e.Attempted("erp", 7, 1, "busy", 1, 0.5, "503"))
    emit(e.Attempted("erp", 7, 1, "delivered", 2, 0.5, ""))
    emit(e.DeliveryEnded("erp", 7, 1, "delivered", "", 4.0))
    wall.clock.advance(30)
    assert wall.step() == 30.0
    assert wall.written == []
    wall.clock.advance(30.004)
    assert wall.step() == pytest.approx(59.996)
    assert wall.written == [
        (
            START,
            {
                ("channel", "adt", "received"): 3,
                ("channel", "adt", "parked"): 2,
                ("channel", "adt", "acknowledged"): 1,
                ("channel", "adt", "acknowledgement time"): 250_000,
                ("destination", "erp", "retried"): 1,
                ("destination", "erp", "delivered"): 1,
                ("destination", "erp", "attempted"): 2,
                ("destination", "erp", "attempt time"): 1_000_000,
                ("destination", "erp", "ended"): 1,
                ("destination", "erp", "delivery time"): 4_000_000,
            },
        )
    ]
    emit(e.Received("adt", 2, 300))
    wall.clock.advance(60)
    wall.step()
    assert wall.written[1:] == [(START + MINUTE + 4000, {("channel", "adt", "received"): 1})]
    wall.clock.advance(60)
    wall.step()
    assert len(wall.written) == 2, "where nothing came, nothing is written"


def test_what_the_store_could_not_take_comes_with_the_next_minute(wall: Wall) -> None:
    wall.refusals = [StoreBusy("busy"), StoreFull("full")]
    for _ in range(3):
        wall.bus.emit(e.Received("adt", 1, 300))
        wall.clock.advance(60)
        wall.step()
    assert wall.written == [(START, {("channel", "adt", "received"): 3})]


def test_the_last_part_of_a_minute_is_written_at_the_stop(wall: Wall) -> None:
    wall.clock.advance(61)
    wall.step()
    wall.bus.emit(e.Received("adt", 1, 300))
    wall.write()
    wall.write()
    assert wall.written == [(START + 61 * SECOND, {("channel", "adt", "received"): 1})]


def test_a_clock_that_is_set_back_counts_nothing_twice(wall: Wall) -> None:
    for slip in (0.0, -3600.0, 0.0, 7200.0):
        wall.slip = slip
        wall.bus.emit(e.Received("adt", 1, 300))
        wall.clock.advance(60)
        wall.step()
    assert sum(sum(rows.values()) for _, rows in wall.written) == 4


def test_many_names_are_written_in_steps_and_each_step_is_kept_by_itself(wall: Wall) -> None:
    for n in range(ROWS + 1):
        wall.bus.emit(e.Received(f"c{n}", 1, 300))
    wall.clock.advance(60)
    wall.step()
    assert [len(rows) for _, rows in wall.written] == [ROWS, 1]
    wall.written.clear()
    for n in range(ROWS + 1):
        wall.bus.emit(e.Received(f"c{n}", 1, 300))
    wall.refusals = [StoreFull("full")]
    wall.clock.advance(60)
    wall.step()
    wall.clock.advance(60)
    wall.step()
    assert sum(sum(rows.values()) for _, rows in wall.written) == ROWS + 1


def test_quantiles_of_late_forget_what_was_long_ago(wall: Wall) -> None:
    late = wall.tally.late
    assert late("wardline_acknowledgement_seconds", "adt", 0.5) == ()
    for _ in range(100):
        wall.bus.emit(e.Acknowledged("adt", 1, True, 20.0))
    assert late("wardline_acknowledgement_seconds", "adt", 0.5)[0] > 10
    for _ in range(2):
        wall.clock.advance(60)
        wall.step()
    assert late("wardline_acknowledgement_seconds", "adt", 0.5) == ()
    for _ in range(100):
        wall.bus.emit(e.Acknowledged("adt", 1, True, 0.004))
    median, most = late("wardline_acknowledgement_seconds", "adt", 0.5, 0.99)
    assert 0.0025 < median < most <= 0.005


@pytest.mark.parametrize(("values", "q", "lowest", "highest"), [
    ([0.003] * 99 + [4.0], 0.5, 0.0025, 0.005),
    ([0.003] * 99 + [4.0], 0.995, 2.5, 5.0),
    ([99.0], 0.5, 30.0, 30.0),
    ([], 0.5, 0.0, 0.0),
])  # fmt: skip
def test_a_quantile_lies_within_its_bounds(values: list[float], q: float, lowest: float, highest: float) -> None:
    histogram = Histogram(SECONDS)
    for value in values:
        histogram.observe("x", value)
    assert lowest <= histogram.quantile(histogram.rows["x"], q) <= highest


def test_activity_knows_when_and_what_last(wall: Wall) -> None:
    activity = Activity(wall.now)
    wall.bus.subscribe(activity)
    wall.bus.emit(e.Received("adt", 1, 300))
    wall.clock.advance(1)
    wall.bus.emit(e.Attempted("erp", 7, 1, "refused", 1, 0.5, "AE 204"))
    wall.clock.advance(1)
    wall.bus.emit(e.Attempted("erp", 7, 1, "delivered", 1, 0.5, ""))
    assert activity.received == {"adt": START}
    assert activity.delivered == {"erp": START + 2 * SECOND}
    assert activity.failed["erp"] == (START + SECOND, "refused", "AE 204")
