"""HL7 version 2, in its vertical-bar encoding (ER7): HL7 v2.5.1 chapter 2, versions 2.1 to 2.8.2."""

from __future__ import annotations

from engine.registry import FormatKind, Options


class Hl7v2Options(Options):
    """Options of `format: hl7v2`."""

    charset: str = ""
    """What the bytes are in, whatever MSH-18 says, as a value of HL7 table 0211: `8859/1`, `UNICODE UTF-8`."""


FORMAT = FormatKind(
    name="hl7v2",
    about="HL7 version 2 messages with vertical bars, any event, versions 2.1 to 2.8.2.",
    options=Hl7v2Options,
    implementation="engine.formats.hl7v2.format:Hl7v2",
    content_type="application/hl7-v2",
)
