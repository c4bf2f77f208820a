"""Encounter: a visit or stay. A state: the latest version wins, an explicit null deletes, an absent field says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, Required

from pydantic import Field
from typing_extensions import TypedDict

from engine.canonical.entity import Keys, SchemaEntity, fingerprint, plain
from engine.canonical.types import (
    Code,
    Diagnosis,
    Id,
    Identifier,
    ListOf,
    Location,
    PatientRef,
    Period,
    Procedure,
    Provider,
    Ref,
    Text,
    When,
    strict,
)
from engine.contracts import Facts


@strict
class Admission(TypedDict):
    """How the stay began."""

    at: NotRequired[When | None]
    """When."""
    type: NotRequired[Code | None]
    """Emergency, elective, newborn (HL7 table 0007)."""
    source: NotRequired[Code | None]
    """From where (HL7 table 0023)."""


@strict
class Discharge(TypedDict):
    """How the stay ended."""

    at: NotRequired[When | None]
    """When; null when a discharge was taken back."""
    disposition: NotRequired[Code | None]
    """In what way (HL7 table 0112)."""
    to: NotRequired[Text | None]
    """Where to."""


# `class` is a word of Python, so this one field is declared in the other notation.
_Classed = TypedDict(
    "_Classed",
    {"class": NotRequired[Annotated[Text | None, Field(description="I inpatient, O outpatient, E emergency (HL7 table 0004).")]]},
)


@strict
class Encounter(_Classed):
    """A visit or stay of one patient."""

    visit_number: Required[Id]
    """The visit's number, as its source gives it."""
    patient: Required[PatientRef]
    """Whose visit it is."""
    id: NotRequired[Id | None]
    """Canonical id, where one has been given."""
    account_number: NotRequired[Text | None]
    """The account it is billed to."""
    identifiers: NotRequired[ListOf[Identifier] | None]
    """Other numbers of the visit."""
    type: NotRequired[Code | None]
    """Kind of visit."""
    status: NotRequired[Literal["planned", "arrived", "in-progress", "onleave", "finished", "cancelled"] | None]
    """Where it stands."""
    period: NotRequired[Period | None]
    """From admission to discharge."""
    location: NotRequired[Location | None]
    """Where the patient is."""
    prior_location: NotRequired[Location | None]
    """Where the patient was before."""
    attending: NotRequired[Provider | None]
    """Responsible physician."""
    admitting: NotRequired[Provider | None]
    """Who admitted."""
    referring: NotRequired[Provider | None]
    """Who referred."""
    consulting: NotRequired[ListOf[Provider] | None]
    """Who was consulted."""
    service: NotRequired[Code | None]
    """Hospital service."""
    admit: NotRequired[Admission | None]
    """How it began."""
    discharge: NotRequired[Discharge | None]
    """How it ended."""
    financial_class: NotRequired[Code | None]
    """Who is expected to pay, by class."""
    reason: NotRequired[Code | None]
    """Why the patient came."""
    diagnoses: NotRequired[ListOf[Diagnosis] | None]
    """Diagnoses."""
    procedures: NotRequired[ListOf[Procedure] | None]
    """Procedures."""
    drg: NotRequired[Code | None]
    """Diagnosis-related group."""
    payers: NotRequired[ListOf[Ref] | None]
    """Insurance of this visit."""
    cost_centre: NotRequired[Text | None]
    """Cost centre, derived from the department."""
    occurred_at: NotRequired[When | None]
    """When what this message tells happened; decides which of two is the later one."""


def _keys(payload: Mapping[str, Any], facts: Facts) -> Keys:
    visit, occurred = payload["visit_number"], payload.get("occurred_at") or ""
    version = f"{facts.heading.kind}|{plain(occurred)}" if occurred else fingerprint(payload, facts)
    return Keys([visit], version, f"visit:{visit}", occurred)


ENTITY = SchemaEntity("encounter", "v1", Encounter, _keys, classification="phi", action="upsert")
