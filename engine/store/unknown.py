"""The worklist of codes that no table has, and which parked messages wait for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, delete, func, literal_column, select, update

from engine.store.driver import Row
from engine.store.ledger import Ledger
from engine.store.schema import unknown_code, waits_for
from engine.store.statements import Insert, Statement, among
from engine.store.texts import indexed, storable

_u = unknown_code.c
INSERT_UNKNOWN = Insert(unknown_code)
INSERT_WAITS = Insert(waits_for, replacing=True)
CODE = Statement(
    "unknown_code",
    select(_u.id).where(_u.code_table == bindparam("code_table"), _u.value == bindparam("value")),
    *("code_table", "value"),
)
LAST_CODE = Statement("last_code", select(func.coalesce(func.max(_u.id), literal_column("0"))))
SEEN = Statement(
    "seen_again",
    update(unknown_code)
    .where(_u.id == bindparam("number"))
    .values(messages=_u.messages + bindparam("more"), last_seen=bindparam("seen")),
    *("more", "seen", "number"),
)
FORGET_WAITS = Statement("forget_waits", delete(waits_for).where(among(waits_for.c.message_id, "ids")), "ids")


class Unknown(NamedTuple):
    """What one translation met."""

    message_id: int
    codes: Sequence[tuple[str, str, str]]  # (table, value, path)
    waits: bool  # it parked


def record(ledger: Ledger, found: Sequence[Unknown], now: int) -> None:
    codes: dict[tuple[str, str], str] = {}
    seen: dict[tuple[str, str], list[int]] = {}
    waits: list[tuple[tuple[str, str], int]] = []
    for one in found:
        for table, value, path in dict.fromkeys(one.codes):
            code = storable(table), indexed(storable(value))
            codes.setdefault(code, storable(path))
            seen.setdefault(code, []).append(one.message_id)
            if one.waits:
                waits.append((code, one.message_id))
    driver = ledger.driver
    numbers: dict[tuple[str, str], int] = {}
    fresh: list[Row] = []
    last = driver.rows(LAST_CODE)[0][0]
    for code, path in codes.items():
        times = len(set(seen[code]))
        known = driver.rows(CODE, *code)
        if known:
            numbers[code] = known[0][0]
            driver.run(SEEN, times, now, numbers[code])
        else:
            last += 1
            numbers[code] = last
            fresh.append((last, *code, times, now, now, path))
    driver.many(INSERT_UNKNOWN, fresh)
    driver.many(INSERT_WAITS, [*dict.fromkeys((numbers[code], message_id) for code, message_id in waits)])
