"""HL7 version 2, in its vertical-bar encoding (ER7): HL7 v2.5.1 chapter 2, versions 2.1 to 2.8.2."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from engine.registry import FormatKind, Options, SiteFile


class Acknowledge(Options):
    """Which negative answer means what to this sender. In enhanced mode E stands for CE and R for CR; busy is always CE."""

    unsupported: Literal["AE", "AR"] = "AR"
    """What a condition of `accept` refuses."""
    refused: Literal["AE", "AR"] = "AE"
    """Content that was read and found wrong by `strict` or `profile`."""
    unreadable: Literal["AE", "AR"] = "AE"
    """What cannot be read, or has no MSH-10."""
    busy: Literal["AE", "AR", "none"] = "AR"
    """What is not stored for our own reasons and should come again; `none`: no answer, and the sender's own time-out decides."""


class Hl7v2Options(Options):
    """Options of `format: hl7v2`."""

    charset: str = ""
    """What the bytes are in, whatever MSH-18 says, as a value of HL7 table 0211: `8859/1`, `UNICODE UTF-8`."""
    segment_ends: Literal["CR", "any"] = "CR"
    """What may end a segment: CR, as the standard says, or LF and CRLF as well, which become CR wherever the message goes on."""
    acknowledge: Acknowledge = Field(default_factory=Acknowledge)
    """Other negative answers than the standard suggests, for senders that need them."""
    strict: bool = False
    """Refuse what the standard's tables of its version forbid: structure, required fields, repetitions, types."""
    profile: str = ""
    """Refuse what breaks the rules of `profiles/NAME.yaml`: required fields, lengths, values."""


FORMAT = FormatKind(
    name="hl7v2",
    about="HL7 version 2 messages with vertical bars, any event, versions 2.1 to 2.8.2.",
    options=Hl7v2Options,
    implementation="engine.formats.hl7v2.format:Hl7v2",
    content_type="application/hl7-v2",
    files={"profile": SiteFile("profiles", "engine.formats.hl7v2.profile:Profile")},
)
