"""What a sender makes of files: which are HL7 v2, where one message ends and the next begins, what is expected in return."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_BLANK = b"\xef\xbb\xbf \t\r\n"  # what may stand before the first segment: a byte order mark, blank lines
_HEAD = re.compile(rb"(?:MSH|FHS|BHS)[^A-Za-z0-9\s]")
_MESSAGE = re.compile(rb"(?:\A|\A\xef\xbb\xbf|[\r\n])(MSH)(?=[^A-Za-z0-9\s])")
_ENDS = re.compile(rb"(\r\n|\r|\n)[\r\n]*\Z")


class Item(NamedTuple):
    """One message to send, and where it is from."""

    source: str  # `batch.hl7` or `batch.hl7#3`
    content: bytes
    control_id: bytes | None  # MSH-10; None for a batch, and for what has no MSH to read it from
    answer: str  # `always`, `maybe` (the sender asked for one only in some cases) or `never` (acknowledgements)


class Skipped(NamedTuple):
    source: str
    reason: str


def split(content: bytes) -> list[bytes]:
    """The messages of a file, each as it is sent.

    A file with one message is sent byte for byte. Several messages, each beginning with MSH at the start of a line, are
    sent one by one: each reaches to the next MSH, blank lines between them left out. A batch (FHS or BHS first) is one
    transmission and stays whole.
    """
    starts = [found.start(1) for found in _MESSAGE.finditer(content)]
    if len(starts) < 2 or content.lstrip(_BLANK)[:3] in (b"FHS", b"BHS"):
        return [content]
    if content[: starts[0]].strip(_BLANK):
        starts[0] = 0  # something stands before the first: it goes with it, to be refused where it may not
    parts = (content[start:end] for start, end in zip(starts, [*starts[1:], len(content)], strict=True))
    return [_ENDS.sub(rb"\1", part) for part in parts]


def items(paths: Iterable[Path]) -> Iterator[Item | Skipped]:
    """The messages of files, and of everything below directories, in the order of their names."""
    for path in paths:
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            yield from _of_file(file)


def _of_file(file: Path) -> Iterator[Item | Skipped]:
    content = file.read_bytes()
    if not content.strip(_BLANK):
        yield Skipped(str(file), "empty")
    elif not _HEAD.match(content.lstrip(_BLANK)) and file.suffix.lower() != ".hl7":
        yield Skipped(str(file), "no HL7 v2: begins with neither MSH, FHS nor BHS")
    else:
        parts = split(content)
        for number, part in enumerate(parts, 1):
            yield item(f"{file}#{number}" if len(parts) > 1 else str(file), part)


def item(source: str, content: bytes) -> Item:
    """One message with what can be read of its MSH (HL7 v2.5.1 §2.14.9; answers: §2.9.2)."""
    head = content.lstrip(_BLANK)
    if not (_HEAD.match(head) and head[:3] == b"MSH"):
        return Item(source, content, None, "always")
    fields = re.split(rb"[\r\n]", head, maxsplit=1)[0].split(head[3:4])
    kind, control, accept, application = (fields[at] if at < len(fields) else b"" for at in (8, 9, 14, 15))
    if kind[:3] in (b"ACK", b"MCF") and not kind[3:4].isalnum():
        answer = "maybe" if accept else "never"
    elif (accept or application) and accept != b"AL":
        answer = "maybe"
    else:
        answer = "always"
    return Item(source, content, control, answer)


class Acknowledgement(NamedTuple):
    code: str  # MSA-1: AA, AE, AR, CA, CE, CR; '' where there is no MSA
    control_id: bytes  # MSA-2
    reason: str  # MSA-3, or what ERR says


def read_acknowledgement(content: bytes) -> Acknowledgement:
    """What an answer says, whatever separators it uses."""
    if len(content) < 8:
        return Acknowledgement("", b"", "")
    separator, component = content[3:4], content[4:5]
    if content[:3] in (b"FHS", b"BHS") and not re.search(rb"[\r\n]MSA", content):
        return Acknowledgement("AA", b"", "")  # an empty batch acknowledges all that was sent (§2.10.3.3)
    segments = {line[:3]: line.split(separator) for line in reversed(re.split(rb"[\r\n]+", content)) if line}
    fault, msa = segments.get(b"ERR", []), segments.get(b"MSA", [])
    said = [_field(msa, 3), _field(fault, 8), _field(fault, 7), _field(fault, 3).replace(component, b" ")]
    reason = next((text for text in said if text), b"")
    return Acknowledgement(_field(msa, 1).decode("ascii", "replace"), _field(msa, 2), reason.decode("utf-8", "replace"))


def _field(fields: list[bytes], number: int) -> bytes:
    return fields[number] if number < len(fields) else b""
