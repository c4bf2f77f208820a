"""`wardline schema`: JSON Schemas of site files, for editors, and of the canonical entities, for those who receive them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from engine.cli.terminal import print_json, print_table


@click.command("schema")
@click.argument("name", required=False, default="")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Write files into this directory.")
def command(name: str, out: Path | None) -> None:
    """JSON Schemas (2020-12) of channel files, mapping files, conf/*.yaml and every canonical entity.

    NAME is channel, mapping, destinations, engine, or an entity (charge, charge/v1). Without NAME and --out, the names.
    """
    schemas = all_schemas()
    if name:
        schemas = {found: schemas[found] for found in [_named(name, schemas)]}
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for found, schema in schemas.items():
            click.echo(_write(out / f"{found.replace('/', '.')}.schema.json", schema))
    elif name:
        print_json(next(iter(schemas.values())))
    else:
        print_table(["name", ""], [(found, schema.get("description", "")) for found, schema in schemas.items()])


def all_schemas() -> dict[str, dict[str, Any]]:
    """Every schema by the name it is asked for."""
    from engine.config.schemas import file_schemas
    from engine.registry import entities

    return {**file_schemas(), **{name: entity.json_schema() for name, entity in entities().items()}}


def _named(name: str, schemas: dict[str, dict[str, Any]]) -> str:
    from engine.text import did_you_mean

    found = name if name in schemas else next((known for known in reversed(schemas) if known.partition("/")[0] == name), "")
    if not found:
        known = {part for full in schemas for part in (full, full.partition("/")[0])}
        raise click.UsageError(f"there is no schema '{name}'.{did_you_mean(name, sorted(known))}")
    return found


def _write(path: Path, schema: dict[str, Any]) -> Path:
    import orjson

    path.write_bytes(orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return path
