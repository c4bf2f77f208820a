from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.formats.hl7v2.structure import (
    GENERIC,
    Instance,
    Structure,
    nearest,
    parsed,
    standard_structure,
    structure_of,
)


def drawn(instance: Instance) -> str:
    """`MSH (PATIENT PID) ZZZ`: the tree as text."""
    parts = [f"({drawn(each)})" if isinstance(each, Instance) else each[0] for each in instance.entries]
    return " ".join([instance.group.name, *parts]).strip()


def matched(structure: Structure, kinds: str) -> str:
    return drawn(structure.match([(kind, [kind]) for kind in kinds.split()])[0])


SMALL = Structure(parsed("MSH (ORDER+ ORC? OBR NTE* (RESULT* OBX NTE*) (SPECIMEN* SPM OBX*) CTI?) DG1* DSC?"))


@pytest.mark.parametrize(
    ("kinds", "tree"),
    [
        ("MSH ORC OBR NTE OBX NTE OBX", "MSH (ORDER ORC OBR NTE (RESULT OBX NTE) (RESULT OBX))"),
        ("MSH OBR OBX SPM OBX OBX ORC OBR", "MSH (ORDER OBR (RESULT OBX) (SPECIMEN SPM OBX OBX)) (ORDER ORC OBR)"),
        ("MSH OBR OBR DG1 DG1 DSC", "MSH (ORDER OBR) (ORDER OBR) DG1 DG1 DSC"),
        ("MSH OBR ZZZ OBX ZZZ DG1 ZZZ", "MSH (ORDER OBR ZZZ (RESULT OBX ZZZ)) DG1 ZZZ"),
        ("MSH OBX NTE", "MSH (ORDER (RESULT OBX NTE))"),  # its OBR is missing
        ("MSH OBR CTI OBX NTE", "MSH (ORDER OBR CTI (RESULT OBX NTE))"),  # out of order, in its group all the same
        ("MSH OBR DG1 OBX NTE DG1", "MSH (ORDER OBR) DG1 (RESULT OBX NTE) DG1"),  # too late for the order
        ("MSH OBR DSC OBR OBX", "MSH (ORDER OBR) DSC (ORDER OBR (RESULT OBX))"),
        ("ZZZ OBR MSH", "ZZZ (ORDER OBR) MSH"),
        ("", ""),
    ],
)
def test_segments_find_their_likeliest_place(kinds: str, tree: str) -> None:
    assert matched(SMALL, kinds) == tree
    assert matched(SMALL, kinds) == tree  # and again, from memory


KINDS = st.lists(
    st.sampled_from(
        [
            "MSH",
            "PID",
            "NTE",
            "ORC",
            "OBR",
            "OBX",
            "SPM",
            "TQ1",
            "FT1",
            "PR1",
            "DG1",
            "IN1",
            "IN2",
            "ZZZ",
            "PV1",
            "PV2",
            "AL1",
            "ROL",
            "XXX",
        ]
    ),
    max_size=30,
)


@given(
    KINDS,
    st.sampled_from([("2.5.1", "ORU", "R01"), ("2.4", "DFT", "P03"), ("2.3", "ORM", "O01"), ("2.8", "OML", "O21"), ("", "", "")]),
)
def test_any_order_gives_a_tree_that_holds_each_segment_once(kinds: list[str], which: tuple[str, str, str]) -> None:
    segments = [(kind, [kind]) for kind in kinds]
    root, homes = structure_of(*which, "").match(segments)
    assert [id(each) for each in root.segments()] == [id(segment) for _, segment in segments]
    for _, segment in segments:
        assert any(each is segment for each in homes[id(segment)].entries)


@pytest.mark.parametrize(
    ("version", "message", "found"),
    [
        ("2.5.1", "ADT A04", "ADT_A01"), ("2.3.1", "ADT A40", "ADT_A39"), ("2.3", "ADT A28", "ADT_A05"), ("2.5", "SIU S15", "SIU_S12"),
        ("2.5.1", "ADT A31", "ADT_A05"), ("2.4", "ORU R01", "ORU_R01"), ("2.8.2", "MDM T06", "MDM_T02"), ("2.6", "ADT Z99", "ADT_A01"),
        ("2.3", "OML O21", "OML_O21"), ("2.5.1", "ACK A01", "ACK"),
    ],
)  # fmt: skip
def test_events_have_the_standards_structure(version: str, message: str, found: str) -> None:
    known = standard_structure(version, *message.split(), "")
    assert known is not None
    assert known[1] == found
    assert "MSH" in structure_of(version, *message.split(), "").root.kinds


def test_the_event_decides_and_msh_9_3_only_helps() -> None:
    assert standard_structure("2.5", "ADT", "A40", "ADT_A01") == ("2.5", "ADT_A39")
    assert standard_structure("2.5", "ZZZ", "Z01", "ORU_R01") == ("2.5", "ORU_R01")
    assert standard_structure("2.5", "ZZZ", "Z01", "ZZZ_Z01") is None
    assert standard_structure("", "", "", "") is None
    assert structure_of("", "", "", "").root.kinds == parsed(GENERIC).kinds


@pytest.mark.parametrize(
    ("version", "first"),
    [("2.5", "2.5"), ("2.6.1", "2.6"), ("2.99", "2.8"), ("2.1", "2.3"), ("", "2.5"), ("3", "2.5"), ("2.5^DEU", "2.5")],
)
def test_unknown_versions_are_read_as_the_nearest(version: str, first: str) -> None:
    assert nearest(version, ["2.3", "2.5", "2.6", "2.8"])[0] == first


def test_a_flood_of_odd_messages_does_not_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.formats.hl7v2.structure.MOST_MOVES", 50)
    structure = Structure(parsed("MSH (ORDER+ ORC? OBR NTE* (RESULT* OBX NTE*)) DSC?"))
    for n in range(200):
        matched(structure, f"MSH OBR Z{n:02X} OBX")
    assert len(structure._moves) < 60
    assert matched(structure, "MSH OBR OBX") == "MSH (ORDER OBR (RESULT OBX))"
