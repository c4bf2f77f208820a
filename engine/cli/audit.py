"""`wardline audit`: what people did and saw, and whether nobody has touched the record of it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.people import opened
from engine.cli.terminal import json_option, print_json, print_table, site_option
from engine.errors import EXIT_FAILED, EXIT_USAGE, WardlineError

if TYPE_CHECKING:
    from engine.console.people.anchor import Mark

LONGEST = 100  # characters of details in the table


class NotSo(WardlineError):
    """A condition is not written as it should be."""

    exit_code = EXIT_USAGE


@click.group("audit")
def command() -> None:
    """Read the audit trail of the console: who did and saw what, and whether the record is whole."""


@command.command("list")
@click.option("--who", default="", help="A person's name, 'service NAME' of a token, 'local:USER' of the command line.")
@click.option("--what", default="", help="What was done: 'login', 'view message'; 'view*' for all that begins so.")
@click.option("--object", "object_", default="", help="What it was done to: an id, a name.")
@click.option("--outcome", default="", help="ok, begun, denied or failed.")
@click.option("--since", default="", help="From when on: 2h, 3d, 2026-11-21, 2026-11-21T10:30.")
@click.option("--until", default="", help="Until when, written in the same way.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="The most rows to show.")
@site_option
@json_option
def list_(who: str, what: str, object_: str, outcome: str, since: str, until: str, limit: int, site: Path, as_json: bool) -> None:
    """Show what was done, newest first."""
    import orjson

    from engine.cli.stored import utc
    from engine.console.people.trail import Wanted, entries

    with opened(site, existing=True) as people:
        wanted = Wanted(who, what, object_, outcome, _instant(site, since, "since"), _instant(site, until, "until"))
        found = entries(people.database, wanted, limit=limit)
    if as_json:
        print_json([entry._asdict() | {"at": utc(entry.at), "details": orjson.loads(entry.details)} for entry in found])
    elif found:
        print_table(
            ("seq", "at", "who", "via", "what", "object", "outcome", "details"),
            [
                (entry.seq, utc(entry.at), entry.who, entry.via, entry.what, entry.object, entry.outcome, _short(entry.details))
                for entry in found
            ],
        )
    else:
        click.echo("Nothing is found.", err=True)
    if len(found) == limit and not as_json:
        click.echo(f"These are the newest {limit}; --limit shows more.", err=True)


@command.command("verify")
@click.option("--anchor", "told", default="", metavar="SEQ:HASH", help="An anchor that the log had, to compare with.")
@click.option("--from", "first", type=click.IntRange(1), default=1, help="Begin with this row, after a break that is known.")
@site_option
@json_option
def verify_(told: str, first: int, site: Path, as_json: bool) -> None:
    """Check that nobody has changed, taken out, put in or cut off anything.

    Ends with 0 when the trail is whole, with 1 when it is not, saying the first row that is wrong. The console logs the
    trail's last row every hour: with --anchor also a trail that was made anew as a whole is found.
    """
    from engine.console.people.trail import verify

    with opened(site, existing=True) as people:
        found = verify(people.database, first=first, told=_mark(told))
    if as_json:
        facts = {"sound": found.sound, "text": found.text, "rows": found.rows, "broken": found.broken or None}
        marks = {"head": str(found.head), "anchor": str(found.anchor) if found.anchor else None, "remarks": found.remarks}
        print_json(facts | marks)
    else:
        click.echo(f"{'whole' if found.sound else 'BROKEN'}: {found.text}")
        if found.sound:
            click.echo(f"The last row is {found.head}")
    if not found.sound:
        sys.exit(EXIT_FAILED)


def _mark(text: str) -> Mark | None:
    from engine.console.people.anchor import parse_mark

    try:
        return parse_mark(text) if text else None
    except ValueError as error:
        raise NotSo(f"{error}.") from None


def _instant(site: Path, text: str, key: str) -> int:
    """Microseconds since 1970, in the site's time zone; 0 for ''."""
    from engine.cli.stored import engine_settings
    from engine.query import parse

    if not text:
        return 0
    try:
        timezone = engine_settings(site).timezone
    except WardlineError:  # the trail is read while the site's files are wrong
        timezone = "UTC"
    search = parse(f"{key}:{text}", time.time_ns() // 1000, timezone)
    return search.since if key == "since" else search.until


def _short(details: str) -> str:
    return "" if details == "{}" else details if len(details) <= LONGEST else f"{details[: LONGEST - 1]}…"
