"""`wardline refused`: bytes that came over a connection and were no message."""

from __future__ import annotations

import sys
from base64 import b64encode
from pathlib import Path

import click

from engine.cli.terminal import json_option, print_json, print_table, site_option
from engine.errors import EXIT_FAILED, WardlineError

LONGEST = 60  # of the beginning, in a table
COLUMNS = ("number", "received", "channel", "peer", "reason", "bytes", "beginning")


class NotInTheRing(WardlineError):
    """The ring holds no frame of this number: it was never there, or newer ones have taken its place."""

    exit_code = EXIT_FAILED


@click.command("refused")
@click.argument("channel", required=False, default="")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="How many at most.")
@click.option("--content", "number", type=int, metavar="NUMBER", help="The kept bytes of one frame; piped: exactly these.")
@site_option
@json_option
def command(channel: str, limit: int, number: int | None, site: Path, as_json: bool) -> None:
    """List what senders sent that was no message: junk, cut frames, frames too large, TLS on a plain port. Newest first.

    Each channel keeps the last ones, up to 64 KiB of each; nothing of them was acknowledged. What was a message and was
    refused by a rule is found by `wardline search state:rejected`.
    """
    from engine.cli.stored import stored, utc
    from engine.escape import visible

    with stored(site) as store:
        if number is not None:
            found = [row for row in store.history.refused(limit=1, before=number + 1) if row.id == number]
            if not found:
                raise NotInTheRing(f"there is no refused frame {number} here (any more)")
            if sys.stdout.isatty():
                click.echo(visible(found[0].content.decode("latin-1"), 1 << 20))
            else:
                sys.stdout.buffer.write(found[0].content)
            return
        rows = store.history.refused(channel, limit)
        if as_json:
            print_json(
                [
                    row._asdict() | {"received_at": utc(row.received_at), "content": b64encode(row.content).decode()}
                    for row in rows
                ]
            )
        elif rows:
            lines = [
                (
                    *(str(row.id), store.local(row.received_at), row.channel, row.peer, row.reason, f"{row.size:,}"),
                    visible(row.content.decode("latin-1"), LONGEST),
                )
                for row in rows
            ]
            print_table(COLUMNS, lines)
        else:
            click.echo("Nothing has been refused.", err=True)
