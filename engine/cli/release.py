"""`wardline release`: what is parked goes on."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.acting import acting_options, carry_out
from engine.model import Verb


@click.command("release")
@acting_options
def command(query: tuple[str, ...], yes: bool, why: str, operation: str, site: Path, as_json: bool) -> None:
    """Let what is parked go on: what it waited for has been mended.

    Parked messages are translated anew by today's mapping, in the order in which they came; parked deliveries are sent
    again under the same identity, and stand in their lanes before everything younger. The plan comes first: how many,
    where to, and what has been overtaken.

    \b
      wardline release state:parked channel:charges
      wardline release 8000000000 --yes --why "account opened"
    """
    carry_out(Verb.RELEASE, query, yes, why, operation, site, as_json)
