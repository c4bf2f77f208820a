"""What people on other hosts ask of this engine, as rows: taken once, answered once.

A row is taken through the writer, whose session holds the store's lock, and under its epoch: an engine that has lost the
store takes nothing and answers nothing. Times are the database's own, since hosts may differ in theirs.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, delete, literal_column, select, update

from engine.contracts import Request
from engine.model import SECOND
from engine.store.driver import Reader
from engine.store.ledger import Ledger
from engine.store.schema import request
from engine.store.statements import Statement, Written

MOST: Final = 50  # in one look
ANSWERS_KEPT: Final = 24 * 3600 * SECOND
FORGOTTEN: Final = 60 * SECOND  # that nobody has taken: its asker died, or would have withdrawn it long before

NOW_SQLITE: Final = "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"
NOW_POSTGRES: Final = "(extract(epoch from clock_timestamp()) * 1000000)::bigint"
_OPEN: Final = (
    "SELECT token, verb, arguments, who, epoch, {now} - asked_at FROM request WHERE answered_at = 0 "
    f"AND (epoch > 0 OR asked_at > {{now}} - {FORGOTTEN}) ORDER BY answered_at, asked_at LIMIT ?"
)
_r = request.c
REQUESTS_OPEN = Written("requests_open", "most", sqlite=_OPEN.format(now=NOW_SQLITE), postgres=_OPEN.format(now=NOW_POSTGRES))
TAKE_REQUEST = Statement(
    "take_request",
    update(request)
    .where(
        request.c.token == bindparam("number"), request.c.epoch == bindparam("before"), request.c.answered_at == bindparam("no")
    )
    .values(epoch=bindparam("own"), taken_at=bindparam("instant")),
    *("own", "instant", "number", "before", "no"),
)
ANSWER_REQUEST = Statement(
    "answer_request",
    update(request)
    .where(_r.token == bindparam("number"), _r.epoch == bindparam("own"), _r.answered_at == bindparam("no"))
    .values(answer=bindparam("text"), answered_at=bindparam("instant"), arguments=literal_column("''")),
    *("instant", "text", "number", "own", "no"),
)
FORGET_REQUESTS = Statement(
    "forget_requests",
    delete(request).where(request.c.answered_at.between(bindparam("first"), bindparam("last"))),
    *("first", "last"),
)
_ABANDONED: Final = f"DELETE FROM request WHERE answered_at = 0 AND epoch = 0 AND asked_at <= {{now}} - {FORGOTTEN}"
FORGET_ABANDONED = Written(
    "forget_abandoned", sqlite=_ABANDONED.format(now=NOW_SQLITE), postgres=_ABANDONED.format(now=NOW_POSTGRES)
)
# The asker's, on a connection of its own.
_ASK: Final = "INSERT INTO request VALUES (?, {now}, ?, ?, ?, 0, 0, 0, '') ON CONFLICT DO NOTHING"
ASK_REQUEST = Written(
    "ask_request",
    *("token", "who", "verb", "arguments"),
    sqlite=_ASK.format(now=NOW_SQLITE),
    postgres=_ASK.format(now=NOW_POSTGRES),
)
LOOK_AT_REQUEST = Statement("look_at_request", select(_r.answer, _r.epoch).where(_r.token == bindparam("token")), "token")
WITHDRAW_REQUEST = Written(
    "withdraw_request", "token", sqlite="DELETE FROM request WHERE token = ? AND epoch = 0 RETURNING token"
)


def requests(reader: Reader) -> list[Request]:
    """Those without an answer, the oldest first."""
    return [Request(*row) for row in reader.rows(REQUESTS_OPEN, MOST)]


def take_request(ledger: Ledger, asked: Request) -> int:
    """Under which epoch it is taken; 0 where it is gone, or somebody was faster. One that an earlier engine took may be
    taken again, to say so."""
    taken = ledger.driver.changed(TAKE_REQUEST, ledger.epoch, ledger.now(), asked.token, asked.epoch, 0)
    return ledger.epoch if taken else 0


def answer_request(ledger: Ledger, token: str, answer: str) -> None:
    """Nothing where another engine has it. What was asked is not kept: it may be a message."""
    now = max(ledger.now(), 1)
    ledger.driver.run(ANSWER_REQUEST, now, answer, token, ledger.epoch, 0)
    ledger.driver.run(FORGET_REQUESTS, 1, now - ANSWERS_KEPT)
    ledger.driver.run(FORGET_ABANDONED)
