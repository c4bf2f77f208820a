"""`wardline rollback`: back to the configuration before."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.terminal import json_option, print_json, site_option


@click.command("rollback")
@click.argument("version", required=False)
@site_option
@json_option
def command(version: str | None, site: Path, as_json: bool) -> None:
    """Put the site's files back to the configuration before the one that runs, or to VERSION, and take it up.

    The files as they are now are set aside in .wardline/versions/undone. Without a running engine the files are put back
    all the same, and count at the next start.
    """
    from engine.cli.asking import ask, who
    from engine.config import read_site
    from engine.operations.control import NotRunning
    from engine.operations.versions import NoVersion, Versions

    versions = Versions(site)
    entries = versions.entries()
    if not entries:
        raise NoVersion("no engine has run here yet: there is no configuration to go back to")
    wanted = version or versions.before(entries[0].version)
    changed = versions.put_back(wanted, read_site(site, elsewhere=True).files)
    if not as_json:
        for name in changed:
            click.echo(f"put back  {name}")
    try:
        said = ask(site, "reload", who=who())
    except NotRunning:
        said = "no engine runs here: it counts at the next start"
    if as_json:
        print_json({"version": wanted, "files": changed, "changed": said})
    else:
        click.echo(said)
