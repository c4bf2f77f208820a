from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import PathError
from engine.formats.raw import Raw, RawOptions
from engine.model import NO_HEADING, Receipt, Unknown, Verdict

RAW = Raw(RawOptions())


@given(st.binary())
def test_bytes_come_out_as_they_went_in(content: bytes) -> None:
    assert RAW.render(RAW.parse(content)) == content
    assert RAW.heading(content) == NO_HEADING
    (node,) = RAW.parse(content).nodes()
    assert node.name == f"{len(content)} bytes"


def test_nothing_in_it_has_a_name() -> None:
    document = RAW.parse(b"PID|1")
    for use in (document.__getitem__, document.all, document.place, document.turns, RAW.check_path):
        with pytest.raises(PathError, match="format raw has no paths"):
            use("PID-1")
    assert RAW.paths.search("PID-3 .1 x.y") is None
    with pytest.raises(NotImplementedError):
        RAW.edit(document)


def test_nothing_is_answered_and_no_answer_is_success() -> None:
    assert RAW.acknowledge(b"x", Receipt(Verdict.ACCEPTED, 1)) is None
    assert isinstance(RAW.judge(b"x", b"OK"), Unknown)
