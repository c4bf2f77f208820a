"""`wardline resend`: deliveries that have ended go out once more."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.acting import acting_options, carry_out
from engine.model import Verb


@click.command("resend")
@acting_options
def command(query: tuple[str, ...], yes: bool, why: str, operation: str, site: Path, as_json: bool) -> None:
    """Send deliveries that have ended once more: the same bytes under the same identity, at the end of their lanes.

    A receiver that knows the identity takes it once. For a new translation of the message, see `wardline replay`. The plan
    comes first: how many, where to, how many had been delivered, and which have newer ones of the same order key.

    \b
      wardline resend destination:billing-api since:2h
    """
    carry_out(Verb.RESEND, query, yes, why, operation, site, as_json)
