"""`wardline replay`: messages are taken once more, by today's mapping."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.acting import acting_options, carry_out
from engine.model import Verb


@click.command("replay")
@acting_options
def command(query: tuple[str, ...], yes: bool, why: str, operation: str, site: Path, as_json: bool) -> None:
    """Take messages once more, as if they came again: translated by today's mapping, delivered under new identities.

    The business fact keeps its idempotency key. Replays join the lanes behind what stands there, and are let in slowly, so
    that live traffic goes first. The plan comes first: how many, where they went, how many had been delivered, and which
    have newer ones of the same order key.

    \b
      wardline replay channel:charges since:2026-11-20 until:2026-11-21
    """
    carry_out(Verb.REPLAY, query, yes, why, operation, site, as_json)
