"""`wardline pause`: a destination gets nothing more until it is resumed."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.terminal import site_option


@click.command("pause")
@click.argument("destination")
@click.option("--why", default="", metavar="TEXT", help="For the record, and for whoever finds it paused.")
@site_option
def command(destination: str, why: str, site: Path) -> None:
    """Deliver nothing more to DESTINATION until it is resumed.

    What is on the wire is finished; what comes for it waits in its queue, in order. It stays paused when the engine is
    started again. Without a running engine it is noted for the next start.
    """
    from engine.cli.asking import who
    from engine.cli.steering import steer
    from engine.model import DestinationState

    reason = f"paused by {who()}{': ' + why if why else ''}"
    click.echo(steer(site, destination, DestinationState.PAUSED, reason, "pause", who=who(), why=why))
