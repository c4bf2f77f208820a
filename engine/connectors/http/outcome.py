"""What an HTTP answer means for a delivery (RFC 9110 §15), and nothing else: pure."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from http import HTTPStatus

from engine.model import Busy, Delivered, Misconfigured, Outcome, Refused, Unknown

LONGEST_WAIT = 3600.0  # seconds we let a peer ask for

_UNKNOWN = frozenset({408})  # it gave up on us: what arrived, it does not say
_BUSY = frozenset({425, 429, 503})  # it asks to come again (RFC 8470 §5.2, RFC 6585 §4)
_FAULTY = {
    401: "the credentials are not accepted: see auth in the destination's file",
    403: "the credentials do not allow this: see auth in the destination's file",
    404: "there is nothing at this URL: see url in the destination's file",
}
_UNABLE = frozenset({501, 505})  # of the server errors, those that no repetition cures


def outcome_of(status: int, body: bytes, retry_after: str, now: int) -> Outcome:
    """`now` in microseconds since 1970, for a Retry-After that is a date."""
    name = _name(status)
    if 200 <= status <= 299:
        return Delivered(body)
    if status in _FAULTY:
        return Misconfigured(f"{name}: {_FAULTY[status]}", body)
    if status in _BUSY:
        return Busy(name, wait_of(retry_after, now), body)
    if status in _UNKNOWN or (500 <= status <= 599 and status not in _UNABLE):
        return Unknown(name, body)
    if 300 <= status <= 399:
        return Refused(f"{name}: redirects are not followed; write the final URL in the destination's file", body)
    if 400 <= status <= 599:
        return Refused(name, body)
    return Unknown(f"{name}: no final answer", body)


def wait_of(retry_after: str, now: int) -> float:
    """Seconds asked for (RFC 9110 §10.2.3), at most an hour; 0 where there is nothing to be read."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_WAIT)
    try:
        due = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(due - now / 1_000_000, 0.0), LONGEST_WAIT)


def _name(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"
