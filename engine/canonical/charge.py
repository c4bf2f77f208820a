"""Charge: something was done or used that someone is billed for. Append-only: corrected by a reversal, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, Required

from typing_extensions import TypedDict

from engine.canonical.entity import Keys, SchemaEntity
from engine.canonical.types import (
    Code,
    Date,
    Id,
    ListOf,
    Location,
    Money,
    Number,
    PatientRef,
    Provider,
    Ref,
    Text,
    When,
    strict,
)
from engine.contracts import Facts


@strict
class Drug(TypedDict):
    """The drug that was given, as the pharmacy names it."""

    code: Required[Id]
    """National Drug Code."""
    quantity: NotRequired[Number | None]
    """How much of it."""
    unit: NotRequired[Text | None]
    """Unit of the quantity."""


@strict
class EncounterRef(TypedDict):
    """The visit the charge belongs to."""

    visit_number: NotRequired[Id | None]
    """Visit number."""
    patient_class: NotRequired[Text | None]
    """Inpatient, outpatient, emergency (HL7 table 0004)."""


@strict
class Posting(TypedDict):
    """What the general ledger made of it."""

    account: NotRequired[Text | None]
    """Account it was posted to."""
    status: NotRequired[Text | None]
    """Where the posting stands."""


@strict
class Charge(TypedDict):
    """Something done or used that someone is billed for."""

    transaction_id: Required[Id]
    """The source's id of this charge; the same when it is sent again."""
    patient: Required[PatientRef]
    """Whose charge it is."""
    service_date: Required[Date]
    """The day the service was given."""
    quantity: Required[Number]
    """How many units; negative where goods came back."""
    extended_amount: Required[Money]
    """Quantity times price, signed: a credit is negative."""
    department: Required[Id]
    """The department that earned it."""
    id: NotRequired[Id | None]
    """Canonical id, where one has been given."""
    batch_id: NotRequired[Text | None]
    """The batch it came in."""
    type: NotRequired[Literal["CG", "CR", "PY", "AJ", "CO", "TR"] | None]
    """CG charge, CR credit, PY payment, AJ adjustment, CO co-payment, TR transfer."""
    encounter: NotRequired[EncounterRef | None]
    """The visit it belongs to."""
    account_number: NotRequired[Id | None]
    """The patient's account; charges of one account are delivered in order."""
    service_end: NotRequired[Date | None]
    """The last day, where the service ran over several."""
    posted_at: NotRequired[When | None]
    """When the source posted it; the time since the service is the charge lag."""
    code: NotRequired[Code | None]
    """Code in the charge description master."""
    description: NotRequired[Text | None]
    """What was charged, in words."""
    procedure: NotRequired[Code | None]
    """Procedure: CPT, HCPCS, OPS, CCAM …"""
    modifiers: NotRequired[ListOf[Text] | None]
    """Modifiers of the procedure, in order."""
    revenue_code: NotRequired[Text | None]
    """UB-04 revenue code, four digits."""
    unit_amount: NotRequired[Money | None]
    """Price of one unit."""
    unit_cost: NotRequired[Money | None]
    """What one unit costs us."""
    ndc: NotRequired[Drug | None]
    """The drug, for pharmacy charges."""
    item: NotRequired[Ref | None]
    """The item that was used, for supplies and implants."""
    diagnoses: NotRequired[ListOf[Code] | None]
    """Diagnoses it points at, the first one foremost."""
    cost_centre: NotRequired[Text | None]
    """Cost centre, where it is known already."""
    location: NotRequired[Location | None]
    """Where it was done."""
    performer: NotRequired[Provider | None]
    """Who did it."""
    orderer: NotRequired[Provider | None]
    """Who ordered it."""
    performing_facility: NotRequired[Text | None]
    """The facility where it was done."""
    filler_order: NotRequired[Text | None]
    """The filler's order number."""
    prior_auth: NotRequired[Text | None]
    """Number of the payer's authorisation."""
    health_plan: NotRequired[Code | None]
    """The insurance plan expected to pay."""
    fee_schedule: NotRequired[Text | None]
    """Fee schedule that set the price."""
    reverses: NotRequired[Text | None]
    """`transaction_id` of the charge that this one takes back."""
    gl: NotRequired[Posting | None]
    """What the general ledger made of it."""
    claim: NotRequired[Ref | None]
    """The claim it went out with."""


def _keys(payload: Mapping[str, Any], facts: Facts) -> Keys:
    visit = (payload.get("encounter") or {}).get("visit_number")
    account = payload.get("account_number")
    lane = f"account:{account}" if account else f"visit:{visit}" if visit else f"patient:{payload['patient']['mrn']}"
    return Keys(
        business_key=[payload["transaction_id"], payload.get("type") or ""],
        business_version="",
        ordering_key=lane,
        effective_at=payload["service_date"],
    )


ENTITY = SchemaEntity("charge", "v1", Charge, _keys, classification="phi", action="create")
