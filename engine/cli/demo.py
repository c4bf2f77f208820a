"""`wardline demo`: a site, a simulated hospital around it, and live traffic, in one command."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

import click

from engine.cli.terminal import site_option

COPIED = ("conf", "channels", "mappings", "samples")
MARKER = ".wardline-demo"  # a directory with this file was made by the demo, and may be made anew
FEEDS = {"adt": "ADT_LISTEN", "charges": "CHARGES_LISTEN", "results": "RESULTS_LISTEN"}  # channel → its address variable
SAMPLES = {"adt": "adt_*.hl7", "charges": "dft_*.hl7", "results": "oru_*.hl7"}
CONSOLE = 8070  # where the demo's console is, unless somebody else is there
STRAY = "siu_s12_surgery.hl7"  # what no channel of the site takes
SETTLE_WITHIN = 30.0  # seconds that deliveries get to end after the last message was sent


@click.command("demo")
@site_option
@click.option("--messages", default=300, show_default=True, help="How many messages the simulated EHR sends.")
@click.option("--rate", default=15.0, show_default=True, help="Messages per second, over all feeds.")
@click.option("--exit", "leave", is_flag=True, help="End after the last message has settled (always so without a terminal).")
@click.option("--directory", type=click.Path(path_type=Path), default=Path("out/demo"), show_default=True,
              help="Where the demo keeps its copy of the site and its store.")  # fmt: skip
def command(site: Path, messages: int, rate: float, leave: bool, directory: Path) -> None:
    """Run the site's channels against a simulated hospital, and watch.

    An EHR sends admissions, charges and results; a patient registry, a billing API, a laboratory and an ERP's drop folder
    receive what the mappings make of them. Some messages are wrong on purpose: the screen shows which, where and why.
    """
    from engine import reactor

    running_reactor = reactor.install()
    from engine.cli.demo_screen import Screen
    from engine.cli.serve import serve
    from engine.config import load_site
    from engine.testing.hospital import Receivers

    here = _copy(site, directory)
    receivers = Receivers()
    ports = receivers.start(running_reactor)
    addresses = _environment(ports)
    os.environ.update(addresses)
    loaded = load_site(here)
    screen = Screen(loaded, interactive=sys.stdout.isatty())
    play = _Play(here, receivers, addresses, screen, messages, rate, stay=sys.stdout.isatty() and not leave)
    code = serve(loaded, level="error", subscriber=screen, accompany=play)
    screen.summary(play.answers(), directory)
    raise SystemExit(code or (0 if play.complete else 1))


class _Play:
    """What happens once the engine accepts: the laboratory opens, the feeds run, everything settles."""

    def __init__(
        self, here: Path, receivers: Any, addresses: dict[str, str], screen: Any, messages: int, rate: float, *, stay: bool
    ) -> None:
        import random

        from engine.testing.hospital import Feed

        self._receivers, self._addresses, self._screen = receivers, addresses, screen
        self._messages, self._rate, self._stay = messages, rate, stay
        self._here = here
        self.complete = False
        samples = here / "samples" / "hl7v2"
        stray = samples / STRAY
        self._feeds = [
            Feed(channel, sorted(samples.glob(pattern)), stray, random.Random(channel))  # noqa: S311 - for variety
            for channel, pattern in SAMPLES.items()
        ]

    def answers(self) -> dict[str, dict[str, int]]:
        return {feed.name: dict(feed.answers) for feed in self._feeds}

    async def __call__(self, engine: Any, runtime: Any) -> None:
        from twisted.internet.defer import Deferred, DeferredList, ensureDeferred

        from engine.testing.hospital import pause

        laboratory = await self._receivers.open_laboratory(runtime, int(self._addresses["LIS_PORT"]))
        self._screen.start(runtime.clock)
        ensureDeferred(self._invite(runtime.clock, pause))
        share, more = divmod(self._messages, len(self._feeds))
        flows = []
        for n, feed in enumerate(self._feeds):
            host, _, port = self._addresses[FEEDS[feed.name]].rpartition(":")
            count = share + (n < more)
            flows.append(ensureDeferred(feed.run(runtime.network, runtime.clock, host, int(port), self._rate / 3, count)))
        await DeferredList(flows, fireOnOneErrback=True, consumeErrors=True)
        await self._settle(runtime.clock, pause)
        if self._stay:
            self._screen.note("All messages have been sent and have settled. Ctrl-C ends the demo.")
            await Deferred[None]()
        self._screen.stop()
        await laboratory.stop()
        await self._receivers.stop()

    async def _invite(self, clock: Any, pause: Any) -> None:
        """Say where the console is, and how to get in, once it is there."""
        token = self._here / ".wardline" / "first-token"
        address = self._addresses["CONSOLE_LISTEN"]
        for _ in range(100):
            if token.exists() and _answers(address):
                self._screen.invite(f"http://{address}/first?token={token.read_text().strip()}")
                return
            await pause(clock, 0.2)

    async def _settle(self, clock: Any, pause: Any) -> None:
        """Until every delivery has ended, as the events tell."""
        until = time.monotonic() + SETTLE_WITHIN
        while time.monotonic() < until:
            if self._screen.settled(self._messages):
                self.complete = True
                return
            await pause(clock, 0.1)


def _copy(site: Path, directory: Path) -> Path:
    """A fresh copy of the site, so that the demo's traffic never meets real data."""
    if not (site / "channels").is_dir():
        raise click.UsageError(f"{site} is no site: it has no channels/. Run the demo in Wardline's repository, or name one.")
    here = directory if directory.is_absolute() else site / directory
    if here.exists() and not (here / MARKER).exists():
        raise click.UsageError(f"{here} exists and was not made by the demo. Name another with --directory.")
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir(parents=True)
    (here / MARKER).touch()
    for name in COPIED:
        if (site / name).is_dir():
            shutil.copytree(site / name, here / name)
    return here.resolve()


def _environment(ports: dict[str, int]) -> dict[str, str]:
    """The variables that the site's files leave open, for this machine and this hour."""
    free = _free_ports(len(FEEDS) + 3)
    addresses = {variable: f"127.0.0.1:{free.pop()}" for variable in FEEDS.values()}
    laboratory = free.pop()
    registry = f"http://127.0.0.1:{ports['registry']}"
    return addresses | {
        "CONSOLE_LISTEN": f"127.0.0.1:{CONSOLE if _is_free(CONSOLE) else free.pop()}",
        "LIS_PORT": str(laboratory),
        "LIS_CONNECT": f"127.0.0.1:{laboratory}",
        "BILLING_URL": f"http://127.0.0.1:{ports['billing']}/charges",
        "BILLING_TOKEN": "demo",
        "MPI_URL": f"{registry}/patients",
        "ENCOUNTERS_URL": f"{registry}/encounters",
    }


def _answers(address: str) -> bool:
    """Whether somebody listens there, by now."""
    host, _, port = address.rpartition(":")
    with socket.socket() as knocking:
        knocking.settimeout(0.2)
        return knocking.connect_ex((host, int(port))) == 0


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports
