"""What belongs to a turn: the most dangerous part, for a mistake here gives wrong data and no error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import PathError
from engine.formats.hl7v2.format import Hl7v2
from engine.values import EMPTY

Read = Callable[[str], Any]

DFT = r"""
    MSH|^~\&|A|B|C|D|2026||DFT^P03^DFT_P03|1|P|{version}
    EVN|P03|2026
    PID|1||P1
    PV1|1|O
    FT1|1|4711
    PR1|1||71045
    ROL|1
    ZFT|of the first
    FT1|2|4712
    NTE|1||of the second
    DG1|1||R07
    DG1|2||R08
    GT1|1|G
    IN1|1|I1
    IN2|1
    IN1|2|I2
    ZIN|of the second insurance
    PR1|9||stray
"""

ORU = r"""
    MSH|^~\&|A|B|C|D|2026||ORU^R01^ORU_R01|1|P|2.5.1
    PID|1||P1
    NTE|1||of the patient
    PV1|1|O
    ORC|RE|1
    OBR|1|A1|F1
    NTE|1||of order 1
    OBX|1|ST|X||1
    OBX|2|ST|Y||2
    NTE|1||of Y
    NTE|2||more of Y
    SPM|1|S1
    OBX|1|ST|SPECIMEN||dry
    OBR|2|A2|F2
    OBX|1|ST|X||3
    ZOX|local
"""

SIU = r"""
    MSH|^~\&|A|B|C|D|2026||SIU^S12^SIU_S12|1|P|2.5.1
    SCH|1
    NTE|1||of the appointment
    PID|1||P1
    {rgs}
    AIS|1|A|S1
    NTE|1||of the service
    AIL|1
    AIP|1||DOC1
    AIP|2||DOC2
    NTE|1||of the second
    AIS|2|A|S2
"""


@pytest.mark.parametrize("version", ["2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.2", "2.99", "", "x"])
def test_a_charge_has_its_own_procedures_and_the_message_has_the_rest(read: Read, version: str) -> None:
    document = read(DFT.format(version=version))
    first, second = document.turns("FT1")
    assert (first["FT1-2"], first["PR1-3"], first["PR1/ROL-1"], first["ZFT-1"]) == ("4711", "71045", "1", "of the first")
    assert (second["FT1-2"], second["PR1-3"], second["ZFT-1"]) == ("4712", EMPTY, EMPTY)
    # The standard gives these to the message; the last charge has no more of them than the first.
    for turn in (first, second):
        assert turn["DG1[*]-3"] == ["R07", "R08"]
        assert (turn["PID-3"], turn["MSH-10"], turn["GT1-2"], turn["IN1[*]-2"]) == ("P1", "1", "G", ["I1", "I2"])
    assert (first["NTE-3"], second["NTE-3"]) == (EMPTY, "of the second")
    assert document["PR1[*]-3"] == ["71045", "stray"]
    assert second.place("FT1-2") == "FT1[2]-2"
    assert second.place("PR1-3") == "FT1[2]/PR1-3"
    assert second.place("PID-3.1") == "PID-3.1"
    assert second.place("DG1-3") == "DG1[1]-3"


def test_insurances_hold_what_follows_them(read: Read) -> None:
    first, second = read(DFT.format(version="2.5")).turns("IN1")
    assert (first["IN2-1"], first["ZIN-1"]) == ("1", EMPTY)
    assert (second["IN2-1"], second["ZIN-1"]) == (EMPTY, "of the second insurance")


def test_p11_gives_each_charge_its_own_diagnoses(read: Read) -> None:
    document = read(
        r"""
        MSH|^~\&|A|B|C|D|2026||DFT^P11^DFT_P11|1|P|2.5
        EVN|P11
        PID|1
        FT1|1
        DG1|1||R07
        FT1|2
        """
    )
    first, second = document.turns("FT1")
    assert (first["DG1-3"], second["DG1-3"]) == ("R07", EMPTY)


def test_notes_are_those_of_the_segment_they_follow(read: Read) -> None:
    document = read(ORU)
    first, second = document.turns("OBR")
    assert first["NTE[*]-3"] == ["of order 1"]
    assert second["NTE[*]-3"] == []
    x, y = first.turns("OBX")
    assert (x["NTE-3"], y["NTE[*]-3"]) == (EMPTY, ["of Y", "more of Y"])
    (other,) = second.turns("OBX")
    assert (other["NTE-3"], other["OBX-5"], other["OBR-2"], other["PID-3"], other["ZOX-1"]) == (EMPTY, "3", "A2", "P1", "local")
    assert x["ZOX-1"] is EMPTY
    assert [turn["NTE[*]-3"] for turn in document.turns("PID")] == [["of the patient"]]


def test_an_order_means_its_results_and_not_those_of_its_specimen(read: Read) -> None:
    first, second = read(ORU).turns("OBR")
    assert first["OBX[*]-5"] == ["1", "2"]
    assert first["SPM/OBX-5"] == "dry"
    assert first["OBX[2]/NTE[*]-3"] == ["of Y", "more of Y"]
    assert (first["ORC-1"], second["ORC-1"]) == ("RE", EMPTY)
    assert second["SPM-2"] is EMPTY
    (specimen,) = first.turns("SPM")
    assert (specimen["OBX-5"], specimen["OBR-2"]) == ("dry", "A1")


def test_steps_look_inwards_only(read: Read) -> None:
    document = read(ORU)
    assert document["OBR[2]/OBX[*]-5"] == ["3"]
    assert document["OBR[1]/OBX[*]-5"] == ["1", "2"]
    assert document["OBR[*]/OBX[*]-5"] == ["1", "2", "3"]
    assert document["OBR[2]/PID-3"] is EMPTY
    assert document["OBR[-2='A2']/OBX-5"] == "3"
    assert document["OBX[*]-5"] == ["1", "2", "dry", "3"]
    assert document.place("OBR[2]/OBX-5") == "OBX[4]-5"


def test_groups_by_name(read: Read) -> None:
    document = read(ORU)
    assert [turn["OBR-2"] for turn in document.turns("ORDER_OBSERVATION")] == ["A1", "A2"]
    assert [turn["OBX-5"] for turn in document.turns("ORDER_OBSERVATION[1]/OBSERVATION")] == ["1", "2"]
    assert document["ORDER_OBSERVATION[2]/OBX-5"] == "3"
    assert document.turns("NO_SUCH_GROUP") == []


@pytest.mark.parametrize("rgs", ["RGS|1", "RGS|1\nZRG|x", ""])
def test_resources_have_their_own_notes(read: Read, rgs: str) -> None:
    document = read(SIU.format(rgs=rgs))
    assert [turn["NTE-3"] for turn in document.turns("AIP")] == [EMPTY, "of the second"]
    assert [turn["NTE-3"] for turn in document.turns("AIS")] == ["of the service", EMPTY]
    assert [turn["NTE-3"] for turn in document.turns("AIL")] == [EMPTY]
    assert document.turns("SCH")[0]["NTE-3"] == "of the appointment"
    assert document.turns("AIP")[1]["SCH-1"] == "1"


def test_a_merge_has_its_own_patient(read: Read) -> None:
    document = read(
        r"""
        MSH|^~\&|A|B|C|D|2026||ADT^A40|1|P|2.3.1
        EVN|A40
        PID|1||NEW1^^^H^MR
        MRG|OLD1^^^H~OLD2^^^H
        PID|2||NEW2
        PD1|x
        MRG|OLD3
        MRG|OLD4
        """
    )
    first, second = document.turns("PID")
    assert [turn[".1"] for turn in first.turns("MRG-1")] == ["OLD1", "OLD2"]
    assert [turn[".4.1"] for turn in first.turns("MRG-1")] == ["H", "H"]
    assert [turn[".1"] for turn in second.turns("MRG-1")] == ["OLD3", "OLD4"]
    assert (first["PD1-1"], second["PD1-1"]) == (EMPTY, "x")
    assert [turn["PID-3"] for turn in document.turns("MRG")] == ["NEW1", "NEW2", "NEW2"]
    assert first.turns("MRG-1")[1].place(".1") == "MRG[1]-1[2].1"


def test_orders_without_orc_are_orders(read: Read) -> None:
    document = read(
        r"""
        MSH|^~\&|A|B|C|D|2026||ORM^O01|1|P|2.3
        PID|1
        OBR|1|A
        NTE|1||a
        OBX|1|ST|X||1
        OBR|2|B
        OBX|1|ST|X||2
        ORC|NW|7
        OBR|3|C
        """
    )
    assert [(t["OBR-2"], t["OBX-5"], t["NTE-3"], t["ORC-2"]) for t in document.turns("OBR")] == [
        ("A", "1", "a", EMPTY), ("B", "2", EMPTY, EMPTY), ("C", EMPTY, EMPTY, "7"),
    ]  # fmt: skip
    assert [t["OBR-2"] for t in document.turns("ORC")] == ["C"]


def test_a_second_order_is_no_prior_result_of_the_first(read: Read) -> None:
    document = read(
        r"""
        MSH|^~\&|A|B|C|D|2026||OML^O21^OML_O21|1|P|2.5.1
        PID|1
        ORC|NW|1
        OBR|1|A
        OBX|1|ST|X||1
        ORC|NW|2
        OBR|2|B
        OBX|1|ST|X||2
        """
    )
    assert [(t["ORC-2"], t["OBR-2"], t["OBX[*]-5"]) for t in document.turns("ORC")] == [("1", "A", ["1"]), ("2", "B", ["2"])]


def test_segments_alone_have_what_the_structure_does_not_know_behind_them(read: Read) -> None:
    document = read(
        r"""
        MSH|^~\&|A|B|C|D|2026||ADT^A01|1|P|2.5
        PID|1
        ZPD|of the patient
        PV1|1
        OBX|1|ST|H||180
        OBX|2|ST|W||80
        ZOX|of the weight
        NTE|1||of the weight too
        """
    )
    height, weight = document.turns("OBX")
    assert (height["ZOX-1"], height["NTE-3"]) == (EMPTY, EMPTY)
    assert (weight["ZOX-1"], weight["NTE-3"]) == ("of the weight", "of the weight too")
    assert height["ZPD-1"] == "of the patient"
    assert height["PV1-1"] == "1"


def test_a_segment_out_of_order_is_still_found(read: Read) -> None:
    document = read(
        r"""
        MSH|^~\&|A|B|C|D|2026||ORU^R01|1|P|2.4
        PID|1
        ORC|RE
        PV1|1|I
        OBR|1|A
        OBX|1|ST|X||1
        """
    )
    (turn,) = document.turns("OBX")
    assert (turn["PV1-2"], turn["OBR-2"], turn["PID-1"]) == ("I", "A", "1")


def test_messages_without_a_structure_are_read_sensibly(read: Read) -> None:
    document = read(
        r"""
        MSH|^~\&|A|B|C|D|2026||ZDT^Z01|1|P|2.5
        PID|1
        ZZ1|q
        OBR|1|A
        OBX|1|ST|X||1
        NTE|1||n
        OBR|2|B
        OBX|1|ST|X||2
        """
    )
    assert [(t["OBX-5"], t["NTE-3"]) for t in document.turns("OBR")] == [("1", EMPTY), ("2", EMPTY)]
    assert [(t["OBX-5"], t["NTE-3"]) for t in document.turns("OBX")] == [("1", "n"), ("2", EMPTY)]


def test_owns_says_otherwise(read: Read) -> None:
    document = read(DFT.format(version="2.5"))
    first, second = document.turns("FT1", owns=["DG1", "PR1"])
    assert (first["DG1-3"], second["DG1[*]-3"]) == (EMPTY, ["R07", "R08"])
    assert (first["PR1-3"], second["PR1-3"]) == ("71045", "stray")
    assert second["PID-3"] == "P1"
    (inner, _) = second.turns("DG1")
    assert inner["FT1-2"] == "4712"
    assert inner["PR1-3"] == "stray"


def test_several_turns_as_one(read: Read) -> None:
    document = read(ORU)
    turns = document.turns("OBX")
    both = document.grouped([turns[0], turns[1], turns[3]])
    assert (both["OBX-5"], both["OBX[*]-5"]) == ("1", ["1", "2", "3"])
    assert both["NTE-3"] is EMPTY  # the first has none
    assert both["NTE[*]-3"] == ["of Y", "more of Y"]
    assert both["PID-3"] == "P1"
    assert both["PID[*]-3"] == ["P1"]
    assert [turn["OBX-5"] for turn in both.turns("OBX")] == ["1", "2", "3"]
    assert document.grouped([turns[1]]) is turns[1]
    assert document.grouped([])["OBX-5"] is EMPTY
    repeats = read(ORU.replace("PID|1||P1", "PID|1||P1^^^H~P2^^^K")).turns("PID-3")
    assert repeats[0].grouped(repeats)[".1"] == "P1"
    assert repeats[0].grouped(repeats).all(".4") == ["H", "K"]


def test_for_each_takes_segments_groups_and_repetitions_only(read: Read) -> None:
    with pytest.raises(PathError, match="for_each takes"):
        read(ORU).turns(".1")
    assert [turn["OBX-3"] for turn in read(ORU).turns("OBX[-5='2']")] == ["Y"]
    assert len(read(ORU).turns("OBX[2]")) == 1


# ── real messages ──


def real(hl7: Hl7v2, shared_data: Path, name: str) -> Any:
    return hl7.parse((shared_data / "microsoft__FHIR-Converter" / "Hl7v2" / f"{name}.hl7").read_bytes())


def test_real_dft(hl7: Hl7v2, shared_data: Path) -> None:
    document = real(hl7, shared_data, "DFT-P03-01")
    first, second = document.turns("FT1")
    kinds = [[segment[0][:3] for segment in turn.own_segments()] for turn in (first, second)]
    assert "DG1" in document.index
    assert "IN1" in document.index
    assert not {"DG1", "IN1"} & {*kinds[0], *kinds[1]}
    assert first["DG1[*]-3.1"] == second["DG1[*]-3.1"] == document["DG1[*]-3.1"] != []
    assert (first["FT1-11"], second["FT1-11"], first["FT1-11"].raw) == ("100", "120", "100&USD")
    assert first["PID-5.1"] == second["PID-5.1"] == "EVERYMAN"


def test_real_siu(hl7: Hl7v2, shared_data: Path) -> None:
    document = real(hl7, shared_data, "SIU-S12-01")
    (scheduling,) = document.turns("SCH")
    assert scheduling["TQ1-7"]
    assert document.turns("AIP")[0]["NTE-3"] is EMPTY
    assert "equipment" in document.turns("AIG")[0]["NTE-3"]
    assert document.turns("AIS")[0]["NTE[*]-3"] == document["AIS/NTE[*]-3"]
    assert len(document["AIS/NTE[*]-3"]) == 2


def test_real_a40(hl7: Hl7v2, shared_data: Path) -> None:
    (turn,) = real(hl7, shared_data, "ADT-A40-01").turns("PID")
    assert (turn["PID-3.1"], turn["MRG-1.1"]) == ("12345", "56789")


def test_every_result_of_real_lab_reports_belongs_to_one_order(hl7: Hl7v2, shared_data: Path) -> None:
    """Trusted-intermediary's ORUs: the orders' OBX together are the message's, and each note has one owner."""
    seen = 0
    for path in sorted((shared_data / "CDCgov__trusted-intermediary").rglob("*ORU*.hl7")):
        content = path.read_bytes()
        if not content.startswith(b"MSH"):
            continue
        document: Any = hl7.parse(content)
        orders = document.turns("OBR")
        inside = [segment for order in orders for segment in order.index["OBX"]]
        assert [id(segment) for segment in inside] == [id(segment) for segment in document.index["OBX"]], path
        noted = [note for turn in (*orders, *document.turns("OBX"), *document.turns("PID")) for note in turn.index["NTE"]]
        assert sorted(map(id, noted)) == sorted(map(id, document.index["NTE"])), path
        seen += len(inside)
    assert seen > 200
