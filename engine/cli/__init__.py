"""The `wardline` command: one file a command, loaded when it is used."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from engine import __version__
from engine.errors import WardlineError

COMMANDS = {
    "demo": "the whole thing in one command: channels, a simulated hospital, live traffic",
    "run": "run the engine on a site",
    "console": "serve the web console and its API, beside an engine or alone",
    "check": "lint every file of a site, all errors at once",
    "test": "run the tests of mappings and channels",
    "map": "try a mapping on a message, without running anything",
    "inspect": "show a message as the engine reads it",
    "send": "send messages like a real sender",
    "simulate": "be the system that receives, with its bad days",
    "status": "what runs here, and what waits",
    "reload": "have a running engine take up the site's files",
    "deploy": "have a running engine take up single channels",
    "rollback": "go back to the configuration before",
    "versions": "the configurations that ran here",
    "stop": "close a channel: it takes and translates nothing more",
    "drain": "close a channel, and stop it once all it has is delivered",
    "start": "open a stopped channel again",
    "pause": "deliver nothing more to a destination for now",
    "resume": "go on after a pause or a hold",
    "search": "find messages",
    "index": "make texts findable, and keep them so",
    "show": "show one message: its way, its deliveries, its attempts",
    "backup": "copy the store while the engine works",
    "restore": "put a backup in the store's place, with every destination paused",
    "refused": "what came over a connection and was no message",
    "release": "let what is parked go on",
    "cancel": "end what is parked or waits, undelivered",
    "resend": "send what has ended once more",
    "replay": "take messages once more, by today's mapping",
    "compare": "what another configuration would make of stored messages",
    "codes": "code tables, what waits for a row, and adding one",
    "people": "who may use the console, and letting them in",
    "audit": "what people did and saw, and whether the record is whole",
    "describe": "options of every connector, format and function",
    "schema": "JSON Schemas for editors and for the canonical entities",
    "init": "make a new site with one working channel and its tests",
    "bench": "measure this machine",
}
"""Each is `engine/cli/<name>.py` (`test` is `test_.py`, `map` is `map_.py`) with a click command named `command`."""


class LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"engine.cli.{name}_" if name in ("test", "map") else f"engine.cli.{name}")
        command: click.Command = module.command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        import difflib

        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise click.UsageError(f"{error.message.rstrip('.')}.{hint}", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wardline")
def cli() -> None:
    """Wardline, a healthcare interface engine.

    All commands take --site DIR, the directory with conf/, channels/ and mappings/ (default: the current one).
    """


def main(arguments: list[str] | None = None) -> Any:
    try:
        return cli.main(arguments, prog_name="wardline")
    except WardlineError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)
