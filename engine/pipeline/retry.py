"""What follows from an outcome: a pure function, so that the whole policy is one table and one test."""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.contracts import RetryPolicy
from engine.model import (
    SECOND,
    Busy,
    Close,
    Decision,
    Delivered,
    Delivery,
    DeliveryState,
    Hold,
    Misconfigured,
    Outcome,
    ParkReason,
    Refused,
    Retry,
    Unknown,
)
from engine.quantities import format_duration

POISON: Final = 3  # times a delivery may break its connector


class Record(NamedTuple):
    """What became of a delivery's attempts so far, the one that has just ended included."""

    refused: int = 0
    broke: int = 0  # the connector raised, which it never should


FIRST: Final = Record()


def backoff(policy: RetryPolicy, failures: int, roll: float) -> float:
    """Seconds to wait after `failures` in a row: exponential, capped, with full jitter (`roll` is in [0, 1))."""
    ceiling = min(policy.up_to, policy.first * 2.0 ** min(failures - 1, 62))
    return max(ceiling * roll, min(policy.first, ceiling) / 10)  # never nought: a dead peer is not asked in a tight loop


def decide(
    policy: RetryPolicy, delivery: Delivery, outcome: Outcome, now: int, roll: float, failures: int = 1, record: Record = FIRST
) -> Decision:
    """What to do after one attempt.

    `failures` counts those of the destination as a whole; the longer of that and the delivery's own attempts sets the
    pace, so that a queue of fresh deliveries does not start from the shortest wait again.
    """
    if isinstance(outcome, Delivered):
        return Close(DeliveryState.DELIVERED)
    if isinstance(outcome, Misconfigured) or (isinstance(outcome, Unknown) and outcome.then == "hold"):
        return Hold(outcome.reason)
    if isinstance(outcome, Unknown) and outcome.then == "park":
        return Close(DeliveryState.PARKED, outcome.reason)
    if isinstance(outcome, Refused) and outcome.tries and max(record.refused, 1) >= max(outcome.tries, policy.refusals):
        return Close(DeliveryState.PARKED, outcome.reason)
    if record.broke >= POISON:
        return Close(DeliveryState.PARKED, f"{ParkReason.POISON}: {outcome.reason}")
    wait = backoff(policy, max(failures, delivery.attempts, 1), roll)
    if isinstance(outcome, Busy):
        wait = max(wait, outcome.after)
    at = now + int(wait * SECOND)
    if at > expires_at(policy, delivery):
        return Close(DeliveryState.EXPIRED, f"gave up after {format_duration(policy.give_up_after)}: {outcome.reason}")
    return Retry(at)


def expires_at(policy: RetryPolicy, delivery: Delivery) -> float:
    """The instant at which a delivery is given up; infinite where it never is."""
    return delivery.created_at + int(policy.give_up_after * SECOND) if policy.give_up_after else float("inf")
