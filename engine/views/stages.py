"""What there is to look at of a message: what came, what was sent for it, what was answered. Content is read when asked for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from engine.views.content import READ
from engine.views.timeline import stage_of
from engine.views.way import Way

if TYPE_CHECKING:
    from engine.store.history import History


class Stage(NamedTuple):
    key: str  # in addresses: `in`, `sent-8000000001`, `answer-8000000001-2`
    title: str
    content_type: str
    size: int
    state: str  # of the delivery, or the attempt's outcome; '' for what came
    at: int
    owner: int  # whose content it is, of what came; a delivery's is looked up
    delivery: int = 0
    attempt: int = 0


def stages(way: Way) -> list[Stage]:
    """What came first, then each delivery with the answers to it."""
    row = way.facts.row
    title = "As received" if not row.original else "As received, kept with its original"
    found = [Stage("in", title, "", row.size, "", row.received_at, row.original or row.id)]
    for one in way.sent:
        to = one.row.destination
        what = one.row.kind or one.row.content_type
        again = "again " if one.row.resend_of else ""
        found.append(
            Stage(
                stage_of(one.row.id),
                f"{what} {again}→ {to}",
                one.row.content_type,
                one.row.size,
                one.row.state,
                one.row.created_at,
                0,
                one.row.id,
            )
        )
        found += [
            Stage(
                stage_of(one.row.id, each.n),
                f"answer ← {to} #{each.n}",
                "",
                each.reply_size,
                each.outcome,
                each.ended_at,
                0,
                one.row.id,
                each.n,
            )
            for each in one.attempts
            if each.reply_size
        ]
    return _numbered(found)


def _numbered(found: list[Stage]) -> list[Stage]:
    """Titles that occur several times get a number."""
    totals, seen = Counter(stage.title for stage in found), Counter[str]()
    numbered: list[Stage] = []
    for stage in found:
        seen[stage.title] += 1
        several = totals[stage.title] > 1
        numbered.append(stage._replace(title=f"{stage.title} ({seen[stage.title]})") if several else stage)
    return numbered


def find(found: list[Stage], key: str) -> Stage | None:
    return next((stage for stage in found if stage.key == key), None)


def content_of(history: History, stage: Stage, start: int = 0, length: int = READ) -> bytes | None:
    """A piece of a stage's content, by default as much as is read to be shown; None where it is kept no longer."""
    if stage.attempt:
        reply = history.reply(stage.delivery, stage.attempt)
        return None if reply is None else reply[start : start + length]
    return history.piece(owner_of(history, stage), start, length)


def owner_of(history: History, stage: Stage) -> int:
    return history.owner(stage.delivery) if stage.delivery else stage.owner
