"""Refused frames, unknown codes, and what people do: release, cancel, resend, replay."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BARE: dict[str, Any] = {"sqlite_with_rowid": False}
_WAITING = 8


def _column(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, autoincrement=False)


def upgrade() -> None:
    instant, text = sa.BigInteger(), sa.Text()
    op.add_column("delivery", sa.Column("resend_of", _ID, nullable=True))
    op.add_column("delivery", sa.Column("order_keys", text, nullable=True))
    op.add_column("delivery", sa.Column("crc", instant, nullable=True))
    _keep_order_keys()
    op.drop_index("message_unusual", "message")
    condition = sa.text("state BETWEEN 5 AND 7")
    op.create_index("message_unusual", "message", ["state", "id"], sqlite_where=condition, postgresql_where=condition)
    for table, key, kind, value in (
        ("further", "message_id", _ID, "id"),
        ("rejoin", "lane", _ID, "delivery"),
        ("waits_for", "code", sa.Integer(), "message_id"),
    ):
        op.create_table(table, _column(key, kind), _column(value, _ID), sa.PrimaryKeyConstraint(key, value), **_BARE)
    op.create_index("waits_for_message", "waits_for", ["message_id"])
    op.create_table(
        "refused",
        *(_column("id", _ID), _column("channel", sa.SmallInteger()), _column("received_at", instant)),
        *(_column("peer", text), _column("reason", text), _column("size", _ID), _column("content", sa.LargeBinary())),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("refused_channel", "refused", ["channel", "id"])
    op.create_table(
        "unknown_code",
        *(_column("id", sa.Integer()), _column("code_table", text), _column("value", text), _column("messages", _ID)),
        *(_column("first_seen", instant), _column("last_seen", instant), _column("path", text)),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("unknown_code_once", "unknown_code", ["code_table", "value"], unique=True)
    op.create_table(
        "action",
        *(_column("token", text), _column("done_at", instant), _column("verb", sa.Integer())),
        *(_column("who", text), _column("why", text), _column("messages", _ID), _column("deliveries", _ID)),
        sa.PrimaryKeyConstraint("token"),
    )
    op.execute("UPDATE meta SET schema = 2")


def _keep_order_keys() -> None:
    """Of the deliveries that stand in lanes; of those that have ended nobody knows them any more."""
    op.execute(
        "UPDATE delivery SET order_keys = (SELECT nullif(lane.order_key, '') FROM lane WHERE lane.id = delivery.lane) "
        f"WHERE state = {_WAITING} AND lanes = 1"
    )
    connection = op.get_bind()
    several = connection.execute(
        sa.text(
            "SELECT d.id, l.order_key FROM delivery d JOIN crossing c ON c.delivery = d.id JOIN lane l ON l.id = c.lane "
            f"WHERE d.state = {_WAITING} AND d.lanes > 1 ORDER BY d.id, CASE WHEN l.id = d.lane THEN 0 ELSE 1 END"
        )
    )
    keys: dict[int, list[str]] = {}
    for number, order_key in several:
        keys.setdefault(number, []).append(order_key)
    rows = [{"number": number, "keys": json.dumps(found, ensure_ascii=False)} for number, found in keys.items()]
    if rows:
        connection.execute(sa.text("UPDATE delivery SET order_keys = :keys WHERE id = :number"), rows)
