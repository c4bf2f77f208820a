"""`wardline search`: find messages, in a store that an engine may be working on."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.terminal import json_option, print_json, print_table, site_option

if TYPE_CHECKING:
    from engine.store.history import DeliveryRow, MessageRow

COLUMNS = ("id", "received", "channel", "type", "control id", "state", "deliveries", "reason")
LONGEST = 200  # characters of a reason in the table; `wardline show` has the rest


@click.command("search")
@click.argument("query", nargs=-1)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="The most messages to show.")
@site_option
@json_option
def command(query: tuple[str, ...], limit: int, site: Path, as_json: bool) -> None:
    """Find messages, newest first. All terms must hold; without any, the newest messages are shown.

    \b
      mrn:12345                 a business key, from a channel's index:
      channel:charges           what came in through a channel
      state:parked              received, translated, parked, waiting, delivered, …
      type:DFT^P03              the kind of message
      control:4711              the sender's own id (MSH-10)
      destination:billing-api   with a delivery to this destination
      since:2h until:30m        also 3d, 2026-11-21, 2026-11-21T10:30
      patient:"Doe, Jane"       quotation marks where a value has spaces
      8000000000                a message's id
    """
    from engine.cli.stored import index_names, stored
    from engine.query import find, parse

    with stored(site) as store:
        search = parse(joined(query), time.time_ns() // 1000, store.timezone, index_names(site))
        channels = [path.stem for path in (site / "channels").glob("*.yaml")]
        found = find(store.history, search, limit, configured=channels)
        rows = [(row, store.history.deliveries(row.id) if row.deliveries else []) for row in found]
        if as_json:
            print_json([as_data(row, deliveries) for row, deliveries in rows])
        elif rows:
            print_table(COLUMNS, [_line(store.local(row.received_at), row, deliveries) for row, deliveries in rows])
        else:
            click.echo("Nothing is found.", err=True)
    if len(rows) == limit and not as_json:
        click.echo(f"These are the newest {limit}; --limit shows more.", err=True)


def as_data(row: MessageRow, deliveries: list[DeliveryRow]) -> dict[str, Any]:
    """A message for scripts: ids as people type them, instants in ISO 8601."""
    from engine.cli.stored import utc
    from engine.ids import format_id

    data = row._asdict() | {"received_at": utc(row.received_at), "deliveries": _counted(deliveries)}
    for name in ("id", "original", "replay_of", "part_of"):
        data[name] = format_id(data[name]) if data[name] else None
    return data


def joined(words: tuple[str, ...]) -> str:
    """The shell has taken quotation marks away; a value with spaces gets its own back."""
    return " ".join(word if '"' in word or _is_query(word) else _quoted(word) for word in words)


def _is_query(word: str) -> bool:
    """Whether all its parts are terms: somebody has put a whole query in quotation marks."""
    return len(parts := word.split()) < 2 or all(":" in part for part in parts)


def _quoted(word: str) -> str:
    key, colon, value = word.partition(":")
    return f'{key}:"{value}"' if colon and " " not in key else f'"{word}"'


def _counted(deliveries: list[DeliveryRow]) -> dict[str, int]:
    return dict(Counter(delivery.state for delivery in deliveries))


def _line(received: str, row: MessageRow, deliveries: list[DeliveryRow]) -> list[str]:
    from engine.escape import visible
    from engine.ids import format_id

    state = f"{row.state} ({row.park_reason})" if row.park_reason else row.state
    summary = ", ".join(f"{count} {word}" for word, count in _counted(deliveries).items())
    reason = row.reason or next((delivery.reason for delivery in deliveries if delivery.reason), "")
    cells = (format_id(row.id), received, row.channel, row.kind, row.control_id, state, summary, reason)
    return [visible(cell, LONGEST) for cell in cells]
