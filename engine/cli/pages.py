"""The reference pages under docs/reference, written from the declarations: never by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from engine.cli import COMMANDS, cli
from engine.cli.reference import (
    Entry,
    Part,
    Row,
    connector_entries,
    entity_entries,
    file_entries,
    format_entries,
    language_entries,
)

_HEAD = "<!-- Written by `wardline describe --markdown docs/reference`: do not edit. -->\n\n# {title}\n\n{about}\n"


def write_pages(directory: Path) -> list[Path]:
    """Write every page; where they are."""
    texts = {name: write() for name, write in PAGES.items()}
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / name).write_text(text, "utf-8")
    return [directory / name for name in texts]


def connectors_page() -> str:
    about = "A channel's `source`, a destination and a channel's `format` each name one of these, with its options below it."
    return _page("Connectors and formats", about, (_entry(entry) for entry in (*connector_entries(), *format_entries())))


def configuration_page() -> str:
    about = (
        "Durations are written `30s`, sizes `16MiB`, rates `20/s`, addresses `host:port`. An expression begins with `=`.\n"
        "In connector options `${NAME:-default}` is replaced by a variable of the environment; a secret is only ever a\n"
        "reference: `secret://env/NAME`, or `secret://file/run/secrets/name` for the file `/run/secrets/name`."
    )
    return _page("Files of a site", about, (_entry(entry) for entry in file_entries()))


def functions_page() -> str:
    return _page("Functions, filters, tests and names", "What expressions may use.", _language())


def entities_page() -> str:
    about = "What mappings make: one schema for each business fact, whoever sent it; `wardline schema NAME` prints it."
    return _page("Canonical entities", about, (_entry(entry) for entry in entity_entries()))


def commands_page() -> str:
    about = (
        "Each takes `--help`. Exit codes: 0 fine, 1 the check or test failed, 2 wrong usage, 74 storage failed, 75 another\n"
        "engine holds the store, 78 configuration."
    )
    return _page("Commands", about, _commands())


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "connectors.md": connectors_page,
    "configuration.md": configuration_page,
    "functions.md": functions_page,
    "entities.md": entities_page,
    "commands.md": commands_page,
}
"""File name → what writes the page's text."""


def _page(title: str, about: str, sections: Iterable[str]) -> str:
    return _HEAD.format(title=title, about=about) + "".join(f"\n{section.rstrip()}\n" for section in sections)


def _entry(entry: Entry) -> str:
    heading = f"## {entry.name}\n\n"
    usage = f"`{entry.usage}`: " if entry.usage and entry.kind in ("file", "format") else ""
    return heading + f"{usage}{_text(_without_place(entry, usage))}\n" + "".join(_part(entry, part) for part in entry.parts)


def _without_place(entry: Entry, usage: str) -> str:
    """A file's text begins with its place, which stands before it already."""
    return entry.about.removeprefix(usage) if usage else entry.about


def _part(entry: Entry, part: Part) -> str:
    heading = f"\n### {entry.name} as {part.title}\n\n{_text(part.about)}\n" if part.title else ""
    return heading + _table(part.rows) if part.rows else heading


def _table(rows: Sequence[Row]) -> str:
    lines = "".join(f"| `{row.name}` | {_cell(row.type)} | {_default(row)} | {_cell(row.text)} |\n" for row in rows)
    return f"\n| name | type | default | |\n|---|---|---|---|\n{lines}"


def _default(row: Row) -> str:
    return row.default if row.default in ("", "required") else f"`{_cell(row.default)}`"


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|")


def _text(text: str) -> str:
    """Angle brackets outside code are text, not HTML."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)


def _language() -> Iterator[str]:
    titles = {"function": "Functions", "filter": "Filters", "test": "Tests", "name": "Names"}
    found = list(language_entries())
    for kind, title in titles.items():
        lines = "".join(f"| {_code(entry.usage)} | {_cell(entry.about)} |\n" for entry in found if entry.kind == kind)
        yield f"## {title}\n\n| | |\n|---|---|\n{lines}"


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _commands() -> Iterator[str]:
    top = click.Context(cli, info_name="wardline")
    for name in COMMANDS:
        command = cli.get_command(top, name)
        assert command is not None
        yield _command(click.Context(command, info_name=name, parent=top), command)


def _command(context: click.Context, command: click.Command) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    about = re.sub(r"[\b\f]\n?", "", "\n".join(line.strip() for line in (command.help or "").strip().splitlines()))
    text = f"## {context.command_path}\n\n`{usage}`\n\n{_text(about)}\n"
    records = [record for one in command.params if isinstance(one, click.Option) and (record := one.get_help_record(context))]
    if records:
        text += "\n| option | |\n|---|---|\n"
        text += "".join(f"| {_code(option)} | {_cell(' '.join(said.split()))} |\n" for option, said in records)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if below := command.get_command(context, name):
                text += "\n" + _command(click.Context(below, info_name=name, parent=context), below)
    return text
