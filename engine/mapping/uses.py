"""Where code tables are used: in mappings, channel files and templates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from engine.strictyaml import LIMIT, Map, Seq, Text, read_bytes, read_file

_USE: Final = re.compile(r"""\b(?:code|listed)\(\s*(['"])([^'"]{1,200})\1""")


class Use(NamedTuple):
    """One expression that looks in a table."""

    table: str
    file: str  # from the site's directory
    line: int


def uses(site: Path) -> list[Use]:
    """Every use, in order of file and line. A file that cannot be read has none; `wardline check` says why it cannot."""
    found: list[Use] = []
    for path in (*sorted(site.glob("channels/*.yaml")), *sorted(site.glob("mappings/*.yaml"))):
        lines, _ = read_file(path, path.relative_to(site).as_posix())
        found += _within(lines)
    for path in sorted(site.glob("mappings/*.j2")):
        found += _in_template(path, path.relative_to(site).as_posix())
    return sorted(set(found), key=lambda use: (use.file, use.line, use.table))


def _within(value: Any) -> Iterator[Use]:
    if isinstance(value, Map):
        for item in value.values():
            yield from _within(item)
    elif isinstance(value, Seq):
        for item in value:
            yield from _within(item)
    elif isinstance(value, Text) and value.startswith("="):
        for found in _USE.finditer(value):
            place = value.at(found.start())
            yield Use(found[2], place.file, place.line)


def _in_template(path: Path, file: str) -> Iterator[Use]:
    try:
        text = read_bytes(path, LIMIT).decode("utf-8", "replace")
    except OSError:
        return
    for number, line in enumerate(text.split("\n"), 1):
        for found in _USE.finditer(line):
            yield Use(found[2], file, number)
