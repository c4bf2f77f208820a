"""What a channel may ask of its messages beyond that they can be read: line ends, wholeness, the standard, a profile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from engine.errors import ContentError
from engine.formats.hl7v2 import Hl7v2Options
from engine.formats.hl7v2.format import Hl7v2
from engine.formats.hl7v2.profile import Profile, Rule
from engine.formats.hl7v2.strict import MOST, Finding

GOOD = r"""
    MSH|^~\&|EHR|HOSP|LAB|WARD|20260101101500||ADT^A01^ADT_A01|M1|P|2.5.1
    EVN|A01|20260101101500
    PID|1||4711^^^HOSP^MR||DOE^JANE||19700101|F
    PV1|1|I
    """


def faults(form: Hl7v2, content: bytes) -> list[tuple[str, str, str]]:
    """Place, text and code of each."""
    try:
        form.admit(form.parse(content))
    except ContentError as error:
        return [(each.place, each.problem, each.code) for each in (error, *error.also)]
    return []


# ── line ends, marks, pieces ──


@pytest.mark.parametrize(("end", "name"), [("\n", "LF"), ("\r\n", "CRLF")])
def test_other_line_ends_are_refused_or_become_the_standards(wire: Callable[..., bytes], end: str, name: str) -> None:
    content = wire(GOOD, end)
    strict, lenient = Hl7v2(Hl7v2Options()), Hl7v2(Hl7v2Options(segment_ends="any"))
    ((place, text, code),) = faults(strict, content)
    assert (place, code) == ("", "100")
    assert f"end with {name}" in text
    assert faults(lenient, content) == []
    assert lenient.render(lenient.parse(content)) == wire(GOOD)
    assert lenient.heading(content) == strict.heading(wire(GOOD))


def test_a_line_feed_in_data_stays_where_cr_or_crlf_end_segments() -> None:
    lenient = Hl7v2(Hl7v2Options(segment_ends="any"))
    for end in (b"\r", b"\r\n"):
        content = b"MSH|^~\\&|A" + end + b"NTE|1||two\nlines" + end
        assert lenient.render(lenient.parse(content)) == b"MSH|^~\\&|A\rNTE|1||two\nlines\r"


def test_a_byte_order_mark_passes_where_the_channel_says_utf_8(wire: Callable[..., bytes]) -> None:
    content = b"\xef\xbb\xbf" + wire(GOOD)
    for form in (Hl7v2(Hl7v2Options()), Hl7v2(Hl7v2Options(charset="8859/1"))):
        with pytest.raises(ContentError, match="byte order mark"):
            form.heading(content)
    declared = Hl7v2(Hl7v2Options(charset="UNICODE UTF-8"))
    assert declared.heading(content).control_id == "M1"
    assert declared.render(declared.parse(content)) == wire(GOOD)


@pytest.mark.parametrize(
    ("change", "place"), [(("2.5.1", "2.5.1||X7"), "MSH-14"), (("PV1|1|I", "PV1|1|I\n    DSC|X7|F"), "DSC-1")]
)
def test_one_part_of_a_continued_message_is_refused(wire: Callable[..., bytes], change: tuple[str, str], place: str) -> None:
    ((at, text, _),) = faults(Hl7v2(Hl7v2Options()), wire(GOOD.replace(*change)))
    assert at == place
    assert "send it whole" in text


def test_an_empty_continuation_is_none(wire: Callable[..., bytes]) -> None:
    assert faults(Hl7v2(Hl7v2Options()), wire(GOOD + "DSC|")) == []


# ── the standard ──

STRICT = Hl7v2(Hl7v2Options(strict=True))


def test_what_the_standard_allows_passes(wire: Callable[..., bytes]) -> None:
    assert faults(STRICT, wire(GOOD)) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("4711^^^HOSP^MR", ""), ("PID-3", "is required and missing", "101")),
        (("PV1|1|I", ""), ("PV1", "ADT_A01 requires PV1", "100")),
        (("19700101", "1970-01-01"), ("PID-7.1", "'1970-01-01' is not a date and time, YYYYMMDDHHMMSS", "102")),
        (("19700101", "19701301"), ("PID-7.1", "'19701301' is not a date and time, YYYYMMDDHHMMSS", "102")),
        (("|I", "|I~O"), ("PV1-2", "occurs 2 times, at most 1 in this version", "102")),
        (("|I", "|I^x"), ("PV1-2", "has more than the 1 component of this version", "102")),
        (("PV1|1", "PV1|one"), ("PV1-1", "'one' is not a whole number", "102")),
        (("EVN|A01|20260101101500", "EVN|A01|20260101101500|||||||x"), ("EVN", "has more than the 7 fields that version 2.5.1 knows", "100")),
        (("PV1|1|I", "PV1|1|I\n    FT1|1"), ("FT1", "is no segment of ADT_A01", "100")),
        (("PV1|1|I", "PV1|1|I\n    torn apart"), ("", "line 5 is no segment", "100")),
        (("PV1|1|I", "PV1|1|I\n    OBX|1|NM|X||high||||||F"), ("OBX-5", "'high' is not a number", "102")),
    ],
)  # fmt: skip
def test_what_it_forbids_is_told_by_field(
    wire: Callable[..., bytes], change: tuple[str, str], fault: tuple[str, str, str]
) -> None:
    assert fault in faults(STRICT, wire(GOOD.replace(*change)))


def test_all_faults_are_told_at_once(wire: Callable[..., bytes]) -> None:
    content = wire(GOOD.replace("4711^^^HOSP^MR", "").replace("PV1|1|I", "PV1|1"))
    assert [place for place, _, _ in faults(STRICT, content)] == ["PID-3", "PV1-2"]


def test_values_that_are_in_no_table_are_only_warned_of(wire: Callable[..., bytes]) -> None:
    content = wire(GOOD.replace("|F\n", "|FEMALE\n"))
    assert faults(STRICT, content) == []
    assert Finding("PID-8", "'FEMALE' is not in table 0001", "warning", "103") in STRICT.problems(content)


def test_explicit_nulls_and_local_segments_are_no_faults(wire: Callable[..., bytes]) -> None:
    assert faults(STRICT, wire(GOOD.replace("19700101", '""') + "ZZ1|x|y")) == []


@pytest.mark.parametrize("version", ["2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.6", "2.7", "2.8", "2.8.2", "2.99", ""])
def test_every_version_has_tables(wire: Callable[..., bytes], version: str) -> None:
    assert ("PV1-2", "is required and missing", "101") in faults(
        STRICT, wire(GOOD.replace("2.5.1", version).replace("PV1|1|I", "PV1|1"))
    )


def test_a_flood_of_faults_is_cut(wire: Callable[..., bytes]) -> None:
    assert len(STRICT.problems(wire(GOOD + "PV1|x\n" * 5000))) < MOST + 50


# ── a profile ──


def profiled(**rules: dict[str, Any]) -> Hl7v2:
    made = Profile(rules={place.replace("_", "-", 1).replace("_", "."): Rule(**rule) for place, rule in rules.items()})
    return Hl7v2(Hl7v2Options(profile="feed"), made)


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ({"PV2": {"required": True}}, [("PV2", "is required and missing", "100")]),
        ({"PID_18": {"required": True}}, [("PID-18", "is required and missing", "101")]),
        ({"PID_3_4": {"required": True}}, []),
        ({"PID_3_2": {"required": True}}, [("PID-3.2", "is required and missing", "101")]),
        ({"PID_5_1": {"length": 2}}, [("PID-5.1", "has 3 characters, and 2 at most were agreed", "102")]),
        ({"PID_5_1": {"length": 3}}, []),
        ({"PID_8": {"values": ["M", "U"]}}, [("PID-8", "'F' is not one of the values that were agreed", "103")]),
        ({"PID_8": {"table": "0001"}}, []),
        ({"PV1_2": {"table": "0001"}}, [("PV1-2", "'I' is not in table 0001", "103")]),
        ({"NTE_3": {"required": True}}, []),  # of a segment that is not there nothing is asked
        ({"PID_18": {"length": 1, "values": ["x"]}}, []),
    ],
)  # fmt: skip
def test_what_a_feed_agreed_on(wire: Callable[..., bytes], rules: dict[str, Any], found: list[tuple[str, str, str]]) -> None:
    assert faults(profiled(**rules), wire(GOOD)) == found


def test_every_segment_and_repetition_is_looked_at(wire: Callable[..., bytes]) -> None:
    content = wire(GOOD.replace("^MR||", "^MR~^^^HOSP^PI||") + "NTE|1||\nNTE|2||here")
    rules = {"PID_3_1": {"required": True}, "NTE_3": {"required": True}}
    assert [place for place, _, _ in faults(profiled(**rules), content)] == ["PID-3[2].1", "NTE-3"]


def test_escapes_and_nulls_count_as_what_they_mean(wire: Callable[..., bytes]) -> None:
    content = wire(GOOD.replace("DOE^JANE", r"A\T\B^JANE").replace("|F\n", '|""\n'))
    assert faults(profiled(PID_5_1={"length": 3}, PID_8={"required": True}), content) == []


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"PID-3[2]": {"required": "true"}}, "is one place of several"), ({"PID-": {"required": "true"}}, "PID-"),
        ({"pid": {"required": "true"}}, "pid"), ({"PID-3": {}}, "asks for nothing"), ({"PV1": {"length": "3"}}, "only be required"),
        ({"PID-8": {"table": "9999"}}, "no table of HL7"), ({"PID-8": {"table": "1"}}, "match pattern"), ({}, "at least 1"),
        ({"PID-3": {"required": "true", "lenght": "1"}}, "lenght"), ({"PATIENT/PID-3": {"required": "true"}}, "one place of several"),
    ],
)  # fmt: skip
def test_mistakes_in_a_profile(rules: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Profile.model_validate({"rules": rules})
