"""What `release`, `cancel`, `resend` and `replay` share: the plan first, then agreement, then step by step."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from engine.cli.terminal import json_option, print_json, site_option
from engine.errors import EXIT_FAILED
from engine.model import Verb

if TYPE_CHECKING:
    from engine.operations.plans import Plan

F = TypeVar("F", bound=Callable[..., Any])

_DONE = {
    Verb.RELEASE: "released",
    Verb.CANCEL: "cancelled",
    Verb.RESEND: "sent again",
    Verb.REPLAY: "taken again",
}


def acting_options(function: F) -> F:
    """The arguments of a command on a search result."""
    for decorate in (
        json_option,
        site_option,
        click.option("--continue", "operation", default="", metavar="NAME", help="Go on with an operation that was interrupted."),
        click.option("--why", default="", metavar="TEXT", help="For the record."),
        click.option("--yes", is_flag=True, help="Do not ask: carry the plan out."),
        click.argument("query", nargs=-1),
    ):
        function = decorate(function)
    return function


def carry_out(verb: Verb, query: tuple[str, ...], yes: bool, why: str, operation: str, site: Path, as_json: bool) -> None:
    """Show the plan; carry it out once it is agreed to. Raises what searching and the engine raise."""
    from engine.cli.asking import who
    from engine.operations.plans import Agreed

    operations = Agreed(site)
    if operation:
        agreed = operations.find(operation)
        if agreed.verb is not verb:
            raise click.UsageError(f"{operation} is to {agreed.verb}: 'wardline {agreed.verb} --continue {operation}'.")
    else:
        plan = _plan(site, query, verb)
        if as_json and not yes:
            print_json(plan.as_data())
            return
        if not as_json:
            _show(plan)
        if plan.empty or not (yes or _agreed(plan)):
            raise SystemExit(0 if plan.empty or sys.stdin.isatty() else EXIT_FAILED)
        agreed = operations.agree(plan, who(), why)
    changed = _carry_out(site, operations, agreed)
    if as_json:
        print_json({"operation": agreed.name, "messages": changed[0], "deliveries": changed[1]})
    else:
        click.echo(f"{_what(*changed)} {_DONE[verb]}.")


def _plan(site: Path, query: tuple[str, ...], verb: Verb) -> Plan:
    from engine.cli.search import joined
    from engine.cli.stored import index_names, stored
    from engine.operations.plans import make_plan
    from engine.query import parse

    if not query:
        raise click.UsageError("Say which: a search like 'state:parked channel:charges', or a message's id.")
    with stored(site) as store:
        search = parse(joined(query), time.time_ns() // 1000, store.timezone, index_names(site))
        return make_plan(store.history, search, verb)


def _show(plan: Plan) -> None:
    from engine.text import counted

    if plan.empty:
        found = f"{counted(plan.passed_over, 'message')} found" if plan.passed_over else "Nothing is found"
        click.echo(f"{found}: nothing of it to {plan.verb}.")
        return
    click.echo(f"To {plan.verb}: {_what(len(plan.messages), len(plan.deliveries))}")
    for name, count in plan.destinations.items():
        click.echo(f"  {counted(count, 'delivery', 'deliveries')} to {name}")
    for count, words in (
        (plan.delivered, "delivered before: the receiver may have it twice"),
        (plan.overtaken, "overtaken: newer ones of the same order key have gone ahead"),
        (plan.passed_over, f"found and left alone: nothing to {plan.verb}"),
    ):
        if count:
            click.echo(f"  {count:,} {words}")


def _what(messages: int, deliveries: int) -> str:
    from engine.text import counted

    parts = [counted(messages, "message")] if messages or not deliveries else []
    return " and ".join(parts + ([counted(deliveries, "delivery", "deliveries")] if deliveries else []))


def _agreed(plan: Plan) -> bool:
    if not sys.stdin.isatty():
        click.echo(f"Nothing was done. With --yes this plan is carried out: wardline {plan.verb} --yes …", err=True)
        return False
    return click.confirm("Go on?")


def _carry_out(site: Path, operations: Any, agreed: Any) -> tuple[int, int]:
    from engine.operations.alone import alone
    from engine.operations.control import Caller, NotRunning

    total = len(agreed.messages) + len(agreed.deliveries)
    click.echo(f"Operation {agreed.name}; if it is interrupted: wardline {agreed.verb} --continue {agreed.name}", err=True)
    with click.progressbar(length=total, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        try:
            with Caller(site) as caller:
                return operations.carry_out(agreed, lambda **step: caller("act", **step), bar.update)  # type: ignore[no-any-return]
        except NotRunning:
            with alone(site) as store:
                return operations.carry_out(agreed, store.act, bar.update)  # type: ignore[no-any-return]
