"""Journal: a balanced posting to the general ledger. Append-only: corrected by a reversal, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired, Required

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from engine.canonical.entity import Keys, SchemaEntity, fingerprint
from engine.canonical.money import at_scale, fault, unit_of
from engine.canonical.types import Currency, Date, Id, ListOf, Number, Text, strict
from engine.contracts import Facts


@strict
class Line(TypedDict):
    """One side of the posting on one account."""

    account: Required[Id]
    """Account in the ledger's chart."""
    side: Required[Literal["D", "C"]]
    """D debit, C credit."""
    amount: Required[Number]
    """In the journal's currency, never negative: the side says the direction."""
    no: NotRequired[int | None]
    """Line number, where the ledger wants one."""
    cost_centre: NotRequired[Text | None]
    """Cost centre."""
    department: NotRequired[Text | None]
    """Department."""
    location: NotRequired[Text | None]
    """Location."""
    intercompany: NotRequired[Text | None]
    """The other company, for postings between companies."""
    project: NotRequired[Text | None]
    """Project."""
    payer_class: NotRequired[Text | None]
    """Class of payer."""
    party: NotRequired[Text | None]
    """Customer or supplier of a subledger."""
    encounter_hash: NotRequired[Text | None]
    """A one-way link to the encounter, so that the ledger holds no patient data."""
    memo: NotRequired[Text | None]
    """Text of the line; no patient data belongs here."""


@strict
class Journal(TypedDict):
    """A balanced posting to the general ledger."""

    ledger: Required[Id]
    """The ledger it is posted to."""
    currency: Required[Currency]
    """ISO 4217; every line is in it."""
    lines: Required[Annotated[ListOf[Line], Field(min_length=2)]]
    """Debits and credits; their sums are equal."""
    id: NotRequired[Id | None]
    """The source documents it stands for: the same whenever they are posted again."""
    company: NotRequired[Text | None]
    """Company or legal entity."""
    accounting_date: NotRequired[Date | None]
    """The day it counts for; the period follows from it."""
    period: NotRequired[Text | None]
    """Accounting period, where the source names it: 2026-01."""
    source: NotRequired[Text | None]
    """Where it comes from: charges, payments, payroll …"""
    category: NotRequired[Text | None]
    """Category of the journal in the ledger."""
    reference: NotRequired[Text | None]
    """Reference for people who trace it."""
    description: NotRequired[Text | None]
    """What it is, in words."""
    total_dr: NotRequired[Number]
    """Sum of the debits; filled in when it is not given."""
    total_cr: NotRequired[Number]
    """Sum of the credits; filled in when it is not given. Always equal to the debits."""
    reversal_of: NotRequired[Text | None]
    """The journal that this one takes back."""
    status: NotRequired[Literal["draft", "posted", "failed"] | None]
    """Where it stands in the ledger."""
    erp_doc: NotRequired[Text | None]
    """Document number the ledger gave."""


def _balanced(journal: Any) -> Any:
    unit = unit_of(journal["currency"])
    totals = {"D": Decimal(0), "C": Decimal(0)}
    for number, line in enumerate(journal["lines"], 1):
        amount = line["amount"] = at_scale(line["amount"], unit)
        if amount < 0:
            raise fault("lines[{no}].amount is negative; turn its side instead", no=number)
        totals[line["side"]] += amount
    debits, credits_ = at_scale(totals["D"], unit), at_scale(totals["C"], unit)
    if debits != credits_:
        raise fault("debits are {dr}, credits {cr}", dr=str(debits), cr=str(credits_))
    for name, total in (("total_dr", debits), ("total_cr", credits_)):
        if journal.setdefault(name, total) != total:
            raise fault("{name} is not the sum of its lines, {sum}", name=name, sum=str(total))
        journal[name] = total
    return journal


def _keys(payload: Mapping[str, Any], facts: Facts) -> Keys:
    when = payload.get("accounting_date")
    period = payload.get("period") or (f"{when:%Y-%m}" if when else "")
    company = payload.get("company") or ""
    key = payload.get("id") or payload.get("reference") or ""
    return Keys(
        business_key=[payload["ledger"], company, key, payload["currency"], str(when or "")],
        business_version="" if key else fingerprint(payload, facts),
        ordering_key=f"ledger:{payload['ledger']}|{company}|{period}",
        effective_at=when or "",
    )


ENTITY = SchemaEntity(
    "journal", "v1", Annotated[Journal, AfterValidator(_balanced)], _keys, classification="financial", action="create"
)
