"""What commands share: where a site is, how results are shown to people and to scripts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson

WIDE = 4096  # columns, where nobody looks

F = TypeVar("F", bound=Callable[..., Any])


def site_option(function: F) -> F:
    """`--site DIR`: the directory with conf/, channels/ and mappings/."""
    return click.option(
        "--site",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        default=Path(),
        show_default=True,
        help="Directory of the site: conf/, channels/, mappings/.",
    )(function)


def json_option(function: F) -> F:
    """`--json`: the same facts for scripts, one JSON document on standard output."""
    return click.option("--json", "as_json", is_flag=True, help="JSON instead of text, for scripts.")(function)


@contextmanager
def progress(doing: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error while something long goes on, in a terminal; gives what is told of (done, in all)."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_json(value: Any) -> None:
    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str))
    sys.stdout.buffer.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """A table in a terminal; cells are text as it is, never markup (they may come from messages)."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns[:-1]:
        table.add_column(column, no_wrap=True)
    table.add_column(columns[-1], overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    # Into a file or a pipe a row is a line, however long.
    Console(highlight=False, width=None if sys.stdout.isatty() else WIDE).print(table)
