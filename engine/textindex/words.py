"""Texts as words: the same for what is indexed and for what is asked, whichever database keeps the index.

A word is a run of letters and digits; case and accents do not count; everything else only separates: the delimiters of HL7
and X12, the punctuation of JSON and XML. Where `-`, `.`, `/`, `_` or `@` joins words (`4711-B`, `2026-11-21`, `a.b@c.org`),
the joined word can be found whole as well. What nobody types is left out: words of more than LONGEST characters, base64.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final, NamedTuple

from engine.errors import WardlineError
from engine.escape import visible
from engine.textindex import STAGES, NotWords, Phrase

LONGEST: Final = 64  # characters of a word
SHORTEST: Final = 2  # characters of a beginning: fewer are the beginning of too many words

_JOINED = re.compile(r"[^\W_]+(?:[-./_@][^\W_]+)*")
_JOINTS = re.compile(r"[-./_@]")
_LUMP = re.compile(r"[A-Za-z0-9+/]{60,}={0,2}")
_PREFIX = re.compile(r"(?<=[^\W_])\*(?![^\W_])")


class Words(NamedTuple):
    """`plain` in the order of the text, `joined` each once."""

    plain: list[str]
    joined: list[str]


class Wanted(NamedTuple):
    """One thing that must be found: words one after another, the last of them perhaps only a beginning. Never empty."""

    words: tuple[str, ...]
    prefix: bool
    stage: str  # one of STAGES, or ''


def words(text: str, most: int) -> Words:
    """The first `most` words of a text, joined ones not counted: of these there are fewer."""
    plain: list[str] = []
    joined: dict[str, None] = {}
    for found in _JOINED.findall(_LUMP.sub(_without_lump, folded(text))):
        if found.isalnum():
            if len(found) <= LONGEST:
                plain.append(found)
        else:
            plain += [part for part in _JOINTS.split(found) if len(part) <= LONGEST]
            if len(found) <= LONGEST:
                joined[found] = None
        if len(plain) >= most:
            break
    return Words(plain[:most], list(joined))


def folded(text: str) -> str:
    """Without case and accents."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join([letter for letter in apart if not unicodedata.combining(letter)]).casefold()


def _without_lump(lump: re.Match[str]) -> str:
    """A digest in hexadecimal is a word that somebody may look for."""
    return lump[0] if len(lump[0]) <= LONGEST and lump[0].isalnum() else " "


def wanted(phrases: Sequence[Phrase]) -> list[Wanted]:
    """What an index is asked. Raises NotWords, for a phrase without a word too: it would be found nowhere or everywhere."""
    found: dict[Wanted, None] = {}
    for phrase in phrases:
        if phrase.stage not in ("", *STAGES):
            raise WardlineError(f"no such stage: {visible(phrase.stage, 20)}. There are {', '.join(STAGES)}")
        for one in _wanted(phrase):
            found[one] = None
    if not found:
        raise NotWords("nothing to look for: write a word")
    return list(found)


def _wanted(phrase: Phrase) -> list[Wanted]:
    """A beginning ends its phrase: neither index knows what stands after a word of which it knows only the beginning."""
    found: list[Wanted] = []
    pieces = _PREFIX.split(phrase.text)
    for n, piece in enumerate(pieces):
        prefix = n < len(pieces) - 1
        plain: list[str] = []
        raw = _JOINED.findall(folded(piece))
        for at, one in enumerate(raw):
            parts = _JOINTS.split(one)
            begins = prefix and at == len(raw) - 1
            if begins and len(one) < SHORTEST:
                raise NotWords(f"{visible(one, 20)}* begins too many words: write at least {SHORTEST} letters before the *")
            if any(len(part) > LONGEST for part in parts):
                raise NotWords(f"{visible(one, 20)}… is longer than {LONGEST} characters: words of that length are not indexed")
            plain += parts
            if len(parts) > 1 and len(one) <= LONGEST:
                found.append(Wanted((one,), begins, phrase.stage))
                if len(raw) == 1:
                    plain.clear()  # found whole, that is all that was asked
        if plain:
            found.append(Wanted(tuple(plain), prefix, phrase.stage))
    if not found:
        raise NotWords(f"{visible(phrase.text, 40)}: there is no letter and no digit in it to look for")
    return found
