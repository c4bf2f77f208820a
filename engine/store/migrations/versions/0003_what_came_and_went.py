"""Counts by minute and hour, and requests from other hosts."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BUSY: dict[str, Any] = {"postgresql_with": {"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.02}}


def _column(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, autoincrement=False)


def upgrade() -> None:
    instant, text, small, number = sa.BigInteger(), sa.Text(), sa.SmallInteger(), sa.Integer()
    op.create_table(
        "tally",
        *(_column("width", small), _column("at", instant), _column("noun", number), _column("owner", small)),
        *(_column("what", number), _column("count", _ID)),
        sa.PrimaryKeyConstraint("width", "at", "noun", "owner", "what"),
        sqlite_with_rowid=False,
        **_BUSY,
    )
    op.create_table(
        "request",
        *(_column("token", text), _column("asked_at", instant), _column("who", text), _column("verb", text)),
        *(_column("arguments", text), _column("epoch", _ID), _column("taken_at", instant), _column("answered_at", instant)),
        _column("answer", text),
        sa.PrimaryKeyConstraint("token"),
        **_BUSY,
    )
    op.create_index("request_answered", "request", ["answered_at", "asked_at"])
    op.execute("UPDATE meta SET schema = 3")
