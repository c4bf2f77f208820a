"""The corpus as it is written: entries, and their notation for bytes. README.md describes both."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
WHO = "CANARYFAMILY^TINA"  # PID-5 of every message here: none of it may ever be seen in a log
CANARY = "CANARYFAMILY"

SB, EB, CR = b"\x0b", b"\x1c", b"\r"
NAMED = {"SB": SB, "EB": EB, "CR": CR, "END": EB + CR}
LABELS = "ABCD"

_PLACE = re.compile(r"\{(?:(?P<label>[A-D])(?:\[(?P<start>\d*):(?P<end>\d*)\])?|(?P<name>id|who|SB|EB|CR|END)|'(?P<text>[^']*)'\*(?P<times>\d+))\}")  # fmt: skip
_MANY = re.compile(r"(.*)\*(\d+)")


@dataclass(frozen=True)
class Expect:
    answers: list[str] = field(default_factory=list)
    states: list[str] | None = None
    refused: list[str] = field(default_factory=list)
    closed: bool = False
    contains: list[str] = field(default_factory=list)
    lacks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Entry:
    id: str
    about: str
    send: list[Any]
    expect: Expect
    case: str = ""
    to: str = "plain"

    @property
    def title(self) -> str:
        return "-".join(filter(None, (self.id, self.case.replace(" ", "_"))))

    def control_id(self, label: str = "") -> str:
        """At most 20 characters (MSH-10 of HL7 v2.5.1): the id, the case as a number, the label."""
        return f"{self.id}C{sum(self.case.encode()) % 997}{label}"

    def message(self, label: str) -> bytes:
        return good(self.control_id(label))

    def bytes_of(self, text: str) -> bytes:
        """A text in the corpus's notation."""
        made, at = b"", 0
        for found in _PLACE.finditer(text):
            made += plain(text[at : found.start()])
            made += self._placed(found)
            at = found.end()
        return made + plain(text[at:])

    def _placed(self, found: re.Match[str]) -> bytes:
        if found["label"]:
            start, end = found["start"], found["end"]
            return self.message(found["label"])[int(start) if start else None : int(end) if end else None]
        if found["name"]:
            own = {"id": self.control_id().encode(), "who": WHO.encode()}
            return (NAMED | own)[found["name"]]
        return plain(found["text"]) * int(found["times"])

    def answers(self) -> list[tuple[str, str | None]]:
        """MSA-1 and MSA-2 of each expected answer; None where it does not matter what it names."""
        expected: list[tuple[str, str | None]] = []
        for written in self.expect.answers:
            many = _MANY.fullmatch(written)
            text, times = (many[1], int(many[2])) if many else (written, 1)
            code, _, whom = text.partition(" ")
            named = {"": None, "-": "", "id": self.control_id()}.get(whom, self.control_id(whom) if whom in LABELS else whom)
            expected += [(code, named)] * times
        return expected


def plain(text: str) -> bytes:
    return b"".join(letter.encode("latin-1" if letter <= "\xff" else "utf-8") for letter in text)


def good(control_id: str) -> bytes:
    return (
        f"MSH|^~\\&|EHR|GENERAL|WARDLINE|GENERAL|20261101101500||ADT^A01^ADT_A01|{control_id}|P|2.5.1\r"
        f"EVN|A01|20261101101500\rPID|1||4711^^^GENERAL^MR||{WHO}\rPV1|1|I|W1^101^1\r"
    ).encode()


def entries() -> Iterator[Entry]:
    """Every entry of every file. Raises ValueError, naming the file, where one is not written as README.md says."""
    for path in sorted(HERE.glob("*.yaml")):
        for number, written in enumerate(yaml.safe_load(path.read_text("utf-8")), 1):
            try:
                yield Entry(**{**written, "expect": Expect(**written["expect"])})
            except (TypeError, KeyError) as error:
                raise ValueError(f"{path.name}, entry {number}: {error}") from None
