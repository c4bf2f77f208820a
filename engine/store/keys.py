"""The index of control ids and business keys, kept in sorted runs.

Inserted one by one, keys fall on random pages of their index, and each costs a page of the log: half of all the work. So
they are first appended as they come (control ids stand in `message`, business keys in `fresh_key`), and when enough have
gathered, one statement sorts them and appends them to `business_key` as a run. A search asks every run, the keys that
are still fresh, and the messages after `meta.keyed`: it is exact at once, whatever has been gathered.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, delete, func, literal_column, select, update

from engine.store.ledger import Ledger
from engine.store.schema import fresh_key, message, meta, run
from engine.store.statements import Statement, Written
from engine.store.texts import INDEXED
from engine.store.words import CONTROL

GATHER: Final = 1024  # messages in one run

KEYED = Statement("keyed", select(meta.c.keyed))
UNKEYED = Statement("unkeyed", select(func.count()).select_from(message).where(message.c.id > bindparam("keyed")), "keyed")
FRESH = Statement("fresh", select(func.count()).select_from(fresh_key))
LAST_RUN = Statement("last_run", select(func.coalesce(func.max(run.c.id), literal_column("0"))))
MAKE_RUN = Written(
    "make_run",
    *("run", "keyed"),
    sqlite="INSERT INTO run SELECT ?, coalesce(min(id), 0), coalesce(max(id), 0), coalesce(min(received_at), 0), "
    "coalesce(max(received_at), 0) FROM message WHERE id > ?",
)
# Searches compare the whole of a control id that is cut here with its message's.
_CONTROL_IDS = (
    f"SELECT '{CONTROL}:' || substr(control_id, 1, {INDEXED}) AS key, id AS message_id FROM message "
    "WHERE id > ? AND control_id <> ''"
)
FILL_RUN = Written(
    "fill_run",
    *("run", "keyed"),
    sqlite=f"INSERT OR IGNORE INTO business_key (run, key, message_id) SELECT ?, key, message_id FROM ({_CONTROL_IDS} "
    "UNION ALL SELECT j.value, f.message_id FROM fresh_key f, json_each(f.keys) j) ORDER BY 2, 3",
    postgres=f"INSERT INTO business_key (run, key, message_id) SELECT ?, key, message_id FROM ({_CONTROL_IDS} "
    "UNION ALL SELECT j.value, f.message_id FROM fresh_key f, jsonb_array_elements_text(f.keys::jsonb) j) k "
    "ORDER BY 2, 3 ON CONFLICT DO NOTHING",
)
FORGET_FRESH = Statement("forget_fresh", delete(fresh_key))
SET_KEYED = Statement("set_keyed", update(meta).values(keyed=select(func.max(run.c.last_message)).scalar_subquery()))


def count(ledger: Ledger) -> None:
    """At opening: how much has gathered."""
    driver = ledger.driver
    ledger.unkeyed = driver.rows(UNKEYED, driver.rows(KEYED)[0][0])[0][0]
    ledger.fresh = driver.rows(FRESH)[0][0]


def due(ledger: Ledger) -> bool:
    return ledger.unkeyed >= GATHER or ledger.fresh >= GATHER


def gather(ledger: Ledger) -> None:
    """Make a run of everything that is not in one yet, in the transaction under way."""
    driver = ledger.driver
    keyed = driver.rows(KEYED)[0][0]
    number = driver.rows(LAST_RUN)[0][0] + 1
    driver.run(MAKE_RUN, number, keyed)
    driver.run(FILL_RUN, number, keyed)
    driver.run(FORGET_FRESH)
    driver.run(SET_KEYED)

    def remember() -> None:
        ledger.unkeyed = ledger.fresh = 0

    ledger.after.append(remember)
