"""`answers:` of a destination: what its peer's answers are to mean, where that differs from the standard's meaning.

An answer that cannot be credited to what was sent has no code, so it can never be given another meaning here.
"""

from __future__ import annotations

from typing import Literal

from engine.model import Busy, Delivered, Misconfigured, Outcome, Refused, Unknown

Action = Literal["park", "retry", "delivered", "hold"]
"""What an answer does to a delivery: `park` it for a person, `retry` it until it is taken, count it as `delivered`, or
`hold` the destination until a person has mended it."""


def otherwise(outcome: Refused | Busy | Unknown | Misconfigured, action: Action | None) -> Outcome:
    """`outcome` as `action` has it. What concerns the destination as a whole, it goes on concerning as a whole."""
    reason, reply = outcome.reason, outcome.reply
    if action is None:
        return outcome
    if isinstance(outcome, Unknown):  # it may have arrived: that stays true, whatever is done about it
        return outcome._replace(then=action) if action in ("park", "hold") else outcome
    if action == "delivered":
        return Delivered(reply)
    if action == "park":
        return Refused(reason, reply)
    if action == "hold":
        return Misconfigured(reason, reply)
    if isinstance(outcome, Refused):
        return outcome._replace(tries=0)
    if isinstance(outcome, Misconfigured):
        return Busy(reason, 0, reply)
    return outcome  # it is tried again anyway
