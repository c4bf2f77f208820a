"""HL7 v2 as a `Format` (contracts.py).

A file batch (FHS, BHS) is no message: `heading` refuses it, naming it, and `acknowledge` answers AE with the batch's
control id, since a sender of a batch expects an answer to each of its messages and would otherwise take one AA for all.
`parse` reads it, so that people can look at it; `messages` cuts it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from engine.contracts import Document, Editable
from engine.errors import ContentError
from engine.formats.hl7v2 import FORMAT, Hl7v2Options, acknowledge, batch, paths, select
from engine.formats.hl7v2.charset import codecs_of, encode
from engine.formats.hl7v2.document import Hl7Message
from engine.formats.hl7v2.edit import Edit
from engine.formats.hl7v2.gather import gathered
from engine.formats.hl7v2.reader import MOST_HEADER, header_start, read
from engine.formats.hl7v2.syntax import syntax
from engine.model import Heading, Outcome, Receipt
from engine.values import Value

if TYPE_CHECKING:
    from engine.formats.hl7v2.problems import Finding

_LINE_END = re.compile(rb"[\r\n]")


class Hl7v2:
    """Bytes ↔ message. `options.charset` overrules MSH-18."""

    name = FORMAT.name
    content_type = FORMAT.content_type
    paths = paths.IN_EXPRESSIONS

    def __init__(self, options: Hl7v2Options) -> None:
        codecs_of(options.charset)
        self._charset = options.charset

    def heading(self, content: bytes) -> Heading:
        """Raises ContentError where there is no usable MSH, and where MSH-10 is missing: such a message can be neither
        answered nor told from its re-send."""
        if content[:3] != b"MSH":
            content = content[header_start(content) :]
            if content[:3] != b"MSH":
                name = content[:3].decode()
                raise ContentError(
                    f"it begins with {name}, the header of a batch; this channel takes single messages, MSH|^~\\&|", name, "100"
                )
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

    def parse(self, content: bytes) -> Hl7Message:
        return Hl7Message(read(content, self._charset))

    def render(self, document: Document) -> bytes:
        """A turn renders as the whole message it belongs to."""
        source = cast(Hl7Message, document).message.source
        if source.content is not None:
            return source.content
        text = source.text()
        return encode(text, self._codec(cast(Hl7Message, document).message))

    def _codec(self, message: Hl7Message) -> str:
        """What it came in, unless a mapping set MSH-18 to something else."""
        codec = message.syntax.codec
        declared = message["MSH-18[*]"]
        if self._charset or not declared:
            return codec
        allowed = codecs_of("~".join(map(str, declared)))
        return codec if codec in allowed or "MSH" not in message.index else allowed[0]

    def edit(self, document: Document) -> Editable:
        return Edit(cast(Hl7Message, document).message)

    def identify(self, document: Editable, identity: str) -> None:
        document.assign("MSH-10", identity)

    def acknowledge(self, content: bytes, receipt: Receipt) -> bytes | None:
        return acknowledge.acknowledgement(content, receipt)

    def judge(self, content: bytes, reply: bytes) -> Outcome:
        return acknowledge.judged(content, reply)

    def check_path(self, path: str) -> None:
        paths.compiled(path)

    # ── what mappings use where a format has it ──

    def reader(self, path: str) -> Callable[[Any], Value]:
        """What `document[path]` gives, as a function of the document."""
        return select.reader(path)

    def gather(self, paths: Sequence[str]) -> Callable[[Any], Sequence[Value]]:
        """The values of several paths at once, as a function of the document."""
        return gathered(tuple(paths))

    # ── for people: `inspect` and the console use these where a format has them ──

    def messages(self, content: bytes) -> list[bytes]:
        """The messages of a file: of a batch, of a log, or just the one."""
        return batch.messages(content)

    def problems(self, content: bytes, strict: bool = False) -> Sequence[Finding]:
        """What is odd about a message that can be read; with `strict` what the standard's tables say about it as well."""
        from engine.formats.hl7v2.problems import problems

        return problems(self.parse(content), strict)


def _name(raw: str, component: str) -> str:
    """The first component that says something: a namespace, or else a universal id."""
    if component not in raw:
        return raw
    return next((each for each in raw.split(component) if each), "")
