"""What a peer's acknowledgement means for what we sent (§2.9.2, §2.9.3): bytes against bytes, and unknown is never success."""

from __future__ import annotations

import re
from typing import Final

from engine.formats.hl7v2.acknowledge import CODES
from engine.formats.hl7v2.head import Head, field, head_of
from engine.formats.hl7v2.syntax import syntax
from engine.model import Busy, Delivered, Outcome, Refused, Unknown

WAIT: Final = frozenset(("206", "207"))
AMBIGUOUS: Final = 5  # attempts where AR or CR does not say why: the standard has it for both "never" and "not now"

_LINE_END = re.compile(rb"[\r\n]")
_LINES = re.compile(rb"[\r\n]+")


def judged(content: bytes, reply: bytes) -> Outcome:
    """What `reply` says about `content`. Only AA or CA with MSA-2 equal to our MSH-10 is `Delivered`. The peer's own words
    are in the reply, not in the reason: they may name a patient."""
    sent = _sent_id(content)
    head = head_of(reply)
    if not head.whole:
        return Unknown(f"the answer is no HL7 v2 message ({len(reply)} bytes)", reply)
    lines = _LINES.split(reply) if b"\n" in reply else reply.split(b"\r")
    start = b"MSA" + head.separator
    found = [line for line in lines if line[:4] == start]
    if len(found) != 1:
        return Unknown(_not_one(found, head), reply)
    answer = found[0].rstrip(b"\x1c").split(head.separator)
    result = answer[1] if len(answer) > 1 else b""
    named = answer[2] if len(answer) > 2 else b""
    if named != sent and not _same_id(named, head, content):
        return Unknown(f"the answer is to {_shown(named)} (MSA-2), what we sent is {_shown(sent)} (MSH-10)", reply)
    if not sent:
        return Unknown("what we sent has no MSH-10, so no answer can be credited to it", reply)
    if result in (b"AA", b"CA"):
        return Delivered(reply)
    if result not in (b"AE", b"AR", b"CE", b"CR"):
        return Unknown(f"the answer's MSA-1 is {_shown(result)}, not one of AA AE AR CA CE CR", reply)
    code, where = _error(lines, answer, head)
    reason = " ".join(
        filter(None, (result.decode(), code, CODES.get(code, "") if code != "0" else "", f"at {where}" * bool(where)))
    )
    word = f"{result.decode()}/{code}" if code not in ("", "0") else result.decode()
    rejected = result in (b"AR", b"CR")
    if rejected and code in WAIT:
        return Busy(reason, 0, reply, word)
    return Refused(reason, reply, AMBIGUOUS if rejected and word == result.decode() else 1, word)


def _sent_id(content: bytes) -> bytes:
    """MSH-10 of what was sent, cutting no more than is needed."""
    pieces = content.split(content[3:4], 10) if content[:3] == b"MSH" else []
    if len(pieces) > 10 and _LINE_END.search(content, 0, sum(map(len, pieces[:10])) + 10) is None:
        return pieces[9]
    return field(head_of(content).fields, 10)


def _not_one(found: list[bytes], head: Head) -> str:
    if found:
        return f"the answer has {len(found)} MSA segments"
    kind = field(head.fields, 9)
    return f"the answer is {_shown(kind)} (MSH-9) and acknowledges nothing: it has no MSA segment"


def _shown(text: bytes) -> str:
    """A short id for an error text; content never appears longer than this."""
    return repr(text[:40].decode("ascii", "backslashreplace")) if text else "nothing"


def _same_id(named: bytes, head: Head, content: bytes) -> bool:
    """The same control id in other delimiters: `A\\F\\1` and `A|1`."""
    ours = head_of(content)
    if not named or (ours.separator, ours.marks) == (head.separator, head.marks):
        return False
    return _text(named, head) == _text(field(ours.fields, 10), ours)


def _text(raw: bytes, head: Head) -> str:
    marks = syntax(head.separator.decode("latin-1"), head.marks.decode("latin-1"), "latin-1")
    return marks.unescape(raw.decode("latin-1"))


def _error(lines: list[bytes], answer: list[bytes], head: Head) -> tuple[str, str]:
    """Code of table 0357 and place, from ERR (ERR-3 and ERR-2 from 2.5 on, ERR-1 before) or MSA-6."""
    start = b"ERR" + head.separator
    comp, sub = head.marks[:1], head.marks[3:4]
    code, where = "", ""
    for line in lines:
        if line[:4] != start:
            continue
        fields = line.rstrip(b"\x1c").split(head.separator)
        if len(fields) > 3 and fields[3]:
            code = _digits(fields[3].split(comp)[0])
            located = (fields[2].split(head.marks[1:2])[0]).split(comp)
            where = _place(located[0], _at(located, 1), _at(located, 2))
        else:
            located = fields[1].split(head.marks[1:2])[0].split(comp)
            code = _digits(_at(located, 3).split(sub)[0])
            where = _place(located[0], _at(located, 1), _at(located, 2))
        if code:
            break
    if not code and len(answer) > 6:
        code = _digits(answer[6].split(comp)[0])
    return code, where


def _at(parts: list[bytes], index: int) -> bytes:
    return parts[index] if len(parts) > index else b""


def _digits(text: bytes) -> str:
    return text.decode() if re.fullmatch(rb"\d{1,3}", text) else ""


def _place(name: bytes, number: bytes, field: bytes) -> str:
    if not re.fullmatch(rb"[A-Z][A-Z0-9]{2}", name):
        return ""
    text = name.decode()
    if _digits(number) not in ("", "1"):
        text += f"[{number.decode()}]"
    return text + (f"-{field.decode()}" if _digits(field) else "")
