"""What one feed has agreed on beyond the standard: `profiles/NAME.yaml` of a site."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, model_validator

from engine.errors import PathError
from engine.formats.hl7v2 import select
from engine.formats.hl7v2.names import known_version, table_values
from engine.formats.hl7v2.paths import Path, compiled
from engine.formats.hl7v2.strict import MOST, Finding
from engine.formats.hl7v2.structure import Segment
from engine.registry import Options

if TYPE_CHECKING:
    from engine.formats.hl7v2.document import Hl7Message

_ANY_VERSION = "2.5.1"  # whose tables say whether a number is that of a table


class Rule(Options):
    """What every occurrence of a segment, field or component must be."""

    required: bool = False
    """It must be there: a segment in the message; a field or component in every segment of its kind, and every repetition."""
    length: int = Field(default=0, ge=0)
    """Most characters of its text; 0: any number."""
    values: list[str] = Field(default_factory=list)
    """The only texts it may have."""
    table: Annotated[str, Field(pattern=r"^(\d{4})?$")] = ""
    """The HL7 table that its text must be from, as `"0001"`."""

    @model_validator(mode="after")
    def _says_something(self) -> Rule:
        if not (self.required or self.length or self.values or self.table):
            raise ValueError("it asks for nothing: write required: true, a length, values or a table")
        if self.table and not table_values(_ANY_VERSION, self.table):
            raise ValueError(f"'{self.table}' is no table of HL7 v2 that has values")
        return self


def _placed(text: str) -> str:
    """Raises ValueError."""
    try:
        path = compiled(text)
    except PathError as error:
        raise ValueError(str(error)) from None
    if len(path.steps) != 1 or len(path.steps[0].name) != 3 or path.steps[0].selectors or path.repeats:
        raise ValueError(f"'{text}' is one place of several; a rule is for all: PID, PID-3 or PID-3.1")
    return text


class Profile(Options):
    """`profiles/NAME.yaml`: what the messages of one feed must have, beyond the standard."""

    about: str = ""
    """One sentence for people."""
    rules: dict[Annotated[str, AfterValidator(_placed)], Rule] = Field(min_length=1)
    """By the place each is for: a segment (`PV1`), a field (`PID-3`) or a component (`PID-3.1`)."""

    @model_validator(mode="after")
    def _segments_only_exist(self) -> Profile:
        for place, rule in self.rules.items():
            if not compiled(place).field and not (rule.required and (rule.length, rule.values, rule.table) == (0, [], "")):
                raise ValueError(f"{place} is a segment, which can only be required")
        return self

    def findings(self, message: Hl7Message) -> list[Finding]:
        """Rule by rule, each in the order of the message; at most `MOST`."""
        found: list[Finding] = []
        for place, rule in self.rules.items():
            for finding in _findings(compiled(place), rule, message):
                found.append(finding)
                if len(found) >= MOST:
                    return found
        return found


def _findings(path: Path, rule: Rule, message: Hl7Message) -> Iterator[Finding]:
    kind = path.steps[0].name
    segments = message.index[kind]
    if not path.field:
        if not segments:
            yield Finding(kind, "is required and missing", "error", "100")
        return
    allowed = table_values(known_version(str(message["MSH-12.1"])), rule.table) if rule.table else frozenset(rule.values)
    for number, segment in enumerate(segments, 1):
        where = f"{kind}-{path.field}" if number == 1 else f"{kind}[{number}]-{path.field}"
        for place, text in _texts(segment, path, where, message):
            if not text:
                if rule.required:
                    yield Finding(place, "is required and missing", "error", "101")
                continue
            if 0 < rule.length < len(text):
                yield Finding(place, f"has {len(text)} characters, and {rule.length} at most were agreed", "error", "102")
            if allowed and text not in allowed:
                where_from = f"in table {rule.table}" if rule.table else "one of the values that were agreed"
                yield Finding(place, f"{text[:40]!r} is not {where_from}", "error", "103")


def _texts(segment: Segment, path: Path, where: str, message: Hl7Message) -> Iterator[tuple[str, str]]:
    """Place and text of each repetition, or of the one component of each; an absent field is one empty text."""
    syntax = message.syntax
    parts = path.parts
    for number, raw in enumerate(select.cells(segment, path.field, syntax) or [""], 1):
        place = (where if number == 1 else f"{where}[{number}]") + parts
        yield place, select.leaf(raw, (path.component, path.sub or 1), syntax) if path.component else syntax.unescape(raw)
