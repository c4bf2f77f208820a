"""Acknowledgements: ours for what arrives, in original and in enhanced mode (§2.9.2, §2.9.3, §2.13).

They are made from bytes, so that MSA-2 is MSH-10 exactly as it was sent, whatever its characters, and so that an answer can
be given to content that cannot be read.

| receipt | MSA-1 | ERR |
|---|---|---|
| accepted | AA | none |
| refused, codes 200-203 (message type, event, processing id, version) | AR | the code |
| refused, anything else | AE | the code |
| unavailable | AR | 207, and MSA-3 `busy` |

AE and AR are what the standard suggests; a channel may say otherwise (`format.Codes`). Where MSH-15 or MSH-16 has a value,
MSH-15 decides whether the connection carries an accept acknowledgement (CA, CE or CR in place of AA, AE or AR, and CE for
unavailable). The application acknowledgement that MSH-16 asks for is a message of its own (`application_answer`). What no
such message will tell, because the content was refused or the channel has nowhere to send one, the connection says at once:
the standard calls MSH-15 `NE` with MSH-16 `AL` the same as original mode.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from engine.errors import ContentError, PathError
from engine.formats.hl7v2.charset import codecs_of
from engine.formats.hl7v2.head import NEVER_ANSWERED, VERSION_WHERE_UNKNOWN, Head, field, head_of, type_and_event, version_numbers
from engine.formats.hl7v2.paths import STAR, Filter, compiled
from engine.formats.hl7v2.syntax import Syntax, syntax
from engine.ids import format_id
from engine.model import Receipt, Verdict

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
MOST_ERRORS: Final = 10  # ERR segments of one answer

_APPLICATION_ANSWER = re.compile(rb"[\r\n]MSA[^A-Za-z0-9\s]A")


# ── when: HL7 table 0155 ───────────────────────────────────────────────────────────────────────────────────────────


def _due(condition: bytes, accepted: bool) -> bool:
    """Whether MSH-15 or MSH-16 asks for an answer. What is no value of the table counts as `AL`: a sender that waits must
    not wait in vain."""
    condition = condition.strip().upper()
    if condition in (b"NE", b"", b'""'):
        return False
    return accepted if condition == b"SU" else not accepted if condition == b"ER" else True


def _kind_of_answer(content: bytes, head: Head, code: bytes, receipt: Receipt) -> bytes:
    """`A` or `C`, the first letter of MSA-1; nothing where no answer may be given.

    An acknowledgement is never acknowledged, except that an application acknowledgement may ask for an accept
    acknowledgement (§2.9.3): that one asks for nothing, so it ends there.
    """
    fields = head.fields
    accepted = receipt.verdict is Verdict.ACCEPTED
    enhanced = head.whole and (field(fields, 15) or field(fields, 16))
    if code in NEVER_ANSWERED:
        asked = enhanced and _due(field(fields, 15), accepted) and _APPLICATION_ANSWER.search(content)
        return b"C" if asked else b""
    if not enhanced:
        return b"A"
    if _due(field(fields, 15), accepted):
        return b"C"
    return b"A" if _due(field(fields, 16), accepted) and not receipt.follows else b""


# ── what ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def acknowledgement(content: bytes, receipt: Receipt, letter: bytes = b"A") -> bytes | None:
    """The acknowledgement of `content`; None where none may be given. `letter`, A, E or R, ends MSA-1.

    It has the sender's delimiters, version, processing id and character set. MSH-10 is the message's id, or, for what was
    not stored, a digest of content and receipt: the same input gives the same bytes.
    """
    head = head_of(content)
    code, trigger = type_and_event(head)
    kind = b"A"
    if len(head.fields) > 14 or code in NEVER_ANSWERED:
        kind = _kind_of_answer(content, head, code, receipt)
        if not kind:
            return None
    verdict = receipt.verdict
    if kind == b"C" and verdict is Verdict.UNAVAILABLE:
        letter = b"E"
    header = _header(head, trigger, control_id(content, receipt), receipt.received_at)
    if verdict is Verdict.ACCEPTED:
        separator = head.separator
        return b"%b\rMSA%b%bA%b%b\r" % (header, separator, kind, separator, _answered_id(head))
    return header + _refusal(head, receipt, kind + letter)


def control_id(content: bytes, receipt: Receipt) -> bytes:
    """MSH-10 of our answer."""
    if receipt.message_id:
        return format_id(receipt.message_id).encode()
    mixed = blake2b(repr((receipt.verdict.value, *receipt[1:6])).encode(), digest_size=8)
    mixed.update(content)
    return b"N" + mixed.hexdigest().upper().encode()


def application_answer(content: bytes, receipt: Receipt, identity: str) -> bytes | None:
    """The application acknowledgement of `content` as a message of its own with `identity` as its MSH-10; None where MSH-16
    does not ask for one. It asks for an accept acknowledgement, so that its delivery can be known."""
    head = head_of(content)
    code, trigger = type_and_event(head)
    accepted = receipt.verdict is Verdict.ACCEPTED
    if not head.whole or code in NEVER_ANSWERED or not _due(field(head.fields, 16), accepted):
        return None
    header = _header(head, trigger, identity.encode(), receipt.received_at, (b"AL", b"NE"))
    if accepted:
        return head.separator.join((header + b"\rMSA", b"AA", _answered_id(head))) + b"\r"
    return header + _refusal(head, receipt, b"AE")


def _header(head: Head, trigger: bytes, control: bytes, at: int, conditions: tuple[bytes, bytes] = (b"", b"")) -> bytes:
    fields, separator = head.fields, head.separator
    whole = head.whole
    version = (field(fields, 12) if whole else b"") or VERSION_WHERE_UNKNOWN
    made = separator.join((
        b"MSH", head.marks, field(fields, 5), field(fields, 6), field(fields, 3), field(fields, 4),
        timestamp(at // 1_000_000), b"", _answer_type(version, trigger, head.marks), control,
        (field(fields, 11) if whole else b"") or b"P", version,
    ))  # fmt: skip
    charset = field(fields, 18) if whole else b""
    if charset or conditions[0]:
        made = separator.join((made, b"", b"", *conditions, *((b"", charset) if charset else ())))
    return made


def _answer_type(version: bytes, trigger: bytes, marks: bytes) -> bytes:
    """MSH-9: up to 2.3 the type alone (an acknowledgement has no event), later `ACK^A01^ACK`."""
    if not trigger or version[:3] in (b"2.1", b"2.2") or version.split(marks[:1])[0] == b"2.3":
        return b"ACK"
    return marks[:1].join((b"ACK", trigger, b"ACK"))


def _answered_id(head: Head) -> bytes:
    """MSH-10, exactly as sent; the file or batch control id where a batch came."""
    return field(head.fields, 10 if head.whole else 11)


@lru_cache(64)
def timestamp(seconds: int) -> bytes:
    return time.strftime("%Y%m%d%H%M%S+0000", time.gmtime(seconds)).encode()


# ── what is wrong, and where ───────────────────────────────────────────────────────────────────────────────────────


def _refusal(head: Head, receipt: Receipt, result: bytes) -> bytes:
    """MSA and ERR of a refusal. MSA-3 ends with 2.6; ERR has its own fields from 2.5 on, and one field before."""
    version = field(head.fields, 12) if head.whole else b""
    charset = field(head.fields, 18) if head.whole else b""
    separator = head.separator.decode()
    marks = syntax(separator, head.marks.decode("ascii"), _codec(charset, head.marks))
    busy = receipt.verdict is Verdict.UNAVAILABLE
    faults = [("busy", receipt.place, "207")] if busy else [(receipt.reason, receipt.place, receipt.code), *receipt.also]
    faults = [(_placed(reason, place), place, _known(code)) for reason, place, code in faults[:MOST_ERRORS]]
    numbers = version_numbers(version)
    text = "" if numbers >= (2, 7) else separator + _fitting(faults[0][0], 80, marks)
    if numbers >= (2, 5):
        errors = "\r".join(_error(marks, *fault) for fault in faults)
    else:
        errors = f"ERR{separator}" + marks.repetition.join(_old_error(marks, numbers, *fault) for fault in faults)
    before = b"\rMSA%b%b%b" % (head.separator, result, head.separator)
    # Our own words may name a character that the sender's character set lacks: here, and only here, it may be replaced.
    return before + _answered_id(head) + f"{text}\r{errors}\r".encode(marks.codec, "replace")


def _placed(reason: str, place: str) -> str:
    return f"{place}: {reason}" if place and place not in reason else reason


def _known(code: str) -> str:
    return code if code in CODES and code != "0" else "207"


def _error(marks: Syntax, reason: str, place: str, code: str) -> str:
    where = marks.component.join(_location(place))
    what = marks.component.join((code, CODES[code], "HL70357"))
    return marks.field.join(("ERR", "", where, what, "E", "", "", "", _fitting(reason, 250, marks)))


def _old_error(marks: Syntax, numbers: tuple[int, ...], reason: str, place: str, code: str) -> str:
    kind = code if numbers < (2, 3) else marks.subcomponent.join((code, CODES[code], "HL70357"))
    return marks.component.join((*[*_location(place), "", "", ""][:3], kind))


def _codec(charset: bytes, marks: bytes) -> str:
    try:
        return next(iter(codecs_of(charset.decode("ascii"), marks[1:2].decode("ascii"))), "utf-8")
    except (ContentError, UnicodeDecodeError):
        return "ascii"


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
