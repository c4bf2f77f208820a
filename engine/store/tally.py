"""Counting in buckets of a minute and of an hour, so that what came and went can be seen for hours and for two months.

What is counted is added to its buckets: whoever counts may come as often as he likes. A bucket without anything has no row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, delete

from engine.contracts import Counted
from engine.model import SECOND
from engine.store.ledger import Ledger
from engine.store.schema import tally as tally_
from engine.store.statements import Insert, Statement

MINUTE: Final = 60  # seconds
HOUR: Final = 3600
KEPT: Final = {MINUTE: 3 * HOUR, HOUR: 62 * 24 * HOUR}
"""How long buckets of each width are kept, in seconds."""
CHANNEL: Final = "channel"

ADD_TALLY = Insert(tally_, adding=("count",))
FORGET_TALLY = Statement(
    "forget_tally",
    delete(tally_).where(tally_.c.width == bindparam("width"), tally_.c.at < bindparam("before")),
    *("width", "before"),
)


def tally(ledger: Ledger, at: int, counted: Sequence[Counted]) -> None:
    """Add to the buckets that the instant `at` is in, and forget those that were kept long enough."""
    sums: dict[tuple[int, ...], int] = {}
    for noun, name, what, count in counted:
        owner = (ledger.channels if noun == CHANNEL else ledger.destinations)(name)
        for width in KEPT:
            key = (width, bucket(at, width), ledger.names(noun), owner, ledger.names(what))
            sums[key] = sums.get(key, 0) + count
    ledger.driver.many(ADD_TALLY, [(*key, count) for key, count in sorted(sums.items())])
    for width, kept in KEPT.items():
        ledger.driver.run(FORGET_TALLY, width, at - kept * SECOND)


def bucket(at: int, width: int) -> int:
    """When the bucket begins that `at` is in."""
    return at - at % (width * SECOND)
