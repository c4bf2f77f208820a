"""`wardline inspect`: a message as the engine reads it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.terminal import json_option, print_json, print_table
from engine.errors import ConfigurationError, ContentError, PathError
from engine.values import EMPTY, NULL, Composite, Value

if TYPE_CHECKING:
    from engine.contracts import Document, Format, Node
    from engine.registry import FormatKind

PASSES_EVERYTHING = "raw"  # never found by looking: it takes any bytes


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--format", "format_name", metavar="NAME", help="Format of FILE; found by looking when not given.")
@click.option("--path", "paths", multiple=True, metavar="PATH", help="Show only what PATH gives, as PID-3.1; may be repeated.")
@click.option("--message", "number", type=click.IntRange(1), metavar="N", help="The N-th message of a file with several.")
@click.option("--strict", is_flag=True, help="Validate against the standard too; exit 1 where anything is found.")
@click.option("--profile", type=click.Path(path_type=Path), metavar="FILE", help="Validate against a profile; exit 1 likewise.")
@click.option("--render", is_flag=True, help="Write the message back to standard output: the same bytes.")
@json_option
def command(
    file: Any, format_name: str | None, paths: tuple[str, ...], number: int | None, strict: bool, profile: Path | None,
    render: bool, as_json: bool,
) -> None:  # fmt: skip
    """Show a message as the engine reads it: FILE, or - for standard input.

    Prints its format, its tree with the standard's names and the paths that mappings use, and what is odd about it.
    """
    content: bytes = file.read()
    kind = _kind(content, format_name, anything=render)
    reading = kind.build(**_profile(kind, profile))
    contents = _messages(reading, content)
    if number is not None and number > len(contents):
        raise click.UsageError(f"there are {len(contents)} messages in {file.name}, so --message goes to {len(contents)}")
    chosen = contents[(number or 1) - 1]
    # A single chosen message is rendered alone, a file with several as a whole when none was chosen.
    document = reading.parse(content if render and number is None else chosen)
    if render:
        sys.stdout.buffer.write(reading.render(document))
        sys.stdout.buffer.flush()
        return
    findings = _findings(reading, chosen, strict)
    if as_json:
        print_json(_as_data(kind, reading, document, chosen, contents, number or 1, paths, findings))
    elif paths:
        print_table(("path", "place", "value"), _rows(document, paths))
    else:
        _print_tree(kind, reading, document, chosen, contents, number, file.name)
        _print_findings(findings)
    if (strict or profile) and findings:
        sys.exit(1)


# ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _kind(content: bytes, name: str | None, *, anything: bool) -> FormatKind:
    """`anything`: what no format can read still has its bytes, which is said."""
    from engine.registry import formats

    known = formats()
    if name is None:
        try:
            return _found(content, known)
        except ContentError as error:
            if not anything:
                raise
            click.echo(f"{error}\nIts bytes are written as they are.", err=True)
            return known[PASSES_EVERYTHING]
    if name not in known:
        from difflib import get_close_matches

        near = get_close_matches(name, known, 1)
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(known)}."
        raise click.UsageError(f"there is no format {name!r}. {hint}")
    return known[name]


def _found(content: bytes, known: Mapping[str, FormatKind]) -> FormatKind:
    refusals: list[str] = []
    for name, kind in known.items():
        if name == PASSES_EVERYTHING:
            continue
        try:
            kind.build().parse(content)
        except ContentError as error:
            refusals.append(f"  {name}: {error}")
        else:
            return kind
    raise ContentError("\n".join(["the content is in no format known here; --format names one", *refusals]))


def _profile(kind: FormatKind, path: Path | None) -> dict[str, Any]:
    """What `--profile` names, for the format."""
    if path is None:
        return {}
    if "profile" not in kind.files:
        raise click.UsageError(f"format {kind.name} has no profiles")
    from engine.config.options import validate
    from engine.config.report import Report

    report = Report(Path.cwd())
    file = report.load(path.absolute())
    held = validate(kind.files["profile"].load(), file, report) if file is not None else None
    if held is None:
        raise ConfigurationError(report.sorted())
    return {"profile": held}


def _messages(reading: Format, content: bytes) -> list[bytes]:
    """The messages of a file, for formats that can tell."""
    cut = getattr(reading, "messages", None)
    found: list[bytes] = cut(content) if cut else [content]
    return found


def _findings(reading: Format, content: bytes, strict: bool) -> list[tuple[str, str, str]]:
    """(place, text, severity) of each problem, for formats that know some."""
    look = getattr(reading, "problems", None)
    found = [(each.place, each.text, each.severity) for each in look(content, strict)] if look else []
    try:
        reading.heading(content)
    except ContentError as error:
        if not any(place == error.place and severity == "error" for place, _, severity in found):
            found.insert(0, (error.place, error.problem, "error"))
    return found


# ── showing ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _texts(value: Value) -> list[Value]:
    return value if isinstance(value, list) else [value]


def _shown(value: Value) -> str:
    if value is EMPTY:
        return "(empty)"
    if value is NULL:
        return '"" (null)'
    text = str(value)
    return _printable(f"{text}    (raw: {value.raw})" if isinstance(value, Composite) and value.raw != text else text)


def _rows(document: Document, paths: Iterable[str]) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    for path in paths:
        try:
            values = _texts(document[path]) or [EMPTY]
            place = document.place(path)
        except PathError as error:
            raise click.UsageError(str(error)) from None
        rows += [(path, "" if isinstance(document[path], list) else place, _shown(value)) for value in values]
    return rows


def _heading(reading: Format, content: bytes) -> dict[str, str]:
    try:
        return dict(reading.heading(content)._asdict())
    except ContentError:
        return {}


def _as_data(
    kind: FormatKind, reading: Format, document: Document, content: bytes, contents: list[bytes], number: int,
    paths: tuple[str, ...], findings: list[tuple[str, str, str]],
) -> dict[str, Any]:  # fmt: skip
    data: dict[str, Any] = {
        "format": kind.name,
        "messages": len(contents),
        "message": number,
        "size": len(content),
        "heading": _heading(reading, content),
        "problems": [{"place": place, "text": text, "severity": severity} for place, text, severity in findings],
    }
    if paths:
        try:
            data["paths"] = {path: _plain(document[path]) for path in paths}
        except PathError as error:
            raise click.UsageError(str(error)) from None
    else:
        data["nodes"] = [_node_data(node) for node in document.nodes()]
    return data


def _plain(value: Value) -> Any:
    """JSON has one word for both: what is absent is absent text, an explicit null is null."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if value is NULL:
        return None
    return str(value) if value is EMPTY or isinstance(value, str) else value


def _node_data(node: Node) -> dict[str, Any]:
    data: dict[str, Any] = {"path": node.path, "name": node.name}
    if node.children:
        data["children"] = [_node_data(child) for child in node.children]
    else:
        data["value"] = node.value
    return data


def _print_tree(
    kind: FormatKind, reading: Format, document: Document, content: bytes, contents: list[bytes], number: int | None, name: str
) -> None:
    from rich.console import Console
    from rich.table import Table

    several = f", message {number or 1} of {len(contents)} (--message N shows another)" if len(contents) > 1 else ""
    click.secho(f"{name}: {kind.name}, {len(content)} bytes{several}", bold=True)
    facts = "  ".join(f"{fact} {value}" for fact, value in _heading(reading, content).items() if value)
    if facts:
        click.echo(_printable(facts.replace("_", " ")))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for node in document.nodes():
        _add_rows(table, node, 0)
    Console(highlight=False).print(table)


def _add_rows(table: Any, node: Node, depth: int) -> None:
    from rich.text import Text

    bold = "bold" if depth == 0 else ""
    row = ("  " * depth + node.path, node.name, _printable(node.value))
    table.add_row(*(Text(cell, style=bold or ("dim" if n == 1 else "")) for n, cell in enumerate(row)))
    for child in node.children:
        _add_rows(table, child, depth + 1)


def _printable(text: str) -> str:
    """Control characters of a message must not reach the terminal."""
    return "".join(char if char.isprintable() or char == "\n" else f"\\x{ord(char):02x}" for char in text)


def _print_findings(findings: list[tuple[str, str, str]]) -> None:
    if not findings:
        return
    print_table(("", "place", "problem"), [(severity, place or "-", text) for place, text, severity in findings], "\nProblems")
