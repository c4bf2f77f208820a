"""A store with a million waiting deliveries: `python -m tests.campaign.backlog --messages 1000000`.

The backlog is laid down through the store's own verbs, as an engine would have laid it down while its receiver was away.
Then the engine starts on it, with the receiver still away: how long until a new message is acknowledged, and how much memory
that takes. Then the receiver comes back: what drains, in the order of each account, and at what memory.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

from engine.testing.charges import Deck
from engine.testing.ledger import read_ledger
from engine.testing.machine import machine
from engine.testing.processes import EngineProcess, SimulatorProcess, Usage, copy_site, free_port, run_load
from tests.support import postgresql_database

ACCOUNTS = 1000
CHANNEL, DESTINATION, ROUTE = "charges", "billing", "billing"
BATCH = 500
AHEAD = 8  # batches that wait for the disk
FIRST_ACK_WITHIN = 10.0  # seconds from the start
GROWTH = 50.0  # MB that the backlog may cost the engine


@dataclass
class Report:
    store: str
    messages: int
    untranslated: int  # of them, received and no more
    laid_down_seconds: float = 0.0
    store_mb: float = 0.0
    empty_first_ack: float = 0.0  # seconds, on a store without anything
    empty_rss_mb: float = 0.0
    first_ack: float = 0.0
    waiting_rss_mb: float = 0.0  # with the receiver away
    peak_rss_mb: float = 0.0  # at the end, the whole time through
    drained: int = 0
    drain_seconds: float = 0.0
    reordered: list[str] = field(default_factory=list)
    repeated: int = 0
    exit_code: int = 0

    @property
    def good(self) -> bool:
        flat = self.peak_rss_mb - self.empty_rss_mb <= GROWTH
        return flat and self.first_ack <= FIRST_ACK_WITHIN and self.drained > 0 and not self.reordered and self.exit_code == 0

    def summary(self) -> dict[str, Any]:
        return {"good": self.good, **asdict(self), "drained_per_second": self.drained / max(self.drain_seconds, 1e-9)}


def lay_down(url: str, deck: Deck, messages: int, untranslated: int, say: Callable[[str], None]) -> None:
    """Messages taken and, but for the last `untranslated`, recorded as translated with one delivery each, in order."""
    from twisted.internet.defer import Deferred, ensureDeferred, gatherResults

    from engine import reactor as engine_reactor
    from engine.app import make_runtime
    from engine.events import silent
    from engine.model import Admission, Heading, MessageState, Outgoing, Translation
    from engine.net import LoopNetwork
    from engine.store import open_store

    reactor = engine_reactor.install()
    runtime = make_runtime(reactor, LoopNetwork(reactor), silent)
    faults: list[BaseException] = []

    def admission(number: int) -> tuple[Admission, Outgoing]:
        control, content = deck.content(number)
        identity, account = control.decode(), deck.accounts[number % ACCOUNTS]
        heading = Heading("DFT^P03", identity, "EHR|WLGH", "2.5.1", "P")
        key = blake2b(f"EHR\x1fWLGH\x1f{identity}".encode(), digest_size=16).digest()
        digest = sha256(content).digest()
        taken = Admission(CHANNEL, content, "127.0.0.1:1", heading, runtime.now(), digest, dedupe_key=key)
        return taken, Outgoing(ROUTE, DESTINATION, content, "application/hl7-v2", identity, (account,))

    async def one(store: Any, numbers: range) -> None:
        made = [admission(number) for number in numbers]
        taken = await gatherResults([store.take(each) for each, _ in made])
        done = [
            Translation(fact.message_id, CHANNEL, MessageState.TRANSLATED, outgoings=(outgoing,), config="backlog")
            for number, fact, (_, outgoing) in zip(numbers, taken, made, strict=True)
            if number < messages - untranslated
        ]
        if done:
            await store.translated(done)

    async def all_of_them() -> None:
        store, _ = open_store(url, runtime, faults.append)
        under_way: list[Deferred[None]] = []
        for start in range(0, messages, BATCH):
            batch = range(start, min(start + BATCH, messages))
            under_way.append(ensureDeferred(one(store, batch)))
            if len(under_way) >= AHEAD:
                await under_way.pop(0)
            if start % 50_000 == 0:
                say(f"{start:,} of {messages:,} laid down")
        await gatherResults(under_way)
        await store.close()

    def ended(result: Any) -> None:
        if result is not None:
            faults.append(result.value)
        reactor.stop()

    reactor.callWhenRunning(lambda: ensureDeferred(all_of_them()).addBoth(ended))
    reactor.run(installSignalHandlers=False)
    if faults:
        raise faults[0]


def run(plan: Report, url: str, directory: Path, drain: float, say: Callable[[str], None]) -> Report:
    deck = Deck("B", ACCOUNTS)
    _empty(plan, directory / "empty", say)
    site = copy_site(directory / "site", store=url)
    (site / "data").mkdir()
    began = time.monotonic()
    lay_down(url.replace("sqlite:///", f"sqlite:///{site}/"), deck, plan.messages, plan.untranslated, say)
    plan.laid_down_seconds = time.monotonic() - began
    plan.store_mb = sum(file.stat().st_size for file in (site / "data").iterdir()) / 2**20
    port, sink = free_port(), f"127.0.0.1:{free_port()}"
    ledger = directory / "received.ledger"
    with ExitStack() as stack:
        engine = stack.enter_context(_engine(site, port, sink))
        plan.first_ack = _first_ack(engine, port, "F")
        say(f"first ACK after {plan.first_ack:.2f} s")
        plan.waiting_rss_mb = engine.usage().rss_mb
        receiver = stack.enter_context(SimulatorProcess("--mllp", sink, "--ledger", str(ledger)))
        began = time.monotonic()
        time.sleep(drain)
        plan.peak_rss_mb = _usage(engine).peak_rss_mb
        facts = json.loads(json.dumps(receiver.stop()))["mllp"]
        plan.drain_seconds = time.monotonic() - began
        plan.drained, plan.repeated = facts["distinct"], facts["repeated"]
        plan.exit_code = engine.stop()
    plan.reordered = list(_reordered(deck, ledger))
    return plan


def _empty(plan: Report, directory: Path, say: Callable[[str], None]) -> None:
    """The same engine with nothing to do: what the backlog is compared with."""
    port = free_port()
    with _engine(copy_site(directory), port, f"127.0.0.1:{free_port()}") as engine:
        plan.empty_first_ack = _first_ack(engine, port, "E")
        run_load(f"127.0.0.1:{port}", connections=4, count=2000, prefix="G")
        plan.empty_rss_mb = _usage(engine).peak_rss_mb
    say(f"an empty one: first ACK after {plan.empty_first_ack:.2f} s, {plan.empty_rss_mb:.0f} MB")


def _engine(site: Path, port: int, sink: str) -> EngineProcess:
    listen = {"CHARGES_LISTEN": f"127.0.0.1:{port}", "CHARGES_HTTP_LISTEN": "127.0.0.1:0"}
    return EngineProcess(site, {**listen, "BILLING": sink})


def _first_ack(engine: EngineProcess, port: int, prefix: str) -> float:
    engine.start()
    engine.await_port(("127.0.0.1", port), 120)
    report = run_load(f"127.0.0.1:{port}", count=1, prefix=prefix)
    assert report["acked"] == 1, report
    return time.monotonic() - engine.started_at


def _usage(engine: EngineProcess) -> Usage:
    engine.check()
    return engine.usage()


def _reordered(deck: Deck, ledger: Path) -> Iterator[str]:
    newest: dict[str, int] = defaultdict(lambda: -1)
    seen: set[str] = set()
    for entry in read_ledger(str(ledger)):
        identity = entry["identity"]
        if identity in seen or not identity.startswith(deck.prefix):
            continue
        seen.add(identity)
        account, sequence = deck.account(identity), deck.sequence(identity)
        if sequence != newest[account] + 1:
            yield f"{identity} came after the {newest[account]}th of {account}"
        newest[account] = sequence


def page(reports: list[Report]) -> str:
    """docs/reports/backlog.md"""
    facts = machine(Path())
    rows: list[tuple[str, Callable[[Report], object]]] = [
        ("messages that wait", lambda r: f"{r.messages:,}"),
        ("of them received and not yet translated", lambda r: f"{r.untranslated:,}"),
        ("the store, MB", lambda r: f"{r.store_mb:,.0f}" if r.store == "SQLite" else "-"),
        ("**start to first ACK**, s (with an empty store)", lambda r: f"{r.first_ack:.2f} ({r.empty_first_ack:.2f})"),
        ("memory with an empty store after 2,000 messages, MB", lambda r: f"{r.empty_rss_mb:.0f}"),
        ("memory after the start, the receiver away, MB", lambda r: f"{r.waiting_rss_mb:.0f}"),
        ("**memory at its peak**, at the end of the drain below, MB", lambda r: f"{r.peak_rss_mb:.0f}"),
        ("drained once the receiver was back", lambda r: f"{r.drained:,} in {r.drain_seconds:.0f} s"),
        ("**out of the order** of their account", lambda r: len(r.reordered)),
        ("repeated", lambda r: r.repeated),
        ("exit code after SIGTERM in the middle of it", lambda r: r.exit_code),
    ]
    table = ["| | " + " | ".join(report.store for report in reports) + " |", "|---" * (len(reports) + 1) + "|"]
    table += [f"| {title} | " + " | ".join(str(value(report)) for report in reports) + " |" for title, value in rows]
    result = "The first acknowledgement came in time, memory stayed flat, the drain was in order." if all(
        report.good for report in reports
    ) else "FAILED."  # fmt: skip
    return (
        "# A backlog\n\n"
        f"{result} Version {facts['wardline']}; repeat it with `make campaign-backlog`.\n\n"
        f"Charges of {ACCOUNTS:,} accounts, 1.9 KB each, wait for a receiver that is away: laid down through the store's own verbs. The engine starts\n"
        "on them, a new message is sent at once, and later the receiver comes back. Memory is that of the engine and its translators (Pss).\n\n"
        + "\n".join(table)
        + f"\n\nMachine: {facts['cores']} cores, {facts['processor']}, {facts['system']}, {facts['file_system']}; Python {facts['python']}, "
        f"SQLite {facts['sqlite']}; load average at the end {facts['load_average']}: other work ran beside this.\n"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.backlog", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--untranslated", type=int, default=1000, help="of them")
    parser.add_argument("--drain", type=float, default=60.0, help="seconds that the receiver is there")
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--report", type=Path, help="write the page to this file")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wardline-backlog-")))
        sqlite = options.store == "sqlite"
        url = "sqlite:///data/wardline.db" if sqlite else stack.enter_context(postgresql_database())
        plan = Report("SQLite" if sqlite else "PostgreSQL", options.messages, options.untranslated)
        report = run(plan, url, directory, options.drain, lambda text: print(text, file=sys.stderr))
    print(json.dumps(report.summary(), indent=2))
    if options.report:
        options.report.write_text(page([report]), encoding="utf-8")
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
