"""What is odd or wrong about a message that can be read all the same: for `inspect`, never on the way of a message.

Lenient problems are our own; `strict` adds what hl7apy finds against the standard's tables, each of its many kinds of
exception as one finding.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from engine.formats.hl7v2.names import VERSIONS, known_version
from engine.formats.hl7v2.structure import standard_structure

if TYPE_CHECKING:
    from engine.formats.hl7v2.document import Hl7Message


class Finding(NamedTuple):
    place: str  # `MSH-10`, or '' for the whole message
    text: str
    severity: str = "warning"  # or "error"


REQUIRED = {
    "MSH-9": ("the message type is missing: no structure is known, and rules on it never hold", "warning"),
    "MSH-10": ("the message control id is missing: such a message is answered AE", "error"),
    "MSH-11": ("the processing id is missing", "warning"),
    "MSH-12": ("the version is missing; read as 2.5.1", "warning"),
}


def problems(message: Hl7Message, strict: bool = False) -> list[Finding]:
    """In the order of the message, the header's first."""
    found = [*_header(message), *_lines(message), *_text(message)]
    return found + _strict(message) if strict else found


def _header(message: Hl7Message) -> Iterator[Finding]:
    first = message.source.segments[0][0][:3]
    if first != "MSH":
        yield Finding(first, "the header of a batch: a channel takes single messages", "error")
    if "MSH" not in message.index:
        yield Finding("MSH", "there is no message header", "error")
        return
    for path, (text, severity) in REQUIRED.items():
        if not message[path]:
            yield Finding(path, text, severity)
    declared = message.syntax.declared
    if len(declared) not in (4, 5):
        yield Finding("MSH-2", rf"{declared!r} names {len(declared)} delimiters, not four or five: usually ^~\&")
    if (version := str(message["MSH-12.1"])) and version not in VERSIONS:
        yield Finding("MSH-12", f"{version[:20]!r} is no version of HL7 v2; read as {known_version(version)}")
    if message["MSH-9.1"]:
        parts = [str(message[f"MSH-9.{n}"]) for n in (1, 2, 3)]
        known = standard_structure(version, *parts)
        if known is None:
            yield Finding("MSH-9", f"{'^'.join(parts[:2])[:20]} has no structure in the standard: groups are a best guess")
        elif parts[2] and parts[2] != known[1]:
            yield Finding("MSH-9.3", f"{parts[2][:20]!r} is not the structure of {parts[0]}^{parts[1]}, which is {known[1]}")
    if not message["MSH-18"] and message.syntax.codec == "latin-1":
        yield Finding("MSH-18", "no character set is declared and the bytes are not UTF-8; read as ISO 8859-1")


def _lines(message: Hl7Message) -> Iterator[Finding]:
    source = message.source
    known = {id(segment) for several in message.index.values() for segment in several}
    if source.end != "\r":
        yield Finding("", f"segments end with {'LF' if source.end == chr(10) else 'CRLF'}; the standard says CR")
    if source.ends is not None:
        yield Finding("", "segments end in different ways")
    for number, segment in enumerate(source.segments, 1):
        line = message.syntax.field.join(segment)
        if id(segment) not in known and line.strip("\x1c \t"):
            yield Finding("", f"line {number} is no segment: it begins with {line[:6]!r}", "error")
        elif id(segment) in known and line[:3] != line[:3].upper():
            yield Finding(line[:3], f"line {number}: segment names are upper case")


def _text(message: Hl7Message) -> Iterator[Finding]:
    for segment in message.own_segments():
        line = message.syntax.field.join(segment)
        if control := re.search(r"[\x00-\x08\x0b-\x1f\x7f]", line):
            yield Finding(message.ordinal(segment), f"it holds the control character 0x{ord(control[0]):02X}")


def _strict(message: Hl7Message) -> list[Finding]:
    """hl7apy's findings: it may stop at its first error, and writes the others to a report."""
    from hl7apy.consts import VALIDATION_LEVEL
    from hl7apy.exceptions import HL7apyException
    from hl7apy.parser import parse_message

    stopped: list[Finding] = []
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report")
        try:
            parsed = parse_message(_for_validator(message), validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=True)
            parsed.validate(report_file=str(report))
        except HL7apyException as error:
            stopped = [_understood(str(error))]
        except Exception as error:  # its tables lead it to AttributeError, ValueError, KeyError …
            stopped = [
                Finding("", f"not validated further: the validator failed ({type(error).__name__}: {error})"[:300], "error")
            ]
        lines = report.read_text(encoding="utf-8").splitlines() if report.exists() else []
    reported = (line.partition(": ") for line in lines)
    # Of a choice hl7apy wants all.
    found = [_understood(text, kind) for kind, _, text in reported if text and not re.search("CHOICE|SUPPGRP", text)]
    found += stopped
    if known_version(str(message["MSH-12.1"])) in ("2.1", "2.2", "2.3"):
        # MSH-9.3 came with 2.3.1; it is there only because hl7apy finds the structure by it.
        found = [each for each in found if (each.place, each.text) != ("MSH-9", SURPLUS)]
    local = sorted({kind for kind in message.index if kind.startswith("Z")})
    if local:
        found.append(Finding("", f"{', '.join(local)}: local segments, not validated"))
    return list(dict.fromkeys(found))


def _for_validator(message: Hl7Message) -> str:
    """The message without what hl7apy stumbles over and we read: local segments, batch segments, line ends, a fifth
    delimiter (2.7), a version it does not know."""
    marks = message.syntax.field
    lines: list[str] = []
    for segment in message.own_segments():
        line = marks.join(segment)
        if line[:3] == "MSH":
            fields = line.split(marks)
            fields[1] = fields[1][:4]
            if len(fields) > 11:
                fields[11] = known_version(str(message["MSH-12.1"]))
                parts = [str(message[f"MSH-9.{n}"]) for n in (1, 2, 3)]
                if known := standard_structure(fields[11], *parts):
                    fields[8] = message.syntax.component.join((*parts[:2], known[1]))
            line = marks.join(fields)
        if line[0] != "Z" and line[:3] not in ("FHS", "BHS", "BTS", "FTS"):
            lines.append(line)
    return "\r".join(lines)


SURPLUS = "holds parts that this version does not have"
_WORDS = (
    (r"Missing required child (?P<at>\S+)", "is required and missing"),
    (r"Child limit exceeded (?P<at>\S+)", "occurs more often than this version allows, or was withdrawn"),
    (r"Datatype \S+ is not correct for (?P<at>\S+) .*", "was withdrawn in this version, or has another type"),
    (r"Value (?P<value>.*) not in table HL7(?P<table>\d+) in element (?P<at>\S+)", "{value!r} is not in table {table}"),
    (r"Invalid children detected for <\w+ (?P<at>\w+).*", SURPLUS),
)


def _understood(text: str, kind: str = "Error") -> Finding:
    """One of hl7apy's texts with its place in our notation: `PID_5.XPN_6` is PID-5.6, `OBX.OBX_4` is OBX-4."""
    severity = "warning" if kind == "Warning" else "error"
    for pattern, words in _WORDS:
        if match := re.fullmatch(pattern, text.strip()):
            facts = match.groupdict()
            place = _place(facts["at"])
            about = words.format(**{name: value[:40] for name, value in facts.items()})
            subject = re.sub(r"\b[A-Z]{3}_[A-Z0-9]{2,3}_", "", facts["at"])
            return Finding(place, about if place else f"{subject} {about}", severity)
    return Finding("", text.strip()[:300], severity)


def _place(at: str) -> str:
    whole = re.fullmatch(r"(?:\w+\.)?([A-Z][A-Z0-9]{2})_(\d+)", at)
    part = re.fullmatch(r"([A-Z][A-Z0-9]{2})_(\d+)\.\w+_(\d+)", at)
    if part:
        return f"{part[1]}-{part[2]}.{part[3]}"
    if whole:
        return f"{whole[1]}-{whole[2]}"
    return at if re.fullmatch(r"[A-Z][A-Z0-9]{2}", at) else ""
