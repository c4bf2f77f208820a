"""HL7 v2 as a `Format` (`engine.contracts`).

A file batch (FHS, BHS) is no message: `split` gives its messages, and the answer to it is a batch of answers. What is left of
it when it is broken, `heading` refuses, naming it. `parse` reads it, so that people can look at it; `messages` cuts it for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, cast

from engine.contracts import Document, Editable
from engine.errors import ContentError
from engine.formats.hl7v2 import FORMAT, Hl7v2Options, acknowledge, batch, compose, paths, replies, select
from engine.formats.hl7v2.charset import codecs_of, encode
from engine.formats.hl7v2.document import Hl7Message
from engine.formats.hl7v2.edit import Edit
from engine.formats.hl7v2.gather import ENOUGH, gathered
from engine.formats.hl7v2.reader import MOST_HEADER, header_start, read
from engine.formats.hl7v2.syntax import syntax
from engine.model import Heading, Outcome, Receipt, Verdict
from engine.values import Value

if TYPE_CHECKING:
    from engine.formats.hl7v2.profile import Profile
    from engine.formats.hl7v2.strict import Finding

_LINE_END = re.compile(rb"[\r\n]")
_FIRST_END = re.compile(rb"\r\n?|\n")
_ANY_END = re.compile(rb"\r\n?|\n")
_SEGMENT_END = re.compile(rb"\r\n?|\n(?=[A-Z][A-Z0-9]{2}[^\w\s]|\s*\Z)")  # where CRLF ends segments, LF may be data
_MARK = b"\xef\xbb\xbf"


class Hl7v2:
    """Bytes ↔ message. `options.charset` overrules MSH-18; `profile` is what the option of that name names."""

    name = FORMAT.name
    content_type = FORMAT.content_type
    paths = paths.IN_EXPRESSIONS

    def __init__(self, options: Hl7v2Options, profile: Profile | None = None) -> None:
        codecs = codecs_of(options.charset)
        self._charset = options.charset
        self._any_ends = options.segment_ends == "any"
        self._may_be_marked = codecs == ["utf-8"]
        self._as_it_came = not (self._any_ends or self._may_be_marked)
        self._codes = options.acknowledge
        self._strict, self._profile = options.strict, profile
        self._validates = bool(options.strict or profile)

    def heading(self, content: bytes) -> Heading:
        """Raises ContentError where there is no usable MSH, and where MSH-10 is missing: such a message can be neither
        answered nor told from its re-send."""
        if content[:3] != b"MSH":
            content = self._headed(content)
        end = _LINE_END.search(content, 0, MOST_HEADER)
        line = content[: end.start()] if end else content[:MOST_HEADER]
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text = line.decode("latin-1")
        fields = text.split(text[3:4] or "|")
        count = len(fields)
        marks = syntax(text[3:4], fields[1] if count > 1 else "")
        comp = marks.component
        control = fields[9] if count > 9 else ""
        if not control:
            raise ContentError("the message control id is missing", "MSH-10", "101")
        kind = fields[8].split(comp, 2)
        return Heading(
            f"{kind[0]}^{kind[1]}" if len(kind) > 1 else kind[0],
            control if marks.special(control) is None else marks.unescape(control),
            f"{_name(fields[2], comp)}|{_name(fields[3], comp)}",
            fields[11].partition(comp)[0] if count > 11 else "",
            fields[10].partition(comp)[0] if count > 10 else "",
        )

    def _headed(self, content: bytes) -> bytes:
        """From MSH on, where something stands before it that may."""
        if self._may_be_marked:
            content = content.removeprefix(_MARK)
        content = content[header_start(content) :]
        if content[:3] != b"MSH":
            name = content[:3].decode()
            raise ContentError(f"it begins with {name}, the header of a batch, and is no message", name, "100")
        return content

    def split(self, content: bytes) -> list[bytes]:
        found = batch.cut(content)
        return [] if found is None else found.messages

    def parse(self, content: bytes) -> Hl7Message:
        return Hl7Message(read(content if self._as_it_came else self._mended(content), self._charset))

    def _mended(self, content: bytes) -> bytes:
        """With what the options tolerate put right: everything behind reads, edits and sends this."""
        if self._may_be_marked:
            content = content.removeprefix(_MARK)
        if self._any_ends and b"\n" in content:
            first = _FIRST_END.search(content)
            if first and first[0] != b"\r":
                content = (_ANY_END if first[0] == b"\n" else _SEGMENT_END).sub(b"\r", content)
        return content

    def admit(self, document: Document) -> None:
        """Raises ContentError where the segments do not end as they should, where it is one part of a continued message, and
        where it is not what `strict` and `profile` ask for."""
        message = cast(Hl7Message, document)
        source = message.source
        if source.end != "\r":
            what = "LF" if source.end == "\n" else "CRLF"
            raise ContentError(
                f"its segments end with {what} and not CR; where the sender cannot change, set the format's segment_ends: any",
                "", "100",
            )  # fmt: skip
        header = source.segments[0]
        if len(header) > 13 and header[13] and header[0] == "MSH":
            raise ContentError("it continues another message; they cannot be put together here: send it whole", "MSH-14")
        if "DSC" in source.index and message["DSC-1"]:
            raise ContentError("another message continues it; they cannot be put together here: send it whole", "DSC-1")
        if self._validates:
            self._validate(message)

    def _validate(self, message: Hl7Message) -> None:
        """Raises ContentError with the first fault, and the others in its `also`."""
        from engine.formats.hl7v2.strict import strict

        found = strict(message) if self._strict else []
        if self._profile is not None:
            found += self._profile.findings(message)
        faults = {
            (each.place, each.text): ContentError(each.text, each.place, each.code) for each in found if each.severity == "error"
        }
        if faults:
            first, *others = faults.values()
            first.also = tuple(others)
            raise first

    def render(self, document: Document) -> bytes:
        """A turn renders as the whole message it belongs to."""
        source = cast(Hl7Message, document).message.source
        if source.content is not None:
            return source.content
        text = source.text()
        return encode(text, self._codec(cast(Hl7Message, document).message))

    def _codec(self, message: Hl7Message) -> str:
        """What it came in, unless a mapping set MSH-18 to something else."""
        codec, headers = message.syntax.codec, message.index["MSH"]
        if self._charset or not headers or len(select.pieces_of(headers[0], message.syntax)) < 18:
            return codec
        declared = message["MSH-18[*]"]
        if not declared:
            return codec
        allowed = codecs_of("~".join(map(str, declared)))
        return codec if codec in allowed else allowed[0]

    def edit(self, document: Document) -> Editable:
        return Edit(cast(Hl7Message, document).message)

    def identify(self, document: Editable, identity: str) -> None:
        document.assign("MSH-10", identity)

    def acknowledge(self, content: bytes, receipt: Receipt) -> bytes | None:
        if receipt.parts:
            return batch.answered(content, receipt, self.acknowledge)
        if receipt.verdict is Verdict.ACCEPTED:
            return acknowledge.acknowledgement(content, receipt)
        code = self._code(content, receipt)
        return None if code == "none" else acknowledge.acknowledgement(content, receipt, code[1:].encode())

    def _code(self, content: bytes, receipt: Receipt) -> str:
        """AE, AR or none: what this sender is told in this situation."""
        codes = self._codes
        if receipt.verdict is Verdict.UNAVAILABLE:
            return codes.busy
        if receipt.code in acknowledge.NOT_SUPPORTED:
            return codes.unsupported
        if codes.refused == codes.unreadable:
            return codes.refused
        try:
            self.heading(content)
            self.parse(content)
        except ContentError:
            return codes.unreadable
        return codes.refused

    def answer(self, content: bytes, receipt: Receipt, identity: str) -> bytes | None:
        return acknowledge.application_answer(content, receipt, identity)

    def judge(self, content: bytes, reply: bytes) -> Outcome:
        return replies.judged(content, reply)

    def check_path(self, path: str) -> None:
        paths.compiled(path)

    # ── what mappings use where a format has it ──

    def reader(self, path: str) -> Callable[[Any], Value]:
        """What `document[path]` gives, as a function of the document."""
        return select.reader(path)

    enough = ENOUGH

    def gather(self, paths: Sequence[str], enough: Sequence[str] = ()) -> Callable[[Any], Sequence[Value]]:
        """The values of several paths at once, as a function of the document; of each, what is `enough` where it has parts."""
        return gathered(tuple(paths), tuple(enough))

    def composer(self, rows: Sequence[compose.Row], absent: Collection[object]) -> compose.Compose | None:
        """What adds whole segments at once to a message that is being made, as `Editable.add` would one after another."""
        return compose.composer(rows, absent)

    # ── for people: `inspect` and the console use these where a format has them ──

    def messages(self, content: bytes) -> list[bytes]:
        """The messages of a file: of a batch, of a log, or just the one."""
        return batch.messages(content)

    def problems(self, content: bytes, strict: bool = False) -> Sequence[Finding]:
        """What is odd about a message that can be read; with `strict` what the standard's tables say about it as well, and in
        any case what the profile says."""
        from engine.formats.hl7v2.problems import problems

        return problems(self.parse(content), strict or self._strict, self._profile)


def _name(raw: str, component: str) -> str:
    """The first component that says something: a namespace, or else a universal id."""
    if component not in raw:
        return raw
    return next((each for each in raw.split(component) if each), "")
