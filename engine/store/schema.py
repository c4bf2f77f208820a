"""The tables, once for SQLite and PostgreSQL. `migrations/` builds exactly these; a test compares both.

What shapes them:

- State lives in narrow rows, content apart: updating a state beside two kilobytes of content costs five times as much.
- Hot tables grow at their end and have no other index than they need; a row keeps its size when its state changes.
- An attempt under way is a mark on its lane (`begun`, `epoch`, `begun_at`); it becomes an `attempt` row when it ends or
  when the engine that began it is found dead. Lane position is the delivery's id, which grows with the message's sequence.
- Keys reach their indexes sorted and many at a time (`keys.py`, `duplicates.py`): single rows at random places would cost
  a page of the log each.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)

from engine.store.words import DUPLICATE, PARKED, RECEIVED, REJECTED, WAITING

SCHEMA: Final = 3  # raised by every migration
CHUNK: Final = 1 << 20  # bytes of content in one row

# Parked, rejected, duplicate. What a query must say, word for word, to be served by `message_unusual`; a list of three would
# have SQLite build a table for every message.
assert (PARKED, REJECTED, DUPLICATE) == (5, 6, 7)
UNUSUAL_MESSAGE: Final = f"state BETWEEN {PARKED} AND {DUPLICATE}"

metadata: Final = MetaData()

# PostgreSQL: rows that change soon after they are written find room beside themselves, and are swept often.
_BUSY: Final[dict[str, Any]] = {"postgresql_with": {"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.02}}

_ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite's INTEGER PRIMARY KEY is the row's own address
_INSTANT = BigInteger  # microseconds since 1970
_WORD = SmallInteger  # a number of `name`
_FLAG = SmallInteger


def _key(name: str, kind: Any = _ID) -> Column[int]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _number(name: str, kind: Any = _ID) -> Column[int]:
    return Column(name, kind, nullable=False)


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


# ── the store itself ───────────────────────────────────────────────────────────────────────────────────────────────

meta = Table(
    "meta",
    metadata,
    _key("one", SmallInteger),  # always 1
    _number("schema", Integer),
    _text("store"),  # this store's own name, for those who keep a copy of it
    _number("epoch"),  # how often it was opened: what an older engine still does changes nothing
    _text("node"),
    _number("commits"),  # PostgreSQL only: the last commit's number, read back when its answer was lost
    _number("keyed"),  # control ids of messages up to this one are in `business_key`
    _number("deduped"),  # dedupe keys of messages up to this one are in `dedupe`
    _number("created_at", _INSTANT),
    **_BUSY,
)

alembic_version = Table("alembic_version", metadata, Column("version_num", Text, primary_key=True))

name = Table("name", metadata, _key("id", Integer), Column("text", Text, nullable=False, unique=True))


def _owned(title: str) -> Table:
    return Table(
        title,
        metadata,
        _key("id", SmallInteger),
        Column("name", Text, nullable=False, unique=True),
        _number("state", _WORD),
        _text("reason"),
        _number("since", _INSTANT),
        _text("node"),  # its owner, once there are several nodes
        _number("epoch"),
    )


channel = _owned("channel")
destination = _owned("destination")

# ── messages ───────────────────────────────────────────────────────────────────────────────────────────────────────

message = Table(
    "message",
    metadata,
    _key("id"),
    _number("channel", SmallInteger),
    _number("state", _WORD),
    _number("admitted", _WORD),  # the state it was taken in: what its acknowledgement said
    _number("received_at", _INSTANT),
    _text("peer"),
    _text("kind"),
    _text("control_id"),
    _text("sender"),
    _text("version"),
    _text("processing_id"),
    Column("digest", LargeBinary, nullable=False),
    Column("dedupe_key", LargeBinary),
    _number("size", Integer),
    Column("reason", Text),  # of intake
    Column("park_reason", _WORD),
    Column("original", _ID),  # of a duplicate
    Column("replay_of", _ID),
    Column("part_of", _ID),
    Column("ack", _WORD),
    Column("confirmation", _WORD),
)
Index("message_received", message.c.channel, message.c.id, **_where(f"state = {RECEIVED}"))
Index("message_unusual", message.c.state, message.c.id, **_where(UNUSUAL_MESSAGE))

content = Table(
    "content",
    metadata,
    _key("owner"),  # a message or a delivery: their ids come from one sequence
    Column("content", LargeBinary, nullable=False),
)

chunk = Table(
    "chunk",  # what is beyond the first CHUNK bytes
    metadata,
    _key("owner"),
    _key("n", Integer),
    Column("content", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

dedupe = Table(
    "dedupe",  # of messages up to `meta.deduped`
    metadata,
    _key("channel", SmallInteger),
    Column("key", LargeBinary, primary_key=True),
    _key("message_id"),
    sqlite_with_rowid=False,
)

translation = Table(
    "translation",  # what became of a message
    metadata,
    _key("message_id"),
    _number("translated_at", _INSTANT),
    _number("config", Integer),
    _number("first_delivery"),  # its deliveries have successive ids
    _number("deliveries", Integer),
    Column("reason", Text),
    Column("keys", Text),  # JSON: ["number of the name:value", …]
    Column("not_taken", Text),  # JSON: [[route, why], …]
)

further = Table(
    "further",  # what else came of a message: its replays, resends, and the deliveries of a translation that was done anew
    metadata,
    _key("message_id"),
    _key("id"),  # a message or a delivery
    sqlite_with_rowid=False,
)

# ── business keys ──────────────────────────────────────────────────────────────────────────────────────────────────

fresh_key = Table("fresh_key", metadata, _key("message_id"), _text("keys"), **_BUSY)

run = Table(
    "run",
    metadata,
    _key("id", Integer),
    _number("first_message"),  # messages of this stretch: a map from time to ids
    _number("last_message"),
    _number("first_received", _INSTANT),
    _number("last_received", _INSTANT),
)

business_key = Table(
    "business_key",
    metadata,
    _key("run", Integer),
    Column("key", Text, primary_key=True),  # `number of the name:value`
    _key("message_id"),
    sqlite_with_rowid=False,
)

# ── deliveries ─────────────────────────────────────────────────────────────────────────────────────────────────────

delivery = Table(
    "delivery",
    metadata,
    _key("id"),
    _number("message_id"),
    _number("ordinal", Integer),  # within its translation, from 1
    _number("channel", SmallInteger),
    _number("route", Integer),
    _number("destination", SmallInteger),
    _number("state", _WORD),
    _number("attempts", Integer),  # that have ended
    _number("in_doubt", _FLAG),  # one of them may have arrived
    _number("lane"),
    _number("lanes", SmallInteger),  # in how many it stands; more than one: see `crossing`
    _number("created_at", _INSTANT),
    _number("changed_at", _INSTANT),  # when its state last changed
    _text("identity"),
    _text("idempotency_key"),
    _text("kind"),
    _text("action"),
    _number("content_type", Integer),
    _number("content"),  # whose content it has: its own, or its message's where nothing was changed
    _number("size", Integer),
    Column("reason", Text),
    Column("confirmation", _WORD),
    Column("resend_of", _ID),  # the delivery this one repeats on somebody's word
    Column("order_keys", Text),  # of its lanes, a JSON list where there are several; null: empty, or not kept by schema 1
    Column("crc", BigInteger),  # CRC-32 of content of its own; a message's content has its digest
    **_BUSY,
)
undelivered = Table(
    "undelivered",  # those that ended otherwise; an index on `delivery` would cost every delivery
    metadata,
    _key("state", _WORD),
    _key("delivery"),
    sqlite_with_rowid=False,
)

lane = Table(
    "lane",
    metadata,
    _key("id"),
    _number("destination", SmallInteger),
    _number("channel", SmallInteger),
    _text("order_key"),
    _number("state", _WORD),  # waiting, sending or blocked
    _number("due", _INSTANT),  # 0: now
    _number("head"),
    _number("more", _FLAG),  # others stand behind the head
    _number("begun"),  # the last delivery under way; 0: none
    _number("epoch"),
    _number("begun_at", _INSTANT),
    **_BUSY,
)
Index("lane_ready", lane.c.destination, lane.c.due, lane.c.head, **_where(f"state = {WAITING}"))

place = Table("place", metadata, _key("lane"), _key("delivery"), sqlite_with_rowid=False, **_BUSY)  # all but the heads

rejoin = Table(  # who came back while its lane was under way: takes its place there when that has ended
    "rejoin", metadata, _key("lane"), _key("delivery"), sqlite_with_rowid=False
)

crossing = Table("crossing", metadata, _key("delivery"), _key("lane"), sqlite_with_rowid=False)

attempt = Table(
    "attempt",
    metadata,
    _key("delivery"),
    _key("n", Integer),
    _number("epoch"),
    _number("started_at", _INSTANT),
    _number("ended_at", _INSTANT),
    _number("outcome", _WORD),
    _number("in_doubt", _FLAG),
    Column("reason", Text),
    Column("reply", LargeBinary),
    sqlite_with_rowid=False,
)

# ── what waits for people ──────────────────────────────────────────────────────────────────────────────────────────

refused = Table(
    "refused",  # a bounded ring for each channel
    metadata,
    _key("id"),
    _number("channel", SmallInteger),
    _number("received_at", _INSTANT),
    _text("peer"),
    _text("reason"),
    _number("size"),
    Column("content", LargeBinary, nullable=False),
)
Index("refused_channel", refused.c.channel, refused.c.id)

unknown_code = Table(
    "unknown_code",  # the worklist: a row for each code that no table has
    metadata,
    _key("id", Integer),
    _text("code_table"),
    _text("value"),
    _number("messages"),  # how often one parked for it, over all time
    _number("first_seen", _INSTANT),
    _number("last_seen", _INSTANT),
    _text("path"),  # where it stood, in the first of them
)
Index("unknown_code_once", unknown_code.c.code_table, unknown_code.c.value, unique=True)

waits_for = Table(
    "waits_for",  # parked messages by the code they wait for
    metadata,
    _key("code", Integer),
    _key("message_id"),
    sqlite_with_rowid=False,
)
Index("waits_for_message", waits_for.c.message_id)

action = Table(
    "action",  # what people did, and what makes doing it twice harmless
    metadata,
    Column("token", Text, primary_key=True),
    _number("done_at", _INSTANT),
    _number("verb", Integer),
    _text("who"),
    _text("why"),
    _number("messages"),
    _number("deliveries"),
)

# ── what came and went, and what others ask for ────────────────────────────────────────────────────────────────────

tally = Table(
    "tally",  # in buckets of a minute and of an hour; a bucket in which nothing was counted has no row
    metadata,
    _key("width", SmallInteger),  # seconds
    _key("at", _INSTANT),  # its beginning
    _key("noun", Integer),  # number of `channel` or `destination`, the table that the next is a number of
    _key("owner", SmallInteger),
    _key("what", Integer),
    _number("count"),
    sqlite_with_rowid=False,
    **_BUSY,
)

request = Table(
    "request",  # what somebody on another host asks the engine to do
    metadata,
    Column("token", Text, primary_key=True),  # the asker's: the same request twice is one
    _number("asked_at", _INSTANT),  # by the database's clock
    _text("who"),
    _text("verb"),
    _text("arguments"),  # JSON
    _number("epoch"),  # of the engine that took it; 0: nobody yet
    _number("taken_at", _INSTANT),
    _number("answered_at", _INSTANT),  # 0: not yet
    _text("answer"),  # JSON, as the control socket answers
    **_BUSY,
)
Index("request_answered", request.c.answered_at, request.c.asked_at)
