"""Real tasks in the language, on messages of our own: registration, merge, charges, journal, results, a message changed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest

from engine.contracts import Product
from engine.errors import MappingError
from engine.mapping import Library
from tests.unit.mapping.material import A40, ADT, DFT, FACTS, ORU, TABLES, MakeSite, hl7

PATIENT = """\
mapping: adt-to-patient
from: hl7v2
to: patient/v1
let:
  mrn: =first(PID-3[.5='MR'].1, PID-3.1)
set:
  id: =mrn | required
  identifiers: =PID-3[*] | identifier
  name: =PID-5[*] | name
  birth_date: =PID-7 | date
  sex: =PID-8 | code('sex')
  addresses: =PID-11[*] | address
  telecom: =PID-13[*] | phone('home')
  contacts:
    for_each: NK1
    set:
      name: =NK1-2 | name
      relationship: =NK1-3 | coded
      phones: =NK1-5[*] | phone
"""

MERGE = """\
mapping: a40-to-patient
from: hl7v2
to: patient/v1
action: merge
for_each: PID
set:
  id: =first(PID-3[.5='MR'].1, PID-3.1) | required
  merged:
    for_each: MRG-1
    set:
      value: =.1 | required
      system: =.4.1
"""

CHARGE = """\
mapping: dft-to-charge
from: hl7v2
to: charge/v1
for_each: FT1
action: =FT1-6 | code('charge-action')
let:
  sign: =-1 if FT1-6 == 'CR' else 1
set:
  transaction_id: =first(FT1-2, joined('|', MSH-10, FT1-1))
  patient: {mrn: =PID-3.1}
  service_date: =FT1-4 | date
  procedure: =first(FT1-25, PR1-3) | coded
  modifiers: =first(FT1-26[*], PR1-16[*])
  diagnoses: =first(FT1-19[*], DG1[*]-3) | coded
  quantity: =FT1-10 | decimal | default(1)
  extended_amount:
    amount: =first(FT1-11 | decimal, (FT1-10 | decimal) * (FT1-12 | decimal)) * sign
    currency: =FT1-11.1.2 | default('USD')
  department: =FT1-13.1 | required
  revenue_code: '0320'
"""

JOURNAL = """\
mapping: charge-to-journal
from: charge/v1[*]
to: journal/v1
for_each: charge
by: =charge.extended_amount.currency
set:
  ledger: GENERAL
  accounting_date: =message.received | date
  currency: =charge.extended_amount.currency
  lines:
    for_each: charge
    let:
      amount: =charge.extended_amount.amount
      gl: =code('gl', department=charge.department, revenue_code=charge.revenue_code)
    set:
      - account: "120000"
        side: ='D' if amount > 0 else 'C'
        amount: =amount | abs
      - account: =gl.account
        cost_centre: =gl.cost_centre
        side: ='C' if amount > 0 else 'D'
        amount: =amount | abs
check:
  debits equal credits: =(journal.lines[side='D'].amount | sum) == (journal.lines[side='C'].amount | sum)
"""

RESULT = """\
mapping: oru-to-result
from: hl7v2
to: json
for_each: OBR
set:
  filler: =OBR-3.1 | required
  code: =OBR-4 | coded
  notes: =NTE[*]-3 | join(' ')
  values:
    for_each: OBX
    by: =joined('|', OBX-3.1, OBX-4)
    when: =OBX-11 != 'X'
    set:
      code: =OBX-3 | coded
      value: =OBX[*]-5 | typed(OBX-2)
      unit: =OBX-6.1
      notes: =NTE[*]-3 | join(' ')
"""

FILES = {
    "adt-to-patient.yaml": PATIENT, "a40-to-patient.yaml": MERGE, "dft-to-charge.yaml": CHARGE,
    "charge-to-journal.yaml": JOURNAL, "oru-to-result.yaml": RESULT, **TABLES,
    "gl.csv": TABLES["gl.csv"] + "*,*,400000,CC-000\n",
    "charge-action.csv": "type,action\nCG,create\nCR,reverse\n",
}  # fmt: skip


@pytest.fixture
def library(site: MakeSite) -> Library:
    made = site(FILES)
    assert made.problems == ()
    return made


def products(library: Library, names: list[str], content: str) -> list[Product]:
    return library.chain(names, "hl7v2").apply(library.formats["hl7v2"].parse(hl7(content)), FACTS)


def payload(product: Product) -> Any:
    return orjson.loads(product.content)["payload"]


def test_registration_to_patient(library: Library) -> None:
    (product,) = products(library, ["adt-to-patient"], ADT)
    assert payload(product) == {
        "id": "100",
        "identifiers": [
            {"value": "700", "system": "STATE", "type": "SS"},
            {"value": "100", "system": "GENERAL", "type": "MR"},
        ],
        "name": [
            {"family": "Worthing", "given": ["Ann", "Q"], "suffix": "Jr", "prefix": "Dr", "use": "legal"},
            {"family": "Bracknell", "given": ["Ann"], "use": "maiden"},
        ],
        "birth_date": "1980-02-03",
        "sex": "female",
        "addresses": [
            {
                "lines": ["1 Nowhere Road", "Flat 2"], "city": "Exampleton", "state": "NY", "postal_code": "00001",
                "country": "USA", "use": "home",
            }
        ],
        "telecom": [
            {"system": "phone", "value": "+1 555 5550100", "use": "home"},
            {"system": "email", "value": "ann@example.org"},
        ],
        "contacts": [
            {
                "name": {"family": "Worthing", "given": ["John"]}, "relationship": {"code": "SPO", "display": "Spouse"},
                "phones": [{"system": "phone", "value": "555 5550101", "use": "home"}],
            },
            {"name": {"family": "Prism", "given": ["Lane"]}, "relationship": {"code": "FND", "display": "Friend"}},
        ],
    }  # fmt: skip


def test_two_merges_of_one_message(library: Library) -> None:
    first, second = products(library, ["a40-to-patient"], A40)
    assert [product.action for product in (first, second)] == ["merge", "merge"]
    assert payload(first) == {"id": "100", "merged": [{"value": "99", "system": "GENERAL"}, {"value": "98", "system": "GENERAL"}]}
    assert payload(second) == {"id": "200", "merged": [{"value": "199"}]}


def test_charges_and_a_credit(library: Library) -> None:
    charge, credit = products(library, ["dft-to-charge"], DFT)
    assert (charge.action, credit.action) == ("create", "reverse")
    assert payload(charge)["procedure"] == {"code": "71046", "display": "Chest X-ray", "system": "CPT"}
    assert payload(charge)["modifiers"] == ["26", "TC"]
    assert payload(charge)["diagnoses"] == [{"code": "I20.9", "display": "Angina", "system": "I10"}]
    assert payload(charge)["extended_amount"] == {"amount": "100.00", "currency": "USD"}
    assert payload(credit)["extended_amount"] == {"amount": "20.50", "currency": "USD"}
    assert "procedure" not in payload(credit)


def test_a_zero_amount_is_an_amount(library: Library) -> None:
    charge = products(library, ["dft-to-charge"], DFT.replace("|100&USD|50.00", "|0&USD|50.00"))[0]
    assert payload(charge)["extended_amount"]["amount"] == "0.00"


def test_no_amount_falls_to_quantity_times_price(library: Library) -> None:
    charge = products(library, ["dft-to-charge"], DFT.replace("|2|100&USD|50.00", "|3||50.25"))[0]
    assert payload(charge)["extended_amount"] == {"amount": "150.75", "currency": "USD"}


def test_charges_become_one_balanced_journal_for_each_currency(library: Library) -> None:
    content = (
        DFT.replace("-20.5&USD", "20.5&USD") + DFT.strip().split("\n")[5].replace("T2", "T3").replace("-20.5&USD", "9&EUR") + "\n"
    )
    journals = [payload(product) for product in products(library, ["dft-to-charge", "charge-to-journal"], content)]
    assert [(journal["currency"], journal["total_dr"]) for journal in journals] == [("USD", "120.50"), ("EUR", "9.00")]
    lines = [(line["account"], line["side"], line["amount"]) for line in journals[0]["lines"]]
    assert lines == [("120000", "D", "100.00"), ("400100", "C", "100.00"), ("120000", "C", "20.50"), ("400000", "D", "20.50")]
    assert journals[0]["lines"][1]["cost_centre"] == "CC-RAD"
    assert journals[0]["accounting_date"] == "2026-01-01"


def test_a_chain_names_its_steps_and_parks_in_the_step_at_fault(library: Library) -> None:
    chain = library.chain(["dft-to-charge", "charge-to-journal"], "hl7v2")
    assert chain.name == "dft-to-charge, charge-to-journal"
    with pytest.raises(MappingError, match=r"^dft-to-charge charge.department: FT1\[2\]-13.1 is required"):
        products(library, ["dft-to-charge", "charge-to-journal"], DFT.replace("LAB-1", ""))


def test_results_with_notes_where_they_belong(library: Library) -> None:
    first, second = (product.value for product in products(library, ["oru-to-result"], ORU))
    assert (first["filler"], first["notes"], second["filler"]) == ("F-1", "first order", "F-2")
    assert "notes" not in second
    by_code = {value["code"]["code"]: value for value in first["values"]}
    assert by_code["NA"]["value"] == Decimal(141)
    assert by_code["NA"]["notes"] == "about sodium"
    assert by_code["TXT"]["value"] == "line one\nline two"
    assert by_code["COD"]["value"] == {"code": "A", "display": "Alpha", "system": "L"}
    assert "notes" not in by_code["TXT"]


def test_a_value_that_is_no_number_parks_with_its_place(library: Library) -> None:
    with pytest.raises(MappingError, match=r"^oru-to-result values.value: OBX\[\d\]-5 'abc' is not a number"):
        products(library, ["oru-to-result"], ORU.replace("||141|", "||abc|"))
