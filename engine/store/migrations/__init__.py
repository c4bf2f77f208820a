"""Steps from one schema to the next. Each is one transaction; it ends by raising `meta.schema`.

Alembic is imported here and only here: a store that needs no step is opened without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import NullPool

HERE = Path(__file__).parent


def engine_for(url: str) -> Engine:
    """A SQLAlchemy engine for work that is not in a hurry; its transactions hold DDL too."""
    if url.startswith("postgres"):
        import psycopg

        return create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool)
    import sqlite3

    from engine.store.sqlite import path_of

    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(path_of(url), isolation_level=None), poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def configuration(connection: Any) -> Config:
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.attributes["connection"] = connection
    return config


def upgrade(url: str, to: str = "head") -> None:
    """Run the steps a store lacks, in one transaction. The caller holds the store's lock."""
    engine = engine_for(url)
    try:
        with engine.begin() as connection:
            command.upgrade(configuration(connection), to)
    finally:
        engine.dispose()
