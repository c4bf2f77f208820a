"""`wardline resume`: a paused or held destination goes on."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.terminal import site_option


@click.command("resume")
@click.argument("destination")
@site_option
def command(destination: str, site: Path) -> None:
    """Deliver to DESTINATION again, after a pause or after it was held for a configuration fault.

    Without a running engine it is noted for the next start.
    """
    from engine.cli.asking import who
    from engine.cli.steering import steer
    from engine.model import DestinationState

    click.echo(steer(site, destination, DestinationState.RUNNING, f"resumed by {who()}", "resume", who=who()))
