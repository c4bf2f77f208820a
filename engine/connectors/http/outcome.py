"""What an HTTP answer means for a delivery (RFC 9110 §15), and nothing else: pure."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import MappingProxyType

from engine.answers import Action, otherwise
from engine.model import Busy, Delivered, Misconfigured, Outcome, Refused, Unknown

AS_USUAL: Mapping[str, Action] = MappingProxyType({})
LONGEST_WAIT = 3600.0  # seconds we let a peer ask for

_UNKNOWN = frozenset({408})  # it gave up on us: what arrived, it does not say
_BUSY = frozenset({425, 429, 503})  # it asks to come again (RFC 8470 §5.2, RFC 6585 §4)
_FAULTY = {
    401: "the credentials are not accepted: see auth in the destination's file",
    403: "the credentials do not allow this: see auth in the destination's file",
    404: "there is nothing at this URL: see url in the destination's file",
}
_UNABLE = frozenset({501, 505})  # of the server errors, those that no repetition cures


def outcome_of(status: int, body: bytes, retry_after: str, now: int, answers: Mapping[str, Action] = AS_USUAL) -> Outcome:
    """`now` in microseconds since 1970, for a Retry-After that is a date. `answers`: by status, or by its class as `5xx`."""
    if 200 <= status <= 299:
        return Delivered(body)
    usual = _usual(status, body, retry_after, now)
    return otherwise(usual, answers.get(str(status)) or answers.get(f"{status // 100}xx")) if answers else usual


def _usual(status: int, body: bytes, retry_after: str, now: int) -> Misconfigured | Busy | Unknown | Refused:
    name = name_of(status)
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


def name_of(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"
