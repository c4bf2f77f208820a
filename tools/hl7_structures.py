"""Writes engine/formats/hl7v2/structures.json: which segments and groups each HL7 v2 message has, and in what order.

    python tools/hl7_structures.py

The facts (segment order, optionality, repetition, grouping) are those of the HL7 v2 standard as tabulated by the hl7apy
package (MIT); which event uses which structure is HL7 table 0354. Run it again when hl7apy gains a version.

The file: `texts`, each structure written as `MSH EVN (PATIENT+ PID PD1? MRG PV1?)` (`?` optional, `*` optional and
repeating, `+` repeating, `OBR|RQD` a choice, a group in parentheses with its name first), `versions`: version →
structure → index in `texts`, `events`: message type and event → structure, where the two differ, and `types`: message
type → structure, for unknown events.
"""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

VERSIONS = ("2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.1", "2.8.2")
TARGET = Path(__file__).resolve().parents[1] / "engine/formats/hl7v2/structures.json"
MARKS = {(0, 1): "?", (1, 1): "", (0, -1): "*", (1, -1): "+"}

SAME = {
    "ADT_A01": "A04 A08 A13", "ADT_A05": "A14 A28 A31", "ADT_A06": "A07", "ADT_A09": "A10 A11",
    "ADT_A21": "A22 A23 A25 A26 A27 A29 A32 A33", "ADT_A30": "A34 A35 A36 A46 A47 A48 A49", "ADT_A39": "A40 A41 A42",
    "ADT_A43": "A44", "ADT_A50": "A51", "ADT_A52": "A53", "ADT_A54": "A55", "ADT_A61": "A62",
    "SIU_S12": "S13 S14 S15 S16 S17 S18 S19 S20 S21 S22 S23 S24 S26 S27", "SRM_S01": "S02 S03 S04 S05 S06 S07 S08 S09 S10 S11",
    "SRR_S01": "S02 S03 S04 S05 S06 S07 S08 S09 S10 S11", "MDM_T01": "T03 T05 T07 T09 T11", "MDM_T02": "T04 T06 T08 T10",
    "PPR_PC1": "PC2 PC3", "PGL_PC6": "PC7 PC8", "PPP_PCB": "PCC PCD", "REF_I12": "I13 I14 I15", "RRI_I12": "I13 I14 I15",
    "RPA_I08": "I09 I10 I11", "RQA_I08": "I09 I10 I11", "CRM_C01": "C02 C03 C04 C05 C06 C07 C08", "CSU_C09": "C10 C11 C12",
    "PEX_P07": "P08", "RDE_O11": "O25", "RRE_O12": "O26", "PMU_B01": "B02", "PMU_B04": "B05 B06", "LSU_U12": "U13",
    "TCU_U10": "U11", "INU_U05": "U06", "QBP_Q21": "Q22 Q23 Q24 Q25", "RQI_I01": "I02 I03 I07",
    "CCR_I16": "I17 I18",
}  # fmt: skip
"""HL7 table 0354: structures that serve further events of the same message type."""

TYPES = {
    "ACK": "ACK",
    "ADT": "ADT_A01", "BAR": "BAR_P01", "DFT": "DFT_P03", "MDM": "MDM_T02", "MFN": "MFN_M01", "OMG": "OMG_O19", "OML": "OML_O21",
    "ORM": "ORM_O01", "ORU": "ORU_R01", "OUL": "OUL_R22", "PMU": "PMU_B01", "PPR": "PPR_PC1", "RAS": "RAS_O17", "RDE": "RDE_O11",
    "RDS": "RDS_O13", "REF": "REF_I12", "RGV": "RGV_O15", "SIU": "SIU_S12", "VXU": "VXU_V04",
}  # fmt: skip
"""Where the event is unknown: the structure that most events of the type resemble."""


def written(reference: Any) -> str:
    """One structure in the file's notation."""
    return " ".join(_item(*item[:4]) for item in reference[1])


def _item(name: str, reference: Any, cardinality: tuple[int, int], kind: str) -> str:
    mark = MARKS.get(tuple(cardinality)) or ("*" if cardinality[0] == 0 else "+" if cardinality[1] != 1 else "")
    if kind == "SEG":
        return name + mark
    children = [child[:4] for child in reference[1]]
    if reference[0] == "choice" and all(child[3] == "SEG" for child in children):
        return "|".join(child[0] for child in children) + mark
    short = re.sub(r"^[A-Z]{3}_[A-Z0-9]{2,3}_", "", name)
    if reference[0] == "choice":
        return f"({short}{mark} {' '.join(_item(n, r, (0, c[1]), k) for n, r, c, k in children)})"
    return f"({short}{mark} {written(reference)})"


def main() -> None:
    texts: list[str] = []
    versions: dict[str, dict[str, int]] = {}
    for version in VERSIONS:
        messages = importlib.import_module("hl7apy.v" + version.replace(".", "_")).MESSAGES
        found = versions.setdefault(version, {})
        for name, reference in sorted(messages.items()):
            if not reference[1]:
                continue
            text = written(reference)
            if text not in texts:
                texts.append(text)
            found[name] = texts.index(text)
    events = {f"{structure[:3]}_{event}": structure for structure, several in SAME.items() for event in several.split()}
    data = {"events": events, "types": TYPES, "versions": versions, "texts": texts}
    TARGET.write_text(json.dumps(data, indent=0, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
