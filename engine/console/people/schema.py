"""The tables of `.wardline/console.db`: people, their sessions and tokens, and the audit trail.

What lets somebody in is never here: of sessions, tokens, links and recovery codes only a SHA-256 is kept (each is random and
long, so nothing slower is needed), of passwords an Argon2id hash. Instants are microseconds since 1970.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, ForeignKey, Index, Integer, MetaData, Table, Text, UniqueConstraint

SCHEMA: Final = 1

STEPS: Final[dict[int, tuple[str, ...]]] = {}
"""The statements that bring a database from one schema to the next."""

metadata = MetaData()

person = Table(
    "person",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),  # lower case
    Column("display", Text, nullable=False),
    Column("grants", Text, nullable=False),  # JSON: [[role, channels], …]
    Column("password", Text),  # Argon2id; NULL: cannot log in with one
    Column("disabled", Integer, nullable=False, default=0),
    Column("totp", Text),  # the secret, base 32
    Column("totp_offered", Text),  # a secret that was shown and not confirmed yet
    Column("totp_step", Integer, nullable=False, default=0),  # of the last code taken: an older one is a replay
    Column("totp_required", Integer, nullable=False, default=0),
    Column("issuer", Text),  # of people who come from an OpenID Connect provider
    Column("subject", Text),
    Column("theme", Text, nullable=False, default=""),
    Column("made_at", Integer, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("seen_at", Integer, nullable=False, default=0),  # last login
    UniqueConstraint("issuer", "subject"),
)

recovery = Table(
    "recovery",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("person", ForeignKey("person.id"), nullable=False),
)

session = Table(
    "session",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("id", Text, nullable=False, unique=True),  # for lists and the audit trail; lets nobody in
    Column("person", ForeignKey("person.id"), nullable=False, index=True),
    Column("made_at", Integer, nullable=False),
    Column("seen_at", Integer, nullable=False),
    Column("peer", Text, nullable=False),
    Column("agent", Text, nullable=False),
)

ticket = Table(
    "ticket",  # good once
    metadata,
    Column("hash", Text, primary_key=True),
    Column("kind", Text, nullable=False),  # first, invite, reset, code, oidc
    Column("person", ForeignKey("person.id")),
    Column("until", Integer, nullable=False),
    Column("data", Text, nullable=False, default=""),  # JSON
)

token = Table(
    "token",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("prefix", Text, nullable=False, unique=True),  # how people tell it from others
    Column("label", Text, nullable=False),
    Column("person", ForeignKey("person.id")),  # NULL: of a service
    Column("rights", Text, nullable=False),  # JSON
    Column("channels", Text, nullable=False),
    Column("made_at", Integer, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("until", Integer, nullable=False),
    Column("used_at", Integer, nullable=False, default=0),
    Column("revoked_at", Integer, nullable=False, default=0),
)

glass = Table(
    "glass",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("person", ForeignKey("person.id"), nullable=False, index=True),
    Column("channel", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Integer, nullable=False),
    Column("until", Integer, nullable=False),  # moved forward when it is revoked
    Column("revoked_by", Text, nullable=False, default=""),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("at", Integer, nullable=False),
    Column("who", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("details", Text, nullable=False),  # JSON, exactly as it was hashed
    Column("prev", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Index("audit_who", "who", "seq"),
    Index("audit_what", "what", "seq"),
    Index("audit_at", "at"),
)
