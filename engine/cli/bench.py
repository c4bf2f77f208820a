"""`wardline bench`: what this machine does with this engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from engine.cli.terminal import json_option, print_json, print_table


@click.command("bench")
@json_option
@click.option("--seconds", type=click.FloatRange(min=0.2), default=10.0, show_default=True, help="How long each row sends.")
@click.option("--quick", is_flag=True, help="Two seconds a row.")
@click.option("--rows", default="", metavar="NAMES", help="Only these, with commas: 1, 4, 16, 64, 16x10, lane, http.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the JSON to this file as well.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="A directory on the disk to measure; default: a temporary one.",
)
def command(as_json: bool, seconds: float, quick: bool, rows: str, out: Path | None, directory: Path | None) -> None:
    """Measure this machine.

    Charges (DFT^P03, 1.9 KB) come in over MLLP, are mapped to the canonical charge and delivered over MLLP, ordered by
    account over 1,000 accounts; everything is on disk before it is acknowledged. Rows are connections with one message
    in flight each; 16x10 has ten in flight on each of 16; lane orders everything by one account; http delivers the
    canonical charge over HTTP. Generator and receivers are processes on the same machine. The disk and a bare
    acknowledger are measured in the same run, to compare with.

    A row fails when not all that was acknowledged was delivered, exactly once; then the command ends with 1.
    """
    from engine.testing.bench import ROWS, measure

    names = [name.strip() for name in rows.split(",") if name.strip()] or list(ROWS)
    if unknown := [name for name in names if name not in ROWS]:
        raise click.BadParameter(f"{unknown[0]!r} is no row; there are {', '.join(ROWS)}", param_hint="--rows")
    chosen, seconds = [ROWS[name] for name in names], 2.0 if quick else seconds
    report = measure(chosen, seconds, directory) if as_json else _measure_visibly(chosen, seconds, directory)
    if out is not None:
        import orjson

        out.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    if as_json:
        print_json(report)
    else:
        show(report)
    raise SystemExit(0 if report["good"] else 1)


def _measure_visibly(chosen: list[Any], seconds: float, directory: Path | None) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from engine.testing.bench import measure

    columns = (TextColumn("{task.description:24}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(chosen) + 4)

        def say(step: str) -> None:
            progress.update(task, description=step, advance=1)

        return measure(chosen, seconds, directory, say)


def show(report: dict[str, Any]) -> None:
    """The report for people."""
    facts, disk, echo, start = report["machine"], report["disk"], report["echo"], report["start"]
    columns = ("row", "acked/s", "delivered/s", "ACK p50 ms", "p99 ms", "CPU µs", "RSS MB", "delivered")
    print_table(columns, [_cells(row) for row in report["rows"]])
    for row in report["rows"]:
        for problem in row["problems"]:
            click.echo(f"row {row['name']}: {problem}")
    first, made = start["first_ack_seconds"], start["first_ack_of_a_new_store_seconds"]
    click.echo(f"\nstart to first ACK  {first:.2f} s ({made:.2f} s with a new store)")
    click.echo(f"fdatasync of 4 KiB  {disk['per_second']:,.0f}/s, p50 {disk['p50_ms']:.2f} ms, p99 {disk['p99_ms']:.2f} ms")
    click.echo(
        f"bare acknowledger   {echo['acked_per_second']:,.0f}/s at 16 connections, p99 {echo['ack_ms']['p99']:.2f} ms; "
        f"the generator takes {echo['generator_us_per_message']:.0f} µs a message"
    )
    click.echo(
        f"machine             {facts['cores']} cores, {facts['processor']}, {facts['memory_gib']} GiB; {facts['system']}; "
        f"Python {facts['python']}, SQLite {facts['sqlite']}, {facts['file_system']}; load {facts['load_average']}"
    )
    for aim in report["aims"]:
        click.echo(f"{'reached' if aim['reached'] else 'missed ':8} {aim['aim']}: {aim['value']:,.2f}")
    if facts["python_built"] == "not optimised":
        click.echo(
            "note: this Python was built without profile-guided optimisation, which costs about a quarter. "
            "A distribution's python3, or one configured with --enable-optimizations, does better."
        )


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        f"{row['acked_per_second']:,.0f}",
        f"{row['delivered_per_second']:,.0f}",
        f"{row['ack_ms']['p50']:.2f}",
        f"{row['ack_ms']['p99']:.2f}",
        f"{row['cpu_us_per_message']:.0f}",
        f"{row['peak_rss_mb']:.0f}",
        "FAILED" if row["problems"] else f"all {row['delivered']:,}",
    )
