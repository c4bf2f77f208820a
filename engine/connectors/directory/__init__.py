"""A directory: each delivery becomes one file. Sends only."""

from __future__ import annotations

import difflib
import re
from string import Formatter

from pydantic import Field, field_validator

from engine.registry import Connector, End, Options

FIELDS = ("identity", "message_id", "delivery_id", "channel", "route", "date")
_DISTINCT = {"identity", "delivery_id", "message_id"}


class DropOptions(Options):
    """Write each delivery to a file of its own. A file appears complete and under its name, or not at all."""

    path: str = Field(min_length=1)
    """The directory; one that is missing is made, if the directory above it exists."""
    name: str = "{identity}"
    """The file's name, with `{identity}`, `{message_id}`, `{delivery_id}`, `{channel}`, `{route}` or `{date}` (of its
    recording, UTC, `2026-02-28`) put in. The identity is the same on every attempt and different for every delivery."""

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        try:
            parts = list(Formatter().parse(name))
        except ValueError as problem:
            raise ValueError(f"{name!r}: {problem}; a brace that is meant as such is doubled") from None
        used = set()
        for literal, field, layout, conversion in parts:
            if re.search(r"[/\\\x00-\x1f\x7f]", literal):
                raise ValueError(f"{name!r}: a file name cannot hold separators or control characters; the directory is path:")
            if field is None:
                continue
            if field not in FIELDS or layout or conversion:
                near = difflib.get_close_matches(field, FIELDS, 1)
                hint = f"did you mean {{{near[0]}}}?" if near else "there are " + ", ".join(f"{{{known}}}" for known in FIELDS)
                raise ValueError(f"{name!r}: {{{field}}} is no field of a file name; {hint}")
            used.add(field)
        if not used & _DISTINCT:
            raise ValueError(f"{name!r} would be the same for every delivery; put {{identity}} in")
        if name.startswith("."):
            raise ValueError(f"{name!r}: names that begin with a dot are those of unfinished files")
        return name


CONNECTOR = Connector(
    name="directory",
    about="Files in a directory, one for each delivery, written whole or not at all.",
    destination=End(DropOptions, "engine.connectors.directory.destination:DirectoryDestination"),
)
