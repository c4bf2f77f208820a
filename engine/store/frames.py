"""The rings of refused frames: what came over a connection and is no message, so that a sender's fault can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, delete, func, literal_column, select

from engine.model import RefusedFrame
from engine.store.driver import Row
from engine.store.ledger import Ledger
from engine.store.schema import refused
from engine.store.statements import Insert, Statement

MOST: Final = 200  # frames of a channel
MOST_BYTES: Final = 8 << 20  # of a channel, and of those that wait to be kept

_r = refused.c
INSERT_REFUSED = Insert(refused)
LAST_REFUSED = Statement("last_refused", select(func.coalesce(func.max(_r.id), literal_column("0"))))
RING = Statement(
    "ring", select(_r.id, func.length(_r.content)).where(_r.channel == bindparam("channel")).order_by(_r.id.desc()), "channel"
)
LEAVE_RING = Statement(
    "leave_ring", delete(refused).where(_r.channel == bindparam("channel"), _r.id <= bindparam("last")), *("channel", "last")
)


def refuse(ledger: Ledger, frames: Sequence[RefusedFrame]) -> None:
    """Keep them; the oldest of their channels go."""
    driver = ledger.driver
    number = driver.rows(LAST_REFUSED)[0][0]
    rows: list[Row] = []
    for one in frames:
        number += 1
        rows.append((number, ledger.channels(one.channel), one.received_at, one.peer, one.reason, one.size, one.content))
    driver.many(INSERT_REFUSED, rows)
    for channel in {row[1] for row in rows}:
        total = 0
        for n, (last, size) in enumerate(driver.rows(RING, channel)):
            total += size
            if n and (n >= MOST or total > MOST_BYTES):
                driver.run(LEAVE_RING, channel, last)
                break
