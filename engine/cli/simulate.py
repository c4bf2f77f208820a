"""`wardline simulate`: the system on the other side, with its bad days, before the real one is connected."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.terminal import json_option, print_json, print_table
from engine.quantities import Address
from engine.testing.faults import ABOUT_DOWN, DOWN, DOWN_WRITTEN, HTTP, KINDS, MLLP, Faults, parse_fault

if TYPE_CHECKING:
    from engine.testing.counterpart import Counterpart
    from engine.testing.ledger import Ledger

REFRESH = 4  # a second
COLUMNS = ("listening at", "received", "distinct", "repeated", "unreadable", "connections", "answers", "faults")


class Listen(click.ParamType["Address"]):
    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        from engine.quantities import parse_address

        try:
            return value if isinstance(value, Address) else parse_address(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _now() -> int:
    """For the ledger: microseconds since 1970."""
    return time.time_ns() // 1000


def _about_faults() -> str:
    """For the help in a terminal and for the reference page, where this is a list."""
    rows = [(kind.written(name), kind.about + (f" ({kind.only})" if kind.only else "")) for name, kind in KINDS.items()]
    return "\b\n" + "\n".join(f"- {written}: {about}" for written, about in [*rows, (DOWN_WRITTEN, ABOUT_DOWN)])


@click.command("simulate")
@click.option("--mllp", type=Listen(), help="Receive HL7 v2 here, e.g. 127.0.0.1:2575; port 0 is any free one.")
@click.option("--http", type=Listen(), help="Receive HTTP requests here.")
@click.option("--fault", "faults", multiple=True, metavar="NAME[:VALUE][WHEN]", help="What goes wrong; may be repeated.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another one gives another run of chance.")
@click.option("--ledger", type=click.Path(dir_okay=False, path_type=Path),
              help="Write what was taken to this file, a line of JSON each, on disk before it is answered.")  # fmt: skip
@json_option
def command(
    mllp: Address | None, http: Address | None, faults: tuple[str, ...], seed: int, ledger: Path | None, as_json: bool
) -> None:
    """Be the system that receives, with its bad days.

    Takes messages over MLLP or HTTP, or both, counts them by the identity they carry (MSH-10, Idempotency-Key), and
    answers well, but for what --fault says. Faults can be combined. Behind a fault stands which messages it meets: /10
    every tenth, /~10 one in ten by chance, @3 the third alone, @1-12 the first twelve; nothing: every one. The ledger
    names what was taken and has no content. Ctrl-C ends it with a summary, and with 0.

    \b
    wardline simulate --mllp 127.0.0.1:2575 --fault delay:2s --fault ae/12
    wardline simulate --http 127.0.0.1:8080 --fault status:500/~20 --fault down:5s/30s
    """
    listening = {protocol: address for protocol, address in ((MLLP, mllp), (HTTP, http)) if address is not None}
    if not listening:
        raise click.UsageError("say where to listen: --mllp 127.0.0.1:2575, or --http 127.0.0.1:8080")
    for text in faults:
        _check_fault(text, set(listening))
    from engine.testing.ledger import Ledger

    writing = Ledger(str(ledger)) if ledger is not None else None
    stats = _Run(listening, faults, seed, writing, visible=sys.stdout.isatty() and not as_json).run()
    if writing is not None:
        writing.close()
    if as_json:
        print_json(stats)
    else:
        print_table(COLUMNS, [_cells(facts) for facts in stats.values()])


def _check_fault(text: str, protocols: set[str]) -> None:
    try:
        Faults([text])
        if text.partition(":")[0] != DOWN and not any(parse_fault(text).of(protocol) for protocol in protocols):
            raise ValueError(f"{text}: this is a fault of {KINDS[parse_fault(text).name].only}, and there is no such listener")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--fault") from None


command.help = f"{(command.help or '').rstrip()}\n\n{_about_faults()}"


class _Run:
    """The counterparts, from the start of the reactor to its end."""

    def __init__(
        self, listening: dict[str, Address], faults: tuple[str, ...], seed: int, ledger: Ledger | None, *, visible: bool
    ) -> None:
        from engine import reactor as engine_reactor
        from engine.net import LoopNetwork
        from engine.testing.counterpart import Counterpart

        self._reactor = engine_reactor.install()
        self._visible = visible
        network = LoopNetwork(self._reactor)
        self._listening = listening
        self._counterparts = {
            protocol: Counterpart(protocol, network, self._reactor, _now, Faults(faults, protocol, seed), ledger)
            for protocol in listening
        }
        self._problem: OSError | None = None

    def run(self) -> dict[str, dict[str, Any]]:
        """Until SIGINT or SIGTERM; what came, by protocol."""
        from twisted.internet.defer import ensureDeferred

        self._reactor.callWhenRunning(lambda: ensureDeferred(self._start()))
        with self._live() as show:
            if show is not None:
                self._repaint(show)
            self._reactor.run()
        if self._problem is not None:
            raise click.ClickException(f"cannot listen: {self._problem}")
        return {protocol: counterpart.stats() for protocol, counterpart in self._counterparts.items()}

    async def _start(self) -> None:
        try:
            for protocol, counterpart in self._counterparts.items():
                await counterpart.start(self._listening[protocol])
                click.echo(f"listening {protocol}://{counterpart.address}", err=True)
        except OSError as problem:
            self._problem = problem
            self._reactor.stop()
            return
        self._reactor.addSystemEventTrigger("before", "shutdown", self._stop)

    def _stop(self) -> Any:
        from twisted.internet.defer import DeferredList, ensureDeferred

        return DeferredList([ensureDeferred(counterpart.stop()) for counterpart in self._counterparts.values()])

    def _live(self) -> Any:
        """A table that is repainted, where somebody looks."""
        from contextlib import nullcontext

        if not self._visible:
            return nullcontext()
        from rich.live import Live

        return Live(auto_refresh=False, transient=True)

    def _repaint(self, live: Any) -> None:
        live.update(_table(self._counterparts.values()), refresh=True)
        self._reactor.callLater(1 / REFRESH, self._repaint, live)


def _table(counterparts: Any) -> Any:
    from rich.table import Table

    table = Table(header_style="bold", box=None, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column)
    counterpart: Counterpart
    for counterpart in counterparts:
        table.add_row(*_cells(counterpart.stats()))
    return table


def _cells(facts: dict[str, Any]) -> tuple[str, ...]:
    def counts(name: str) -> str:
        return "  ".join(f"{key} {count:,}" for key, count in facts[name].items()) or "-"

    numbers = (f"{facts[name]:,}" for name in ("received", "distinct", "repeated", "unreadable", "connections"))
    return (facts["address"], *numbers, counts("answers"), counts("faults"))
