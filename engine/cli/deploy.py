"""`wardline deploy`: a running engine takes up single channels, and nothing else."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.terminal import json_option, print_json, site_option


@click.command("deploy")
@click.argument("channels", metavar="CHANNEL...", nargs=-1, required=True)
@site_option
@json_option
def command(channels: tuple[str, ...], site: Path, as_json: bool) -> None:
    """Have the running engine take up one channel (or several) as its files are now.

    With its mappings, its code tables and destinations that are new; every other channel stays as it runs. The whole site
    must be right: if anything is wrong nothing changes, and the command ends with 78.
    """
    from engine.cli.asking import ask, who

    said = ask(site, "reload", who=who(), only=channels)
    if as_json:
        print_json({"changed": said})
    else:
        click.echo(said)
