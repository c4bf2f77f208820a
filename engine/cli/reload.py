"""`wardline reload`: a running engine takes up the site's files as they are now."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.terminal import json_option, print_json, site_option


@click.command("reload")
@site_option
@json_option
def command(site: Path, as_json: bool) -> None:
    """Have the running engine take up the site's files as they are now.

    All of them or none: if anything is wrong, every problem is shown, nothing changes, and the command ends with 78.
    Channels and destinations that stay the same keep their connections. SIGHUP does the same; `watch: true` in
    conf/engine.yaml does it by itself.
    """
    from engine.cli.asking import ask, who

    said = ask(site, "reload", who=who())
    if as_json:
        print_json({"changed": said})
    else:
        click.echo(said)
