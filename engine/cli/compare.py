"""`wardline compare`: what another configuration would make of the messages that came in, before it is deployed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.terminal import json_option, print_json, print_table, progress, site_option
from engine.errors import EXIT_FAILED

if TYPE_CHECKING:
    from engine.testing.compare import Comparison

TITLES = {
    "changed": "Changed, by field",
    "failing": "Would park, and did not",
    "rejected": "Would be refused, and were not",
    "filtered": "Would be filtered, and were not",
    "accepted": "Were refused or filtered, and would be delivered",
    "mended": "Parked, and would be delivered",
}


@click.command("compare")
@click.option("--since", default="24h", show_default=True, help="Messages received from then on: 2h, 3d, 2026-11-21.")
@click.option("--until", default="", help="Messages received until then; without it until now.")
@click.option(
    "--with",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="The site's directory as it would be: its conf/, channels/ and mappings/.",
)
@click.option("--channel", "channels", multiple=True, help="Only this channel; may stand several times.")
@site_option
@json_option
def command(since: str, until: str, directory: Path, channels: tuple[str, ...], site: Path, as_json: bool) -> None:
    """Translate stored messages by the configuration in DIR, and compare with what was really made of them.

    Nothing is sent and nothing is written. Messages are shown as identical, changed (by field: which, how many, three ids)
    and failing, with those that would be filtered, refused or newly accepted. Values are not shown: `wardline show ID` has
    them.

    Ends with 0 where everything is identical, and with 1 where anything is different.
    """
    from engine.cli.stored import absolute, engine_settings
    from engine.query import parse
    from engine.store.search import Query
    from engine.testing.comparing import compared, configuration

    settings = engine_settings(site)
    now = time.time_ns() // 1000
    span = parse(f"since:{since}" + (f" until:{until}" if until else ""), now, settings.timezone)
    query = Query(channel=channels, since=span.since, until=span.until - 1 if span.until else now)
    other = configuration(directory, site)
    with progress("comparing") as bar:
        comparison = compared(
            absolute(settings.store, site),
            other,
            query,
            lambda so_far: bar(query.until - so_far.reached, query.until - query.since),
        )
    if as_json:
        print_json({"version": other.version, "since": query.since, "until": query.until, **comparison.data()})
    else:
        _tell(comparison)
    raise SystemExit(EXIT_FAILED if comparison.different else 0)


def _tell(comparison: Comparison) -> None:
    data = comparison.data()
    for what, title in TITLES.items():
        groups = [group for group in data["groups"] if group["what"] == what]
        if groups:
            columns = ("messages", "channel", "route", "field", "change", "for example") if what == "changed" else (
                "messages", "channel", "for example", "reason"
            )  # fmt: skip
            click.secho(f"{title}: {data['counts'][what]:,} of {data['messages']:,}", bold=True)
            print_table(columns, [_line(group, what) for group in groups])
            click.echo()
    for why, count in data["left_out"].items():
        click.echo(f"{count:,} left out: {why}")
    click.echo(_summary(data))


def _line(group: dict[str, Any], what: str) -> list[str]:
    from engine.escape import visible

    examples = " ".join(group["examples"])
    if what == "changed":
        cells = [group["channel"], group["route"] or "all", visible(group["field"]), group["change"], examples]
    else:
        cells = [group["channel"], examples, visible(group["field"])]
    return [f"{group['messages']:,}", *cells]


def _summary(data: dict[str, Any]) -> str:
    if not data["messages"]:
        return "There is nothing to compare in this time: try an earlier --since."
    counts = data["counts"]
    parts = [f"{counts[what]:,} {what}" for what in ("identical", *TITLES) if counts.get(what)]
    return f"{data['messages']:,} messages: {', '.join(parts)}"
