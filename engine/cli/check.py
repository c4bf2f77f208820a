"""`wardline check`: every problem of a site at once, each with its line and a caret under the place."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import click

from engine.cli.terminal import json_option, print_json, site_option
from engine.errors import EXIT_FAILED, Problem
from engine.escape import visible
from engine.text import counted

WIDTH = 110  # characters of a source line that are shown

COLOURS = {"error": "red", "warning": "yellow"}


@click.command("check")
@site_option
@click.option("--strict", is_flag=True, help="Warnings are errors.")
@click.option("--connect", is_flag=True, help="Also try every destination, without delivering anything.")
@json_option
def command(site: Path, strict: bool, connect: bool, as_json: bool) -> None:
    """Lint every file of a site: all errors at once, each with its place and what to do; and say what each channel promises.

    Ends with 1 where there are errors (with --strict: or warnings; with --connect: or a destination does not answer).
    """
    from engine.config import read_site
    from engine.config.promise import promise

    reading = read_site(site, elsewhere=not connect)
    compiled = reading.site
    failed = compiled is None or (strict and bool(reading.problems))
    faults = dict[str, str]()
    if connect and compiled is not None:
        from engine.cli.connecting import try_destinations

        os.chdir(site)  # relative paths in a site are the site's, as under `run`
        faults = try_destinations(compiled)
        failed = failed or any(faults.values())
    promises = {channel.name: promise(channel, compiled) for channel in compiled.channels} if compiled is not None else {}
    if as_json:
        facts = _facts(reading.problems, reading.counts, failed, compiled.version if compiled else "", faults)
        print_json(facts | {"promises": promises})
        raise SystemExit(EXIT_FAILED if failed else 0)
    show_problems(reading.problems, site)
    for name, text in promises.items():
        _paragraph(name, text)
    for name, fault in faults.items():
        _answer(name, fault)
    click.echo(summary(reading.problems, reading.counts, faults))
    raise SystemExit(EXIT_FAILED if failed else 0)


def summary(problems: Sequence[Problem], counts: Mapping[str, int], faults: Mapping[str, str] | None = None) -> str:
    """`3 channels, 4 destinations, 5 mappings, 2 code tables: all fine`."""
    had = ", ".join(counted(number, noun.removesuffix("s")) for noun, number in counts.items())
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    unreached = sum(bool(fault) for fault in (faults or {}).values())
    found = [
        counted(number, noun)
        for number, noun in ((errors, "error"), (warnings, "warning"), (unreached, "unreachable destination"))
        if number
    ]
    return f"{had}: {' and '.join(found) or 'all fine'}"


def show_problems(problems: Sequence[Problem], site: Path) -> None:
    """Grouped by file, each with its source line and a caret under the column."""
    for file, of_file in groupby(problems, key=lambda problem: problem.file):
        click.secho(visible(file), bold=True)
        lines = _lines(site / file)
        for problem in of_file:
            where = f"{problem.line}:{problem.column}" if problem.line else ""
            label = click.style(problem.severity, fg=COLOURS[problem.severity])
            click.echo(f"  {where:<8}{label}  {visible(problem.text)}")
            for line in excerpt(lines, problem.line, problem.column):
                click.secho(f"          {line}", dim=True)
        click.echo()


def excerpt(lines: Sequence[str], line: int, column: int) -> Iterator[str]:
    """The source line, cut to a window around the column, and the caret's line."""
    if not 0 < line <= len(lines) or not lines[line - 1].strip():
        return
    content = lines[line - 1].replace("\t", " ")
    start = max(0, column - 1 - WIDTH * 2 // 3) if len(content) > WIDTH else len(content) - len(content.lstrip())
    start = min(start, column - 1)
    cut = "…" if start and content[:start].strip() else ""
    yield cut + visible(content[start : start + WIDTH].rstrip())
    before = cut + visible(content[start : column - 1])
    yield "".join("  " if unicodedata.east_asian_width(letter) in "WF" else " " for letter in before) + "^"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except OSError:
        return []


def _paragraph(title: str, text: str) -> None:
    import shutil
    import textwrap

    width = min(100, shutil.get_terminal_size().columns)
    click.secho(title, bold=True)
    click.echo(textwrap.fill(text, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False) + "\n")


def _answer(name: str, fault: str) -> None:
    label = click.style("unreachable", fg="red") if fault else click.style("answers", fg="green")
    click.echo(f"{label}  {name}{'  ' + visible(fault) if fault else ''}")


def _facts(
    problems: Sequence[Problem], counts: Mapping[str, int], failed: bool, version: str, faults: dict[str, str]
) -> dict[str, object]:
    return {
        "ok": not failed,
        "version": version,
        "counts": {noun.replace(" ", "_"): number for noun, number in counts.items()},
        "problems": [
            {"file": p.file, "line": p.line, "column": p.column, "severity": p.severity, "text": p.text} for p in problems
        ],
        "destinations": {name: {"answers": not fault, "fault": fault} for name, fault in faults.items()},
    }
