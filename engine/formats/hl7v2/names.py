"""The standard's names for what a message holds, and its tree for people.

Names of fields and components come from hl7apy's tables of the message's version (imported when first asked for); what
is unknown there, such as Z segments, shows its path instead.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from engine.contracts import Node
from engine.formats.hl7v2 import select
from engine.formats.hl7v2.structure import Segment, nearest
from engine.formats.hl7v2.syntax import Syntax
from engine.formats.hl7v2.values import HEADERS, NULL_TEXT

if TYPE_CHECKING:
    from engine.formats.hl7v2.document import Hl7Message

VERSIONS: Final = ("2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.1", "2.8.2")
MOST_TEXT: Final = 1000  # characters of one value that the tree shows

SEGMENTS: Final = {
    "ABS": "Abstract", "ACC": "Accident", "ADD": "Addendum", "AFF": "Professional Affiliation",
    "AIG": "Appointment Information - General Resource",
    "AIL": "Appointment Information - Location Resource", "AIP": "Appointment Information - Personnel Resource",
    "AIS": "Appointment Information - Service", "AL1": "Patient Allergy Information", "APR": "Appointment Preferences",
    "ARQ": "Appointment Request", "ARV": "Access Restriction", "AUT": "Authorization Information", "BHS": "Batch Header",
    "BLC": "Blood Code", "BLG": "Billing", "BPO": "Blood Product Order", "BPX": "Blood Product Dispense Status",
    "BTS": "Batch Trailer", "BTX": "Blood Product Transfusion/Disposition", "CDM": "Charge Description Master",
    "CER": "Certificate Detail", "CM0": "Clinical Study Master", "CM1": "Clinical Study Phase Master",
    "CM2": "Clinical Study Schedule Master", "CNS": "Clear Notification", "CON": "Consent", "CSP": "Clinical Study Phase",
    "CSR": "Clinical Study Registration", "CSS": "Clinical Study Data Schedule", "CTD": "Contact Data",
    "CTI": "Clinical Trial Identification", "DB1": "Disability", "DG1": "Diagnosis", "DRG": "Diagnosis Related Group",
    "DSC": "Continuation Pointer", "DSP": "Display Data", "ECD": "Equipment Command", "ECR": "Equipment Command Response",
    "EDU": "Educational Detail", "EQP": "Equipment/Log Service", "EQU": "Equipment Detail", "ERR": "Error", "EVN": "Event Type",
    "FAC": "Facility", "FHS": "File Header", "FT1": "Financial Transaction", "FTS": "File Trailer", "GOL": "Goal Detail",
    "GP1": "Grouping/Reimbursement - Visit", "GP2": "Grouping/Reimbursement - Procedure Line Item", "GT1": "Guarantor",
    "IAM": "Patient Adverse Reaction Information", "IIM": "Inventory Item Master", "IN1": "Insurance",
    "IN2": "Insurance Additional Information", "IN3": "Insurance Additional Information, Certification",
    "INV": "Inventory Detail", "IPC": "Imaging Procedure Control", "ISD": "Interaction Status Detail", "ITM": "Material Item",
    "IVC": "Invoice", "LAN": "Language Detail", "LCC": "Location Charge Code", "LCH": "Location Characteristic",
    "LDP": "Location Department", "LOC": "Location Identification", "LRL": "Location Relationship",
    "MFA": "Master File Acknowledgment", "MFE": "Master File Entry", "MFI": "Master File Identification",
    "MRG": "Merge Patient Information", "MSA": "Message Acknowledgment", "MSH": "Message Header", "NCK": "System Clock",
    "NDS": "Notification Detail", "NK1": "Next of Kin / Associated Parties",
    "NPU": "Bed Status Update", "NSC": "Application Status Change",
    "NST": "Application Control Level Statistics", "NTE": "Notes and Comments", "OBR": "Observation Request",
    "OBX": "Observation/Result", "ODS": "Dietary Orders, Supplements and Preferences", "ODT": "Diet Tray Instructions",
    "OM1": "General Segment", "ORC": "Common Order", "ORG": "Practitioner Organization Unit",
    "PCR": "Possible Causal Relationship",
    "PD1": "Patient Additional Demographic", "PDA": "Patient Death and Autopsy", "PEO": "Product Experience Observation",
    "PES": "Product Experience Sender", "PID": "Patient Identification", "PR1": "Procedures", "PRA": "Practitioner Detail",
    "PRB": "Problem Details", "PRC": "Pricing", "PRD": "Provider Data", "PRT": "Participation Information", "PTH": "Pathway",
    "PV1": "Patient Visit", "PV2": "Patient Visit - Additional Information", "QAK": "Query Acknowledgment",
    "QID": "Query Identification", "QPD": "Query Parameter Definition", "QRD": "Original-Style Query Definition",
    "QRF": "Original Style Query Filter", "QRI": "Query Response Instance", "RCP": "Response Control Parameter",
    "RDF": "Table Row Definition", "RDT": "Table Row Data", "REL": "Clinical Relationship", "RF1": "Referral Information",
    "RGS": "Resource Group", "RMI": "Risk Management Incident", "ROL": "Role", "RQ1": "Requisition Detail - 1",
    "RQD": "Requisition Detail", "RXA": "Pharmacy/Treatment Administration", "RXC": "Pharmacy/Treatment Component Order",
    "RXD": "Pharmacy/Treatment Dispense", "RXE": "Pharmacy/Treatment Encoded Order", "RXG": "Pharmacy/Treatment Give",
    "RXO": "Pharmacy/Treatment Order", "RXR": "Pharmacy/Treatment Route", "SAC": "Specimen Container Detail",
    "SCH": "Scheduling Activity Information", "SFT": "Software", "SID": "Substance Identifier", "SPM": "Specimen",
    "STF": "Staff Identification", "TCC": "Test Code Configuration", "TCD": "Test Code Detail", "TQ1": "Timing/Quantity",
    "TQ2": "Timing/Quantity Relationship", "TXA": "Transcription Document Header", "UAC": "User Authentication Credential",
    "UB1": "UB82", "UB2": "UB92 Data", "URD": "Results/Update Definition", "URS": "Unsolicited Selection",
    "VAR": "Variance", "VTQ": "Virtual Table Query Request",
}  # fmt: skip
"""Segment names of the standard; hl7apy has none."""

_SMALL = {"and", "of", "or", "the", "for", "to", "in", "by", "with", "a", "at", "on"}
_CAPITAL = {"Id": "ID", "Pid": "PID", "Ssn": "SSN", "Mrn": "MRN", "Nk1": "NK1", "Dea": "DEA", "Icd": "ICD", "Drg": "DRG"}


def known_version(version: str) -> str:
    """The version whose tables are used: its own, the one before it, or 2.5.1 where it is no version at all."""
    return nearest(version, list(VERSIONS))[0]


@lru_cache(16)
def tables_of(version: str) -> Any:
    """hl7apy's module of a version that `known_version` gave."""
    return importlib.import_module("hl7apy.v" + version.replace(".", "_"))


@lru_cache(1024)
def table_values(version: str, number: str) -> frozenset[str]:
    """The values of an HL7 table, by its four digits; none where it is open. Before 2.3.1 there are none but that one's."""
    tables = getattr(tables_of(version), "TABLES", None) or tables_of("2.3.1").TABLES
    return frozenset(map(str, tables.get(f"HL7{number}", ("", ()))[1]))


@lru_cache(4096)
def field_facts(version: str, kind: str, field: int) -> tuple[str, str]:
    """(name, data type) of a field; ('', '') where the version does not have it."""
    return _facts(tables_of(version).FIELDS.get(f"{kind}_{field}"))


@lru_cache(4096)
def component_facts(version: str, data_type: str, component: int) -> tuple[str, str]:
    """(name, data type) of a component."""
    structures = tables_of(version).DATATYPES_STRUCTS.get(data_type) or ()
    return _facts(structures[component - 1][1]) if 0 < component <= len(structures) else ("", "")


def _facts(reference: Any) -> tuple[str, str]:
    if reference is None:
        return "", ""
    return _spoken(reference[3] or ""), reference[2] or ""


def _spoken(constant: str) -> str:
    """`DATE_TIME_OF_BIRTH` as `Date Time of Birth`."""
    words = [word.capitalize() for word in constant.split("_") if word]
    words = [word.lower() if n and word.lower() in _SMALL else _CAPITAL.get(word, word) for n, word in enumerate(words)]
    return " ".join(words)


def nodes(message: Hl7Message, segments: list[Segment]) -> Iterator[Node]:
    """The tree of `segments`, in order. Empty parts are left out; values are unescaped and cut at `MOST_TEXT`."""
    version = known_version(str(message["MSH-12.1"]))
    for segment in segments:
        where = message.ordinal(segment)
        kind = where[:3]
        children = tuple(_fields(message, segment, where, kind, version))
        yield Node(where, SEGMENTS.get(kind, kind), "", children)


def _fields(message: Hl7Message, segment: Segment, where: str, kind: str, version: str) -> Iterator[Node]:
    syntax = message.syntax
    pieces = select.pieces_of(segment, syntax)
    shift = 1 if kind in HEADERS else 0
    if shift:
        yield Node(f"{where}-1", "Field Separator", syntax.field)
        yield Node(f"{where}-2", "Encoding Characters", syntax.declared)
    for field in range(1 + 2 * shift, len(pieces) + shift):
        raw = pieces[field - shift]
        if not raw:
            continue
        name, data_type = field_facts(version, kind, field)
        if kind == "OBX" and field == 5:
            data_type = select.field_text(segment, 2, syntax)
        raws = raw.split(syntax.repetition)
        for number, each in enumerate(raws, 1):
            path = f"{where}-{field}[{number}]" if len(raws) > 1 else f"{where}-{field}"
            yield _part(each, path, name or path, data_type, version, syntax, syntax.component)


def _part(raw: str, path: str, name: str, data_type: str, version: str, syntax: Syntax, mark: str) -> Node:
    """A repetition (cut by the component separator) or a component (by the subcomponent separator)."""
    pieces = raw.split(mark)
    inner = syntax.subcomponent
    if len(pieces) == 1 and (mark == inner or inner not in raw):
        return Node(path, name, raw if raw == NULL_TEXT else syntax.unescape(raw[:MOST_TEXT]))
    children: list[Node] = []
    for number, each in enumerate(pieces, 1):
        if not each:
            continue
        below, its_type = component_facts(version, data_type, number)
        at = f"{path}.{number}"
        if mark == inner:
            children.append(Node(at, below or at, each if each == NULL_TEXT else syntax.unescape(each[:MOST_TEXT])))
        else:
            children.append(_part(each, at, below or at, its_type, version, syntax, inner))
    return Node(path, name, "", tuple(children))
