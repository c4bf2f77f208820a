"""What follows from an outcome: a pure function, so that the whole policy is one table and one test."""

from __future__ import annotations

from engine.contracts import RetryPolicy
from engine.model import (
    Busy,
    Close,
    Decision,
    Delivered,
    Delivery,
    DeliveryState,
    Hold,
    Misconfigured,
    Outcome,
    Refused,
    Retry,
)

SECOND = 1_000_000  # instants are microseconds


def backoff(policy: RetryPolicy, failures: int, roll: float) -> float:
    """Seconds to wait after `failures` in a row: exponential, capped, with full jitter (`roll` is in [0, 1))."""
    ceiling = min(policy.up_to, policy.first * 2.0 ** min(failures - 1, 62))
    return max(ceiling * roll, min(policy.first, ceiling) / 10)  # never nought: a dead peer is not asked in a tight loop


def decide(policy: RetryPolicy, delivery: Delivery, outcome: Outcome, now: int, roll: float, failures: int = 1) -> Decision:
    """What to do after one attempt.

    `failures` counts the destination's failures in a row; the longer of that and the delivery's own attempts sets the
    pace, so that a queue of fresh deliveries does not start from the shortest wait again.
    """
    if isinstance(outcome, Delivered):
        return Close(DeliveryState.DELIVERED)
    if isinstance(outcome, Misconfigured):
        return Hold(outcome.reason)
    if isinstance(outcome, Refused) and delivery.attempts >= policy.refusals:
        return Close(DeliveryState.PARKED, outcome.reason)
    wait = backoff(policy, max(failures, delivery.attempts, 1), roll)
    if isinstance(outcome, Busy):
        wait = max(wait, outcome.after)
    at = now + int(wait * SECOND)
    if policy.give_up_after and at > delivery.created_at + int(policy.give_up_after * SECOND):
        return Close(DeliveryState.EXPIRED, f"gave up after {policy.give_up_after:g} s; last answer: {outcome.reason}")
    return Retry(at)
