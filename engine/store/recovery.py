"""What opening does before the first verb: nothing that was under way is forgotten, nothing is begun twice unmarked.

All of it is statements, none of them brings rows into memory, and the whole is one transaction: a kill in the middle of
it changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import bindparam, func, select, text, update

from engine.ids import first_id
from engine.model import ChannelState, Opened
from engine.store import keys
from engine.store.driver import Driver
from engine.store.ledger import Ledger
from engine.store.moves import rejoin_lanes
from engine.store.schema import channel, delivery, destination, lane, message, meta, rejoin
from engine.store.statements import Statement, Written
from engine.store.words import HELD, RECEIVED, RUNNING, SENDING, UNKNOWN, WAITING, WORDS

LATEST: Final = 3_600_000_000  # a due time further off than this was made by a clock that stood wrong
WHY: Final = "the engine stopped before an answer came"

NEXT_EPOCH = Statement("next_epoch", update(meta).values(epoch=meta.c.epoch + text("1")))
EPOCH = Statement("epoch", select(meta.c.epoch))

_BEGUN: Final = (
    f"SELECT l.head AS id, l.epoch AS epoch, l.begun_at AS begun_at FROM lane l WHERE l.state = {SENDING} "
    "UNION ALL SELECT p.delivery, l.epoch, l.begun_at FROM lane l "
    f"JOIN place p ON p.lane = l.id AND p.delivery <= l.begun WHERE l.state = {SENDING}"
)
DOUBT_ATTEMPTS = Written(
    "doubt_attempts",
    *("now", "why"),
    sqlite="INSERT INTO attempt (delivery, n, epoch, started_at, ended_at, outcome, in_doubt, reason) "
    f"SELECT d.id, d.attempts + 1, b.epoch, b.begun_at, ?, {UNKNOWN}, 1, ? FROM ({_BEGUN}) b JOIN delivery d ON d.id = b.id",
    postgres="INSERT INTO attempt (delivery, n, epoch, started_at, ended_at, outcome, in_doubt, reason) "
    f"SELECT d.id, d.attempts + 1, b.epoch, b.begun_at, ?::bigint, {UNKNOWN}, 1, ?::text "
    f"FROM ({_BEGUN}) b JOIN delivery d ON d.id = b.id",
)
DOUBT_DELIVERIES = Written(
    "doubt_deliveries",
    "now",
    sqlite=f"UPDATE delivery SET attempts = attempts + 1, in_doubt = 1, changed_at = ? WHERE id IN (SELECT id FROM ({_BEGUN}) b)",
    postgres="UPDATE delivery SET attempts = attempts + 1, in_doubt = 1, changed_at = ?::bigint "
    f"WHERE id IN (SELECT id FROM ({_BEGUN}) b)",
)
WAIT_AGAIN = Statement(
    "wait_again",
    update(lane).where(lane.c.state == text(str(SENDING))).values(state=text(str(WAITING)), begun=text("0"), due=text("0")),
)
CLAMP_DUE = Statement(
    "clamp_due", update(lane).where(lane.c.due > bindparam("far")).values(due=bindparam("latest")), "latest", "far"
)
LANES_TO_REJOIN = Statement("lanes_to_rejoin", select(rejoin.c.lane).distinct())
LARGEST_MESSAGE = Statement("largest_message", select(func.max(message.c.id)))
LARGEST_DELIVERY = Statement("largest_delivery", select(func.max(delivery.c.id)))
STANDING = Statement(
    "standing",
    select(destination.c.id, destination.c.name, destination.c.reason, destination.c.since).where(
        destination.c.state != text(str(RUNNING))
    ),
)
STOPPED = Statement(
    "stopped",
    select(channel.c.name, channel.c.state, channel.c.reason, channel.c.since).where(channel.c.state != text(str(RUNNING))),
)
TRY_AGAIN = Statement(
    "try_again",
    update(destination).where(destination.c.state == text(str(HELD))).values(state=text(str(RUNNING)), reason=text("''")),
)
BACKLOG = Statement("backlog", select(func.count()).select_from(message).where(message.c.state == text(str(RECEIVED))))


def recover(driver: Driver, now: Callable[[], int]) -> tuple[Ledger, Opened]:
    instant = now()
    driver.begin()
    driver.run(NEXT_EPOCH)
    driver.run(DOUBT_ATTEMPTS, instant, WHY)
    in_doubt = driver.changed(DOUBT_DELIVERIES, instant)
    driver.run(WAIT_AGAIN)
    driver.run(TRY_AGAIN)  # a configuration fault may have been mended before this start; if not, it holds again
    driver.run(CLAMP_DUE, instant + LATEST, instant + LATEST)
    driver.commit()
    largest = max(driver.rows(LARGEST_MESSAGE)[0][0] or 0, driver.rows(LARGEST_DELIVERY)[0][0] or 0)
    ledger = Ledger(driver, now, driver.rows(EPOCH)[0][0], first_id(instant, largest))
    standing = driver.rows(STANDING)
    ledger.standing.update(row[0] for row in standing)
    ledger.late.update(ledger.destinations.numbers())
    ledger.rejoining.update(row[0] for row in driver.rows(LANES_TO_REJOIN))
    if ledger.rejoining:  # nothing is under way any more
        driver.begin()
        rejoin_lanes(ledger)
        driver.commit()
        ledger.committed()
    ledger.duplicates.load(driver)
    keys.count(ledger)
    driver.opened()
    stopped = tuple((name, ChannelState(WORDS[state]), reason, since) for name, state, reason, since in driver.rows(STOPPED))
    return ledger, Opened(in_doubt, driver.rows(BACKLOG)[0][0], tuple((*row[1:],) for row in standing), stopped)
