"""How fast messages are found by keys, states and times in a store of a million: `python -m tests.bench.search_bench`.

Each question is asked many times, each time about something else: the query is read, a page of fifty is found, and what its
lines say is fetched, as the console and `wardline search` do. The store is filled through its own verbs (`tests.bench.big_store`),
or given with `--sqlite URL` and `--postgresql URL`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from engine.ids import format_id
from engine.query import completions, find, parse
from engine.query.lines import lines
from engine.store.history import History, Query
from engine.testing.load import quantile
from engine.testing.machine import machine
from tests.bench.big_store import CHANNELS, DESTINATIONS, Made
from tests.support import postgresql_database

DAY = 86_400_000_000
TITLE = "By keys, states and time"
AIM = 0.1  # seconds, at the 99th percentile, of what an index leads to


class Kind(NamedTuple):
    asked: Callable[[], str]
    aim: bool = True  # that AIM is meant for it
    before: Callable[[], int] = lambda: 0


class Timed(NamedTuple):
    p50: float  # seconds
    p99: float
    cpu: float  # seconds of one, of this process and of the database's for it: what other work on the machine does not change
    rows: int  # found, at the median


def kinds(history: History, messages: int, chance: random.Random) -> dict[str, Kind]:
    def made(count: int = 1) -> list[Made]:
        return [Made(chance.randrange(messages)) for _ in range(count)]

    (newest,) = history.find(limit=1)
    now = newest.received_at
    day = lambda: now - chance.randrange(1, 28) * DAY  # noqa: E731
    ids = [row.id for _ in range(20) for row in history.find(Query(until=day()), 10)]
    iso = lambda at: time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(at / 1e6))  # noqa: E731
    return {
        "the newest": Kind(lambda: ""),
        "a message's id": Kind(lambda: format_id(chance.choice(ids))),
        "a control id": Kind(lambda: f"control:{made()[0].control_id}"),
        "a business key": Kind(lambda: f"mrn:{made()[0].mrn}"),
        "a business key that is not there": Kind(lambda: f"mrn:X{chance.randrange(10**6)}"),
        "two business keys": Kind(lambda: "mrn:{0.mrn} order:{0.order}".format(*made())),
        "a list of 10 orders": Kind(lambda: "order:" + ",".join(one.order for one in made(10))),
        "**a list of 1,000 orders**, the first page": Kind(lambda: "order:" + ",".join(one.order for one in made(1000))),
        "a list of 1,000 control ids, the first page": Kind(lambda: "control:" + ",".join(one.control_id for one in made(1000))),
        "a list of 1,000 orders of which none is there": Kind(
            lambda: "order:" + ",".join(f"N{one.order}" for one in made(1000)), aim=False
        ),
        "state:parked": Kind(lambda: "state:parked"),
        "state:parked, a channel": Kind(lambda: f"state:parked channel:{chance.choice(CHANNELS)}"),
        "state:rejected,duplicate": Kind(lambda: "state:rejected,duplicate"),
        "state:waiting": Kind(lambda: "state:waiting"),
        "a destination, state:parked": Kind(lambda: f"destination:{chance.choice(DESTINATIONS)} state:parked"),
        "a channel, since:24h": Kind(lambda: f"channel:{chance.choice(CHANNELS)} since:24h"),
        "a channel, an hour of some day": Kind(
            lambda: f"channel:{chance.choice(CHANNELS)} since:{iso(at := day())} until:{iso(at + DAY // 24)}"
        ),
        "a type, but for a channel": Kind(lambda: f"type:ADT -channel:{chance.choice(CHANNELS)}"),
        "a channel, from the middle back": Kind(lambda: f"channel:{chance.choice(CHANNELS)}", before=lambda: chance.choice(ids)),
        "is:in-doubt": Kind(lambda: "is:in-doubt", aim=False),
        'error:"account unknown"': Kind(lambda: 'error:"account unknown"', aim=False),
        "an error that never was": Kind(lambda: f"error:never{chance.randrange(1000)}", aim=False),
    }


def measured(url: str, messages: int, times: int, say: Callable[[str], None]) -> dict[str, Timed]:
    chance = random.Random(11)
    found: dict[str, Timed] = {}
    with History(url) as history:
        busy = worked(history)
        for name, kind in kinds(history, messages, chance).items():
            took, rows = [], []
            count = times if kind.aim else max(3, times // 20)
            before_cpu = busy()
            for _ in range(count):
                query, before = kind.asked(), kind.before()
                began = time.perf_counter()
                page = find(history, parse(query, time.time_ns() // 1000, names=["mrn", "account", "visit", "order"]), 50, before)
                lines(history, page.rows)
                took.append(time.perf_counter() - began)
                rows.append(len(page.rows))
            cpu = (busy() - before_cpu) / count
            took.sort()
            found[name] = Timed(quantile(took, 0.5), quantile(took, 0.99), cpu, sorted(rows)[len(rows) // 2])
            one = found[name]
            say(f"{name}: p50 {one.p50 * 1e3:.1f} ms, p99 {one.p99 * 1e3:.1f} ms, CPU {cpu * 1e3:.1f} ms, {one.rows} rows")
        took = []
        before_cpu = busy()
        for _ in range(times):
            began = time.perf_counter()
            completions(history, chance.choice(["st", "channel:", "type:A", "destination:e", ""]))
            took.append(time.perf_counter() - began)
        took.sort()
        found["completions while typing"] = Timed(quantile(took, 0.5), quantile(took, 0.99), (busy() - before_cpu) / times, 0)
    return found


def worked(history: History) -> Callable[[], float]:
    """The seconds of CPU that this process has used, and the database's for it."""
    connection = getattr(history._reader, "_connection")  # noqa: B009 - both readers have one
    process = getattr(getattr(connection, "info", None), "backend_pid", 0)
    stat = Path(f"/proc/{process}/stat")
    ticks = os.sysconf("SC_CLK_TCK")

    def busy() -> float:
        theirs = sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13])) / ticks if process and stat.exists() else 0.0
        return time.process_time() + theirs

    return busy


def section(reports: dict[str, dict[str, Timed]], messages: int, times: int) -> str:
    """The part of docs/reports/search.md that this script writes."""
    facts = machine(Path())
    table = [
        "| | " + " | ".join(f"{store}, p50 ms | p99 ms | CPU ms" for store in reports) + " |",
        "|---" * (3 * len(reports) + 1) + "|",
    ]
    for name in next(iter(reports.values())):
        cells = (
            f"{each[name].p50 * 1e3:,.1f} | {each[name].p99 * 1e3:,.1f} | {each[name].cpu * 1e3:,.1f}"
            for each in reports.values()
        )
        table.append(f"| {name} | {' | '.join(cells)} |")
    return (
        f"{messages:,} messages of twenty channels and sixty thousand patients, thirty days, four business keys each; most delivered,\n"
        "some parked, rejected, filtered, duplicate, in doubt, and one destination away. Each question is asked "
        f"{times} times (those that walk\nover everything {max(3, times // 20)} times), each time about something else: reading the query, a page of fifty, "
        "and what its lines say.\n\n"
        + "\n".join(table)
        + "\n\nCPU is that of the asking process and of the database's for it, a question's mean: what is left of the time where nothing else\n"
        f"runs. The aim is {AIM * 1e3:.0f} ms at the 99th percentile for what an index leads to.\n\n"
        "A key is looked up in every run of its index, a thousand for each million messages; a long list run by run from the newest,\n"
        "until the page is full. A state that is rare is read from where it is kept together. Everything else is tested message by\n"
        "message on the way back from the newest: found at once where it is frequent, a walk over everything where it never was. A search\n"
        "ends after ten seconds with what it has, and says how far back it came.\n\n"
        f"Version {facts['wardline']}. Machine: {facts['cores']} cores, {facts['processor']}, {facts['system']}, {facts['file_system']}; "
        f"Python {facts['python']}, SQLite {facts['sqlite']};\nload average at the end {facts['load_average']}: other work ran beside this.\n"
    )


def put(path: Path, title: str, text: str) -> None:
    """Write a section of a page of several, in the place of the one of the same title."""
    page = path.read_text(encoding="utf-8") if path.exists() else "# Search\n\nRepeat it with `make campaign-search`.\n"
    head, *sections = page.split("\n## ")
    kept = {one.partition("\n")[0]: one.partition("\n")[2].strip("\n") for one in sections} | {title: text.strip("\n")}
    body = "".join(f"\n\n## {name}\n\n{one}" for name, one in sorted(kept.items()))
    path.write_text(f"{head.rstrip()}{body}\n", encoding="utf-8")


def filled(store: str, messages: int, stack: ExitStack) -> str:
    """The URL of a new store, filled by a process of its own."""
    if store == "sqlite":
        url = f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory(prefix='wardline-search-'))}/million.db"
    else:
        url = stack.enter_context(postgresql_database())
    subprocess.run([sys.executable, "-m", "tests.bench.big_store", "--url", url, "--messages", str(messages)], check=True)
    if store == "postgresql":
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")  # as its own sweeper would have in a day
    return url


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.search_bench", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--sqlite", default="", metavar="URL", help="a store that is filled already; none: one is made")
    parser.add_argument("--postgresql", default="", metavar="URL")
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    parser.add_argument("--report", type=Path, help="write the section to this file")
    options = parser.parse_args()
    reports: dict[str, dict[str, Timed]] = {}
    with ExitStack() as stack:
        for store, title in (("sqlite", "SQLite"), ("postgresql", "PostgreSQL")):
            if options.only not in (None, store):
                continue
            url = getattr(options, store) or filled(store, options.messages, stack)
            reports[title] = measured(url, options.messages, options.times, lambda text: print(text, file=sys.stderr, flush=True))
    print(json.dumps({store: {name: one._asdict() for name, one in found.items()} for store, found in reports.items()}, indent=2))
    if options.report:
        put(options.report, TITLE, section(reports, options.messages, options.times))
    return 0


if __name__ == "__main__":
    sys.exit(main())
