"""`wardline restore`: a store from a copy, which delivers nothing until somebody says so."""

from __future__ import annotations

import time
from pathlib import Path

import click

from engine.cli.terminal import site_option


@click.command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@site_option
def command(file: Path, site: Path) -> None:
    """Put the backup FILE in the place of the site's store. No engine may run on it.

    The old store is kept beside it. Every destination is paused: what the restored store would send may have been
    delivered since the backup. Start the engine, look, and `wardline resume` one destination after another.
    """
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from engine.cli.stored import absolute
    from engine.config import load_site
    from engine.store.backup import restore

    loaded = load_site(site)

    def moment(instant: int) -> str:
        return datetime.fromtimestamp(instant / 1_000_000, ZoneInfo(loaded.timezone)).strftime("%Y-%m-%d %H:%M")

    names = [spec.name for spec in loaded.destinations]
    url = absolute(loaded.store, Path(loaded.directory))
    copied, aside = restore(url, file.absolute(), names, moment, time.time_ns() // 1000)
    click.echo(f"Restored: {copied.messages:,} messages, as they were on {moment(copied.made_at)}.")
    if aside is not None:
        click.echo(f"The old store is kept as {aside}.")
    click.echo("Every destination is paused. Start the engine, see what was delivered since, then:")
    for name in names:
        click.echo(f"  wardline resume {name}")
