"""Acknowledgements in original mode: ours for what arrives, and what a peer's means for what we sent (§2.9.2, §2.13).

Both work on bytes, so that MSA-2 is MSH-10 exactly as it was sent, whatever its characters, and so that an answer can be
given to content that cannot be read.

| receipt | MSA-1 | ERR |
|---|---|---|
| accepted | AA | none |
| refused, codes 200-203 (message type, event, processing id, version) | AR | the code |
| refused, anything else | AE | the code |
| unavailable | AR | 207, and MSA-3 `busy` |
"""

from __future__ import annotations

import re
import time
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from engine.errors import ContentError, PathError
from engine.formats.hl7v2.charset import codecs_of
from engine.formats.hl7v2.paths import STAR, Filter, compiled
from engine.formats.hl7v2.reader import IGNORED_BEFORE, MOST_HEADER
from engine.formats.hl7v2.syntax import Syntax, syntax
from engine.ids import format_id
from engine.model import Busy, Delivered, Outcome, Receipt, Refused, Unknown, Verdict

CODES: Final = {
    "0": "Message accepted",
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    "207": "Application internal error",
}
"""HL7 table 0357."""

NOT_SUPPORTED: Final = frozenset(("200", "201", "202", "203"))
WAIT: Final = frozenset(("206", "207"))
NEVER_ANSWERED: Final = frozenset((b"ACK", b"MCF"))
VERSION_WHERE_UNKNOWN: Final = b"2.5.1"

_LINE_END = re.compile(rb"[\r\n]")
_LINES = re.compile(rb"[\r\n]+")
_SAFE_MARKS = re.compile(rb"[!-/:-@\[-`{-~]")


class Head(NamedTuple):
    """The first segment as bytes; `fields[n - 1]` is MSH-n. `whole` is false where these are stand-ins."""

    fields: list[bytes]
    separator: bytes
    marks: bytes
    whole: bool


def head_of(content: bytes) -> Head:
    """MSH (or FHS, BHS, whose first fields are the same) of anything; what cannot be read is absent."""
    if content[:3] != b"MSH":
        content = content.lstrip(IGNORED_BEFORE).removeprefix(b"\xef\xbb\xbf")
    name = content[:3]
    separator = content[3:4]
    if name not in (b"MSH", b"FHS", b"BHS") or not _SAFE_MARKS.match(separator):
        return Head([], b"|", b"^~\\&", False)
    end = _LINE_END.search(content, 0, MOST_HEADER)
    if end is None and len(content) > MOST_HEADER:
        return Head([], b"|", b"^~\\&", False)
    fields = (content[: end.start()] if end else content).split(separator)
    marks = fields[1] if len(fields) > 1 else b""
    if not _usable(separator, marks):
        marks = b"^~\\&"
        if separator in marks:
            return Head([], b"|", marks, False)
    return Head(fields, separator, marks, name == b"MSH")


@lru_cache(256)
def _usable(separator: bytes, marks: bytes) -> bool:
    try:
        syntax(separator.decode("ascii"), marks.decode("ascii"))
    except (ContentError, UnicodeDecodeError):
        return False
    return len(marks) > 3


def _field(fields: list[bytes], number: int) -> bytes:
    return fields[number - 1] if len(fields) >= number else b""


# ── ours ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def acknowledgement(content: bytes, receipt: Receipt) -> bytes | None:
    """The acknowledgement of `content`; None for an acknowledgement, which is never answered.

    It has the sender's delimiters, version, processing id and character set. MSH-10 is the message's id, or, for what was
    not stored, a digest of content and receipt: the same input gives the same bytes.
    """
    head = head_of(content)
    fields, separator = head.fields, head.separator
    code, trigger = _type_and_event(fields, head)
    if code in NEVER_ANSWERED:
        return None
    version = _field(fields, 12) if head.whole else b""
    verdict = receipt.verdict
    if receipt.message_id:
        control = format_id(receipt.message_id).encode()
    else:
        mixed = blake2b(repr((verdict.value, *receipt[1:6])).encode(), digest_size=8)
        mixed.update(content)
        control = b"N" + mixed.hexdigest().upper().encode()
    charset = _field(fields, 18) if head.whole else b""
    answer = separator.join((
        b"MSH", head.marks, _field(fields, 5), _field(fields, 6), _field(fields, 3), _field(fields, 4),
        _timestamp(receipt.received_at // 1_000_000), b"", _answer_type(version, trigger, head.marks), control,
        (_field(fields, 11) if head.whole else b"") or b"P", version or VERSION_WHERE_UNKNOWN,
    ))  # fmt: skip
    if charset:
        answer += separator * 6 + charset
    if verdict is Verdict.ACCEPTED:
        return b"%b\rMSA%bAA%b%b\r" % (answer, separator, separator, _control_id(fields, head))
    return answer + _refusal(head, receipt, version, charset)


def _type_and_event(fields: list[bytes], head: Head) -> tuple[bytes, bytes]:
    if not head.whole:
        return b"", b""
    code, _, rest = _field(fields, 9).partition(head.marks[:1])
    return code.strip(), rest.partition(head.marks[:1])[0]


def _answer_type(version: bytes, trigger: bytes, marks: bytes) -> bytes:
    """MSH-9: up to 2.3 the type alone (an acknowledgement has no event), later `ACK^A01^ACK`."""
    if not trigger or version[:3] in (b"2.1", b"2.2") or version.split(marks[:1])[0] == b"2.3":
        return b"ACK"
    return marks[:1].join((b"ACK", trigger, b"ACK"))


def _control_id(fields: list[bytes], head: Head) -> bytes:
    """MSH-10, exactly as sent; the file or batch control id where a batch came."""
    return _field(fields, 10 if head.whole else 11)


@lru_cache(64)
def _timestamp(seconds: int) -> bytes:
    return time.strftime("%Y%m%d%H%M%S+0000", time.gmtime(seconds)).encode()


def _refusal(head: Head, receipt: Receipt, version: bytes, charset: bytes) -> bytes:
    """MSA and ERR of a refusal. MSA-3 ends with 2.6; ERR has its own fields from 2.5 on, and one field before."""
    separator = head.separator.decode()
    marks = syntax(separator, head.marks.decode("ascii"), _codec(charset, head.marks))
    busy = receipt.verdict is Verdict.UNAVAILABLE
    code = receipt.code if receipt.code in CODES and receipt.code != "0" else "207"
    if busy:
        code = "207"
    result = "AR" if busy or code in NOT_SUPPORTED else "AE"
    reason = "busy" if busy else receipt.reason
    if receipt.place and receipt.place not in reason:
        reason = f"{receipt.place}: {reason}"
    numbers = _version_numbers(version)
    text = "" if numbers >= (2, 7) else separator + _fitting(reason, 80, marks)
    located = _location(receipt.place)
    if numbers >= (2, 5):
        where = marks.component.join(located)
        what = marks.component.join((code, CODES[code], "HL70357"))
        error = separator.join(("ERR", "", where, what, "E", "", "", "", _fitting(reason, 250, marks)))
    else:
        kind = code if numbers < (2, 3) else marks.subcomponent.join((code, CODES[code], "HL70357"))
        error = separator.join(("ERR", marks.component.join((*[*located, "", "", ""][:3], kind))))
    before = f"\rMSA{separator}{result}{separator}".encode()
    # Our own words may name a character that the sender's character set lacks: here, and only here, it may be replaced.
    return before + _control_id(head.fields, head) + f"{text}\r{error}\r".encode(marks.codec, "replace")


def _codec(charset: bytes, marks: bytes) -> str:
    try:
        return next(iter(codecs_of(charset.decode("ascii"), marks[1:2].decode("ascii"))), "utf-8")
    except (ContentError, UnicodeDecodeError):
        return "ascii"


def _version_numbers(version: bytes) -> tuple[int, ...]:
    found = re.match(rb"(\d)\.(\d)", version or VERSION_WHERE_UNKNOWN)
    return (int(found[1]), int(found[2])) if found else (2, 5)


def _fitting(text: str, length: int, marks: Syntax) -> str:
    """Escaped, on one line, and cut where it would be longer than the field may be."""
    whole = marks.escaped(" ".join(text.split()))
    if len(whole) <= length:
        return whole
    pieces = [marks.escaped(char) for char in " ".join(text.split())[: length + 1]]
    while sum(map(len, pieces)) > length:
        pieces.pop()
    return "".join(pieces)


def _location(place: str) -> list[str]:
    """`PID-3[2].1` as ERL: segment, its number, field, repetition, component, subcomponent."""
    try:
        path = compiled(place) if place else None
    except PathError:
        path = None
    if path is None or not path.steps or len(path.steps[-1].name) != 3:
        return []
    step = path.steps[-1]
    numbers = [_first_number(step.selectors), path.field, _first_number(path.repeats), path.component, path.sub]
    deepest = max((n for n in (1, 3, 4) if numbers[n]), default=0)
    if not deepest:
        return [step.name, str(numbers[0])]
    return [step.name, *(str(n) if n else "" for n in numbers[: deepest + 1])]


def _first_number(selectors: tuple[int | Filter, ...]) -> int:
    return next((each for each in selectors if isinstance(each, int) and each != STAR), 1)


# ── the peer's ─────────────────────────────────────────────────────────────────────────────────────────────────────


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
    if result in (b"AR", b"CR") and code in WAIT:
        return Busy(reason, 0, reply)
    return Refused(reason, reply)


def _sent_id(content: bytes) -> bytes:
    """MSH-10 of what was sent, cutting no more than is needed."""
    pieces = content.split(content[3:4], 10) if content[:3] == b"MSH" else []
    if len(pieces) > 10 and _LINE_END.search(content, 0, sum(map(len, pieces[:10])) + 10) is None:
        return pieces[9]
    return _field(head_of(content).fields, 10)


def _not_one(found: list[bytes], head: Head) -> str:
    if found:
        return f"the answer has {len(found)} MSA segments"
    kind = _field(head.fields, 9)
    return f"the answer is {_shown(kind)} (MSH-9) and acknowledges nothing: it has no MSA segment"


def _shown(text: bytes) -> str:
    """A short id for an error text; content never appears longer than this."""
    return repr(text[:40].decode("ascii", "backslashreplace")) if text else "nothing"


def _same_id(named: bytes, head: Head, content: bytes) -> bool:
    """The same control id in other delimiters: `A\\F\\1` and `A|1`."""
    ours = head_of(content)
    if not named or (ours.separator, ours.marks) == (head.separator, head.marks):
        return False
    return _text(named, head) == _text(_field(ours.fields, 10), ours)


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
