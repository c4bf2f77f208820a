"""`wardline describe`: what can be written where, from the declarations that the engine itself reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.terminal import json_option, print_json, print_table

if TYPE_CHECKING:
    from engine.cli.reference import Entry

TITLES = {
    "connector": "Connectors",
    "format": "Formats",
    "file": "Files of a site",
    "function": "Functions",
    "filter": "Filters",
    "test": "Tests",
    "name": "Names",
    "entity": "Canonical entities",
}


@click.command("describe")
@click.argument("name", required=False, default="")
@click.option(
    "--markdown", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Write the reference pages into this directory.",
)  # fmt: skip
@json_option
def command(name: str, markdown: Path | None, as_json: bool) -> None:
    """Options of every connector, format and file; every function, filter and canonical entity.

    NAME is one of them: mllp, hl7v2, destinations.yaml, date, charge (or charge/v1). Without it all are listed.
    """
    if markdown is not None:
        from engine.cli.pages import write_pages

        for path in write_pages(markdown):
            click.echo(path)
        return
    from engine.cli.reference import entries

    found = entries()
    if name:
        found = _named(found, name)
    if as_json:
        print_json([_plain(entry) for entry in found])
    elif name:
        for entry in found:
            show(entry)
    else:
        for kind, group in groupby(found, key=lambda entry: entry.kind):
            print_table(
                ["", ""], [(entry.usage if entry.kind in _WRITTEN else entry.name, entry.about) for entry in group], TITLES[kind]
            )
            click.echo()


_WRITTEN = ("function", "filter", "test")  # shown as they are written


def _named(found: Sequence[Entry], name: str) -> list[Entry]:
    from engine.text import did_you_mean

    chosen = [entry for entry in found if name in (entry.name, entry.name.partition("/")[0], entry.name.partition(".")[0])]
    if not chosen:
        names = {entry.name for entry in found} | {entry.name.partition("/")[0] for entry in found}
        raise click.UsageError(f"there is nothing called '{name}'.{did_you_mean(name, sorted(names))}")
    return chosen


def show(entry: Entry) -> None:
    """One entry as text: what it is, and its tables."""
    click.secho(entry.name, bold=True, nl=False)
    click.echo(f"  {entry.kind}{f', {entry.usage}' if entry.usage else ''}")
    click.echo(f"{entry.about}\n")
    for part in entry.parts:
        if part.title and part.about:
            click.echo(f"as {part.title}: {part.about}")
        if part.rows:
            print_table(["name", "type", "default", ""], part.rows)
        click.echo()


def _plain(entry: Entry) -> dict[str, Any]:
    plain = asdict(entry)
    for part, given in zip(plain["parts"], entry.parts, strict=True):
        part["rows"] = [row._asdict() for row in given.rows]
    return plain
