from __future__ import annotations

import statistics
import timeit
from typing import Any

import pytest

from engine import events
from engine.events import Parked, Received
from engine.observe import Bus, Logs, Metrics
from engine.observe.bus import KINDS

RECEIVED = Received("charges", 1, 200)
PARKED = Parked("charges", 1, "mapping", "FT1-13.1 is required")


def test_tells_a_callable_every_event_in_order() -> None:
    bus, told = Bus(), []
    bus.subscribe(told.append)
    bus.emit(RECEIVED)
    bus.emit(PARKED)
    assert told == [RECEIVED, PARKED]


def test_tells_a_listener_with_handlers_only_what_it_handles() -> None:
    class Listener:
        def __init__(self) -> None:
            self.told: list[object] = []
            self.handlers = {Parked: self.told.append}

    bus, listener = Bus(), Listener()
    bus.subscribe(listener)
    bus.emit(RECEIVED)
    bus.emit(PARKED)
    assert listener.told == [PARKED]


def test_an_unknown_kind_goes_to_those_who_want_everything() -> None:
    class Strange(tuple[Any, ...]):
        pass

    bus, told = Bus(), []
    bus.subscribe(told.append)
    bus.subscribe(Metrics())
    bus.emit(Strange())  # type: ignore[arg-type]
    assert told == [Strange()]


def test_a_subscription_can_be_ended() -> None:
    bus, told, kept = Bus(), [], []
    end = bus.subscribe(told.append)
    bus.subscribe(kept.append)
    end()
    bus.emit(RECEIVED)
    assert (told, kept) == ([], [RECEIVED])


def test_a_failing_listener_is_reported_once_a_kind_and_hurts_nobody(unhandled_errors: list[Any]) -> None:
    bus, told, tries = Bus(), [], []

    def broken(event: object) -> None:
        tries.append(event)
        raise ValueError("broken listener")

    bus.subscribe(broken)
    bus.subscribe(told.append)
    for event in (RECEIVED, RECEIVED, PARKED):
        bus.emit(event)
    assert told == tries == [RECEIVED, RECEIVED, PARKED]
    assert [failure.getErrorMessage() for failure in unhandled_errors] == ["broken listener"] * 2
    unhandled_errors.clear()


def test_every_event_is_known_to_the_bus() -> None:
    declared = {kind for kind in vars(events).values() if isinstance(kind, type) and hasattr(kind, "_fields")}
    assert set(KINDS) == declared


@pytest.mark.bench
def test_telling_costs_less_than_a_microsecond() -> None:
    """The budget is 0.7 µs for each debug event on a quiet machine; loaded build machines get some room."""
    bus = Bus()
    bus.subscribe(Metrics())
    bus.subscribe(Logs("info"))
    costs = []
    for event in (
        RECEIVED,
        events.Acknowledged("charges", 1, True, 0.003),
        events.Attempted("b", 1, 1, "delivered", 1, 0.01, ""),
    ):
        runs = timeit.repeat(lambda event=event: bus.emit(event), number=20_000, repeat=7)  # type: ignore[misc]
        costs.append(min(runs) / 20_000 * 1e6)
    assert statistics.mean(costs) < 1.0, costs
