"""What can go wrong at a counterpart, as small changes to what it is about to say.

A fault is written `NAME[:VALUE][WHEN]`. WHEN says which messages it meets: `/10` every tenth, `/~10` one in ten by chance,
`@3` the third alone, `@1-12` the first twelve; without it, every one. Faults can be combined, and the same seed gives the
same run: each draws from chance of its own.

    delay:3s   ae/12   garbage/~20   late:40s@3   down:5s/30s
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from engine.quantities import format_duration, parse_duration
from engine.text import did_you_mean

MLLP, HTTP = "mllp", "http"


class Turn(NamedTuple):
    """One message, and what is going to be said about it. Faults change it before it is said."""

    code: str = "AA"  # MSA-1
    error: str = ""  # ERR-3, of HL7 table 0357
    status: int = 200  # of an HTTP answer
    retry_after: int = 0  # seconds; 0: not said
    wrong_id: bool = False  # MSA-2 names another message
    instead: bytes | None = None  # these bytes in place of an answer
    share: float = 1.0  # how much of the answer leaves
    times: int = 1  # how often it is said, in one write
    delay: float = 0.0  # seconds until it is said; answers behind it on the connection wait too
    late: float = 0.0  # seconds; answers behind it do not wait
    unread: bool = False  # the connection breaks before the message is taken
    drop: bool = False  # the connection breaks after it, in place of what was not yet said


class When(NamedTuple):
    """Which messages a fault meets, by their number from 1."""

    each: int = 1
    by_chance: bool = False
    first: int = 0  # 0: by `each`
    last: int = 0

    def meets(self, number: int, chance: random.Random) -> bool:
        if self.first:
            return self.first <= number <= self.last
        if self.by_chance:
            return chance.random() * self.each < 1
        return number % self.each == 0


class Kind(NamedTuple):
    """A fault by its name. `change` gets the turn, the value and chance; it raises ValueError where the value is not one."""

    about: str
    change: Callable[[Turn, str, random.Random], Turn]
    value: str = ""  # what the value looks like; '' takes none
    optional: bool = False  # the value may be left out
    only: str = ""  # the protocol that alone has it

    def written(self, name: str) -> str:
        value = f":{self.value}" if self.value else ""
        return name + (f"[{value}]" if self.optional else value)


class Fault(NamedTuple):
    text: str
    name: str
    value: str
    when: When

    def of(self, protocol: str) -> bool:
        return KINDS[self.name].only in ("", protocol)


class Flapping(NamedTuple):
    """The receiver goes away, with everything open, for `down` seconds out of every `every`."""

    down: float
    every: float


def _negative(code: str) -> Kind:
    def change(turn: Turn, value: str, _: random.Random) -> Turn:
        if value and not re.fullmatch(r"\d{1,3}", value):
            raise ValueError("an error code of HL7 table 0357, such as 207")
        return turn._replace(code=code, error=value)

    return Kind(f"the answer is {code}, with this code in ERR-3", change, "207", True, MLLP)


def _status(turn: Turn, value: str, _: random.Random) -> Turn:
    if not re.fullmatch(r"[2-5]\d\d", value):
        raise ValueError("a status such as 500")
    return turn._replace(status=int(value))


def _busy(turn: Turn, value: str, _: random.Random) -> Turn:
    return turn._replace(code="AR", error="207", status=503, retry_after=max(1, round(parse_duration(value or "1s"))))


GARBAGE: dict[str, bytes] = {
    "text": b"OK\r\n",
    "frame": b"\x0bthank you\x1c\r",
    "commit": b"\x0b\x06\x1c\r",  # MLLP release 2: a commit acknowledgement, which says nothing of the message
    "binary": b"\x0b\xff\xfe\x00MSH\x00|\x1c\r",
    "header": b"\x0bMSH|^~\\&|SIM\x1c\r",
    "no-msa": b"\x0bMSH|^~\\&|SIM|SIM|||20260101||ACK|1|P|2.5.1\r\x1c\r",
    "no-code": b"\x0bMSH|^~\\&|SIM|SIM|||20260101||ACK|1|P|2.5.1\rMSA||\r\x1c\r",
    "http": b"HTTP/1.0 200 OK\r\n\r\n",
}
"""Answers that say nothing, by their names. Some are framed as answers are."""


def _garbage(turn: Turn, value: str, chance: random.Random) -> Turn:
    if value and value not in GARBAGE:
        raise ValueError(f"one of {', '.join(GARBAGE)}")
    return turn._replace(instead=GARBAGE[value or chance.choice(list(GARBAGE))])


def _bare(**changes: Any) -> Callable[[Turn, str, random.Random], Turn]:
    return lambda turn, _, __: turn._replace(**changes)


KINDS: dict[str, Kind] = {
    "ae": _negative("AE"),
    "ar": _negative("AR"),
    "ce": _negative("CE"),
    "cr": _negative("CR"),
    "status": Kind("the answer has this status", _status, "500", only=HTTP),
    "busy": Kind("asks to come again: AR with error 207; 503 with this Retry-After", _busy, "5s", True),
    "wrong-id": Kind("MSA-2 names another message: the one before, where there is one", _bare(wrong_id=True), only=MLLP),
    "garbage": Kind(f"bytes that are no answer, by chance or one of {', '.join(GARBAGE)}", _garbage, "text", True),
    "half": Kind(
        "only the beginning of the answer", lambda turn, _, chance: turn._replace(share=chance.uniform(0.1, 0.9))
    ),
    "twice": Kind("the answer twice, in one write", _bare(times=2)),
    "silent": Kind("takes the message and never answers", _bare(times=0)),
    "delay": Kind(
        "answers so much later, one after another",
        lambda turn, value, _: turn._replace(delay=parse_duration(value)), "3s",
    ),
    "late": Kind(
        "this answer comes so much later, others do not wait for it",
        lambda turn, value, _: turn._replace(late=parse_duration(value)), "40s",
    ),
    "unread": Kind("breaks the connection before it has taken the message", _bare(unread=True)),
    "drop": Kind("takes the message, then breaks the connection (after `half`: behind the half)", _bare(drop=True)),
}  # fmt: skip

DOWN = "down"
DOWN_WRITTEN = "down:5s/30s"
ABOUT_DOWN = "gone for so long out of every so long, with everything that is open"

_WRITTEN = re.compile(r"(?P<name>[a-z-]+)(?::(?P<value>[^/@]+))?(?P<when>/~?[1-9]\d*|@[1-9]\d*(?:-[1-9]\d*)?)?")
_DOWN = re.compile(r"down:(?P<down>[^/@]+)/(?P<every>[^/@]+)")


class Faults:
    """The faults of one counterpart, and how many messages each has met. Those of another protocol are left out.

    Raises ValueError where one is not written as it should be.
    """

    def __init__(self, texts: Sequence[str] = (), protocol: str = MLLP, seed: int = 0) -> None:
        self.flapping: Flapping | None = None
        self.met: dict[str, int] = {}  # by the fault's text
        self._faults: list[tuple[Fault, random.Random]] = []
        for text in texts:
            if text.partition(":")[0] == DOWN:
                self.flapping = _flapping(text)
            elif (fault := parse_fault(text)).of(protocol):
                self.met[text] = 0
                self._faults.append((fault, random.Random(f"{seed} {len(self._faults)} {text}")))

    def turn(self, number: int) -> Turn:
        """What to say to message `number`; to be asked once for each, in order."""
        turn = Turn()
        for fault, chance in self._faults:
            if fault.when.meets(number, chance):
                self.met[fault.text] += 1
                turn = KINDS[fault.name].change(turn, fault.value, chance)
        return turn


def parse_fault(text: str) -> Fault:
    """Raises ValueError, saying what was expected."""
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r}: a fault is written NAME[:VALUE], and /10, /~10, @3 or @1-12 behind it")
    name, value = found["name"], found["value"] or ""
    if name not in KINDS:
        raise ValueError(f"{text!r}: there is no fault {name!r}.{did_you_mean(name, [*KINDS, DOWN])}")
    kind = KINDS[name]
    if value and not kind.value:
        raise ValueError(f"{text!r}: {name} takes no value")
    if kind.value and not value and not kind.optional:
        raise ValueError(f"{text!r}: write {kind.written(name)}")
    fault = Fault(text, name, value, _when(text, found["when"] or ""))
    try:
        kind.change(Turn(), value, random.Random(0))
    except ValueError as problem:
        raise ValueError(f"{text!r}: {problem}") from None
    return fault


def _when(text: str, written: str) -> When:
    if written.startswith("@"):
        first, _, last = written[1:].partition("-")
        if last and int(last) < int(first):
            raise ValueError(f"{text!r}: {last} is before {first}")
        return When(first=int(first), last=int(last or first))
    number = written.lstrip("/~")
    return When(int(number or 1), "~" in written)


def _flapping(text: str) -> Flapping:
    found = _DOWN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r}: write it like {DOWN_WRITTEN}")
    down, every = parse_duration(found["down"]), parse_duration(found["every"])
    if not 0 < down < every:
        raise ValueError(f"{text!r}: gone for {format_duration(down)} out of every {format_duration(every)} leaves no time")
    return Flapping(down, every)
