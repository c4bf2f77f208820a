"""`wardline codes`: the code tables of a site, where they are used, and a row more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.terminal import json_option, print_json, print_table, site_option
from engine.errors import ConfigurationError, Problem, WardlineError
from engine.escape import visible
from engine.text import counted, listed

if TYPE_CHECKING:
    from engine.mapping.codes import CodeTable
    from engine.mapping.uses import Use
    from engine.store.rows import UnknownRow


class _Codes(click.Group):
    """`codes add …` is a command of its own; any other word is the name of a table."""

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return super().get_command(ctx, name) or _shows(name)


@click.group("codes", cls=_Codes, invoke_without_command=True, subcommand_metavar="[TABLE | add TABLE COLUMN=VALUE…]")
@site_option
@json_option
@click.pass_context
def command(context: click.Context, site: Path, as_json: bool) -> None:
    """List the code tables of a site: how many rows each has, where it is used, and how many messages wait for a row.

    `wardline codes TABLE` shows the rows of one, every place that looks in it, and the codes it has no row for.
    """
    if context.invoked_subcommand is not None:
        return
    from engine.mapping.uses import uses

    tables, used, waiting = _tables(site), uses(site), _unknown(site)
    if as_json:
        print_json([_facts(table, used, waiting) for table in tables])
        return
    print_table(
        ("table", "rows", "waiting", "columns", "used in"),
        [
            (
                table.name, f"{len(table.rows):,}", _waiting(table.name, waiting), ", ".join(table.header),
                ", ".join(_places(table.name, used)) or "nowhere",
            )
            for table in tables
        ],
    )  # fmt: skip


def _shows(name: str) -> click.Command:
    @click.command(name)
    @site_option
    @json_option
    @click.pass_context
    def show(context: click.Context, site: Path, as_json: bool) -> None:
        from engine.mapping.tablefile import table_file
        from engine.mapping.uses import uses

        site, as_json = _inherited(context, site), as_json or _parent(context)["as_json"]
        table = table_file(site, name).table
        used, waiting = uses(site), _unknown(site)
        if as_json:
            rows = [dict(zip(table.header, row, strict=True)) for row in table.cells]
            print_json({**_facts(table, used, waiting), "content": rows})
            return
        print_table(("line", *table.header), [(line, *row) for line, row in zip(table.lines, table.cells, strict=True)])
        places = _places(table.name, used)
        click.echo(f"\n{counted(len(table.rows), 'row')}, used in {listed(places) if places else 'no mapping and no channel'}")
        if unknown := [row for row in waiting or () if row.table == table.name]:
            click.echo("\nNo row for")
            print_table(
                ("code", "waiting", "ever", "where it stood"),
                [(visible(row.value, 80), f"{row.waiting:,}", f"{row.messages:,}", visible(row.path, 80)) for row in unknown],
            )

    return show


@command.command("add")
@click.argument("table")
@click.argument("cells", nargs=-1, required=True, metavar="COLUMN=VALUE…")
@site_option
@click.pass_context
def add(context: click.Context, table: str, cells: tuple[str, ...], site: Path) -> None:
    """Add a row to a code table, as the last line of its file.

    Every column is given, as COLUMN= where the row gives nothing for it; valid_from and valid_to may be left out. Refused
    is a row that another one hides, and one that is valid on the same days as another of its key. The file is replaced
    whole or not at all, and keeps its line ends, quotes and rights.

    \b
      wardline codes add sex code=N sex=other
    """
    from engine.mapping.tablefile import add_row, answers, keys_of, table_file

    site = _inherited(context, site)
    given = dict(_cell(text) for text in cells)
    if len(given) < len(cells):
        raise click.UsageError("a column is given twice.")
    table_file(site, table)
    keys = keys_of(site, table)
    added = add_row(site, table, given, keys)
    click.echo(f"mappings/codes/{table}.csv:{added.line}  {visible(added.row)}")
    waiting = [row for row in _unknown(site) or () if row.table == table and answers(added, keys, row.value)]
    if number := sum(row.waiting for row in waiting):
        verb = "waits" if number == 1 else "wait"
        click.echo(f"{counted(number, 'message')} {verb} for it. Have the engine take it up: wardline reload")


def _cell(text: str) -> tuple[str, str]:
    column, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"'{text}' is not COLUMN=VALUE.")
    return column, value


# ── what there is ──────────────────────────────────────────────────────────────────────────────────────────────────


def _tables(site: Path) -> list[CodeTable]:
    """Every table, in order of name. Raises ConfigurationError for one that is wrong."""
    from engine.mapping.codes import read_table

    read = [read_table(path, path.relative_to(site).as_posix()) for path in sorted(site.glob("mappings/codes/*.csv"))]
    problems: list[Problem] = [problem for table, found in read if table is None for problem in found]
    if problems:
        raise ConfigurationError(problems)
    return [table for table, _ in read if table is not None]


def _unknown(site: Path) -> list[UnknownRow] | None:
    """Codes without a row that messages brought; None where the store cannot be read, as before the engine's first start."""
    from engine.cli.stored import stored

    try:
        with stored(site) as store:
            return store.history.unknown_codes()
    except WardlineError:
        return None


def _places(name: str, used: Sequence[Use]) -> list[str]:
    return [f"{use.file}:{use.line}" for use in used if use.table == name]


def _waiting(name: str, unknown: Sequence[UnknownRow] | None) -> str:
    return "?" if unknown is None else f"{sum(row.waiting for row in unknown if row.table == name):,}"


def _facts(table: CodeTable, used: Sequence[Use], unknown: Sequence[UnknownRow] | None) -> dict[str, Any]:
    from engine.cli.stored import utc

    return {
        "table": table.name,
        "file": table.file,
        "columns": table.header,
        "rows": len(table.rows),
        "used_in": _places(table.name, used),
        "unknown": None
        if unknown is None
        else [
            {
                "value": row.value, "waiting": row.waiting, "messages": row.messages, "first_seen": utc(row.first_seen),
                "last_seen": utc(row.last_seen), "path": row.path,
            }
            for row in unknown
            if row.table == table.name
        ],
    }  # fmt: skip


def _parent(context: click.Context) -> dict[str, Any]:
    assert context.parent is not None
    return context.parent.params


def _inherited(context: click.Context, site: Path) -> Path:
    """`wardline codes --site DIR add …` and `wardline codes add … --site DIR` say the same."""
    given = context.get_parameter_source("site") is click.core.ParameterSource.COMMANDLINE
    found: Path = site if given else _parent(context)["site"]
    return found
