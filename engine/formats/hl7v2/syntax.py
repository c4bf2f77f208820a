"""Delimiters and escape sequences: HL7 v2.5.1 §2.5.4 and §2.7.

Every message declares its own delimiters in MSH-1 and MSH-2, so everything that cuts or writes text takes a `Syntax`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from engine.errors import ContentError

ESCAPE_CHARACTERS = "FSRETP"  # field, component, repetition, escape, subcomponent, truncation (2.7)

_HEX = re.compile(r"X((?:[0-9A-Fa-f]{2})+)")
_FORMATTING = re.compile(r"\.(br|sp|ce|sk|in|ti|fi|nf)\s*([+-]?\d{0,3})")
_CONTROLS = {code: f"X{code:02X}" for code in range(0x20) if code not in (0x09, 0x0A)} | {0x0A: ".br"}


class Syntax:
    """The delimiters of one message and the codec its text came in.

    An undeclared delimiter (MSH-2 may be short) is a character that no text holds, so that cutting by it gives one piece.
    """

    __slots__ = (
        "_table", "_unsafe", "codec", "component", "declared", "escape", "field", "repetition", "special", "subcomponent",
        "truncation", "unescape",
    )  # fmt: skip

    field: str
    component: str
    repetition: str
    escape: str
    subcomponent: str
    truncation: str
    declared: str  # MSH-2 as it was sent
    codec: str
    special: Callable[[str], object]
    unescape: Callable[[str], str]

    def __init__(self, field: str, declared: str, codec: str) -> None:
        # `\\` where one backslash is meant: a message that went through a program's source. It occurs, and means one thing.
        characters = declared.replace("\\\\", "\\") if declared.startswith("^~\\\\") else declared
        absent = [chr(0xFDD0 + n) for n in range(5)]  # noncharacters: never in text (Unicode §23.7)
        self.field, self.declared, self.codec = field, declared, codec
        self.component, self.repetition, self.escape, self.subcomponent, self.truncation = [
            *characters[:5], *absent[len(characters[:5]) :],
        ]  # fmt: skip
        self.special = re.compile(
            "[" + re.escape(self.component + self.repetition + self.escape + self.subcomponent) + "]"
        ).search
        codes = zip((field, *characters[:5]), ESCAPE_CHARACTERS, strict=False)
        self._table: dict[int, str] = {}
        if len(characters) > 2:
            shut = self.escape
            self._table = {ord(char): f"{shut}{code}{shut}" for char, code in codes}
            self._table |= {code: f"{shut}{text}{shut}" for code, text in _CONTROLS.items()}
        unsafe = "".join(map(chr, self._table))
        self._unsafe = re.compile(f"[{re.escape(unsafe)}]").search if unsafe else re.compile("(?!)").search
        self.unescape = self._unescaper()

    def _unescaper(self) -> Callable[[str], str]:
        known = {"F": self.field, "S": self.component, "T": self.subcomponent, "R": self.repetition, "E": self.escape}
        known |= {"P": self.truncation if len(self.truncation) else "", "H": "", "N": ""}
        if not self.truncation.isascii():
            del known["P"]
        shut, codec = self.escape, self.codec

        def meaning(match: re.Match[str]) -> str:
            inside = match[1]
            if (text := known.get(inside)) is not None:
                return text
            if pairs := _HEX.fullmatch(inside):
                try:
                    return bytes.fromhex(pairs[1]).decode(codec)
                except UnicodeDecodeError:
                    return match[0]
            if mark := _FORMATTING.fullmatch(inside):
                return _formatted(mark[1], mark[2])
            return match[0]

        pattern = re.compile(f"{re.escape(shut)}([^{re.escape(shut)}]*){re.escape(shut)}")

        def unescape(text: str) -> str:
            """Text as people mean it. Unknown sequences (`\\Zxx\\`, `\\Cxxyy\\`) stay as they are."""
            return pattern.sub(meaning, text) if shut in text else text

        return unescape

    def escaped(self, text: str) -> str:
        """Text as it may stand in a message: `unescape(escaped(x)) == x`.

        Control characters are escaped as well: a carriage return would end the segment, 0x1C the MLLP frame.
        Raises ContentError where the message declares no escape character and the text needs one.
        """
        if self._unsafe(text) is not None:
            return text.translate(self._table)
        if not self._table and re.search(f"[{re.escape(self.field + self.component + self.repetition)}\x00-\x1f]", text):
            raise ContentError("the text holds a delimiter, and the message declares no escape character", "MSH-2")
        return text


def _formatted(command: str, number: str) -> str:
    """Formatting commands of FT (§2.7.4) as plain text: line ends and blanks; indents and fill mode say nothing here."""
    count = int(number) if number.isdigit() else 1
    return {"br": "\n", "sp": "\n" * count, "ce": "\n", "sk": " " * count}.get(command, "")


@lru_cache(256)
def syntax(field: str, declared: str, codec: str = "utf-8") -> Syntax:
    """The `Syntax` of MSH-1 and MSH-2. Raises ContentError where they cannot be used."""
    if not field or field.isalnum() or field.isspace() or not field.isprintable():
        raise ContentError(f"the field separator must be a punctuation character, usually |, not {field!r}", "MSH-1", "102")
    if not declared:
        raise ContentError(r"it is empty; it must name the other delimiters, usually ^~\&", "MSH-2", "101")
    built = Syntax(field, declared, codec)
    used = [field, built.component, built.repetition, built.escape, built.subcomponent, built.truncation]
    if len(set(used)) < len(used) or any(char.isalnum() or char.isspace() or char == '"' for char in declared[:5]):
        raise ContentError(
            f"{declared[:8]!r} must name four or five different punctuation characters, usually ^~\\&", "MSH-2", "102"
        )
    return built
