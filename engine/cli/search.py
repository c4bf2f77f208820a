"""`wardline search`: find messages, in a store that an engine may be working on."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.terminal import json_option, print_json, print_table, site_option

if TYPE_CHECKING:
    from engine.cli.stored import Stored
    from engine.query import Found, Search
    from engine.query.lines import Line
    from engine.store.history import DeliveryRow, MessageRow
    from engine.store.rows import FoundDelivery

COLUMNS = ("id", "received", "channel", "type", "control id", "state", "deliveries", "reason")
LONGEST = 200  # characters of a reason in the table; `wardline show` has the rest


@click.command("search", context_settings={"ignore_unknown_options": True})  # -state:parked is no option
@click.argument("query", nargs=-1)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="The most messages to show.")
@click.option("--before", default="", metavar="ID", help="Only messages older than this one: the next page.")
@click.option(
    "--list",
    "listed",
    type=(str, click.File()),
    metavar="KEY FILE",
    default=None,
    help="Any of the values in a file, one to a line, as KEY: --list mrn patients.txt; - is standard input.",
)
@click.option(
    "--export",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write up to 100,000 lines to FILE instead: .csv or .jsonl.",
)
@site_option
@json_option
def command(
    query: tuple[str, ...],
    limit: int,
    before: str,
    listed: tuple[str, Any] | None,
    export: Path | None,
    site: Path,
    as_json: bool,
) -> None:
    """Find messages, newest first. All terms must hold; without any, the newest messages are shown.

    \b
      mrn:12345                 a business key, from a channel's index:
      channel:charges           what came in through a channel
      state:parked              received, translated, parked, waiting, delivered, …
      type:DFT^P03              the kind of message; type:DFT is every DFT^…
      control:4711              the sender's own id (MSH-10)
      destination:billing-api   with a delivery to this destination
      error:"unknown code"      words in why it was filtered, rejected, parked or failed
      is:in-doubt               also duplicate, replayed, replay, resent, batch
      since:2h until:30m        also 3d, 2026-11-21, 2026-11-21T10:30
      8000000000                a message's id
      "chest pain" ketorolac    words in what came in, went out or was answered
      text.answer:AE            words in one of them: text.in, text.canonical, text.out
    \b
      mrn:1,2,3                 any of several
      -state:delivered          none of them
      patient:"Doe, Jane"       quotation marks where a value has spaces or commas
    """
    from engine.cli.stored import index_names, stored
    from engine.query import find, listing, message_id, parse

    text = joined(query) + (f" {listing(listed[0], listed[1])}" if listed else "")
    with stored(site) as store:
        search = parse(text, time.time_ns() // 1000, store.timezone, index_names(site))
        channels = [path.stem for path in (site / "channels").glob("*.yaml")]
        if export:
            _export(store, search, export)
            return
        try:
            older = message_id(before) if before else 0
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--before") from None
        found = find(store.history, search, limit, older, configured=channels, texts=store.texts)
        _show(store, search, found, as_json)


def _show(store: Stored, search: Search, found: Found, as_json: bool) -> None:
    from engine.ids import format_id
    from engine.query.lines import lines

    shown = lines(store.history, found.rows)
    if as_json:
        print_json([as_data(line.row, line.deliveries) | {"keys": line.keys} for line in shown])
        return
    if shown:
        print_table(COLUMNS, [_line(store.local(line.row.received_at), line) for line in shown])
    elif not found.reached_at:
        click.echo("Nothing is found.", err=True)
        if hint := search.hint():
            click.echo(hint, err=True)
    if found.indexed_up_to or search.texts:
        until = store.local(found.indexed_up_to) if found.indexed_up_to else "nothing yet"
        click.echo(f"Text is indexed up to {until}.", err=True)
    if found.reached_at:
        click.echo(f"Time was up: searched back to {store.local(found.reached_at)}.", err=True)
    if found.older:
        what = "Older ones" if found.reached_at else f"These are the newest {len(shown)}; older ones"
        click.echo(f"{what}: --before {format_id(found.older)}, or a larger --limit.", err=True)


def _export(store: Stored, search: Search, path: Path) -> None:
    from engine.query import every
    from engine.query.lines import as_csv, as_jsonl

    ways = {".csv": as_csv, ".jsonl": as_jsonl}
    if path.suffix not in ways:
        raise click.BadParameter("the file's name ends in .csv or .jsonl", param_hint="--export")
    count = 0
    with path.open("wb") as file:
        for chunk in ways[path.suffix](store.history, every(store.history, search, texts=store.texts)):
            file.write(chunk)
            count += chunk.count(b"\n")
            if sys.stderr.isatty():
                click.echo(f"\r{count:,} lines", nl=False, err=True)
    click.echo(f"{path}: {count:,} lines.", err=True)


def as_data(row: MessageRow, deliveries: Iterable[DeliveryRow | FoundDelivery]) -> dict[str, Any]:
    """A message for scripts: ids as people type them, instants in ISO 8601."""
    from engine.cli.stored import utc
    from engine.ids import format_id

    summary = dict(Counter(one.state for one in deliveries))
    data = row._asdict() | {"received_at": utc(row.received_at), "deliveries": summary}
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


def _line(received: str, line: Line) -> list[str]:
    from engine.escape import visible
    from engine.ids import format_id

    row = line.row
    state = f"{row.state} ({row.park_reason})" if row.park_reason else row.state
    summary = ", ".join(f"{count} {word}" for word, count in line.summary().items())
    cells = (format_id(row.id), received, row.channel, row.kind, row.control_id, state, summary, line.reason)
    return [visible(cell, LONGEST) for cell in cells]
