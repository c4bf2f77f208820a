"""Reasons taken apart: places and files are found, what is quoted is not believed, and nothing of the text is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.views import reasons
from engine.views.reasons import FILE, PLACE


def named(text: str) -> list[tuple[str, str]]:
    return [(part.kind, part.text) for part in reasons.parts(text) if part.kind]


def test_a_mapping_failure() -> None:
    text = "dft-to-charge charge.department: FT1[2]-13.1 is required and was not sent (mappings/dft-to-charge.yaml:53:15)"
    assert named(text) == [(PLACE, "FT1[2]-13.1"), (FILE, "mappings/dft-to-charge.yaml:53:15")]
    assert reasons.place(text) == "FT1[2]-13.1"
    found = reasons.file(text)
    assert found is not None
    assert (found.file, found.line) == ("mappings/dft-to-charge.yaml", 53)


def test_other_reasons() -> None:
    assert named("PID-3[.5='MR'].1 or PID-3[2].1") == [(PLACE, "PID-3"), (PLACE, "PID-3[2].1")]
    assert named("merge: =MSH-9.2 == 'A40' is not true") == [(PLACE, "MSH-9.2")]
    assert named("department has no row for department=SLP-1, from ZPI-2 (codes/gl.csv:3)") == [
        (PLACE, "ZPI-2"),
        (FILE, "codes/gl.csv:3"),
    ]
    assert named("account ACC-9001 at http://x.yaml.example:80 2026-11-21 UTF-8") == []


def test_what_is_quoted_is_not_believed() -> None:
    assert named("PID-7 'PID-3 (mappings/x.yaml:1:1)' is not a date") == [(PLACE, "PID-7")]
    assert named("value 'it\\'s PID-3' is wrong") == []
    assert reasons.place("no place") == ""
    assert reasons.file("no file") is None


def test_paths_out_of_the_site_are_no_files() -> None:
    assert all(part.file != "../x.yaml" for part in reasons.parts("(../x.yaml:1:1) (/etc/x.yaml:1)"))


@given(st.text())
def test_the_parts_are_the_text(text: str) -> None:
    assert "".join(part.text for part in reasons.parts(text)) == text
