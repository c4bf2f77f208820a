"""One message seen closely: content in pieces, where its deliveries stand, which codes it waits for, what came of it again.

Every read here is bounded: it costs the same for a message of a hundred megabytes, in a lane of a million.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import ColumnElement, func, select, text

from engine.store import search
from engine.store.rows import MessageRow, StandingRow
from engine.store.schema import (
    CHUNK,
    UNUSUAL_MESSAGE,
    attempt,
    chunk,
    content,
    crossing,
    delivery,
    lane,
    message,
    place,
    unknown_code,
    waits_for,
)
from engine.store.words import DUPLICATE, SENDING, WAITING
from engine.store.worklist import Worklist

AHEAD: Final = 1000  # deliveries that are counted before one that waits
LOOKED_AT: Final = 2000  # duplicates of others among which those of one message are looked for


class Closeup(Worklist):
    """The part of `History` that one message's page reads."""

    # ── content, in pieces ─────────────────────────────────────────────────────────────────────────────────────────

    def owner(self, delivery_id: int) -> int:
        """Whose content a delivery has: its own, or its message's where nothing was changed. 0: there is no such delivery."""
        rows = self._reader.select(select(delivery.c.content).where(delivery.c.id == delivery_id))
        return int(rows[0][0]) if rows else 0

    def piece(self, owner: int, start: int, length: int) -> bytes | None:
        """`length` bytes of a content from `start` on, fewer at its end; None where it is kept no longer."""
        if length <= 0 or start < 0:
            return b""
        first, last = start // CHUNK, (start + length - 1) // CHUNK
        found = b"".join(self._rows_of(owner, first, last))
        if not found and not self._kept(owner):
            return None
        begin = start - first * CHUNK
        return found[begin : begin + length]

    def pieces(self, owner: int) -> Iterator[bytes]:
        """All of a content, at most CHUNK bytes at a time; nothing where it is kept no longer."""
        n = 0
        while piece := b"".join(self._rows_of(owner, n, n)):
            yield piece
            n += 1

    def reply(self, delivery_id: int, n: int) -> bytes | None:
        """What the peer answered to one attempt; None where there is no such attempt or the answer is kept no longer."""
        a = attempt.c
        rows = self._reader.select(select(a.reply).where(a.delivery == delivery_id, a.n == n))
        return bytes(rows[0][0]) if rows and rows[0][0] is not None else None

    def _rows_of(self, owner: int, first: int, last: int) -> list[bytes]:
        """The rows that hold a content, from the first to the last; row 0 stands in `content`."""
        head = self._reader.select(select(content.c.content).where(content.c.owner == owner)) if first == 0 else []
        more = select(chunk.c.content).where(chunk.c.owner == owner, chunk.c.n.between(first, last)).order_by(chunk.c.n)
        return [bytes(row[0]) for row in [*head, *(self._reader.select(more) if last else [])]]

    def _kept(self, owner: int) -> bool:
        return bool(self._reader.select(select(content.c.owner).where(content.c.owner == owner)))

    # ── what it waits for ──────────────────────────────────────────────────────────────────────────────────────────

    def waited_for(self, message_id: int) -> list[tuple[str, str, str]]:
        """Codes that a parked message waits for: (table, value, where it stood in the first message that had it)."""
        u, w = unknown_code.c, waits_for.c
        wanted = select(u.code_table, u.value, u.path).join(waits_for, w.code == u.id).where(w.message_id == message_id)
        return [tuple(row) for row in self._reader.select(wanted.order_by(u.id))]

    def standing(self, delivery_id: int) -> list[StandingRow]:
        """Where a waiting delivery stands, in each of its lanes, its own first; none where it waits no more."""
        d = delivery.c
        rows = self._reader.select(select(d.lane).where(d.id == delivery_id, d.state == WAITING))
        if not rows:
            return []
        own = rows[0][0]
        crossed = select(crossing.c.lane).where(crossing.c.delivery == delivery_id).order_by(crossing.c.lane)
        lanes = dict.fromkeys([own, *(row[0] for row in self._reader.select(crossed))])
        return [found for one in lanes if (found := self._stands(delivery_id, one))]

    def _stands(self, delivery_id: int, one: int) -> StandingRow | None:
        x = lane.c
        columns = x.order_key, x.head, delivery.c.message_id, x.due, x.state
        joined = select(*columns).select_from(lane.outerjoin(delivery, delivery.c.id == x.head))
        rows = self._reader.select(joined.where(x.id == one))
        if not rows:
            return None
        order_key, head, head_message, due, state = rows[0]
        before = select(place.c.delivery).where(place.c.lane == one, place.c.delivery < delivery_id).limit(AHEAD)
        ahead = self._reader.select(select(func.count()).select_from(before.subquery()))[0][0] + (head < delivery_id)
        return StandingRow(order_key, min(ahead, AHEAD), head, head_message or 0, due, state == SENDING)

    # ── what came of it again ──────────────────────────────────────────────────────────────────────────────────────

    def duplicates(self, message_id: int, limit: int = 20) -> tuple[list[MessageRow], bool]:
        """Re-sends of a message, in order, and whether these are all. They are looked for among the first 2,000 duplicates
        of any message that came after it, which is where senders' re-sends stand."""
        m = message.c
        is_duplicate: list[ColumnElement[bool]] = [m.state == text(str(DUPLICATE)), text(f"message.{UNUSUAL_MESSAGE}")]  # type: ignore[list-item]
        near = select(m.id, m.original).where(*is_duplicate, m.id > message_id).order_by(m.id).limit(LOOKED_AT).subquery()
        theirs = self._reader.select(select(near.c.id).where(near.c.original == message_id).order_by(near.c.id).limit(limit + 1))
        seen = self._reader.select(select(func.count()).select_from(near))[0][0]
        numbers = [row[0] for row in theirs[:limit]]
        rows = self._reader.select(search.messages().where(m.id.in_(numbers)).order_by(m.id)) if numbers else []
        return [self._message(row) for row in rows], len(theirs) <= limit and seen < LOOKED_AT
