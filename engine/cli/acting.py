"""What `release`, `cancel`, `resend` and `replay` share: the plan first, then agreement, then step by step."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from engine.cli.terminal import json_option, print_json, site_option
from engine.errors import EXIT_FAILED
from engine.model import Verb

if TYPE_CHECKING:
    from engine.operations.jobs import Job, Jobs
    from engine.operations.plans import Plan
    from engine.operations.runner import Call

LOOK = 0.2  # seconds between two looks at a job that another carries out

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
        click.option(
            "--continue", "operation", default="", metavar="NAME", help="Go on with a job that was interrupted or paused."
        ),
        click.option("--why", default="", metavar="TEXT", help="For the record."),
        click.option("--yes", is_flag=True, help="Do not ask: carry the plan out."),
        click.argument("query", nargs=-1),
    ):
        function = decorate(function)
    return function


def carry_out(verb: Verb, query: tuple[str, ...], yes: bool, why: str, operation: str, site: Path, as_json: bool) -> None:
    """Show the plan; carry it out once it is agreed to. Raises what searching and the engine raise."""
    from engine.cli.asking import who
    from engine.cli.search import joined
    from engine.operations.jobs import Jobs

    jobs = Jobs(site, lambda: time.time_ns() // 1000)
    if operation:
        agreed = _interrupted(jobs, operation, verb)
    else:
        plan = _plan(site, query, verb)
        if as_json and not yes:
            print_json(plan.as_data())
            return
        if not as_json:
            _show(plan)
        if plan.empty or not (yes or _agreed(plan)):
            raise SystemExit(0 if plan.empty or sys.stdin.isatty() else EXIT_FAILED)
        kept = jobs.keep(plan, who(), joined(query))
        if kept.earlier and not as_json:
            click.echo(f"  The same was done before, by the job {kept.earlier}.", err=True)
        agreed = jobs.agree(kept.name, who(), why)
    job = _drive(site, jobs, agreed)
    if as_json:
        facts = {"job": job.name, "state": job.state, "messages": job.messages, "deliveries": job.deliveries}
        print_json(facts | {"passed_over": job.passed_over})
    else:
        over = f", {job.passed_over:,} passed over: they had changed since the plan" if job.passed_over else ""
        click.echo(f"{_what(job.messages, job.deliveries)} {_DONE[verb]}{over}.")
    if job.state != "done":
        click.echo(f"The job is {job.state} by {job.by}. To go on: wardline {verb} --continue {job.name}", err=True)
        raise SystemExit(EXIT_FAILED)


def _interrupted(jobs: Jobs, name: str, verb: Verb) -> Job:
    from engine.operations.jobs import UNFINISHED, JobState, NoJob

    job = jobs.find(name)
    if job.verb != verb:
        raise click.UsageError(f"{name} is to {job.verb}: 'wardline {job.verb} --continue {name}'.")
    if job.state is JobState.PAUSED:
        return jobs.resume(name)
    if job.state not in UNFINISHED:
        raise NoJob(f"{name} is {job.state}: there is nothing to go on with")
    return job


def _plan(site: Path, query: tuple[str, ...], verb: Verb) -> Plan:
    from engine.cli.search import joined
    from engine.cli.stored import index_names, stored
    from engine.operations.plans import Limits, make_plan, searched
    from engine.query import parse

    if not query:
        raise click.UsageError("Say which: a search like 'state:parked channel:charges', or a message's id.")
    with stored(site) as store:
        search = parse(joined(query), time.time_ns() // 1000, store.timezone, index_names(site))
        chosen = [] if verb is Verb.REPLAY else list(search.values("destination"))
        return make_plan(store.history, searched(store.history, search, texts=store.texts), verb, Limits(destinations=chosen))


def _show(plan: Plan) -> None:
    from engine.ids import format_id
    from engine.text import counted

    if plan.empty:
        click.echo(f"{'Nothing is left' if plan.passed_over else 'Nothing is found'}: nothing of it to {plan.verb}.")
        _show_passed_over(plan)
        return
    click.echo(f"To {plan.verb}: {_what(len(plan.messages), len(plan.deliveries))}, in about {_lasting(plan.seconds)}")
    for name, count in plan.destinations.items():
        had = f", {plan.delivered[name]:,} of them delivered before" if name in plan.delivered else ""
        click.echo(f"  {counted(count, 'delivery', 'deliveries')} to {name}{had}")
    if plan.delivered and plan.verb is not Verb.CANCEL:
        click.echo("  What was delivered before, the receiver may have twice.")
    if plan.repeated:
        click.echo(f"  {plan.repeated:,} of them had been {_DONE[plan.verb]} before")
    if plan.overtaken is None:
        click.echo("  Whether newer messages have gone ahead was not found out: too much has come since")
    elif plan.overtaken:
        keys = counted(plan.overtaken, "order key has newer messages", "order keys have newer messages")
        click.echo(f"  overtaken: {keys} that are not in this plan")
        for one in plan.examples:
            click.echo(f"    {one.destination}: {format_id(one.message)} comes after {format_id(one.newer)}, which is newer")
    _show_passed_over(plan)


def _show_passed_over(plan: Plan) -> None:
    for reason, count in plan.passed_over.items():
        click.echo(f"  {count:,} passed over: {reason}")


def _lasting(seconds: float) -> str:
    from engine.text import counted

    minutes = round(seconds / 60)
    return counted(minutes, "minute") if seconds >= 90 else counted(max(1, round(seconds)), "second")


def _what(messages: int, deliveries: int) -> str:
    from engine.text import counted

    parts = [counted(messages, "message")] if messages or not deliveries else []
    return " and ".join(parts + ([counted(deliveries, "delivery", "deliveries")] if deliveries else []))


def _agreed(plan: Plan) -> bool:
    if not sys.stdin.isatty():
        click.echo(f"Nothing was done. With --yes this plan is carried out: wardline {plan.verb} --yes …", err=True)
        return False
    return click.confirm("Go on?")


def _drive(site: Path, jobs: Jobs, agreed: Job) -> Job:
    """Carry the job out, or look on where another runner is at work already."""
    from engine.operations.jobs import UNFINISHED
    from engine.operations.runner import Lock, Runner

    click.echo(f"Job {agreed.name}; if it is interrupted: wardline {agreed.verb} --continue {agreed.name}", err=True)
    with click.progressbar(length=agreed.things, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def told(now: Job) -> None:
            bar.update(now.done - bar.pos)

        while (job := jobs.find(agreed.name)).state in UNFINISHED:
            told(job)
            lock = Lock(jobs)
            if lock.taken:
                with lock, _reached(site) as call:
                    return Runner(jobs, _never, lambda *_: ()).carry_out(agreed.name, call, told)
            time.sleep(LOOK)
    return job


def _never() -> Any:
    raise NotImplementedError("a command has its own way to the engine")


@contextmanager
def _reached(site: Path) -> Iterator[Call]:
    """The running engine, or the store itself where none runs."""
    from engine.operations.alone import alone
    from engine.operations.control import Caller, NotRunning

    try:
        caller = Caller(site)
    except NotRunning:
        with alone(site) as store:
            yield lambda _, **step: store.act(**step)
    else:
        with caller:
            yield caller
