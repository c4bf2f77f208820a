"""`wardline show`: one message's way, from its arrival to the end of its deliveries."""

from __future__ import annotations

import re
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from engine.cli.terminal import json_option, print_json, site_option
from engine.errors import EXIT_FAILED, WardlineError

if TYPE_CHECKING:
    from engine.cli.stored import Stored
    from engine.store.history import AttemptRow, DeliveryRow, MessageFacts

LABEL = 14  # width of the first column
_LINE = re.compile(r"\r\n|\r|\n")


class Told(NamedTuple):
    """Everything the store knows of one message."""

    facts: MessageFacts
    keys: list[tuple[str, str]]
    not_taken: list[tuple[str, str]]
    deliveries: list[tuple[DeliveryRow, list[str], list[AttemptRow], bytes]]  # with order keys, attempts, content


class UnknownMessage(WardlineError):
    """The store has no message of this id."""

    exit_code = EXIT_FAILED


@click.command("show")
@click.argument("message_id", metavar="ID")
@click.option("--content", is_flag=True, help="With the content of the message and of its deliveries; piped: exactly its bytes.")
@click.option("--tree", is_flag=True, help="Instead: what was received, value by value, with paths and the standard's names.")
@click.option("--diff", is_flag=True, help="Instead: what differs from the message before of the same kind and business keys.")
@site_option
@json_option
def command(message_id: str, content: bool, tree: bool, diff: bool, site: Path, as_json: bool) -> None:
    """Show one message: what it is, what became of it and why, each delivery and each attempt.

    ID is a message's id, or the identity under which one of its deliveries left (8000000000-2). In a terminal, content
    is shown with its control characters written out; `wardline show ID --content > FILE` writes the exact bytes.
    """
    from engine.cli.stored import stored

    if tree + diff + content > 1:
        raise click.UsageError("--content, --tree and --diff are each shown alone")
    with stored(site) as store:
        told = tell(store, message_id)
        if tree or diff:
            from engine.cli import show_fields

            (show_fields.tree if tree else show_fields.diff)(told.facts, store.history, as_json)
        elif as_json:
            print_json(as_data(told, content))
        elif content and not sys.stdout.isatty():
            sys.stdout.buffer.write(told.facts.content)
            sys.stdout.buffer.flush()
        else:
            for line in lines(told, store, content):
                click.echo(line)


def tell(store: Stored, text: str) -> Told:
    """Raises UnknownMessage, or BadParameter for what is no id."""
    from engine.query import message_id

    try:
        number = message_id(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}. Find it by: wardline search control:ID", param_hint="ID") from None
    history = store.history
    facts = history.message(number)
    if facts is None:
        raise UnknownMessage(f"There is no message {text} here. A sender's own id is found by: wardline search control:{text}")
    deliveries = [
        (row, history.order_keys(row.id), history.attempts(row.id), history.content_of_delivery(row.id) or b"")
        for row in history.deliveries(number)
    ]
    return Told(facts, history.keys(number), history.not_taken(number), deliveries)


# ── for people ─────────────────────────────────────────────────────────────────────────────────────────────────────


def lines(told: Told, store: Stored, content: bool) -> Iterator[str]:
    """Top to bottom. Everything that came from outside is made visible on its line."""
    yield from _message(told, store)
    if told.not_taken:
        yield "\nRoutes not taken"
        yield from (_field(route, why) for route, why in told.not_taken)
    if told.deliveries:
        yield "\nDeliveries"
    for row, order_keys, attempts, sent in told.deliveries:
        yield from _delivery(row, order_keys, store)
        yield from (_attempt(attempt, store) for attempt in attempts)
        if content:
            yield from _content(sent, row.size)
    if content:
        yield "\nContent"
        yield from _content(told.facts.content, 0 if told.facts.row.original else told.facts.row.size)


def _message(told: Told, store: Stored) -> Iterator[str]:
    from engine.ids import format_id

    facts, row = told.facts, told.facts.row
    yield f"Message {format_id(row.id)}"
    yield _field("state", f"{row.state} ({row.park_reason})" if row.park_reason else row.state)
    yield from _fields(reason=row.reason, channel=row.channel)
    yield _field("received", f"{store.local(row.received_at)} from {row.peer}, {row.size:,} bytes")
    yield from _fields(type=row.kind, **{"control id": row.control_id}, sender=row.sender)
    yield from _fields(version=row.version, processing=row.processing_id)
    if facts.admitted != row.state:
        yield _field("taken as", facts.admitted)
    for label, other in (("duplicate of", row.original), ("replay of", row.replay_of), ("part of", row.part_of)):
        if other:
            yield _field(label, format_id(other))
    yield from (_field(name, value) for name, value in told.keys)
    if facts.translated_at:
        yield _field("translated", f"{store.local(facts.translated_at)} by configuration {facts.config[:12]}")
    yield _field("SHA-256", facts.digest.hex())


def _delivery(row: DeliveryRow, order_keys: list[str], store: Stored) -> Iterator[str]:
    state = f"{row.state}, in doubt" if row.in_doubt and row.state != "delivered" else row.state
    yield f"  {_safe(row.route)} → {_safe(row.destination)}: {state}"
    named = " ".join(filter(None, (row.kind, row.action)))
    yield from _fields("    ", reason=row.reason, content=f"{named or row.content_type}, {row.size:,} bytes")
    yield from _fields("    ", identity=row.identity, **{"idempotency": row.idempotency_key})
    if row.resend_of:
        yield _field("resend of", str(row.resend_of), "    ")
    if any(order_keys):
        yield _field("order key", ", ".join(order_keys), "    ")
    if row.due:
        yield _field("due", store.local(row.due), "    ")
    if row.confirmation != "none":
        yield _field("confirmation", row.confirmation, "    ")


def _attempt(row: AttemptRow, store: Stored) -> str:
    began = store.local(row.started_at, milliseconds=True)
    if not row.ended_at:
        return f"    #{row.n} {began}  under way"
    doubt = " (may have arrived)" if row.in_doubt and row.outcome != "delivered" else ""
    reason = f"  {_safe(row.reason)}" if row.reason else ""
    return f"    #{row.n} {began}  {row.outcome}{doubt} after {(row.ended_at - row.started_at) / 1_000_000:.3f} s{reason}"


def _content(content: bytes, size: int) -> Iterator[str]:
    """Line by line, whichever way the lines end; what does not print is written out."""
    if size and not content:
        yield "      no longer kept: it is older than the channel's retention"
        return
    for line in _LINE.split(content.decode("utf-8", "surrogateescape").rstrip("\r\n")):
        yield f"      {_safe(line)}"


def _fields(indent: str = "  ", **fields: str) -> Iterator[str]:
    return (_field(name, value, indent) for name, value in fields.items() if value)


def _field(name: str, value: str, indent: str = "  ") -> str:
    return f"{indent}{_safe(name):<{LABEL}} {_safe(value)}"


def _safe(text: str) -> str:
    from engine.escape import visible

    return visible(text)


# ── for scripts ────────────────────────────────────────────────────────────────────────────────────────────────────


def as_data(told: Told, content: bool) -> dict[str, Any]:
    """The same facts. Content is text where it is UTF-8, else base64."""
    from engine.cli.stored import utc
    from engine.ids import format_id

    facts = told.facts
    row = facts.row._asdict()
    ids = {name: format_id(row[name]) if row[name] else None for name in ("id", "original", "replay_of", "part_of")}
    data = (
        row
        | ids
        | {
            "received_at": utc(facts.row.received_at),
            "digest": facts.digest.hex(),
            "admitted": facts.admitted,
            "translated_at": utc(facts.translated_at),
            "config": facts.config,
            "keys": told.keys,
            "not_taken": [{"route": route, "why": why} for route, why in told.not_taken],
            "deliveries": [_delivery_data(*one, content) for one in told.deliveries],
        }
    )
    return data | _content_data(facts.content) if content else data


def _delivery_data(
    row: DeliveryRow, order_keys: list[str], attempts: list[AttemptRow], sent: bytes, content: bool
) -> dict[str, Any]:
    from engine.cli.stored import utc
    from engine.ids import format_id

    data = row._asdict() | {
        "id": format_id(row.id),
        "message_id": format_id(row.message_id),
        "resend_of": format_id(row.resend_of) if row.resend_of else None,
        "order_keys": order_keys,
        "attempts": [_attempt_data(attempt, content) for attempt in attempts],
    }
    del data["order_key"]
    data |= {name: utc(data[name]) for name in ("due", "created_at", "changed_at")}
    return data | _content_data(sent) if content else data


def _attempt_data(row: AttemptRow, content: bool) -> dict[str, Any]:
    from engine.cli.stored import utc

    data = row._asdict() | {"started_at": utc(row.started_at), "ended_at": utc(row.ended_at)}
    del data["delivery_id"], data["reply"]
    return data | _content_data(row.reply, "reply") if content else data


def _content_data(content: bytes, name: str = "content") -> dict[str, str]:
    try:
        return {name: content.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": b64encode(content).decode()}
