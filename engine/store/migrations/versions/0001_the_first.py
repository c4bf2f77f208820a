"""The first schema."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BARE: dict[str, Any] = {"sqlite_with_rowid": False}
_BUSY: dict[str, Any] = {"postgresql_with": {"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.02}}

_KINDS: dict[str, Any] = {
    "id": _ID,
    "instant": sa.BigInteger(),
    "int": sa.Integer(),
    "small": sa.SmallInteger(),
    "text": sa.Text(),
    "bytes": sa.LargeBinary(),
}


def _table(name: str, key: str, columns: str, *more: Any, **options: Any) -> None:
    """`columns`: `name kind` or `name kind?` (may be null), separated by commas; `key`: the primary key's columns."""
    made = []
    for column in columns.split(","):
        title, kind = column.split()
        made.append(sa.Column(title, _KINDS[kind.rstrip("?")], nullable=kind.endswith("?"), autoincrement=False))
    op.create_table(name, *made, sa.PrimaryKeyConstraint(*key.split()), *more, **options)


def _partial(name: str, table: str, columns: str, where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns.split(), sqlite_where=condition, postgresql_where=condition)


def upgrade() -> None:
    _table(
        "meta",
        "one",
        "one small, schema int, store text, epoch id, node text, commits id, keyed id, deduped id, created_at instant",
        **_BUSY,
    )
    _table("name", "id", "id int, text text", sa.UniqueConstraint("text"))
    for owned in ("channel", "destination"):
        columns = "id small, name text, state small, reason text, since instant, node text, epoch id"
        _table(owned, "id", columns, sa.UniqueConstraint("name"))
    _table(
        "message",
        "id",
        "id id, channel small, state small, admitted small, received_at instant, peer text, kind text, control_id text, "
        "sender text, version text, processing_id text, digest bytes, dedupe_key bytes?, size int, reason text?, "
        "park_reason small?, original id?, replay_of id?, part_of id?, ack small?, confirmation small?",
    )
    _partial("message_received", "message", "channel id", "state = 2")
    _partial("message_unusual", "message", "state id", "state IN (5, 6)")
    _table("content", "owner", "owner id, content bytes")
    _table("chunk", "owner n", "owner id, n int, content bytes", **_BARE)
    _table("dedupe", "channel key message_id", "channel small, key bytes, message_id id", **_BARE)
    _table(
        "translation",
        "message_id",
        "message_id id, translated_at instant, config int, first_delivery id, deliveries int, reason text?, keys text?, "
        "not_taken text?",
    )
    _table("fresh_key", "message_id", "message_id id, keys text", **_BUSY)
    _table("run", "id", "id int, first_message id, last_message id, first_received instant, last_received instant")
    _table("business_key", "run key message_id", "run int, key text, message_id id", **_BARE)
    _deliveries()


def _deliveries() -> None:
    _table(
        "delivery",
        "id",
        "id id, message_id id, ordinal int, channel small, route int, destination small, state small, attempts int, "
        "in_doubt small, lane id, lanes small, created_at instant, changed_at instant, identity text, "
        "idempotency_key text, kind text, action text, content_type int, content id, size int, reason text?, "
        "confirmation small?",
        **_BUSY,
    )
    _table("undelivered", "state delivery", "state small, delivery id", **_BARE)
    _table(
        "lane",
        "id",
        "id id, destination small, channel small, order_key text, state small, due instant, head id, more small, "
        "begun id, epoch id, begun_at instant",
        **_BUSY,
    )
    _partial("lane_ready", "lane", "destination due head", "state = 8")
    _table("place", "lane delivery", "lane id, delivery id", **_BARE, **_BUSY)
    _table("crossing", "delivery lane", "delivery id, lane id", **_BARE)
    _table(
        "attempt",
        "delivery n",
        "delivery id, n int, epoch id, started_at instant, ended_at instant, outcome small, in_doubt small, reason text?, "
        "reply bytes?",
        **_BARE,
    )
