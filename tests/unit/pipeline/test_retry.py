"""The retry policy, as one table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contracts import RetryPolicy
from engine.model import (
    SECOND,
    Busy,
    Close,
    Delivered,
    Delivery,
    DeliveryState,
    Hold,
    Misconfigured,
    Outcome,
    Refused,
    Retry,
    Unknown,
    Unreached,
)
from engine.pipeline.retry import FIRST, Record, backoff, decide

NOW = 1_800_000_000 * SECOND
POLICY = RetryPolicy(first=1, up_to=300)
PATIENT = RetryPolicy(first=1, up_to=300, refusals=3)
HURRIED = RetryPolicy(first=1, up_to=300, give_up_after=60)


def delivery(attempts: int = 1, created_at: int = NOW) -> Delivery:
    return Delivery(
        7, 6, "charges", "billing", "billing-api", b"{}", "application/json", "X-1", "", 3, attempts, created_at, False
    )


TABLE = [
    # policy, attempts so far, the destination's failures in a row, what this one had before, outcome → decision (at full roll)
    (POLICY, 1, 0, FIRST, Delivered(b"ok"), Close(DeliveryState.DELIVERED)),
    (POLICY, 9, 5, FIRST, Delivered(b"ok"), Close(DeliveryState.DELIVERED)),
    (POLICY, 1, 0, FIRST, Refused("AE PID-3"), Close(DeliveryState.PARKED, "AE PID-3")),
    (PATIENT, 2, 1, Record(refused=2), Refused("AE"), Retry(NOW + 2 * SECOND)),
    (PATIENT, 3, 1, Record(refused=3), Refused("AE"), Close(DeliveryState.PARKED, "AE")),
    (PATIENT, 9, 1, Record(refused=1), Refused("AE"), Retry(NOW + 256 * SECOND)),  # it was not refused before, only not reached
    (POLICY, 1, 0, Record(refused=1), Refused("AR", tries=5), Retry(NOW + 1 * SECOND)),  # it did not say why
    (POLICY, 4, 0, Record(refused=4), Refused("AR", tries=5), Retry(NOW + 8 * SECOND)),
    (POLICY, 5, 0, Record(refused=5), Refused("AR", tries=5), Close(DeliveryState.PARKED, "AR")),
    (POLICY, 99, 0, Record(refused=99), Refused("AE", tries=0), Retry(NOW + 300 * SECOND)),  # `answers: {AE: retry}`
    (HURRIED, 99, 0, Record(refused=99), Refused("AE", tries=0), Close(DeliveryState.EXPIRED, "gave up after 1m: AE")),
    (POLICY, 1, 1, FIRST, Unreached("connection refused"), Retry(NOW + 1 * SECOND)),
    (POLICY, 1, 4, FIRST, Unreached("connection refused"), Retry(NOW + 8 * SECOND)),
    (POLICY, 4, 1, FIRST, Unknown("no answer in 30 s"), Retry(NOW + 8 * SECOND)),
    (POLICY, 40, 40, FIRST, Unknown("no answer in 30 s"), Retry(NOW + 300 * SECOND)),
    (POLICY, 1, 1, FIRST, Unknown("HTTP 500", then="park"), Close(DeliveryState.PARKED, "HTTP 500")),
    (POLICY, 1, 1, FIRST, Unknown("HTTP 500", then="hold"), Hold("HTTP 500")),
    (POLICY, 2, 0, Record(broke=2), Unknown("TypeError in the connector"), Retry(NOW + 2 * SECOND)),
    (POLICY, 3, 0, Record(broke=3), Unknown("TypeError in the connector"),
     Close(DeliveryState.PARKED, "poison: TypeError in the connector")),
    (POLICY, 1, 1, FIRST, Busy("503", after=120), Retry(NOW + 120 * SECOND)),
    (POLICY, 4, 4, FIRST, Busy("503"), Retry(NOW + 8 * SECOND)),
    (POLICY, 1, 1, FIRST, Misconfigured("401"), Hold("401")),
    (HURRIED, 1, 1, FIRST, Misconfigured("401"), Hold("401")),
    (HURRIED, 1, 7, FIRST, Unreached("down"), Close(DeliveryState.EXPIRED, "gave up after 1m: down")),
    (HURRIED, 1, 1, FIRST, Unreached("down"), Retry(NOW + 1 * SECOND)),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "attempts", "failures", "record", "outcome", "expected"), TABLE)
def test_decisions(policy: RetryPolicy, attempts: int, failures: int, record: Record, outcome: Outcome, expected: object) -> None:
    assert decide(policy, delivery(attempts), outcome, NOW, 1.0, failures, record) == expected


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_is_bounded_and_never_nought(failures: int, roll: float) -> None:
    assert 0.1 <= backoff(POLICY, failures, roll) <= 300


@given(st.sampled_from([Unreached("x"), Unknown("x"), Busy("x")]), st.integers(1, 50), st.floats(0, 1, exclude_max=True))
def test_without_a_limit_nothing_that_may_pass_is_ever_given_up(outcome: Outcome, attempts: int, roll: float) -> None:
    decision = decide(POLICY, delivery(attempts), outcome, NOW, roll, attempts)
    assert isinstance(decision, Retry)
    assert decision.at > NOW


@given(st.sampled_from([Unreached("x"), Unknown("x"), Busy("x"), Refused("x"), Misconfigured("x")]), st.integers(1, 50))
def test_only_delivered_is_success(outcome: Outcome, attempts: int) -> None:
    decision = decide(HURRIED, delivery(attempts), outcome, NOW, 0.5, attempts)
    assert decision != Close(DeliveryState.DELIVERED)
