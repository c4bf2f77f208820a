"""`wardline status`: what runs here, and what waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from engine.cli.terminal import json_option, print_json, print_table, site_option

CHANNELS = ("channel", "state", "version", "received", "translated", "filtered", "parked", "rejected", "duplicate", "why")
DESTINATIONS = ("destination", "state", "waiting", "oldest", "delivered", "parked", "why")


@click.command("status")
@site_option
@json_option
def command(site: Path, as_json: bool) -> None:
    """Show what runs here and what waits: channels with their state and messages, destinations with their queues.

    Without a running engine the store alone is read, and the first line says so. Counting takes about half a second for each
    million messages.
    """
    from engine.cli.asking import ask
    from engine.cli.stored import stored, utc
    from engine.operations.control import NotRunning

    try:
        running = ask(site, "status")
    except NotRunning:
        running = {}
    with stored(site) as store:
        counts = store.history.counts()
        facts = _facts(running, counts)
        if as_json:
            for row in facts["destinations"].values():
                row["oldest"] = utc(row["oldest"])
            print_json(facts)
            return
        if running:
            click.echo(f"An engine runs, process {running['pid']}, configuration {running['version']}.")
        else:
            click.echo("No engine runs here; this is what its store holds.")
        click.echo()
        print_table(CHANNELS, [_channel(name, row) for name, row in facts["channels"].items()])
        click.echo()
        print_table(DESTINATIONS, [_destination(name, row, store.local) for name, row in facts["destinations"].items()])


def _facts(running: dict[str, Any], counts: Any) -> dict[str, Any]:
    """Where no engine runs, states are those of the next start."""
    known: dict[str, dict[str, Any]] = running.get("channels", {})
    states: dict[str, dict[str, Any]] = running.get("destinations", {})
    channels: dict[str, dict[str, Any]] = {}
    for name in {*known, *counts.channels, *(name for name, _ in counts.messages)}:
        state, why = counts.channels.get(name, ("", "")) if not running else ("", "")
        row = known.get(name, {"state": state, "version": "", "why": why})
        channels[name] = {word: row[word] for word in ("state", "version", "why")}
    for (name, state), number in counts.messages.items():
        channels[name][state] = number
    destinations: dict[str, dict[str, Any]] = {}
    for name in sorted({*states, *counts.destinations}):
        state, why = counts.destinations.get(name, ("", ""))
        if name in states:
            state, why = states[name]["state"], states[name]["why"]
        ended = {one: number for (to, one), number in counts.deliveries.items() if to == name}
        destinations[name] = {"state": state, "why": why, "oldest": counts.oldest.get(name, 0), **ended}
    return {"running": bool(running), "channels": dict(sorted(channels.items())), "destinations": destinations}


def _channel(name: str, row: dict[str, Any]) -> list[str]:
    from engine.escape import visible

    counts = [f"{row[state]:,}" if row.get(state) else "" for state in CHANNELS[3:-1]]
    return [name, row["state"], row["version"], *counts, visible(row["why"])]


def _destination(name: str, row: dict[str, Any], local: Any) -> list[str]:
    from engine.escape import visible

    count = {state: f"{row[state]:,}" if row.get(state) else "" for state in ("waiting", "delivered", "parked")}
    oldest = local(row["oldest"]) if row["oldest"] else ""
    return [name, row["state"], count["waiting"], oldest, count["delivered"], count["parked"], visible(row["why"])]
