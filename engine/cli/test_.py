"""`wardline test`: the tests that stand beside mappings and channels, with a field-level diff where one fails."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.terminal import json_option, print_json, site_option
from engine.errors import EXIT_CONFIGURATION, EXIT_FAILED, Problem

if TYPE_CHECKING:
    from engine.config.cases import ChannelTest
    from engine.testing.mappings import ChannelCase


@click.command("test")
@click.argument("names", nargs=-1, metavar="[NAME]…")
@site_option
@json_option
def command(names: Sequence[str], site: Path, as_json: bool) -> None:
    """Run the tests of mappings and channels: all of a site, or those of the ones named.

    Exits with 1 when a test fails, with 78 when a file cannot be read.
    """
    from engine import registry
    from engine.config import read_site
    from engine.mapping import Library
    from engine.testing import mappings
    from engine.text import did_you_mean

    library = Library.load(site, registry.formats(), registry.entities())
    reading = read_site(site, elsewhere=True)
    channels = {channel.name: channel for channel in reading.site.channels} if reading.site else {}
    for name in names:
        if name not in library.names and not (site / "channels" / f"{name}.yaml").is_file():
            known = [*library.names, *channels]
            raise click.UsageError(f"there is no mapping and no channel '{name}'.{did_you_mean(name, known)}")
    errors = [problem for problem in reading.problems if problem.severity == "error"]
    results = mappings.run(library, site, names, None if as_json else _tell)
    facts = mappings.site_facts(site)
    for name, tests in reading.tests.items():
        if name in channels and (not names or name in names):
            for result in mappings.run_channel(channels[name], [_case(test) for test in tests], facts):
                results.append(result)
                if not as_json:
                    _tell(result)
    failed = [result for result in results if not result.passed]
    if as_json:
        print_json(_facts(results, errors))
    else:
        _summary(results, failed, errors)
    if errors:
        sys.exit(EXIT_CONFIGURATION)
    if failed:
        sys.exit(EXIT_FAILED)


def _case(test: ChannelTest) -> ChannelCase:
    from engine.mapping.cases import Case
    from engine.testing.mappings import ChannelCase

    case = Case(test.name, test.given, test.file, None, test.parks, None, test.at)
    return ChannelCase(case, test.expect, test.filtered, test.rejected)


def _tell(result: Any) -> None:
    from rich.console import Console
    from rich.text import Text

    line = Text("✓ " if result.passed else "✗ ", style="green" if result.passed else "bold red")
    line.append(f"{result.subject}  ", style="bold").append(result.test)
    console = Console(highlight=False, soft_wrap=True)
    console.print(line)
    if result.passed:
        return
    console.print(Text(f"    {result.where}", style="dim"))
    if result.error:
        console.print(Text(f"    {result.error}", style="red"))
    for difference in result.differences:
        console.print(Text(f"    {difference.path}"))
        console.print(Text(f"      - {difference.expected or '(nothing)'}", style="green"))
        console.print(Text(f"      + {difference.actual or '(nothing)'}", style="red"))


def _summary(results: Sequence[Any], failed: Sequence[Any], errors: Sequence[Problem]) -> None:
    from engine.text import counted

    for problem in errors:
        click.echo(str(problem), err=True)
    if not results and not errors:
        click.echo("No tests. A test stands in the file of a mapping or channel:\n")
        click.echo("  tests:\n    - given: samples/…\n      expect: [{field: value}]")
        return
    seconds = sum(result.seconds for result in results)
    text = f"{counted(len(results), 'test')}, {len(failed)} failed, {seconds:.2f} s"
    click.echo(f"{text}; {counted(len(errors), 'error')} in the site's files" if errors else text)


def _facts(results: Sequence[Any], errors: Sequence[Problem]) -> dict[str, Any]:
    return {
        "passed": sum(result.passed for result in results),
        "failed": sum(not result.passed for result in results),
        "tests": [
            {
                "subject": result.subject,
                "test": result.test,
                "passed": result.passed,
                "where": result.where,
                "error": result.error,
                "differences": [{"path": d.path, "expected": d.expected, "actual": d.actual} for d in result.differences],
            }
            for result in results
        ],
        "problems": [str(problem) for problem in errors],
    }
