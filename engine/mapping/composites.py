"""HL7 v2 data types → the canonical shapes: CX, XPN, XCN, XAD, XTN, CWE, PL as dicts with the fields of the canonical model.

Field numbers are those of HL7 v2.5.1 chapter 2A. A plain text is its own first component. What was not sent is absent.
An object that already has named fields (canonical, JSON) passes unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from engine.mapping.faults import Refused
from engine.mapping.operators import kind
from engine.values import EMPTY, NULL, Composite, Value, component

_NAME_USES: Final = {
    "L": "legal",
    "M": "maiden",
    "N": "nickname",
    "A": "alias",
    "D": "usual",
    "B": "birth",
    "P": "partner",
    "T": "temp",
}
_ADDRESS_USES: Final = {
    "H": "home",
    "B": "work",
    "O": "work",
    "M": "mailing",
    "C": "temp",
    "BI": "billing",
    "P": "permanent",
    "L": "legal",
}
_PHONE_USES: Final = {
    "PRN": "home",
    "ORN": "home",
    "VHN": "temp",
    "WPN": "work",
    "PRS": "mobile",
    "EMR": "emergency",
    "BPN": "pager",
}
_EQUIPMENT: Final = {
    "PH": "phone",
    "CP": "phone",
    "FX": "fax",
    "BP": "pager",
    "INTERNET": "email",
    "X.400": "email",
    "SAT": "phone",
}
_OID = re.compile(r"\d+(?:\.\d+)+")

Shape = Callable[[Value], Value]
_LEAVES: Final = "of_leaves"


def _fields(**fields: Any) -> Value:
    """An object of what is there; EMPTY where nothing is."""
    return {name: value for name, value in fields.items() if value} or EMPTY


class _Parts:
    """The components of one value as texts, read once. `parts[5]` is `''` where nothing or an explicit null was sent."""

    __slots__ = ("leaves", "value", "width")

    def __init__(self, value: str) -> None:
        self.value = value
        self.leaves = value.leaves() if isinstance(value, Composite) else [value]
        self.width = len(self.leaves)

    def __getitem__(self, number: int) -> str:
        return self.leaves[number - 1] if number <= self.width else ""

    def sub(self, number: int, sub: int) -> str:
        if number > self.width:
            return ""
        found = component(self.value, number, sub)
        return "" if found is NULL else str(found)

    def authority(self, number: int) -> str:
        """HD: namespace id, else universal id."""
        return self[number] or self.sub(number, 2)


def _shape(convert: Callable[[_Parts], Value], noun: str) -> Shape:
    def run(value: Value) -> Value:
        if isinstance(value, str):
            return convert(_Parts(value))
        if isinstance(value, dict):
            return value
        raise Refused(f"is {kind(value)} and cannot be read as {noun}")

    return run


def _leafy(convert: Callable[[list[str]], Value], noun: str) -> Shape:
    """A converter that needs only the first leaf of each component, so that it can do without the composite itself."""

    def run(value: Value) -> Value:
        if isinstance(value, str):
            return convert(value.leaves() if isinstance(value, Composite) else [value])
        if isinstance(value, dict):
            return value
        raise Refused(f"is {kind(value)} and cannot be read as {noun}")

    run.__dict__[_LEAVES] = convert
    return run


def of_leaves(shape: Callable[..., Value]) -> Callable[[list[str]], Value] | None:
    """The same converter for the first leaf of each component, where that is all it needs. What it gives has no empty
    parts."""
    found: Callable[[list[str]], Value] | None = getattr(shape, _LEAVES, None)
    return found


def _padded(leaves: list[str], count: int) -> list[str]:
    """The first `count` components."""
    width = len(leaves)
    return leaves[:count] if width >= count else leaves + [""] * (count - width)


def _is_person(leaves: list[str]) -> bool:
    """XCN (id, family, given …) rather than CX (id, check digit, scheme, authority) or EI (id, namespace, OID)."""
    if len(leaves) < 3:
        return False
    family, given = leaves[1], leaves[2]
    if not family or not given or not (family.isalpha() or any(map(str.isalpha, family))):
        return False
    return given.isalpha() or not _OID.fullmatch(given)


def _identifier(parts: _Parts) -> Value:
    number = parts[1]
    if not number:
        return EMPTY
    if _is_person(parts.leaves):
        return _fields(value=number, system=parts.authority(9), type=parts[13], facility=parts.authority(14))
    if _OID.fullmatch(parts[3]):  # EI
        return _fields(value=number, system=parts[2] or parts[3])
    return _fields(value=number, system=parts.authority(4), type=parts[5], facility=parts.authority(6))


def _name(leaves: list[str]) -> Value:
    first = leaves[0] if leaves else ""
    if not first.isalpha() and (not first or any(map(str.isdigit, first))) and _is_person(leaves):
        _, family, given, middle, suffix, prefix, _, _, _, use = _padded(leaves, 10)
    else:
        family, given, middle, suffix, prefix, _, use = _padded(leaves, 7)
    named: dict[str, Any] = {"family": family} if family else {}
    if given or middle:
        named["given"] = [given, middle] if given and middle else [given or middle]
    if suffix:
        named["suffix"] = suffix
    if prefix:
        named["prefix"] = prefix
    if named and use:
        named["use"] = _NAME_USES.get(use, use.lower())
    return named or EMPTY


def _address(parts: _Parts) -> Value:
    street = parts[1] or " ".join(part for part in (parts.sub(1, 3), parts.sub(1, 2)) if part)
    place = _fields(
        lines=[line for line in (street, parts[2]) if line],
        city=parts[3],
        state=parts[4],
        postal_code=parts[5],
        country=parts[6],
        county=parts[9],
    )
    use = parts[7]
    if place is not EMPTY and use:
        place["use"] = _ADDRESS_USES.get(use, use.lower())
    return place


def _dialled(parts: _Parts) -> str:
    """XTN.12 as typed, or the number put together from its parts, or XTN.1 as before v2.3."""
    country, area, local = parts[5], parts[6], parts[7]
    if local:
        return " ".join(part for part in (f"+{country.lstrip('+')}" if country else "", area, local) if part)
    return parts[12] or parts[1]


def phone(use: str = "") -> Shape:
    """A converter for XTN; `use` is what to say where the sender does not."""

    def convert(parts: _Parts) -> Value:
        said, equipment, mail = parts[2], parts[3].upper(), parts[4]
        number = _dialled(parts)
        system = "email" if said == "NET" or (mail and not number) else _EQUIPMENT.get(equipment, "phone")
        if system == "email":
            number = mail or number
        if not number:
            return EMPTY
        known = "" if system == "email" else "mobile" if equipment == "CP" else _PHONE_USES.get(said, use)
        return _fields(system=system, value=number, use=known, extension=parts[8])

    return _shape(convert, "a telephone number")


def _coded(leaves: list[str]) -> Value:
    """CWE: the first triplet, or the alternate one where only that was sent."""
    if len(leaves) == 3 and leaves[0]:  # the commonest
        code, display, system = leaves
        version = original = ""
    else:
        code, display, system, other, its_display, its_system, version, its_version, original = _padded(leaves, 9)
        if other and not code:
            code, display, system, version = other, its_display, its_system, its_version
    made = {"code": code} if code else {}
    if display:
        made["display"] = display
    if system:
        made["system"] = system
    if version:
        made["version"] = version
    if original:
        made["original"] = original
    return made or EMPTY


def _location(parts: _Parts) -> Value:
    return _fields(
        point_of_care=parts[1],
        room=parts[2],
        bed=parts[3],
        facility=parts.authority(4),
        status=parts[5],
        type=parts[6],
        building=parts[7],
        floor=parts[8],
        description=parts[9],
    )


identifier: Final = _shape(_identifier, "an identifier")
name: Final = _leafy(_name, "a name")
address: Final = _shape(_address, "an address")
coded: Final = _leafy(_coded, "a code")
location: Final = _shape(_location, "a location")
