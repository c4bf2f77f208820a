"""Which HTTP status means what for a delivery (DECISIONS 6)."""

from __future__ import annotations

import pytest

from engine.connectors.http.outcome import outcome_of, wait_of
from engine.model import Busy, Delivered, Misconfigured, Refused, Unknown

NOW = 1_790_000_000_000_000  # 2026-09-21T14:13:20Z

EXPECTED = {
    Delivered: [200, 201, 202, 204, 207, 299],
    Misconfigured: [401, 403, 404],
    Unknown: [101, 199, 408, 500, 502, 504, 507, 520, 599, 600, 999],
    Busy: [425, 429, 503],
    Refused: [300, 301, 302, 304, 307, 308, 400, 402, 405, 406, 409, 410, 411, 412, 413, 414, 415, 418, 422, 451, 499, 501, 505],
}


@pytest.mark.parametrize(("kind", "status"), [(kind, status) for kind, every in EXPECTED.items() for status in every])
def test_status(kind: type, status: int) -> None:
    outcome = outcome_of(status, b"body", "", NOW)
    assert type(outcome) is kind
    assert outcome.reply == b"body"  # type: ignore[union-attr]
    if kind is not Delivered:
        assert str(status) in outcome.reason  # type: ignore[union-attr]
        assert "body" not in outcome.reason  # type: ignore[union-attr]


def test_only_2xx_is_success() -> None:  # I3
    assert [status for status in range(1000) if type(outcome_of(status, b"", "", NOW)) is Delivered] == list(range(200, 300))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 0), ("120", 120), (" 7 ", 7), ("0", 0), ("3600", 3600), ("86400", 3600), ("9" * 5000, 3600),
        ("Mon, 21 Sep 2026 14:43:20 GMT", 1800), ("Mon, 21 Sep 2026 16:00:00 GMT", 3600), ("Mon, 21 Sep 2026 14:00:00 GMT", 0),
        ("-5", 0), ("1.5", 0), ("soon", 0), ("٣", 0), ("Mon, 99 Sep 2026 13:33:20 GMT", 0),
    ],
)  # fmt: skip
def test_how_long_it_asks_us_to_wait(header: str, seconds: float) -> None:
    assert wait_of(header, NOW) == seconds


def test_the_wait_is_part_of_the_outcome() -> None:
    assert outcome_of(503, b"", "30", NOW) == Busy("HTTP 503 Service Unavailable", 30)
