"""Files that hold several messages: batches (FHS, BHS … BTS, FTS, §2.10.3) and messages one after another.

`cut` is strict: it is for what is to be stored and answered. `messages` is for people looking at a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from engine.errors import ContentError
from engine.formats.hl7v2.acknowledge import control_id, timestamp
from engine.formats.hl7v2.head import field, head_of
from engine.formats.hl7v2.reader import IGNORED_BEFORE
from engine.model import Receipt, Verdict

_HEADER = re.compile(rb"(?:\A|(?<=[\r\n\x0b]))MSH(?=[!-/:-@\[-`{-~])")
_TRAILER = re.compile(rb"(?:\A|(?<=[\r\n\x0b]))(?:BTS|FTS|BHS|FHS)(?=[!-/:-@\[-`{-~]|[\r\n]|\Z)")
_MARK = re.compile(rb"(?:\A|[\r\n\x0b])(MSH|FHS|BHS|BTS|FTS)(?=[!-/:-@\[-`{-~]|[\r\n]|\Z)")
_LINE = re.compile(rb"[^\r\n]*")
MOST_MESSAGES: Final = 10_000  # of one batch: they are stored in one transaction
_BLANK: Final = b"\x0b\x1c \t\r\n"


class Batch(NamedTuple):
    """The messages between BHS and BTS; `header` is empty where they stand without."""

    header: bytes
    messages: list[bytes]


class File(NamedTuple):
    """What FHS and FTS enclose; `header` is empty where there are none."""

    header: bytes
    batches: list[Batch]

    @property
    def messages(self) -> list[bytes]:
        return [message for batch in self.batches for message in batch.messages]


def cut(content: bytes) -> File | None:
    """The messages of a batch; None where `content` is one message, or none that could be read.

    Raises ContentError where something is missing: a trailer, because the end was lost on the way, or as many messages as
    BTS-1 says, or batches as FTS-1 says; where a segment belongs to no message; and where there is no message at all.
    """
    if content[:3] == b"MSH" and content.find(b"\rMSH", 3) < 0 and content.find(b"\nMSH", 3) < 0:
        return None
    start = len(content) - len(content.lstrip(IGNORED_BEFORE))
    if content[start : start + 3] not in (b"MSH", b"FHS", b"BHS"):
        return None
    marks = _marks(content, start)
    names = [name for name, _ in marks]
    if names == [b"MSH"]:
        return None
    return _Cutting(content, [*marks, (b"", len(content))]).file()


def _marks(content: bytes, start: int) -> list[tuple[bytes, int]]:
    """Where segments begin that begin or end something. Those of another separator than the first are data."""
    separator = content[start + 3 : start + 4]
    found: list[tuple[bytes, int]] = []
    for match in _MARK.finditer(content):
        name, at = match[1], match.start(1)
        after = content[at + 3 : at + 4]
        if after == separator or (name in (b"BTS", b"FTS") and after in (b"", b"\r", b"\n")):
            found.append((name, at))
            if len(found) > 2 * MOST_MESSAGES:
                break
    if sum(name == b"MSH" for name, _ in found) > MOST_MESSAGES or len(found) > 2 * MOST_MESSAGES:
        raise ContentError(f"a batch holds at most {MOST_MESSAGES} messages here: send it in several", "", "100")
    return found


class _Cutting:
    def __init__(self, content: bytes, marks: list[tuple[bytes, int]]) -> None:
        self.content, self.marks = content, marks
        self.header = b""
        self.batches: list[Batch] = []
        self.open = False  # a BHS without its BTS
        self.ended = ""  # the trailer behind which no message may come

    def file(self) -> File:
        steps = {b"FHS": self._fhs, b"BHS": self._bhs, b"MSH": self._msh, b"BTS": self._bts, b"FTS": self._fts}
        for (name, at), (_, end) in zip(self.marks, self.marks[1:], strict=False):
            line = _LINE.match(self.content, at)
            assert line is not None
            if self.ended == "FTS":
                raise ContentError(f"{name.decode()} stands behind FTS, which ends the file", name.decode(), "100")
            if name != b"MSH" and self.content[line.end() : end].strip(_BLANK):
                raise ContentError(f"segments behind {name.decode()} belong to no message", name.decode(), "100")
            steps[name](line[0], self.content[at:end].rstrip(b"\x0b"))
        if self.open:
            raise ContentError("there is none: the end of the batch was lost, or its sender leaves out the trailer", "BTS", "100")
        if self.header and self.ended != "FTS":
            raise ContentError("there is none: the end of the file was lost, or its sender leaves out the trailer", "FTS", "100")
        if not any(batch.messages for batch in self.batches):
            raise ContentError("the batch holds no message", "", "100")
        return File(self.header, self.batches)

    def _fhs(self, line: bytes, _: bytes) -> None:
        if self.header or self.batches:
            raise ContentError("it stands within a file: FHS begins one", "FHS", "100")
        self.header = line

    def _bhs(self, line: bytes, _: bytes) -> None:
        if self.open:
            raise ContentError(f"the batch before has no BTS: batch {len(self.batches)} is not whole", "BTS", "100")
        self.batches.append(Batch(line, []))
        self.open, self.ended = True, ""

    def _msh(self, _: bytes, message: bytes) -> None:
        if self.ended:
            raise ContentError(f"a message stands behind {self.ended}, which ends the batch", "MSH", "100")
        if not self.batches:
            self.batches.append(Batch(b"", []))
        self.batches[-1].messages.append(message)

    def _bts(self, line: bytes, _: bytes) -> None:
        count = len(self.batches[-1].messages) if self.batches and not self.ended else 0
        _counted(line, "BTS", "messages", {count})
        self.open, self.ended = False, "BTS"

    def _fts(self, line: bytes, _: bytes) -> None:
        if self.open:
            raise ContentError(f"batch {len(self.batches)} has no BTS before the file ends", "BTS", "100")
        count = len(self.batches)
        # Without BHS there is one batch by the standard's grammar; some senders count its messages here.
        plain = count == 1 and not self.batches[0].header
        _counted(line, "FTS", "batches", {count, len(self.batches[0].messages)} if plain else {count})
        self.ended = "FTS"


def _counted(line: bytes, name: str, what: str, counts: set[int]) -> None:
    said = line.split(line[3:4])[1].strip() if len(line) > 3 else b""
    if said and not (said.isdigit() and len(said) < 10 and int(said) in counts):
        count = min(counts)
        shown = said[:20].decode("ascii", "backslashreplace")
        raise ContentError(f"{shown!r} {what} are announced, and {count} came: nothing was taken", f"{name}-1", "100")


# ── the answer ─────────────────────────────────────────────────────────────────────────────────────────────────────


def answered(content: bytes, receipt: Receipt, answer: Callable[[bytes, Receipt], bytes | None]) -> bytes | None:
    """A batch of acknowledgements for a batch, in the same headers, naming its control ids (FHS-12, BHS-12); just one after
    another where the messages came so. Where no message asks for an answer the batch is empty, which is the standard's way to
    acknowledge all of them (§2.10.3.3), and without headers None."""
    file = cut(content)
    assert file is not None, "a receipt with parts is for a batch"
    receipts = iter(receipt.parts)
    made = [[answer(message, next(receipts)) for message in batch.messages] for batch in file.batches]
    # Of a batch that comes again, the facts of what was accepted are those of the first time, and so are these bytes.
    first = next((part for part in receipt.parts if part.verdict is Verdict.ACCEPTED), receipt.parts[0])
    control = control_id(content, first)
    lines: list[bytes] = [_mirrored(file.header, first, control + b"-F")] if file.header else []
    for number, (batch, answers) in enumerate(zip(file.batches, made, strict=True), 1):
        given = [each for each in answers if each]
        if batch.header:
            lines.append(_mirrored(batch.header, first, b"%b-B%d" % (control, number)))
        lines += given
        if batch.header:
            lines.append(b"BTS%b%d\r" % (batch.header[3:4], len(given)))
    if file.header:
        lines.append(b"FTS%b%d\r" % (file.header[3:4], len(file.batches)))
    return b"".join(lines) or None


def _mirrored(header: bytes, first: Receipt, control: bytes) -> bytes:
    """FHS or BHS of the answer: sender and receiver change places, field 12 names what is answered."""
    head = head_of(header)
    fields = head.fields
    return head.separator.join((
        header[:3], head.marks, field(fields, 5), field(fields, 6), field(fields, 3), field(fields, 4),
        timestamp(first.received_at // 1_000_000), b"", field(fields, 9), b"", control, field(fields, 11),
    )) + b"\r"  # fmt: skip


# ── for people ─────────────────────────────────────────────────────────────────────────────────────────────────────


def messages(content: bytes) -> list[bytes]:
    """Each message with its line ends, without the batch's own segments; `[content]` where there is just one or none.

    A header is MSH at the beginning of a line with the separator of the first one: the text `MSH` in data begins nothing.
    """
    starts = [match.start() for match in _HEADER.finditer(content)]
    if starts:
        separator = content[starts[0] + 3]
        starts = [start for start in starts if content[start + 3] == separator]
    if len(starts) < 2 and not (starts and _TRAILER.search(content)):
        return [content]
    found: list[bytes] = []
    for start, end in zip(starts, [*starts[1:], len(content)], strict=True):
        trailer = _TRAILER.search(content, start, end)
        found.append(content[start : trailer.start() if trailer else end].rstrip(b"\x0b"))
    return found
