"""Character sets of MSH-18, HL7 table 0211, as Python codecs.

Content is decoded once and strictly; nothing is ever replaced. Where MSH-18 is empty the content is UTF-8, or, where it is
not valid UTF-8, ISO 8859-1, which gives every byte back as it was.
"""

from __future__ import annotations

from engine.errors import ContentError

CODECS = {
    "ASCII": "ascii",
    **{f"8859/{n}": f"iso8859-{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)},
    "ISO IR6": "ascii",
    "ISO IR14": "iso2022_jp_ext",
    "ISO IR87": "iso2022_jp_ext",
    "ISO IR159": "iso2022_jp_ext",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
    "UNICODE UTF-8": "utf-8",
    **dict.fromkeys(("UTF-8", "UTF8", "UNICODE UTF8"), "utf-8"),  # not in the table, but nothing else can be meant
    **dict.fromkeys(("8859-1", "ISO-8859-1", "ISO8859-1", "LATIN1"), "iso8859-1"),
    "UNICODE": "utf-8",  # withdrawn in 2.6; those who still send it mean UTF-8, and other bytes are refused below
}
_STATEFUL = "iso2022_jp_ext"


def codecs_of(declared: str, repetition: str = "~") -> list[str]:
    """The codecs that MSH-18 allows, the likeliest first; none where it is empty. Raises ContentError (MSH-18)."""
    found: list[str] = []
    for name in declared.split(repetition) if declared else ():
        # An empty first repetition means ASCII, as in `~ISO IR87`: §2.15.9.18.
        codec = CODECS.get(name.strip().upper() or "ASCII")
        if codec is None:
            raise ContentError(_unknown(name), "MSH-18", "103")
        found.append(codec)
    return [_STATEFUL] if _STATEFUL in found else found


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    if "UTF-16" in name or "UTF-32" in name:
        return f"{name!r} cannot be read: its bytes collide with the framing; send UNICODE UTF-8"
    near = ["8859/1"] if name.startswith("8859") else get_close_matches(name.upper(), CODECS, 1, 0.6)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{name[:40]!r} is no character set of HL7 table 0211 that can be read{hint}"


def decode(content: bytes, declared: str, repetition: str = "~") -> tuple[str, str]:
    """Text and codec. Raises ContentError (MSH-18) where the bytes are not what MSH-18 says."""
    allowed = codecs_of(declared, repetition)
    failure: UnicodeDecodeError | None = None
    for codec in allowed or ("utf-8", "latin-1"):
        try:
            return content.decode(codec), codec
        except UnicodeDecodeError as error:
            failure = failure or error
    assert failure is not None
    raise ContentError(
        f"says {declared}, but byte 0x{content[failure.start]:02X} at offset {failure.start} is not that; "
        "have the sender declare what it sends, or set the format's charset option",
        "MSH-18",
        "102",
    )


def encode(text: str, codec: str) -> bytes:
    """Bytes of edited text. Raises ContentError naming the first character that `codec` does not have."""
    try:
        return text.encode(codec)
    except UnicodeEncodeError as error:
        raise ContentError(
            f"the message's character set ({codec}) has no {text[error.start]!r}; set MSH-18 to UNICODE UTF-8", "MSH-18", "102"
        ) from None
