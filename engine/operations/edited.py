"""A copy that a person edits: shown as lines of text, and given back with every byte that was not edited as it was.

The lines of HL7 end with CR, which no form keeps. So a line that stays keeps its own end, and a line that is new gets the one
that most lines have. Content that is no text in the character set it declares cannot be edited here: what cannot be shown
cannot be given back.
"""

from __future__ import annotations

import re
from collections import Counter
from difflib import SequenceMatcher
from typing import NamedTuple

from engine.errors import ContentError, WardlineError
from engine.formats.hl7v2.charset import decode

LARGEST = 1 << 20  # bytes of what a form can hold in reason
MOST_LINES = 5_000

_ENDS = re.compile(r"\r\n|\r|\n")
_LOST = re.compile("[\0\x0b\x0c\ufeff\ufffe\uffff]")  # what a browser does not give back as it was


class NotEditable(WardlineError):
    """This content cannot be shown as text and given back unchanged; the text says why."""


class Editing(NamedTuple):
    """A content as lines of text."""

    codec: str
    lines: tuple[str, ...]
    ends: tuple[str, ...]  # of each line; of the last one ''

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Difference(NamedTuple):
    """A line that was taken out, put in, or is the same."""

    sign: str  # `-`, `+` or ` `
    line: str


def editing(content: bytes) -> Editing:
    """Raises NotEditable."""
    if len(content) > LARGEST:
        raise NotEditable(f"it has {len(content):,} bytes: more than {LARGEST:,} are not edited in a form")
    try:
        text, codec = decode(content, _declared(content))
    except ContentError as error:
        raise NotEditable(str(error)) from None
    if text.encode(codec) != content:
        raise NotEditable(f"its bytes cannot be given back by {codec} as they were")
    if lost := _LOST.search(text):
        raise NotEditable(f"it holds the character U+{ord(lost[0]):04X}, which a form does not keep")
    ends = [found[0] for found in _ENDS.finditer(text)]
    if len(ends) >= MOST_LINES:
        raise NotEditable(f"it has {len(ends) + 1:,} lines: more than {MOST_LINES:,} are not edited in a form")
    return Editing(codec, tuple(_ENDS.split(text)), (*ends, ""))


def edited(was: Editing, text: str) -> bytes:
    """`text` as the person left it, in the original's character set and with its line ends. Raises NotEditable."""
    if lost := _LOST.search(text):
        raise NotEditable(f"the text holds the character U+{ord(lost[0]):04X}, which no message should")
    lines = _ENDS.split(text)
    if len(lines) > MOST_LINES:
        raise NotEditable(f"the text has {len(lines):,} lines: more than {MOST_LINES:,} are not edited in a form")
    common = Counter(was.ends[:-1]).most_common(1)
    usual = common[0][0] if common else "\r"
    ends = [usual] * (len(lines) - 1) + [""]
    for tag, before, upto, at, _ in SequenceMatcher(None, was.lines, lines, autojunk=False).get_opcodes():
        if tag == "equal":
            for offset in range(upto - before):
                if at + offset < len(lines) - 1 and was.ends[before + offset]:
                    ends[at + offset] = was.ends[before + offset]
    whole = "".join(line + end for line, end in zip(lines, ends, strict=True))
    try:
        content = whole.encode(was.codec)
    except UnicodeEncodeError as error:
        number = whole.count(usual, 0, error.start) + 1
        raise NotEditable(f"line {number}: {whole[error.start]!r} is not in the message's character set ({was.codec})") from None
    try:
        read, _ = decode(content, _declared(content))
    except ContentError as error:
        raise NotEditable(str(error)) from None
    if read != whole:
        raise NotEditable(f"it declares another character set than the one it is written in ({was.codec}); leave MSH-18 as it is")
    return content


def differences(was: Editing, now: Editing) -> list[Difference]:
    """Every line, those that changed with what they were."""
    found: list[Difference] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, was.lines, now.lines, autojunk=False).get_opcodes():
        if tag == "equal":
            found += [Difference(" ", line) for line in was.lines[i1:i2]]
        else:
            found += [Difference("-", line) for line in was.lines[i1:i2]]
            found += [Difference("+", line) for line in now.lines[j1:j2]]
    return found


def _declared(content: bytes) -> str:
    """MSH-18 of HL7; '' for everything else, which is UTF-8 or keeps its bytes."""
    if not content.startswith(b"MSH") or len(content) < 9:
        return ""
    separator, repetition = content[3:4], content[5:6]
    fields = _ENDS.split(content.decode("latin-1"), maxsplit=1)[0].split(separator.decode("latin-1"))
    # MSH-1 is the separator itself, so MSH-18 stands at index 17.
    return fields[17].replace(repetition.decode("latin-1"), "~") if len(fields) > 17 else ""
