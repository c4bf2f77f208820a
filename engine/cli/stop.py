"""`wardline stop`: a channel takes and translates nothing more until it is started."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.terminal import site_option


@click.command("stop")
@click.argument("channel")
@click.option("--why", default="", metavar="TEXT", help="For the record, and for whoever finds it so.")
@site_option
def command(channel: str, why: str, site: Path) -> None:
    """Close CHANNEL: its source closes, and what it has received waits untranslated until the channel is started.

    What has been translated is delivered. Where others share its address, what it would take is answered as unavailable, and
    its sender sends it again. It stays stopped through a reload and a restart. Without a running engine it is noted for the
    next start.
    """
    from engine.cli.steering import steer_channel
    from engine.model import ChannelState

    click.echo(steer_channel(site, channel, ChannelState.STOPPED, "stopped", "stop", why))
