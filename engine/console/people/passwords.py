"""Passwords: what is refused and why, and Argon2id for the rest."""

from __future__ import annotations

import re
import threading
import unicodedata
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

SHORTEST: Final = 15
LONGEST: Final = 256
DISTINCT: Final = 6  # letters that must be left when what everybody tries is taken out

# OWASP's password storage cheat sheet: 19 MiB, 2 passes, 1 lane.
PASSES: Final = 2
KIB: Final = 19 << 10
AT_ONCE: Final = 4  # so much memory, at most, goes into logging in

_COMMON: Final = re.compile(
    "password|passwort|passw0rd|kennwort|qwertyuiop|qwerty|qwertz|asdfghjkl|asdf|zxcvbnm|yxcvbnm|1q2w3e4r5t|1q2w3e4r|1qaz2wsx|"
    "0?1234567890?|12345678?|123456?|1234|4321|9876|abcdefgh|abcdef|abcd|letmein|welcome|changeme|iloveyou|trustno1|administrator|"
    "admin|root|login|secret|default|hospital|medical|patient|health|clinic|wardline|interface|engine|correcthorsebatterystaple|"
    "spring|summer|autumn|winter|monday|friday|dragon|monkey|football|baseball|princess|sunshine|superman|master|shadow|(?:19|20)[0-9]{2}"
)


def unfit(password: str, *own: str) -> str:
    """Why a password is not taken, or ''. `own`: what is near at hand to guess, as a person's names."""
    text = normal(password)
    if len(text) < SHORTEST:
        return (
            f"it has {len(text)} characters and needs {SHORTEST}. Four or five words that have nothing to do with one another "
            "are easy to keep in mind; capitals and signs are not needed"
        )
    if len(text) > LONGEST:
        return f"it has more than {LONGEST} characters"
    rest = text.casefold()
    for name in sorted({part for one in own for part in re.split(r"[\W_]+", one.casefold()) if len(part) > 2}, key=len)[::-1]:
        rest = rest.replace(name, "")
    rest = re.sub(r"[\W_]+", "", _COMMON.sub("", rest))
    if len(set(rest)) < DISTINCT:
        return (
            "it is made of names, of words that everybody tries first, or of the same few letters. Take words that nobody expects"
        )
    return ""


def normal(password: str) -> str:
    """The same text from every keyboard (NFKC, RFC 8265 in spirit)."""
    return unicodedata.normalize("NFKC", password)


class Passwords:
    """Argon2id. A few at a time, so that many who knock do not take the machine's memory."""

    def __init__(self, passes: int = PASSES, kib: int = KIB) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=kib, parallelism=1, hash_len=32, salt_len=16, type=Type.ID)
        self._room = threading.BoundedSemaphore(AT_ONCE)
        self._nobody = self._hasher.hash("whoever this is, it is nobody")

    def hash(self, password: str) -> str:
        with self._room:
            return self._hasher.hash(_bytes(password))

    def right(self, kept: str | None, password: str) -> bool:
        """Whether it is the password. Takes as long for somebody who has none (None)."""
        with self._room:
            try:
                self._hasher.verify(kept or self._nobody, _bytes(password))
            except (VerificationError, InvalidHashError):
                return False
        return kept is not None

    def outdated(self, kept: str) -> bool:
        """Whether it was made with other parameters than those of today."""
        return self._hasher.check_needs_rehash(kept)


def _bytes(password: str) -> bytes:
    return normal(password)[: LONGEST * 4].encode("utf-8", "surrogatepass")
