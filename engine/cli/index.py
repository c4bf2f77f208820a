"""`wardline index`: the indexer of texts, in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import click

from engine.cli.terminal import site_option


@click.command("index")
@site_option
@click.option("--once", is_flag=True, help="Index what is there now, and end.")
@click.option("--rebuild", is_flag=True, help="Throw the index away and make it anew.")
@click.option("--companion", is_flag=True, hidden=True, help="End when standard input does: an engine has started this.")
def command(site: Path, once: bool, rebuild: bool, companion: bool) -> None:
    """Make texts findable: what came in, canonical payloads, what went out and what was answered.

    `wardline run` does it beside the engine. Here it goes on until Ctrl-C, or with --once until everything is indexed that
    there is. It gives way to everything else on the machine, and may be killed at any time: the store has everything, and
    the index of a SQLite store, FILE.search.db beside it, may be deleted. Ends with 75 when another indexer is at work.
    """
    from engine.cli.stored import absolute, engine_settings
    from engine.cli.terminal import progress
    from engine.contracts import DiskPolicy
    from engine.textindex.service import Service, step_back

    settings = engine_settings(site)
    disk = DiskPolicy(settings.disk.stop_below, settings.disk.warn_below, settings.disk.ballast)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: sys.exit(0))
    if companion:
        _end_with_input()
    step_back()
    service = Service(absolute(settings.store, site), _teller(companion), disk)
    if once:
        with progress("indexing") as told:
            service.run(once=True, rebuild=rebuild, progress=told)
    else:
        service.run(rebuild=rebuild)


def _teller(companion: bool) -> Callable[[str], None]:
    """Beside an engine what is said is a line of its log."""
    if not companion:
        return lambda text: click.echo(text, err=True)
    from engine.observe.logs import Logs

    logs = Logs("warning")
    return lambda text: logs.write("warning", "index", text=text)


def _end_with_input() -> None:
    """Whoever started us holds the other end of standard input. There is nothing to finish: see `engine.textindex.service`."""
    import threading

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os._exit(0)

    threading.Thread(target=wait, name="wardline-input", daemon=True).start()
