"""Patient: who someone is. A state: the latest version wins, an explicit null deletes, an absent field says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NotRequired, Required

from pydantic import AfterValidator, JsonValue, with_config
from typing_extensions import TypedDict

from engine.canonical.entity import Keys, SchemaEntity, fingerprint, plain
from engine.canonical.money import fault
from engine.canonical.types import (
    CONFIG,
    Address,
    Code,
    HumanName,
    Id,
    Identifier,
    ListOf,
    PartialDate,
    Ref,
    Telecom,
    Text,
    When,
    strict,
)
from engine.contracts import Facts

Sex = Literal["female", "male", "other", "unknown"]
"""Administrative sex, in words that every receiver knows."""


_WHO: Final[JsonValue] = [{"required": ["identifiers", "name"]}, {"required": ["merged"]}, {"required": ["merged_into"]}]


@strict
class Contact(TypedDict):
    """Next of kin, emergency contact, guardian."""

    name: NotRequired[HumanName | None]
    """Name."""
    relationship: NotRequired[Code | None]
    """What they are to the patient."""
    role: NotRequired[Code | None]
    """What to call them for: emergency, next of kin."""
    phones: NotRequired[ListOf[Telecom] | None]
    """How to reach them."""
    address: NotRequired[Address | None]
    """Where they live."""


@with_config({**CONFIG, "json_schema_extra": {"anyOf": _WHO}})
class Patient(TypedDict):
    """A person who receives care."""

    id: Required[Id]
    """Medical record number; after a merge, the survivor's."""
    identifiers: NotRequired[ListOf[Identifier] | None]
    """Every identifier that was sent. Required unless this is a merge."""
    name: NotRequired[ListOf[HumanName] | None]
    """Names, the one in use first. Required unless this is a merge."""
    birth_date: NotRequired[PartialDate | None]
    """Date of birth, as exact as it is known."""
    sex: NotRequired[Sex | None]
    """Administrative sex."""
    gender_identity: NotRequired[Code | None]
    """Gender the person lives."""
    addresses: NotRequired[ListOf[Address] | None]
    """Addresses."""
    telecom: NotRequired[ListOf[Telecom] | None]
    """Telephones and mail."""
    marital: NotRequired[Code | None]
    """Marital status."""
    language: NotRequired[Code | None]
    """Language the person speaks best."""
    race: NotRequired[ListOf[Code] | None]
    """Race, where it is recorded."""
    ethnicity: NotRequired[ListOf[Code] | None]
    """Ethnic group, where it is recorded."""
    religion: NotRequired[Code | None]
    """Religion, where it is recorded."""
    deceased: NotRequired[bool | None]
    """True when the person has died."""
    deceased_at: NotRequired[When | None]
    """When."""
    account_number: NotRequired[Text | None]
    """Account of the current visit."""
    mothers_maiden: NotRequired[HumanName | None]
    """The mother's maiden name."""
    contacts: NotRequired[ListOf[Contact] | None]
    """People to call."""
    guarantor: NotRequired[Ref | None]
    """Who pays what insurance does not."""
    coverages: NotRequired[ListOf[Ref] | None]
    """Insurance of the person."""
    merged: NotRequired[ListOf[Identifier] | None]
    """Identifiers of records that this one has swallowed."""
    merged_into: NotRequired[Ref | None]
    """The record that swallowed this one."""
    active: NotRequired[bool | None]
    """False when the record is no longer in use."""
    confidentiality: NotRequired[Code | None]
    """Who may see it: staff, VIP, protected."""
    updated_at: NotRequired[When | None]
    """When the source last changed it; decides which of two is the later one."""


def _known(patient: Any) -> Any:
    """A merge names two records; everything else must say who it is about."""
    if not patient.get("merged") and not patient.get("merged_into"):
        for name in ("identifiers", "name"):
            if not patient.get(name):
                raise fault("{name} is required, except in a merge", name=name)
    return patient


def _keys(payload: Mapping[str, Any], facts: Facts) -> Keys:
    identifier = payload["id"]
    systems = [i.get("system") or "" for i in payload.get("identifiers") or () if i["value"] == identifier]
    updated = payload.get("updated_at") or ""
    return Keys(
        business_key=[systems[0] if systems else "", identifier, *sorted(m["value"] for m in payload.get("merged") or ())],
        business_version=plain(updated) or fingerprint(payload, facts),
        ordering_key=f"patient:{identifier}",
        effective_at=updated,
    )


ENTITY = SchemaEntity("patient", "v1", Annotated[Patient, AfterValidator(_known)], _keys, classification="phi", action="upsert")
