"""`wardline backup`: a copy of the store, while the engine works."""

from __future__ import annotations

import time
from pathlib import Path

import click

from engine.cli.terminal import site_option


@click.command("backup")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@site_option
def command(file: Path, site: Path) -> None:
    """Copy the store to FILE, which must not exist yet. The engine may run: nobody waits for it.

    FILE holds one moment of the store. It is checked whole and flushed before it gets its name, and is readable by its
    owner alone. For SQLite; PostgreSQL has its own tools.
    """
    from engine.cli.stored import absolute, engine_settings
    from engine.cli.terminal import progress
    from engine.quantities import format_size
    from engine.store.backup import back_up

    url = absolute(engine_settings(site).store, site)
    with progress("copying") as told:
        copied = back_up(url, file.absolute(), time.time_ns() // 1000, told)
    click.echo(f"{file}: {copied.messages:,} messages, {format_size(-(-copied.size // 1024) * 1024)}, checked and flushed.")
