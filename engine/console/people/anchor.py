"""The anchor of the audit trail: sequence and hash of its last row, in a file beside the database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from engine.errors import StoreError

FILE: Final = "audit-anchor"


class Mark(NamedTuple):
    """A row of the trail, and with its hash everything before it."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


def parse_mark(text: str) -> Mark:
    """`SEQ:HASH`, as the log has it. Raises ValueError."""
    seq, _, digest = text.strip().partition(":")
    if not seq.isascii() or not seq.isdigit() or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise ValueError("an anchor is written as the log has it: SEQ:HASH, a number and 64 hexadecimal digits")
    return Mark(int(seq), digest)


class Anchor:
    """Replaced as a whole, so that it is the old one or the new one after any crash, and never newer than the trail."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE

    def read(self) -> Mark | None:
        """None where there is none, or what is there is no anchor."""
        try:
            found = orjson.loads(self.path.read_bytes())
            return parse_mark(f"{found['seq']}:{found['hash']}")
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, mark: Mark, at: int) -> None:
        """Raises StoreError where it cannot be written: rows are then on the disk without it, and the next one says so."""
        new = self.path.with_suffix(".new")
        try:
            number = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(number, orjson.dumps({**mark._asdict(), "at": at}, option=orjson.OPT_APPEND_NEWLINE))
                os.fsync(number)
            finally:
                os.close(number)
            os.replace(new, self.path)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error.strerror}. The audit trail needs its anchor") from error
