"""A store of today, taken back to an earlier schema with everything that schema can hold: what an upgrade will find."""

from __future__ import annotations

from typing import Any

from sqlalchemy import MetaData, insert, inspect, select, text

from engine.store.migrations import engine_for, upgrade


def schema_of(url: str) -> int:
    engine = engine_for(url)
    try:
        with engine.connect() as connection:
            found: int = connection.execute(text("SELECT schema FROM meta")).scalar_one()
            return found
    finally:
        engine.dispose()


def take_back(url: str, revision: str = "0001") -> None:
    """Make the tables anew as `revision` had them, and fill them with the rows and columns that it knew. No engine may have
    the store open."""
    engine = engine_for(url)
    try:
        with engine.begin() as connection:
            today = MetaData()
            today.reflect(connection)
            rows: dict[str, list[dict[str, Any]]] = {
                table.name: [dict(row) for row in connection.execute(select(table)).mappings()] for table in today.tables.values()
            }
            today.drop_all(connection)
        upgrade(url, revision)
        with engine.begin() as connection:
            before = MetaData()
            before.reflect(connection)
            for table in before.tables.values():
                if table.name == "alembic_version":
                    continue
                known = {column["name"] for column in inspect(connection).get_columns(table.name)}
                held = [{key: value for key, value in row.items() if key in known} for row in rows[table.name]]
                if held:
                    connection.execute(insert(table), held)
            connection.execute(text("UPDATE meta SET schema = :schema"), {"schema": int(revision)})
    finally:
        engine.dispose()
