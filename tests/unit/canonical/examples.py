"""Payloads as mappings make them: the smallest that is valid, and one with every field, for each entity."""

from __future__ import annotations

from copy import deepcopy
from datetime import date
from decimal import Decimal
from typing import Any

from engine.contracts import Facts
from engine.model import Heading

FACTS = Facts(
    message_id="0ABCDEFGHJ",
    received_at=1_767_225_600_123_456,  # 2026-01-01T00:00:00.123456Z
    channel="charges",
    route="billing",
    heading=Heading("DFT^P03", "MSG0001", "EHR|GENERAL", "2.5.1", "P"),
    organization="General Hospital",
    environment="test",
    format="hl7v2",
)

CODE = {"code": "71046", "display": "Chest X-ray", "system": "CPT"}
NAME = {"family": "Featherstonehaugh", "given": ["Ann", "Q"], "prefix": "Dr", "suffix": "III", "use": "legal"}
PROVIDER = {"identifier": {"value": "1234567893", "system": "NPI"}, "name": NAME}
LOCATION = {"point_of_care": "RAD", "room": "2", "bed": "A", "facility": "GENERAL", "building": "B1", "floor": "3"}
TELECOM = {"value": "+1 555 0100", "system": "phone", "use": "home", "extension": "12"}
ADDRESS = {"lines": ["1 Nowhere Road"], "city": "Exampleton", "state": "NY", "postal_code": "00001", "country": "USA"}

SMALLEST: dict[str, dict[str, Any]] = {
    "charge/v1": {
        "transaction_id": "4711",
        "patient": {"mrn": "100200"},
        "service_date": date(2026, 1, 31),
        "quantity": Decimal(1),
        "extended_amount": {"amount": Decimal("120.10"), "currency": "USD"},
        "department": "RAD-1",
    },
    "encounter/v1": {"visit_number": "V-88", "patient": {"mrn": "100200"}},
    "journal/v1": {
        "ledger": "GENERAL",
        "currency": "USD",
        "lines": [
            {"account": "120000", "side": "D", "amount": Decimal("120.10")},
            {"account": "400100", "side": "C", "amount": Decimal("120.10"), "cost_centre": "CC-RAD"},
        ],
    },
    "patient/v1": {
        "id": "100200",
        "identifiers": [{"value": "100200", "system": "GENERAL", "type": "MR"}],
        "name": [{"family": "Featherstonehaugh"}],
    },
}

FULL: dict[str, dict[str, Any]] = {
    "charge/v1": SMALLEST["charge/v1"]
    | {
        "id": "c-1",
        "batch_id": "B7",
        "type": "CG",
        "encounter": {"visit_number": "V-88", "patient_class": "O"},
        "account_number": "ACC-9",
        "service_end": "2026-02-01",
        "posted_at": "2026-02-01T08:00:00-05:00",
        "code": CODE,
        "description": "Chest X-ray, two views",
        "procedure": CODE,
        "modifiers": ["26", "TC"],
        "revenue_code": "0320",
        "unit_amount": {"amount": "120.1", "currency": "USD"},
        "unit_cost": {"amount": "40", "currency": "USD"},
        "ndc": {"code": "00000-0000-00", "quantity": "2.5", "unit": "mL"},
        "item": {"entity": "item", "identifier": {"value": "IMP-1"}, "display": "Screw", "id": "i-1"},
        "diagnoses": [{"code": "J18.9", "system": "I10"}],
        "cost_centre": "CC-RAD",
        "location": LOCATION,
        "performer": PROVIDER,
        "orderer": PROVIDER,
        "performing_facility": "GENERAL",
        "filler_order": "F-1",
        "prior_auth": "PA-1",
        "health_plan": {"code": "PLAN-A", "version": "2026", "original": "Plan A"},
        "fee_schedule": "FS1",
        "reverses": "4710",
        "gl": {"account": "400100", "status": "posted"},
        "claim": {"id": "cl-1"},
    },
    "encounter/v1": SMALLEST["encounter/v1"]
    | {
        "id": "e-1",
        "class": "I",
        "account_number": "ACC-9",
        "identifiers": [{"value": "ALT-1"}],
        "type": {"code": "SUR"},
        "status": "in-progress",
        "period": {"start": "2026-01-31T10:30:00-05:00", "end": None},
        "location": LOCATION | {"status": "O", "type": "N", "description": "Ward"},
        "prior_location": LOCATION,
        "attending": PROVIDER,
        "admitting": PROVIDER,
        "referring": PROVIDER,
        "consulting": [PROVIDER],
        "service": {"code": "CAR"},
        "admit": {"at": "2026-01-31T10:30:00-05:00", "type": {"code": "E"}, "source": {"code": "7"}},
        "discharge": {"at": None, "disposition": {"code": "01"}, "to": "HOME"},
        "financial_class": {"code": "MC"},
        "reason": {"display": "chest pain"},
        "diagnoses": [{"code": CODE, "type": "A", "rank": "1", "present_on_admission": "Y"}],
        "procedures": [{"code": CODE, "at": "2026-02", "modifiers": ["50"], "performer": PROVIDER}],
        "drg": {"code": "291"},
        "payers": [{"identifier": {"value": "P1"}}],
        "cost_centre": "CC-CAR",
        "occurred_at": "2026-01-31T10:31:00-05:00",
    },
    "journal/v1": SMALLEST["journal/v1"]
    | {
        "lines": [
            {
                "account": "120000",
                "side": "D",
                "amount": "120.1",
                "no": 1,
                "cost_centre": "CC",
                "department": "RAD-1",
                "location": "GENERAL",
                "intercompany": "200",
                "project": "P1",
                "payer_class": "MC",
                "party": "PARTY-1",
                "encounter_hash": "ab12",
                "memo": "charges",
            },
            {"account": "400100", "side": "C", "amount": "120.10", "no": "2"},
        ],
        "id": "4711",
        "company": "100",
        "accounting_date": "2026-01-31",
        "period": "2026-01",
        "source": "charges",
        "category": "revenue",
        "reference": "DFT 4711",
        "description": "Charges of the day",
        "total_dr": "120.10",
        "total_cr": "120.1",
        "reversal_of": "4700",
        "status": "draft",
        "erp_doc": "900001",
    },
    "patient/v1": SMALLEST["patient/v1"]
    | {
        "identifiers": [{"value": "100200", "system": "GENERAL", "type": "MR", "use": "usual", "facility": "F"}],
        "name": [NAME, {"text": "Ann the Elder"}],
        "birth_date": "1980-02",
        "sex": "female",
        "gender_identity": {"code": "F"},
        "addresses": [ADDRESS | {"county": "Example", "use": "home"}],
        "telecom": [TELECOM],
        "marital": {"code": "M"},
        "language": {"code": "en"},
        "race": [{"code": "2106-3"}],
        "ethnicity": [{"code": "N"}],
        "religion": {"code": "X"},
        "deceased": "true",
        "deceased_at": "2026-01-01",
        "account_number": "ACC-9",
        "mothers_maiden": {"family": "Worthing"},
        "contacts": [{"name": NAME, "relationship": CODE, "role": CODE, "phones": [TELECOM], "address": ADDRESS}],
        "guarantor": {"display": "self"},
        "coverages": [{"identifier": {"value": "M1"}}],
        "merged": [{"value": "100199"}],
        "merged_into": {"id": "100201"},
        "active": True,
        "confidentiality": {"code": "V"},
        "updated_at": "2026-01-31T10:30:00-05:00",
    },
}


def smallest(entity: str, **changes: Any) -> dict[str, Any]:
    """A fresh copy of the smallest valid payload, with fields set, or left out where the value is `...`."""
    payload = deepcopy(SMALLEST[entity]) | changes
    return {name: value for name, value in payload.items() if value is not ...}
