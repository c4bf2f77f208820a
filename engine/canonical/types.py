"""The shared types of the canonical entities.

They are typed dicts: what a mapping sets is what is kept, a field that was never sent is absent, and an explicit `null`
("delete what you have", HL7 v2.5.1 §2.5.3) is kept apart from absent. Decimals travel in JSON as text.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, NotRequired, Required, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, PlainValidator, Strict, WithJsonSchema, with_config
from typing_extensions import TypedDict

from engine.canonical.money import UNITS, at_scale, decimal, fault, unit_of

CONFIG: Final = ConfigDict(extra="forbid", coerce_numbers_to_str=True, use_attribute_docstrings=True)
strict: Final = with_config(CONFIG)
"""Every canonical type refuses fields it does not know; the docstrings of its fields are their reference text."""

_PARTIAL: Final = re.compile(r"[0-9]{4}(?:-(?:0[1-9]|1[0-2]))?")
_DATE: Final = re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}")


def _date(value: object) -> date:
    if type(value) is date:
        return value
    if isinstance(value, datetime):
        raise fault("expected a date without a time; convert it with | date")
    if isinstance(value, str) and _DATE.fullmatch(text := value.strip()):
        try:
            return date.fromisoformat(text)
        except ValueError as error:
            raise fault("expected a date: {why}", why=str(error)) from None
    raise fault("expected a date such as 2026-01-31")


def _partial_date(value: object) -> date | str:
    if isinstance(value, str) and _PARTIAL.fullmatch(text := value.strip()):
        return str(text)
    return _date(value)


def _when(value: object) -> date | datetime | str:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str) and len(value) > 10:
        try:
            return datetime.fromisoformat(value.strip())
        except ValueError:
            raise fault("expected a time such as 2026-01-31T10:30:00+01:00") from None
    return _partial_date(value)


def _money(value: Any) -> Any:
    value["amount"] = at_scale(value["amount"], unit_of(value["currency"]))
    return value


_PATTERN: Final = r"^-?[0-9]+(\.[0-9]+)?$"
_CALENDAR: Final = {"type": "string", "format": "date"}
_YEAR_MONTH: Final = {"type": "string", "pattern": r"^[0-9]{4}(-(0[1-9]|1[0-2]))?$"}

Item = TypeVar("Item")
ListOf = Annotated[list[Item], Strict()]
"""A list and nothing that merely can be walked through."""
Text = str
"""Text as it was sent."""
Id = Annotated[str, Field(min_length=1, max_length=250)]
"""Text that names something: never empty."""
Number = Annotated[Decimal, PlainValidator(decimal), WithJsonSchema({"type": "string", "pattern": _PATTERN})]
"""An exact decimal; in JSON it is text, so that no reader rounds it."""
Currency = Annotated[str, WithJsonSchema({"type": "string", "enum": sorted(UNITS)})]
"""ISO 4217, three capital letters."""
Date = Annotated[date, PlainValidator(_date), WithJsonSchema(_CALENDAR)]
"""A calendar date without time or zone."""
PartialDate = Annotated[date | str, PlainValidator(_partial_date), WithJsonSchema({"anyOf": [_CALENDAR, _YEAR_MONTH]})]
"""A calendar date, or only its year and month, or only its year: as exact as it was sent."""
When = Annotated[
    date | datetime | str,
    PlainValidator(_when),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, _CALENDAR, _YEAR_MONTH]}),
]
"""An instant with its offset, or a date where no time was sent: a date never becomes midnight."""


@strict
class Amount(TypedDict):
    """An amount of money."""

    amount: Required[Number]
    """Signed, with at least the decimals its currency has; never rounded."""
    currency: Required[Currency]
    """ISO 4217."""


Money = Annotated[Amount, AfterValidator(_money)]


@strict
class Identifier(TypedDict):
    """A name that some system gives to a person or thing. Two are the same when system and value are."""

    value: Required[Id]
    """The identifier itself."""
    system: NotRequired[Text | None]
    """Who assigned it: assigning authority, OID or URI."""
    type: NotRequired[Text | None]
    """What kind it is: MR, VN, AN, NPI, SS … (HL7 table 0203)."""
    use: NotRequired[Text | None]
    """usual, official, temp, secondary, old."""
    facility: NotRequired[Text | None]
    """The facility that assigned it, where it differs from the authority."""


@strict
class Code(TypedDict):
    """A coded value, with the source's own triplet kept."""

    code: NotRequired[Text | None]
    """The code."""
    display: NotRequired[Text | None]
    """Its text as the source sent it."""
    system: NotRequired[Text | None]
    """The coding system: CPT, LN, I10, L …"""
    version: NotRequired[Text | None]
    """Version of the coding system."""
    original: NotRequired[Text | None]
    """The words a person typed, where the code was derived from them."""


@strict
class Quantity(TypedDict):
    """A measured quantity."""

    value: Required[Number]
    """How much."""
    unit: NotRequired[Text | None]
    """UCUM, or UN/ECE recommendation 20 for goods."""


@strict
class HumanName(TypedDict):
    """A person's name."""

    family: NotRequired[Text | None]
    """Family name."""
    given: NotRequired[ListOf[Text] | None]
    """Given names, in order."""
    prefix: NotRequired[Text | None]
    """Title: Dr, Ms."""
    suffix: NotRequired[Text | None]
    """Jr, III, PhD."""
    use: NotRequired[Text | None]
    """legal, maiden, nickname …"""
    text: NotRequired[Text | None]
    """The whole name, where it was sent in one piece."""


@strict
class Address(TypedDict):
    """A postal address."""

    lines: NotRequired[ListOf[Text] | None]
    """Street and everything above the town, in order."""
    city: NotRequired[Text | None]
    """Town."""
    state: NotRequired[Text | None]
    """State, province or canton."""
    postal_code: NotRequired[Text | None]
    """Post code."""
    country: NotRequired[Text | None]
    """ISO 3166 where the source uses it."""
    county: NotRequired[Text | None]
    """County or parish."""
    use: NotRequired[Text | None]
    """home, work, billing …"""


@strict
class Telecom(TypedDict):
    """A way to reach someone."""

    value: NotRequired[Text | None]
    """The number or address as it is dialled or written."""
    system: NotRequired[Text | None]
    """phone, fax, email, pager, sms, url."""
    use: NotRequired[Text | None]
    """home, work, mobile …"""
    extension: NotRequired[Text | None]
    """Extension within a switchboard."""


@strict
class Period(TypedDict):
    """From and until; either end may be open."""

    start: NotRequired[When | None]
    """When it began."""
    end: NotRequired[When | None]
    """When it ended."""


@strict
class Location(TypedDict):
    """A place in a facility, from the whole to the bed."""

    point_of_care: NotRequired[Text | None]
    """Ward, clinic or department."""
    room: NotRequired[Text | None]
    """Room."""
    bed: NotRequired[Text | None]
    """Bed."""
    facility: NotRequired[Text | None]
    """Facility."""
    building: NotRequired[Text | None]
    """Building."""
    floor: NotRequired[Text | None]
    """Floor."""
    status: NotRequired[Text | None]
    """Status of the bed."""
    type: NotRequired[Text | None]
    """Kind of place."""
    description: NotRequired[Text | None]
    """The place in words."""


@strict
class Provider(TypedDict):
    """A person or organisation that gives care."""

    identifier: NotRequired[Identifier | None]
    """Staff number or NPI."""
    name: NotRequired[HumanName | None]
    """Name."""


@strict
class Ref(TypedDict):
    """A reference to another entity."""

    entity: NotRequired[Text | None]
    """What it refers to: patient, encounter, item …"""
    id: NotRequired[Text | None]
    """Its canonical id, where it is known."""
    identifier: NotRequired[Identifier | None]
    """An identifier to find it by."""
    display: NotRequired[Text | None]
    """Words for people."""


@strict
class PatientRef(TypedDict):
    """The patient something belongs to."""

    mrn: Required[Id]
    """Medical record number, as the billing side knows it."""
    system: NotRequired[Text | None]
    """Who assigned the number."""
    name: NotRequired[HumanName | None]
    """Name, for people who compare."""
    birth_date: NotRequired[PartialDate | None]
    """Date of birth."""
    sex: NotRequired[Text | None]
    """As in patient/v1."""
    identifiers: NotRequired[ListOf[Identifier] | None]
    """Every identifier that was sent."""


@strict
class Diagnosis(TypedDict):
    """A diagnosis of an encounter."""

    code: Required[Code]
    """The diagnosis."""
    type: NotRequired[Text | None]
    """A admitting, W working, F final (HL7 table 0052)."""
    rank: NotRequired[int | None]
    """1 is the principal one."""
    present_on_admission: NotRequired[Text | None]
    """Y, N, U or W (HL7 table 0895)."""


@strict
class Procedure(TypedDict):
    """A procedure of an encounter."""

    code: Required[Code]
    """The procedure."""
    at: NotRequired[When | None]
    """When it was done."""
    modifiers: NotRequired[ListOf[Text] | None]
    """Modifiers, in order."""
    performer: NotRequired[Provider | None]
    """Who did it."""
