"""What became of messages whose senders wait for it: read in one go for all of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sqlalchemy import ColumnElement, func, literal_column, select

from engine.model import Ended, MessageState, Verdicts
from engine.store.driver import Reader
from engine.store.schema import attempt, delivery, message, name, translation
from engine.store.statements import Statement, among
from engine.store.words import DELIVERED, WAITING, WORDS

_NOTHING: Final[ColumnElement[str]] = literal_column("''")
_ONE: Final[ColumnElement[int]] = literal_column("1")
_m, _t, _d, _a = message.c, translation.c, delivery.c, attempt.c
STANDS = Statement(
    "stands",
    select(_m.id, _m.state, func.coalesce(_t.reason, _m.reason, _NOTHING)).outerjoin(translation, _t.message_id == _m.id)
    .select_from(message).where(among(_m.id, "ids")),
    "ids",
)  # fmt: skip
_LAST = select(_a.reply).where(_a.delivery == _d.id, _a.n == _d.attempts).scalar_subquery()
ENDS = Statement(
    "ends",
    select(_d.message_id, name.c.text, _d.state, func.coalesce(_d.reason, _NOTHING), _LAST)
    .select_from(translation)
    .join(delivery, _d.id.between(_t.first_delivery, _t.first_delivery + _t.deliveries - _ONE))
    .join(name, name.c.id == _d.route)
    .where(among(_t.message_id, "ids")),
    "ids",
)


def verdicts(reader: Reader, ids: Collection[int]) -> dict[int, Verdicts]:
    """By message. One that is not there any more is left out."""
    numbers = reader.numbers(ids)
    found = {number: Verdicts(MessageState(WORDS[state]), reason, ()) for number, state, reason in reader.rows(STANDS, numbers)}
    for number, route, state, reason, reply in reader.rows(ENDS, numbers):
        if number in found:
            ended = Ended(route, state == DELIVERED, state == WAITING, reason, bytes(reply or b""))
            found[number] = found[number]._replace(deliveries=(*found[number].deliveries, ended))
    return found
