"""The tables, the steps to them, and the plan of everything that runs on them."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, inspect

from engine.errors import StoreTooNew
from engine.store import migrations, schema
from engine.store.history import History, Query
from engine.store.migrations import engine_for, upgrade
from engine.store.sqlite import ORIGINALS, path_of
from engine.store.statements import REGISTRY, Insert
from tests.contract.store.helpers import Site, outgoing

SCANS = {
    # tables of a few rows, and counts at opening
    *("keyed", "deduped", "epoch", "next_epoch", "read_schema", "number_commit", "where_we_are", "set_keyed", "set_deduped"),
    *("name_all", "channel_all", "destination_all", "standing", "try_again", "fresh", "forget_fresh", "last_run", "late_due"),
    *("doubt_attempts", "doubt_deliveries", "wait_again", "clamp_due", "fill_run", "recent", "lanes_to_rejoin"),
    *("forget_runs", "forget_keys"),  # a row of `run` for every thousand messages
    *("stopped", "to_deliver"),  # channels; lanes, once in a while as long as a channel drains
}
"""Statements that are allowed to look at every row of something, because they run at opening or because it is small."""


def described(connection: Connection) -> dict[str, Any]:
    """Everything about the tables that a difference could hide in."""
    inspector = inspect(connection)
    found: dict[str, Any] = {}
    for table in sorted(set(inspector.get_table_names()) - {"alembic_version"}):
        columns = [(one["name"], str(one["type"]), one["nullable"], one["default"]) for one in inspector.get_columns(table)]
        indexes = sorted(
            (
                str(one["name"]),
                one["column_names"],
                one["unique"],
                str((one.get("dialect_options") or {}).get(f"{connection.dialect.name}_where")),
            )
            for one in inspector.get_indexes(table)
        )
        unique = sorted(tuple(one["column_names"]) for one in inspector.get_unique_constraints(table))
        found[table] = columns, inspector.get_pk_constraint(table)["constrained_columns"], indexes, unique
    if connection.dialect.name == "sqlite":
        sql = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'alembic_version'"
        )
        found["sql"] = {name: re.sub(r"\s|\"", "", text) for name, text in sql}
    else:
        sql = connection.exec_driver_sql(
            "SELECT relname, reloptions FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
        )
        found["options"] = {name: options for name, options in sql if not name.startswith("alembic_version")}
    return found


def test_the_schema_is_the_sum_of_the_migrations(kind: str, url: str, spin: Any) -> None:
    site = Site(url, threaded=False)
    site.open()
    spin(site.close())
    engine = engine_for(url)
    with engine.begin() as connection:
        made = described(connection)
        schema.metadata.drop_all(connection)
    upgrade(url)
    with engine.begin() as connection:
        migrated = described(connection)
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == f"{schema.SCHEMA:04}"
    engine.dispose()
    assert set(made) > set(schema.metadata.tables) - {"alembic_version"}
    if "sql" in made:  # the columns and keys were compared above; constraints are written in another order
        for description in (made, migrated):
            description["sql"] = {name: text for name, text in description["sql"].items() if text.startswith("CREATEINDEX")} | {
                name: "WITHOUTROWID" in text for name, text in description["sql"].items() if not text.startswith("CREATEINDEX")
            }
    assert migrated == made


def test_i13_an_older_store_is_brought_up_to_date(
    kind: str, url: str, spin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(url, threaded=False)
    site.open()
    spin(site.record(outgoing(b"kept", "a")))
    spin(site.close())
    steps = tmp_path / "steps"
    shutil.copytree(migrations.HERE, steps, ignore=shutil.ignore_patterns("__pycache__"))
    now = schema.SCHEMA
    (steps / "versions" / "next.py").write_text(
        f'import sqlalchemy as sa\nfrom alembic import op\n\nrevision, down_revision = "{now + 1:04}", "{now:04}"\n\n\n'
        'def upgrade():\n    op.add_column("message", sa.Column("colour", sa.Text()))\n'
        f'    op.execute("UPDATE meta SET schema = {now + 1}")\n'
    )
    monkeypatch.setattr(migrations, "HERE", steps)
    monkeypatch.setattr(schema, "SCHEMA", now + 1)
    site.open()
    assert spin(site.drain()) == [b"kept"]
    spin(site.close())
    monkeypatch.undo()
    with pytest.raises(StoreTooNew, match="later release"):
        site.open()
    with pytest.raises(StoreTooNew):
        History(url)


def test_opening_a_store_that_needs_no_step_does_not_import_alembic(tmp_path: Path, spin: Any) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    site = Site(url, threaded=False)
    site.open()
    spin(site.close())
    program = (
        "import sys, random\nfrom twisted.internet.task import Clock\nfrom engine.contracts import Runtime\n"
        "from engine.store import open_store\n"
        f"open_store({url!r}, Runtime(Clock(), None, print, lambda: 0, random.Random()), print, threaded=False)[0].close()\n"
        "assert 'sqlalchemy' in sys.modules and 'alembic' not in sys.modules and 'psycopg' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_importing_the_store_is_cheap() -> None:
    program = "import sys, engine.store\nassert 'sqlalchemy' not in sys.modules and 'alembic' not in sys.modules\n"
    subprocess.run([sys.executable, "-c", program], check=True)


# ── plans ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def plan(connection: sqlite3.Connection, text: str, values: tuple[Any, ...] = ()) -> list[str]:
    values = values or (None,) * text.count("?")
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]


@pytest.fixture
def tables(tmp_path: Path, spin: Any) -> sqlite3.Connection:
    site = Site(f"sqlite:///{tmp_path}/store.db", threaded=False)
    site.open()
    spin(site.close())
    return sqlite3.connect(path_of(site.url))


def test_every_hot_statement_uses_an_index_on_sqlite(tables: sqlite3.Connection) -> None:
    from engine.store import store  # noqa: F401 - registers them all

    wrong = {}
    statements = {**REGISTRY, **{one.name: one for one in ORIGINALS.values()}}
    assert len(statements) > 50
    for name, statement in statements.items():
        if isinstance(statement, Insert) or name in SCANS:
            continue
        steps = plan(tables, statement.sqlite)
        scans = [one for one in steps if one.startswith("SCAN") and "json_each" not in one and "CONSTANT" not in one]
        if name in ("unkeyed", "largest_message", "largest_delivery", "backlog", "make_run"):
            scans = [one for one in scans if "USING" not in one]
        if any("TEMP B-TREE" in one for one in steps):
            scans += steps
        if scans:
            wrong[name] = steps
    assert wrong == {}


def test_turns_come_from_the_index_in_its_order(tables: sqlite3.Connection) -> None:
    for name in ("lanes_ready", "lanes_late", "next_due", "late_due"):
        steps = plan(tables, REGISTRY[name].sqlite)
        assert any("lane USING" in one and "INDEX lane_ready" in one for one in steps), (name, steps)


def test_untranslated_messages_come_from_their_index(tables: sqlite3.Connection) -> None:
    from engine.store.reads import UNTRANSLATED
    from engine.store.recovery import BACKLOG

    assert any("message_received (channel=? AND id>?)" in one for one in plan(tables, UNTRANSLATED.sqlite))
    assert any("message_received" in one for one in plan(tables, BACKLOG.sqlite))


FILTERS = {
    "message_id": (Query(message_id=5), "SEARCH message USING INTEGER PRIMARY KEY (rowid=?)"),
    "control_id": (Query(control_id="C"), "SEARCH business_key USING PRIMARY KEY (run=? AND key=?)"),
    "keys": (Query(keys=(("mrn", "1"),)), "SEARCH business_key USING PRIMARY KEY (run=? AND key=?)"),
    "parked": (Query(state="parked"), "SEARCH message USING INDEX message_unusual (state=?)"),
    "rejected": (Query(state="rejected"), "SEARCH message USING INDEX message_unusual (state=?)"),
    "duplicate": (Query(state="duplicate"), "SEARCH message USING INDEX message_unusual (state=?)"),
    "received": (Query(state="received", channel="adt"), "SCAN waiting USING INDEX message_received"),
    "delivery parked": (Query(delivery_state="parked"), "SEARCH undelivered USING PRIMARY KEY (state=? AND delivery>?)"),
    "destination": (Query(destination="erp"), "SEARCH delivery USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    "waiting": (Query(delivery_state="waiting"), "SCAN lane"),
    "delivered": (Query(delivery_state="delivered"), "SEARCH delivery USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    "a list": (Query(control_id=("C", "D")), "SEARCH business_key USING PRIMARY KEY (run=? AND key=?)"),
    "ids": (Query(message_id=(5, 6)), "SEARCH message USING INTEGER PRIMARY KEY (rowid=?)"),
    "in doubt": (Query(flags=("in-doubt",)), "SEARCH delivery USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    "replay": (Query(flags=("replay",)), "SCAN further"),
    "resent": (Query(flags=("resent",)), "SCAN further"),
    "sending": (Query(delivery_state="sending"), "SEARCH lane USING INTEGER PRIMARY KEY (rowid=?)"),
}


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_has_its_index(tmp_path: Path, spin: Any, name: str) -> None:
    query, expected = FILTERS[name]
    site = Site(f"sqlite:///{tmp_path}/store.db", threaded=False)
    site.open()
    spin(site.record(outgoing(), keys=(("mrn", "1"),)))
    spin(site.close())
    with History(site.url) as history:
        text, values = history._reader.compiled(history.statement(query, 50, 0))
    steps = plan(sqlite3.connect(path_of(site.url)), text, values)
    assert expected in steps, steps


@pytest.mark.parametrize(
    "query", [Query(), Query(channel="adt"), Query(kind="ADT^A01"), Query(state="translated"), Query(since=5, until=9)], ids=str
)
def test_other_filters_walk_back_from_the_newest_without_sorting(tmp_path: Path, spin: Any, query: Query) -> None:
    site = Site(f"sqlite:///{tmp_path}/store.db", threaded=False)
    site.open()
    spin(site.close())
    with History(site.url) as history:
        text, values = history._reader.compiled(history.statement(query, 50, 77))
    steps = plan(sqlite3.connect(path_of(site.url)), text, values)
    assert steps[0].startswith("SEARCH message USING INTEGER PRIMARY KEY (rowid"), steps
    assert not any("TEMP B-TREE" in one for one in steps)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_every_hot_statement_uses_an_index_on_postgresql(site: Site) -> None:
    """With sequential scans made expensive: what still scans has no index that could serve it."""
    import psycopg

    connection = psycopg.connect(site.url, autocommit=True)
    connection.execute("SET enable_seqscan = off")
    connection.execute("SET plan_cache_mode = force_generic_plan")
    wrong = {}
    for number, (name, statement) in enumerate(REGISTRY.items()):
        if isinstance(statement, Insert) or name in SCANS or name == "backlog":
            continue
        count = iter(range(1, 99))
        text = re.sub(r"%[sb]", lambda _, count=count: f"${next(count)}", statement.postgres).replace("%%", "%")
        used = next(count) - 1
        connection.execute(f"PREPARE plan_{number} AS {text}".encode())
        nulls = f"({', '.join(['NULL'] * used)})" if used else ""
        steps = [row[0] for row in connection.execute(f"EXPLAIN EXECUTE plan_{number}{nulls}".encode())]
        if any("Seq Scan" in one for one in steps):
            wrong[name] = steps
    connection.close()
    assert wrong == {}


def test_a_million_waiting_deliveries_do_not_slow_a_turn_down(tmp_path: Path, spin: Any) -> None:
    """By what SQLite does, not by the clock: the number of steps of its machine for one turn."""
    import time

    site = Site(f"sqlite:///{tmp_path}/store.db", threaded=False)
    store = site.open()
    spin(site.record(outgoing(b"x", "one"), outgoing(b"y", "two")))
    connection: sqlite3.Connection = store._writer._committer.ledger.driver.connection  # type: ignore[attr-defined]
    connection.execute("PRAGMA synchronous = OFF")
    many = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {})"
    connection.execute("BEGIN")
    (lane,) = connection.execute("SELECT id FROM lane WHERE order_key = 'one'").fetchone()
    connection.execute("UPDATE lane SET more = 1 WHERE id = ?", (lane,))
    connection.execute(f"{many.format(1_000_000)} INSERT INTO place SELECT ?, 1e15 + i FROM n", (lane,))
    connection.execute(
        f"{many.format(100_000)} INSERT INTO lane SELECT (1 << 48) + i, 1, 1, '', 8, 0, 2e15 + i, 0, 0, 0, 0 FROM n"
    )
    connection.execute("COMMIT")
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.set_progress_handler(count, 10)
    started = time.process_time()
    begun = spin(site.due(room=2, window=1))
    taken = time.process_time() - started
    assert [one.content for one in begun] == [b"x", b"y"]
    assert steps * 10 < 2_000
    assert taken < 0.05
    spin(site.close())
