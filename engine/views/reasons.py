"""The text of a reason, taken apart: the place in the message and the line of the file that it names."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from engine.formats.hl7v2.names import SEGMENTS

PLACE: Final = "place"  # `FT1[2]-13.1`: a field of the message as it was received
FILE: Final = "file"  # `mappings/dft-to-charge.yaml:53:15`

LONGEST: Final = 20_000  # characters that are looked through; a reason is a line

# What an error text quotes of the message stands in quotes, and no link is made of it.
_TOKEN: Final = re.compile(
    r"(?P<quoted>'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\")"
    r"|(?P<file>(?<![\w./-])(?:[\w-][\w.-]*/){0,8}[\w-][\w.-]*\.(?:yaml|yml|csv|j2):\d{1,7}(?::\d{1,7})?)"
    r"|(?P<place>(?<![\w/.-])(?<!\w=)[A-Z][A-Z0-9]{2}(?:\[\d{1,6}\])?-[1-9]\d{0,2}(?:\[\d{1,6}\])?(?:\.\d{1,4}){0,2}(?![\w-]))"
    r"|(?P<segment>(?<![\w/.-])(?<!\w=)[A-Z][A-Z0-9]{2}\[\d{1,6}\](?![\w-]))"
)


class Part(NamedTuple):
    """A run of a reason. The parts of a reason, joined, are its text."""

    text: str
    kind: str = ""  # '' for words, PLACE or FILE
    file: str = ""
    line: int = 0


def parts(reason: str) -> list[Part]:
    """Raises nothing: what has no structure is one part."""
    found: list[Part] = []
    at = 0
    for match in _TOKEN.finditer(reason[:LONGEST]):
        if match["quoted"] or not (match["file"] or _is_segment(match[0][:3])):
            continue
        if match.start() > at:
            found.append(Part(reason[at : match.start()]))
        if match["file"]:
            file, line, *_ = match["file"].split(":")
            found.append(Part(match[0], FILE, file, int(line)))
        else:
            found.append(Part(match[0], PLACE))
        at = match.end()
    if at < len(reason):
        found.append(Part(reason[at:]))
    return found


def _is_segment(name: str) -> bool:
    """One of the standard's, or somebody's own: an account number may look like a place."""
    return name[0] == "Z" or name in SEGMENTS


def place(reason: str) -> str:
    """The first place that a reason names; '' where it names none."""
    return next((part.text for part in parts(reason) if part.kind == PLACE), "")


def file(reason: str) -> Part | None:
    """The file and line that a reason names, the last where there are several."""
    return next((part for part in reversed(parts(reason)) if part.kind == FILE), None)
