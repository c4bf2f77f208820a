"""`wardline send`: messages from files to an MLLP listener, as a real sender would."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.terminal import json_option, print_json, print_table

if TYPE_CHECKING:
    from engine.quantities import Address
    from engine.testing.files import Item, Skipped
    from engine.testing.sender import Result

SHOWN = 5  # refusals shown in full
POSITIVE = ("AA", "CA", "none")


class MllpUrl(click.ParamType["Address"]):
    name = "mllp://host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        from engine.quantities import parse_address

        scheme, found, address = value.rpartition("://")
        if found and scheme != "mllp":
            self.fail(f"{scheme}:// is not something that messages can be sent to here; write mllp://host:port", param, ctx)
        try:
            return parse_address(address)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Rate(click.ParamType[float]):
    name = "N/s"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from engine.quantities import parse_rate

        try:
            return value if isinstance(value, float) else parse_rate(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command("send")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--to", required=True, type=MllpUrl(), help="The receiver, e.g. mllp://127.0.0.1:6661.")
@click.option("--rate", type=Rate(), default=0.0, help="At most so many a second, e.g. 20/s. Default: as fast as answers come.")
@click.option(
    "--count", type=click.IntRange(min=1), help="So many messages in all, going round again; repeated ones are re-sends."
)
@click.option("--connections", type=click.IntRange(min=1), default=1, show_default=True, help="One message in flight on each.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.01), default=30.0, show_default=True, help="Seconds to wait for an answer."
)
@click.option("--allow-refusals", is_flag=True, help="End with 0 even where messages were refused.")
@click.option("--quiet", is_flag=True, help="No progress bar, and the summary only where something went wrong.")
@json_option
def command(
    files: tuple[Path, ...], to: Address, rate: float, count: int | None, connections: int, timeout: float,
    allow_refusals: bool, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Send HL7 v2 messages over MLLP, like a real sender.

    FILES are files, or directories with everything below them; what is no HL7 v2 is skipped. A file with one message is
    sent byte for byte; one with several, each beginning with MSH at the start of a line, is sent message by message; a
    batch (FHS or BHS first) stays whole. An answer must name the message (MSA-2 = MSH-10). Messages that are themselves
    acknowledgements, or ask for none (MSH-15), need no answer.

    Ends with 1 where a message was refused or got no answer.
    """
    from engine.testing.files import Skipped, items

    everything = list(items(files))
    messages = [found for found in everything if not isinstance(found, Skipped)]
    skipped = [found for found in everything if isinstance(found, Skipped)]
    if not messages:
        _tell_skipped(skipped)
        raise click.UsageError("there is no HL7 v2 message in what was named")
    total = count or len(messages)
    endless = itertools.islice(itertools.cycle(messages), total)
    outcome = Outcome()
    with _progress(total, visible=not (quiet or as_json)) as told:
        outcome.run(endless, told, to=to, rate=rate, connections=connections, timeout=timeout)
    good = outcome.good(total, allow_refusals)
    if as_json:
        print_json({"good": good, **outcome.summary(total), "skipped": [s._asdict() for s in skipped]})
    elif not (quiet and good):
        _tell_skipped(skipped)
        _show(outcome, total)
    raise SystemExit(0 if good else 1)


class Outcome:
    """All results of one run."""

    def __init__(self) -> None:
        self.codes: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.refusals: list[Result] = []  # the first few
        self.seconds = 0.0
        self.gave_up = ""

    def note(self, result: Result) -> None:
        self.codes[result.code] += 1
        if result.seconds:
            self.latencies.append(result.seconds)
        if result.code not in POSITIVE and len(self.refusals) < SHOWN:
            self.refusals.append(result)

    def run(
        self, messages: Iterator[Item], told: Callable[[], None], *, to: Address, rate: float, connections: int, timeout: float
    ) -> None:
        from twisted.internet.defer import ensureDeferred

        from engine import reactor as engine_reactor
        from engine.net import LoopNetwork
        from engine.testing.sender import Sender

        def hear(result: Result) -> None:
            self.note(result)
            told()

        reactor = engine_reactor.install()
        sender = Sender(LoopNetwork(reactor), reactor, to, hear, connections=connections, rate=rate, timeout=timeout)
        faults: list[Exception] = []

        async def send() -> None:
            try:
                await sender.run(messages)
            except Exception as fault:
                faults.append(fault)
            finally:
                reactor.stop()

        reactor.callWhenRunning(lambda: ensureDeferred(send()))
        began = reactor.seconds()
        reactor.run()
        self.seconds = reactor.seconds() - began
        self.gave_up = sender.gave_up
        self.latencies.sort()
        if faults:
            raise faults[0]

    def good(self, total: int, allow_refusals: bool) -> bool:
        answered = sum(self.codes.values()) == total and not self.codes[""]
        return answered and (allow_refusals or not any(count for code, count in self.codes.items() if code not in POSITIVE))

    def summary(self, total: int) -> dict[str, Any]:
        from engine.testing.load import quantile

        codes = {code: count for code, count in sorted(self.codes.items()) if code not in ("", "none")}
        return {
            "messages": total,
            "answers": codes,
            "no_answer": self.codes[""],
            "none_expected": self.codes["none"],
            "not_sent": total - sum(self.codes.values()),
            "gave_up": self.gave_up,
            "seconds": self.seconds,
            "per_second": sum(self.codes.values()) / max(self.seconds, 1e-9),
            "ms": {name: quantile(self.latencies, q) * 1000 for name, q in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))},
            "refusals": [
                {"source": refusal.item.source, "code": refusal.code, "reason": refusal.reason} for refusal in self.refusals
            ],
        }


class _progress:  # noqa: N801 - a context manager
    """A progress bar on standard error; `told` moves it by one message."""

    def __init__(self, total: int, visible: bool) -> None:
        self.total, self.visible = total, visible
        self.bar: Any = None

    def __enter__(self) -> Callable[[], None]:
        if not self.visible:
            return lambda: None
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

        self.bar = Progress(BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=Console(stderr=True), transient=True)
        task = self.bar.add_task("", total=self.total)
        self.bar.start()
        return lambda: self.bar.advance(task)

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()


def _tell_skipped(skipped: list[Skipped]) -> None:
    from engine.escape import visible

    for one in skipped[:SHOWN]:
        click.echo(f"skipped {visible(one.source)}: {one.reason}", err=True)
    if len(skipped) > SHOWN:
        click.echo(f"skipped {len(skipped) - SHOWN} more", err=True)


def _show(outcome: Outcome, total: int) -> None:
    from engine.escape import visible

    facts = outcome.summary(total)
    rows = [(code, f"{count:,}") for code, count in facts["answers"].items()]
    rows += [(words, f"{facts[name]:,}") for name, words in (
        ("none_expected", "none expected"), ("no_answer", "no answer"), ("not_sent", "not sent"),
    ) if facts[name]]  # fmt: skip
    print_table(("answer", "messages"), rows)
    times = facts["ms"]
    click.echo(
        f"\n{total:,} messages in {facts['seconds']:.2f} s, {facts['per_second']:,.0f}/s; "
        f"answered after p50 {times['p50']:.1f} ms, p99 {times['p99']:.1f} ms, at most {times['max']:.1f} ms"
    )
    for refusal in facts["refusals"]:
        said = visible(f"{refusal['code'] or 'no answer'}: {refusal['reason'] or 'no reason given'}", 300)
        click.echo(f"{visible(refusal['source'])}  {said}")
    if outcome.gave_up:
        click.echo(f"gave up: {outcome.gave_up}", err=True)
