"""`wardline map MAPPING FILE`: try a mapping on a message, without running anything."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from engine.cli.terminal import json_option, print_json, site_option
from engine.errors import ConfigurationError, ContentError, WardlineError

INTERVAL = 0.25  # seconds between looks at the files


@click.command("map")
@click.argument("mapping")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--watch", is_flag=True, help="Repeat on every save of the mapping, its code tables, templates or the file.")
@site_option
@json_option
def command(mapping: str, file: Path, watch: bool, site: Path, as_json: bool) -> None:
    """Show what MAPPING makes of the message in FILE.

    MAPPING is the name of a mapping, or several with commas between them for a chain: dft-to-charge,charge-to-journal.
    """
    names = [_name(name) for name in mapping.split(",") if name.strip()]
    if not watch:
        sys.exit(_show(names, file, site, as_json))
    click.echo(f"Watching {site / 'mappings'} and {file}. Ctrl-C ends.", err=True)
    try:
        repeat(lambda: _show(names, file, site, as_json), lambda: _watched(site, file))
    except KeyboardInterrupt:
        click.echo("", err=True)


def _name(text: str) -> str:
    """A mapping's name; its file's path is understood too."""
    return Path(text.strip()).stem if text.strip().endswith(".yaml") else text.strip()


def repeat(work: Callable[[], object], files: Callable[[], Iterable[Path]], wait: Callable[[float], None] = time.sleep) -> None:
    """Do `work` now and whenever one of `files` has changed, appeared or gone; ends by the exception that `wait` raises."""
    before = None
    while True:
        now = _stamps(files())
        if now != before:
            before = now
            work()
        wait(INTERVAL)


def _stamps(files: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    stamps: dict[Path, tuple[int, int]] = {}
    for path in files:
        try:
            found = path.stat()
        except OSError:
            continue  # being saved just now: it is looked at again in a moment
        stamps[path] = found.st_mtime_ns, found.st_size
    return stamps


def _watched(site: Path, file: Path) -> list[Path]:
    mappings = site / "mappings"
    return [file, *mappings.glob("*.yaml"), *mappings.glob("*.j2"), *mappings.glob("codes/*.csv")]


def _show(names: list[str], file: Path, site: Path, as_json: bool) -> int:
    """Print the results, or what is wrong; the exit code."""
    try:
        products, hints = _products(names, file, site)
    except WardlineError as error:
        if as_json:
            print_json({"error": str(error), "place": getattr(error, "place", ""), "results": []})
        else:
            _tell(error)
        return error.exit_code
    if as_json:
        print_json({"results": [_facts(product) for product in products], "hints": hints})
    else:
        _pretty(products, hints)
    return 0


def _products(names: list[str], file: Path, site: Path) -> tuple[list[Any], list[str]]:
    """The results, and what the mapping looked for in the wrong place."""
    from engine import registry
    from engine.mapping import Library
    from engine.mapping.sources import EntitySource
    from engine.testing.hints import hints
    from engine.testing.mappings import site_facts

    library = Library.load(site, registry.formats(), registry.entities())
    try:
        first = library.step(names[0]) if names else None
        chain = library.chain(names, f"{first.source}[*]" if first and first.many else first.source if first else "")
    except ConfigurationError as error:
        own = [problem for problem in library.problems if problem.severity == "error"]
        raise ConfigurationError([*own, *error.problems]) from None
    assert first is not None
    source, content, facts = library.source(first.source), file.read_bytes(), site_facts(site)
    if isinstance(source, EntitySource):
        return chain.apply(source.document(source.payloads(content), many=first.many), facts._replace(format="json")), []
    facts, document = facts._replace(format=source.name, heading=source.heading(content)), source.parse(content)
    return chain.apply(document, facts), hints(first, document, facts)


def _facts(product: Any) -> dict[str, Any]:
    import orjson

    content: Any = product.content.decode("utf-8", "replace")
    if product.content_type == "application/json":
        content = orjson.loads(product.content)
    return {"kind": product.kind, "action": product.action, "content_type": product.content_type, "content": content}


def _tell(error: WardlineError) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    label = "would park  " if isinstance(error, ContentError) else ""
    for line in str(error).splitlines():
        console.print(Text(label, style="bold red") + Text(printable(line)))


def _pretty(products: list[Any], hints: list[str]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    if not products:
        console.print(Text("No results: `when` skipped every turn.", style="yellow"))
    for number, product in enumerate(products, 1):
        title = f"{number}/{len(products)}  {product.kind}  {product.action}".rstrip()
        console.print(Text(title, style="bold cyan"))
        if product.content_type == "application/json":
            _pretty_json(console, product)
        else:
            for line in product.content.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").splitlines():
                console.print(Text("  " + printable(line)))
    for hint in hints:
        console.print(Text(f"Note: {hint}", style="yellow"))


def _pretty_json(console: Any, product: Any) -> None:
    import orjson
    from rich.json import JSON

    value = orjson.loads(product.content)
    payload = value["payload"] if isinstance(value, dict) and "/" in product.kind else value
    console.print(JSON(orjson.dumps(payload).decode()))


def printable(line: str) -> str:
    """Control characters as a terminal may show them: content is data, and moves no cursor."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in line)
