"""What a store says, read with plain SQL: the third witness beside the two ledgers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, create_engine, func, select
from sqlalchemy.engine import make_url

from engine.store import schema
from engine.store.words import DUPLICATE, RECEIVED, SENDING, WAITING, WORDS
from tests.campaign.checker import StoredDelivery, StoredMessage, StoreView


@contextmanager
def opened(site: Path, store: str) -> Iterator[Connection]:
    """A connection that only reads. Relative SQLite paths are the site's."""
    url = make_url(store)
    if url.get_backend_name() == "sqlite":
        assert url.database is not None
        url = url.set(database=f"file:{site / url.database}", query={"mode": "ro", "uri": "true"})
    else:
        url = url.set(drivername="postgresql+psycopg")
    database = create_engine(url)
    try:
        with database.connect() as connection:
            yield connection
    finally:
        database.dispose()


def message_contents(connection: Connection) -> dict[int, bytes]:
    """The content of every message, by its id. Re-sends have none of their own."""
    content, chunk, ids = schema.content, schema.chunk, select(schema.message.c.id)
    found = {row.owner: bytes(row.content) for row in connection.execute(select(content).where(content.c.owner.in_(ids)))}
    more = select(chunk).where(chunk.c.owner.in_(ids)).order_by(chunk.c.owner, chunk.c.n)
    for row in connection.execute(more):
        found[row.owner] = found.get(row.owner, b"") + bytes(row.content)
    return found


def store_view(site: Path, store: str) -> StoreView:
    message, delivery, attempt = schema.message, schema.delivery, schema.attempt
    with opened(site, store) as connection:
        content = message_contents(connection)
        messages = tuple(
            StoredMessage(row.control_id, WORDS[row.state], hashlib.sha256(content.get(row.id, b"")).hexdigest())
            for row in connection.execute(select(message).where(message.c.state != DUPLICATE))
        )
        doubtful = (
            select(attempt.c.delivery, func.count().label("times"))
            .where(attempt.c.in_doubt != 0)
            .group_by(attempt.c.delivery)
            .subquery()
        )
        query = select(delivery, doubtful.c.times).outerjoin(doubtful, doubtful.c.delivery == delivery.c.id)
        deliveries = tuple(
            StoredDelivery(row.identity, WORDS[row.state], row.attempts, row.times or 0) for row in connection.execute(query)
        )
    return StoreView(messages, deliveries)


def unfinished(site: Path, store: str) -> int:
    """Messages to be translated and deliveries to be sent, by rows that say so."""
    queries = (
        select(func.count()).select_from(schema.message).where(schema.message.c.state == RECEIVED),
        select(func.count()).select_from(schema.delivery).where(schema.delivery.c.state.in_((WAITING, SENDING))),
    )
    with opened(site, store) as connection:
        return sum(connection.execute(query).scalar_one() for query in queries)
