"""How heavy the console's pages are, and how soon something is seen: `python -m tests.browser.pages --report PAGE`."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser

from engine.testing.machine import machine
from tests.browser.chromium import Window, chromium
from tests.browser.place import SAMPLES, Place, charge, running

ROUNDS = 7
HEAVIEST = 150_000  # bytes of a page with everything it loads
LATEST = 200.0  # milliseconds until something is seen
COLD = """() => ['encodedBodySize', 'decodedBodySize'].map(size =>
  [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].reduce((sum, one) => sum + one[size], 0))"""
PAINT = "() => performance.getEntriesByName('first-contentful-paint').map(one => one.startTime)[0]"
ANSWER = "() => { const one = performance.getEntriesByType('navigation')[0]; return one.responseStart - one.requestStart; }"


class Measured(NamedTuple):
    name: str
    sent: int  # bytes over the wire, of everything, with an empty cache
    weight: int  # of the same unpacked
    first: float  # milliseconds until the first contents are painted, with an empty cache
    paint: float  # the same later, half of the times
    answer: float  # of it, until the console's answer began


def fill(place: Place) -> str:
    """A morning's work, and the id of a message of it."""
    for channel in ("adt", "charges", "results"):
        place.send(channel, *(path.read_bytes() for path in sorted(SAMPLES.glob("*.hl7"))))
    place.send("charges", *(charge(n, f"ACC-{n % 40}", mrn=f"{100_000 + n % 60}") for n in range(400)))
    taken = place.receiver.await_taken("/charges", 400)
    return taken[0].identity.partition("-")[0]


def opened(window: Window, path: str) -> None:
    window.go(path)
    window.wait(f"() => ({PAINT})() !== undefined")


def measure(browser: Browser, place: Place, cookie: str, name: str, path: str) -> Measured:
    window = Window(browser, place.url, cookie)
    try:
        opened(window, path)
        (sent, weight), first = window.page.evaluate(COLD), window.page.evaluate(PAINT)
        paints, answers = [], []
        for _ in range(ROUNDS):
            opened(window, path)
            paints.append(window.page.evaluate(PAINT))
            answers.append(window.page.evaluate(ANSWER))
        return Measured(name, sent, weight, first, statistics.median(paints), statistics.median(answers))
    finally:
        window.close()


def pages(message: str) -> dict[str, str]:
    return {
        "dashboard": "/", "newest messages": "/messages", "a search": "/messages?q=account:ACC-7", "a message": f"/messages/{message}",
        "parked": "/worklists/parked", "unknown codes": "/worklists/codes", "a plan": "/plans/new?verb=replay&q=account:ACC-7",
        "jobs": "/jobs", "trends": "/trends", "the map": "/map", "the site": "/site", "a file": "/site/files/mappings/dft-to-charge.yaml",
        "the workbench": "/workbench?sample=hl7v2/dft_p03_pharmacy.hl7", "compare": "/compare", "people": "/people", "audit": "/audit",
        "account": "/account", "log in": "/login",
    }  # fmt: skip


def page(found: list[Measured]) -> str:
    """docs/reports/console-pages.md"""
    facts = machine(Path())
    rows = [
        f"| {one.name} | {one.sent / 1000:.0f} | {one.weight / 1000:.0f} | {one.first:.0f} | {one.paint:.0f} | {one.answer:.0f} |"
        for one in found
    ]
    heavy = [one.name for one in found if one.weight > HEAVIEST]
    late = [one.name for one in found if one.paint > LATEST]
    said = (
        f"No page is heavier than {HEAVIEST // 1000} kB"
        if not heavy
        else f"Heavier than {HEAVIEST // 1000} kB: {', '.join(heavy)}"
    )
    soon = (
        f"every page shows its first contents within {LATEST:.0f} ms"
        if not late
        else f"later than {LATEST:.0f} ms: {', '.join(late)}"
    )
    return (
        "# The console's pages\n\n"
        f"{said}; {soon}. Version {facts['wardline']}; repeat it with `python -m tests.browser.pages`.\n\n"
        "Chromium on the machine of the engine and its console, over HTTP; a store with some hundred messages. Weight is\n"
        "everything that a page loads with an empty cache: HTML, styles, scripts, pictures, and what htmx fetches at once. Paint is the\n"
        f"browser's first contentful paint; afterwards the median of {ROUNDS}, with styles and scripts in the cache, as everybody has them after\n"
        "the first page.\n\n"
        "| page | sent, kB | unpacked, kB | first paint, empty cache, ms | afterwards, ms | of it until the answer began, ms |\n|---|---|---|---|---|---|\n"
        + "\n".join(rows)
        + f"\n\nMachine: {facts['cores']} cores, {facts['processor']}, {facts['system']}; Python {facts['python']}, SQLite {facts['sqlite']}; "
        f"load average at the end {os.getloadavg()[0]:.1f}.\n"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.pages", description=__doc__)
    parser.add_argument("--report", type=Path, help="write the page to this file")
    options = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="wardline-pages-", ignore_cleanup_errors=True) as directory,
        running(Path(directory)) as place,
        chromium() as browser,
    ):
        message, cookie = fill(place), place.let_in("ann", place.admin)
        found = [measure(browser, place, cookie if path != "/login" else "", name, path) for name, path in pages(message).items()]
    print(page(found))
    if options.report:
        options.report.write_text(page(found), encoding="utf-8")
    return 1 if any(one.weight > HEAVIEST for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
