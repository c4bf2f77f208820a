"""`wardline run`: the engine on a site, in the foreground, until SIGTERM or Ctrl-C."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.terminal import site_option


@click.command("run")
@site_option
@click.option("--quiet", is_flag=True, help="Log warnings and errors only.")
def command(site: Path, quiet: bool) -> None:
    """Run the engine on a site.

    Ends with 0 after SIGTERM (what was accepted is stored, what was on the wire is finished), 74 when storage failed,
    75 when another engine holds the store, 78 when the configuration is wrong.
    """
    from engine.cli.serve import serve
    from engine.config import load_site

    raise SystemExit(serve(load_site(site), level="warning" if quiet else "info"))
