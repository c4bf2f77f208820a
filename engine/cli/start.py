"""`wardline start`: a stopped, draining or failed channel accepts again."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.terminal import site_option


@click.command("start")
@click.argument("channel")
@click.option("--why", default="", metavar="TEXT", help="For the record, and for whoever finds it so.")
@site_option
def command(channel: str, why: str, site: Path) -> None:
    """Open CHANNEL again: it accepts, and what waits in it is translated in order.

    Where its address cannot be had, the command says why and the channel has failed. Without a running engine it is noted for
    the next start.
    """
    from engine.cli.steering import steer_channel
    from engine.model import ChannelState

    click.echo(steer_channel(site, channel, ChannelState.RUNNING, "started", "start", why))
