"""`wardline cancel`: what is parked or waits is not to be delivered."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.acting import acting_options, carry_out
from engine.model import Verb


@click.command("cancel")
@acting_options
def command(query: tuple[str, ...], yes: bool, why: str, operation: str, site: Path, as_json: bool) -> None:
    """End what is parked or waits, undelivered. What is on the wire just now is not touched.

    It stays findable, with your name and the reason. The plan comes first: how many, and where they would have gone.

    \b
      wardline cancel mrn:12345 destination:billing-api --why "entered for the wrong person"
    """
    carry_out(Verb.CANCEL, query, yes, why, operation, site, as_json)
