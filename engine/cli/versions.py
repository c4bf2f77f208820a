"""`wardline versions`: the configurations that ran here."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.terminal import json_option, print_json, site_option


@click.command("versions")
@site_option
@json_option
def command(site: Path, as_json: bool) -> None:
    """List the configurations that ran here, newest first: version, when it was taken up, by whom and how.

    Each is kept whole; `wardline rollback` goes back to one. A message's version is shown by `wardline show`.
    """
    from engine.cli.stored import utc
    from engine.operations.versions import Versions, as_data

    entries = Versions(site).entries()
    if as_json:
        print_json(as_data(entries))
        return
    if not entries:
        click.echo("No engine has run here yet.")
    for entry in entries:
        by = f" by {entry.who}" if entry.who else ""
        click.echo(f"{entry.version}  {utc(entry.at)}  {entry.what}{by}")
