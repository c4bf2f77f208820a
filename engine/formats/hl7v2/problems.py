"""What is odd or wrong about a message that can be read all the same, for people who look at it with `inspect`.

`strict` adds what the standard's tables say, and a profile what a feed has agreed on: the same that a channel finds which
asks for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.formats.hl7v2.names import VERSIONS, known_version
from engine.formats.hl7v2.profile import Profile
from engine.formats.hl7v2.strict import Finding
from engine.formats.hl7v2.strict import strict as against_the_standard
from engine.formats.hl7v2.structure import standard_structure

if TYPE_CHECKING:
    from engine.formats.hl7v2.document import Hl7Message


REQUIRED = {
    "MSH-9": ("the message type is missing: no structure is known, and rules on it never hold", "warning"),
    "MSH-10": ("the message control id is missing: such a message is answered AE", "error"),
    "MSH-11": ("the processing id is missing", "warning"),
    "MSH-12": ("the version is missing; read as 2.5.1", "warning"),
}


def problems(message: Hl7Message, strict: bool = False, profile: Profile | None = None) -> list[Finding]:
    """In the order of the message, the header's first."""
    found = [*_header(message), *_lines(message), *_text(message)]
    if strict:
        found += against_the_standard(message)
    if profile is not None:
        found += profile.findings(message)
    return list({(each.place, each.text): each for each in found}.values())


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
