"""How fast texts are found and indexed, and what that costs the intake. A script, not a test.

    python -m tests.bench.text_bench find --url sqlite:////var/tmp/million.db      a store that tests.bench.big_store filled
    python -m tests.bench.text_bench intake --store postgresql                     the engine with and without an indexer beside it
    python -m tests.bench.text_bench lag --store sqlite                            from the acknowledgement to being found

`find` indexes the store first, as far as that has not been done.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from engine.store.history import History
from engine.store.history import Query as Facts
from engine.testing import processes
from engine.testing.bench import ROWS, _Run
from engine.testing.charges import Deck
from engine.testing.load import address_of, quantile
from engine.testing.machine import machine
from engine.testing.processes import SinkProcess
from engine.textindex import NoIndex, Phrase, TextIndex, open_index
from engine.textindex.service import Service
from engine.textindex.sqlite import index_path
from tests.bench.big_store import _FINDINGS, Made
from tests.support import postgresql_database

Asked = list[Phrase]


def kinds(messages: int, chance: random.Random) -> dict[str, Callable[[], Asked]]:
    """What people ask, each time a little different."""

    def made() -> Made:
        return Made(chance.randrange(messages))

    def name(one: Made) -> str:
        return one.content.split(b"\rPID|")[1].split(b"|")[4].decode()

    return {
        "a common word": lambda: [Phrase(chance.choice(("Westbrook", "Lindqvist", "patient", "USD", "Harbour", "2.5.1")))],
        "a rare word": lambda: [Phrase(made().order)],
        "a word that is not there": lambda: [Phrase(f"nothing{chance.randrange(10**6)}")],
        "a phrase": lambda: [Phrase(chance.choice(_FINDINGS))],
        "a rare phrase": lambda: [Phrase(f"{made().visit} ORC NW")],
        "a phrase that is not there": lambda: [
            Phrase(f"{chance.choice(('kidney chronic', 'pain back low', 'Maren Lindqvist Maren'))}")
        ],
        "a beginning": lambda: [Phrase(f"{made().account[:6]}*")],
        "a short beginning": lambda: [Phrase(chance.choice(("hy*", "mi*", "or*", "ab*")))],
        "a rare and a common word": lambda: [Phrase(made().mrn), Phrase("patient")],
        "two common words": lambda: [Phrase(chance.choice(_FINDINGS).split()[0]), Phrase(name(made()))],
        "a common word in the wrong stage": lambda: [Phrase(chance.choice(("Westbrook", "Lindqvist")), "answer")],
        "in what was answered": lambda: [Phrase("AA", "answer"), Phrase(made().order, "canonical")],
    }


def find(url: str, each: int) -> dict[str, Any]:
    began = time.monotonic()
    Service(url, lambda text: print(text, file=sys.stderr)).run(once=True, progress=_bar)
    seconds = time.monotonic() - began
    with History(url) as history:
        newest = history.find(Facts(), 1)[0]
        messages = sum(history.counts().messages.values())
    found: dict[str, Any] = {
        "url": url.partition(":")[0],
        "messages": messages,
        "indexing_seconds": seconds,
        "mb": size(url),
        "ms": {},
    }
    chance = random.Random(11)
    with closing(open_index(url)) as index:
        for kind, question in kinds(int(messages / 1.01), chance).items():
            times, counts = [], []
            for n in range(each):
                below = 0 if n % 2 else newest.id - chance.randrange(2 * messages)  # half of them a later page
                asked = question()
                start = time.perf_counter()
                counts.append(len(index.find(asked, below, 50)))
                times.append((time.perf_counter() - start) * 1000)
            times.sort()
            facts = {name: round(quantile(times, share), 2) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
            found["ms"][kind] = {**facts, "max": round(times[-1], 1), "found": statistics.mean(counts)}
            print(f"{kind:36} {found['ms'][kind]}", file=sys.stderr)
    return found


def size(url: str) -> float:
    if url.startswith("sqlite"):
        return index_path(url).stat().st_size / 1e6
    import psycopg

    with psycopg.connect(url) as connection:
        text = "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c WHERE relkind = 'r' AND relname LIKE 'search_%'"
        row = connection.execute(text).fetchone()
    return float(row[0]) / 1e6 if row else 0.0


def _bar(done: int, total: int) -> None:
    if done % 50_000 < 500:
        print(f"{done:,} of {total:,}", file=sys.stderr)


# ── beside an engine ───────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def engine(store: str) -> Iterator[_Run]:
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="text-bench-", dir=Path.cwd())))
        url = "sqlite:///data/wardline.db" if store == "sqlite" else stack.enter_context(postgresql_database())
        sink = stack.enter_context(SinkProcess("--mllp", "127.0.0.1:0", "--http", "127.0.0.1:0"))
        run = _Run(place / "site", sink)
        processes.copy_site(place / "site", store=url)
        run.url = url.replace("sqlite:///", f"sqlite:///{place}/site/")  # type: ignore[attr-defined]
        with run:
            run.start()
            run.warm_up({"mllp"}, 2)
            yield run


@contextmanager
def indexing(run: _Run) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-m", "engine.cli", "index", "--site", str(run.engine.site)]) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


def intake(store: str, seconds: float, rounds: int) -> dict[str, Any]:
    """Short rows in turn, without and with, on one engine: whatever else the machine does is in both. Without, the indexer
    is stopped; what it has missed it makes up for in the next row."""
    rows: dict[str, list[dict[str, Any]]] = {"without": [], "with": []}
    with engine(store) as run, indexing(run) as process:
        time.sleep(3)
        for n in range(rounds):
            for how in ("without", "with") if n % 2 else ("with", "without"):
                process.send_signal(signal.SIGCONT if how == "with" else signal.SIGSTOP)
                rows[how].append(run.row(ROWS["16"], seconds))
            print(n, *(f"{how} {rows[how][-1]['acked_per_second']:.0f}/s" for how in rows), file=sys.stderr)
        process.send_signal(signal.SIGCONT)
        lag = behind(run.url)  # type: ignore[attr-defined]

    def told(value: Callable[[dict[str, Any]], float]) -> dict[str, float]:
        ratios = [value(two) / value(one) for one, two in zip(rows["without"], rows["with"], strict=True)]
        middles = {how: round(statistics.median(map(value, rows[how])), 2) for how in rows}
        return {**middles, "ratio": round(statistics.median(ratios), 3)}

    return {
        "store": store,
        "acked_per_second": told(lambda row: row["acked_per_second"]),
        "delivered_per_second": told(lambda row: row["delivered_per_second"]),
        "ack_p50_ms": told(lambda row: row["ack_ms"]["p50"]),
        "ack_p99_ms": told(lambda row: row["ack_ms"]["p99"]),
        "caught_up_seconds": round(lag, 1),
    }


def behind(url: str) -> float:
    """Seconds until the index has what the store has now."""
    began = time.monotonic()
    with History(url) as history:
        newest = history.find(Facts(), 1)[0].id
    while True:
        with suppress(NoIndex), closing(open_index(url)) as index:
            if index.indexed_up_to()[0] >= newest:
                return time.monotonic() - began
        time.sleep(0.1)


def lag(store: str, count: int) -> dict[str, Any]:
    """One message after another on an engine that has nothing else to do."""
    came: list[float] = []
    answered: list[float] = []
    deck = Deck("L", 50)
    with engine(store) as run, indexing(run):
        behind(run.url)  # type: ignore[attr-defined]
        with closing(open_index(run.url)) as index, socket.create_connection(address_of(run.listen["mllp"])) as connection:  # type: ignore[attr-defined]
            for n in range(count):
                control, content = deck.content(n)
                connection.sendall(b"\x0b" + content + b"\x1c\r")
                connection.recv(65536)
                began = time.monotonic()
                received = Phrase(control.decode(), "in")
                for times, also in ((came, []), (answered, [Phrase("AA", "answer")])):
                    await_found(index, [received, *also])
                    times.append(time.monotonic() - began)
    return {"store": store, "in": max(came), "in_median": statistics.median(came), "answer": max(answered)}


def await_found(index: TextIndex, asked: Asked) -> None:
    while not index.find(asked, 0, 1):
        time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("find", "intake", "lag"))
    parser.add_argument("--url", default="")
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--each", type=int, default=100, help="questions of a kind")
    parser.add_argument("--seconds", type=float, default=2.0, help="of intake in one row")
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    if asked.what == "find":
        found = find(asked.url, asked.each)
    elif asked.what == "intake":
        found = intake(asked.store, asked.seconds, asked.rounds)
    else:
        found = lag(asked.store, 20)
    print(json.dumps({**found, "machine": machine(Path.cwd())}, indent=2))


if __name__ == "__main__":
    main()
