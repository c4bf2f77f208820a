"""`wardline drain`: a channel takes nothing more, and stops once all it has is delivered."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.terminal import site_option


@click.command("drain")
@click.argument("channel")
@click.option("--why", default="", metavar="TEXT", help="For the record, and for whoever finds it so.")
@site_option
def command(channel: str, why: str, site: Path) -> None:
    """Close CHANNEL, but translate and deliver what it has; once nothing of it waits, it is stopped.

    What is parked waits for people and holds nothing up; a destination that is paused or away does. It goes on through a
    reload and a restart. Without a running engine it is noted for the next start.
    """
    from engine.cli.steering import steer_channel
    from engine.model import ChannelState

    click.echo(steer_channel(site, channel, ChannelState.DRAINING, "drained", "drain", why))
