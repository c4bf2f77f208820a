"""What the console costs intake: `python -m tests.campaign.console`.

An engine is loaded from sixteen connections, without a console and with one that somebody uses: the dashboard is open and
live in two windows, and one text search after the other runs. Rounds alternate, so that what else the machine does falls on
both; medians are compared.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx

from engine.console.guard import COOKIE
from engine.console.people import Actor, People
from engine.console.rights import Grant, Role
from engine.testing.machine import machine
from engine.testing.processes import EngineProcess, SinkProcess, copy_site, free_port, run_load

CONNECTIONS = 16
LEAST = 0.90  # of the throughput without
MOST = 1.10  # times the p99 without
WORDS = ("Featherstone", "charge", "FT1", "2026", "GENERAL", "CHG*", '"ACC"', "nothing like this")
PASSWORD = "gravel lantern otter quilt"


class Someone:
    """Looks at the dashboard in two windows and searches, as fast as answers come."""

    def __init__(self, site: Path, address: str) -> None:
        self._base = f"http://{address}"
        people = People(site, lambda: time.time_ns() // 1000)
        if people.empty:
            people.persons.accept(
                people.persons.add(Actor("campaign", "local"), "ann", "Ann", (Grant(Role.ADMIN),)), PASSWORD, ""
            )
        self._headers = {"cookie": f"{COOKIE}={people.login.password('ann', PASSWORD, '127.0.0.1', '').cookie}"}
        people.close()
        self._over = threading.Event()
        self.searches: list[float] = []
        self.events = 0
        self.problems: list[str] = []
        live = self._live()
        self._threads = [threading.Thread(target=self._guarded, args=(work,)) for work in (self._search, live, live)]

    def _live(self) -> Callable[[], None]:
        with httpx.Client(base_url=self._base, headers=self._headers, timeout=30) as client:
            page = client.get("/")
            page.raise_for_status()
        found = re.search(r'data-live="([^"]+)"', page.text)
        assert found is not None, "the dashboard has nothing live"
        address = found[1]

        def watch() -> None:
            headers = self._headers | {"accept": "text/event-stream"}
            with (
                httpx.Client(base_url=self._base, headers=headers, timeout=30) as client,
                client.stream("GET", address) as answer,
            ):
                for line in answer.iter_lines():
                    self.events += line.startswith("data:")
                    if self._over.is_set():
                        return

        return watch

    def _search(self) -> None:
        with httpx.Client(base_url=self._base, headers=self._headers, timeout=30) as client:
            n = 0
            while not self._over.is_set():
                begin = time.monotonic()
                answer = client.get("/messages", params={"q": WORDS[n % len(WORDS)]})
                if answer.status_code == 429:  # as fast as the console lets one person
                    time.sleep(0.2)
                    continue
                if answer.status_code != 200:
                    self.problems.append(f"search answered {answer.status_code}")
                self.searches.append(time.monotonic() - begin)
                n += 1

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            if not self._over.is_set():
                self.problems.append(f"{type(error).__name__}: {error}")

    def __enter__(self) -> Someone:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(20)


def one_round(place: Path, sink: SinkProcess, seconds: float, *, console: bool) -> dict[str, Any]:
    """An engine on a store of its own, warmed up, then measured."""
    site = copy_site(place)
    listen, web = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    if console:
        settings = site / "conf" / "engine.yaml"
        settings.write_text(settings.read_text() + f"console: {{listen: {web}}}\n")
    environment = {
        "CHARGES_LISTEN": listen,
        "CHARGES_HTTP_LISTEN": f"127.0.0.1:{free_port()}",
        "BILLING": sink.addresses["mllp"],
        "BILLING_HTTP": f"http://{sink.addresses['http']}/charges",
    }
    engine = EngineProcess(site, environment)
    engine.start()
    try:
        host, _, port = listen.rpartition(":")
        engine.await_port((host, int(port)))
        run_load(listen, connections=CONNECTIONS, seconds=3.0, prefix="W")
        if not console:
            return {"load": run_load(listen, connections=CONNECTIONS, seconds=seconds, prefix="M"), "someone": None}
        host, _, port = web.rpartition(":")
        engine.await_port((host, int(port)))
        with Someone(site, web) as someone:
            load = run_load(listen, connections=CONNECTIONS, seconds=seconds, prefix="M")
        return {"load": load, "someone": someone}
    finally:
        engine.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    found: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    with (
        tempfile.TemporaryDirectory(prefix="wardline-console-") as directory,
        SinkProcess("--mllp", "127.0.0.1:0", "--http", "127.0.0.1:0") as sink,
    ):
        for n in range(given.rounds):
            for console in (False, True) if n % 2 else (True, False):
                one = one_round(Path(directory) / f"{n}-{console}", sink, given.seconds, console=console)
                found[console].append(one)
                load = one["load"]
                print(
                    f"round {n + 1} {'with' if console else 'without':8} {load['acked_per_second']:7.0f}/s  p99 {load['ack_ms']['p99']:6.2f} ms",
                    flush=True,
                )
        facts = machine(Path(directory))
    rate = {console: statistics.median(one["load"]["acked_per_second"] for one in ones) for console, ones in found.items()}
    p99 = {console: statistics.median(one["load"]["ack_ms"]["p99"] for one in ones) for console, ones in found.items()}
    someone = [one["someone"] for one in found[True]]
    searches = sorted(seconds for one in someone for seconds in one.searches)
    problems = [problem for one in someone for problem in one.problems]
    good = not problems and rate[True] >= LEAST * rate[False] and p99[True] <= MOST * p99[False]
    lines = [
        "# Intake with the console in use",
        "",
        f"`make campaign-console`, {given.rounds} rounds of {given.seconds:.0f} s, {CONNECTIONS} connections with one message in flight each;",
        f"{facts['cores']} cores, generator and receiver on the same ones, Python {facts['python']}, SQLite {facts['sqlite']}.",
        "With a console: the dashboard is live in two windows, and one text search follows the other; the index is kept up.",
        "",
        "| | acknowledged/s | ACK p99 |",
        "|---|---|---|",
        f"| without a console | {rate[False]:,.0f} | {p99[False]:.2f} ms |",
        f"| with a console in use | {rate[True]:,.0f} | {p99[True]:.2f} ms |",
        f"| ratio | {rate[True] / rate[False]:.2f} | {p99[True] / p99[False]:.2f} |",
        "",
        f"{len(searches)} searches meanwhile, median {1000 * statistics.median(searches or [0]):.0f} ms, slowest {1000 * (searches or [0])[-1]:.0f} ms; "
        f"{sum(one.events for one in someone)} live events.",
        "",
    ]  # fmt: skip
    print("\n".join([*lines, *problems]))
    if given.report:
        given.report.write_text("\n".join(lines))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
