"""Making a store, or bringing an older one up to this release."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from engine.errors import StoreError, StoreTooNew
from engine.store import schema
from engine.store.driver import Driver
from engine.store.names import NAMES
from engine.store.statements import Insert, Statement
from engine.store.words import WORDS

INSERT_META = Insert(schema.meta)
INSERT_VERSION = Insert(schema.alembic_version)
READ_SCHEMA = Statement("read_schema", select(schema.meta.c.schema))


def prepare(driver: Driver, now: int) -> None:
    """Raises StoreTooNew for a store of a later release."""
    if not driver.exists():
        _create(driver, now)
        return
    found = driver.rows(READ_SCHEMA)
    if len(found) != 1:
        raise StoreError("this database has Wardline's tables but not its mark: it was never finished, or is damaged")
    version = found[0][0]
    if version > schema.SCHEMA:
        raise StoreTooNew(
            f"this store was written by a later release (schema {version}, this one knows {schema.SCHEMA}): "
            "install that release again, or restore the backup made before the upgrade"
        )
    if version < schema.SCHEMA:
        from engine.store.migrations import upgrade

        upgrade(driver.url)
        if driver.rows(READ_SCHEMA) != [(schema.SCHEMA,)]:
            raise StoreError(f"the store could not be brought from schema {version} to {schema.SCHEMA}")


def _create(driver: Driver, now: int) -> None:
    dialect: Any = postgresql.dialect() if driver.url.startswith("postgres") else sqlite.dialect()  # type: ignore[no-untyped-call]
    driver.begin()
    for table in schema.metadata.sorted_tables:
        driver.execute(str(CreateTable(table).compile(dialect=dialect)))
        for index in sorted(table.indexes, key=lambda one: str(one.name)):
            driver.execute(str(CreateIndex(index).compile(dialect=dialect)))
    NAMES.write(driver, {word: code for code, word in WORDS.items()}, now)
    driver.many(INSERT_META, [(1, schema.SCHEMA, secrets.token_hex(8), 0, "", 0, 0, 0, now)])
    driver.many(INSERT_VERSION, [(f"{schema.SCHEMA:04}",)])
    driver.commit()
    driver.settle()
