"""Trying a mapping out: with texts that nobody saved, in a process that can be ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.testing import trial
from engine.testing.apart import Apart, Ended, ask
from engine.testing.mappings import site_facts
from engine.testing.trial import TooLarge, as_sent, run_tests, try_out
from tests.console import copy_site
from tests.endless import counts, dies, for_ever, nothing, too_much

SAMPLE = "samples/hl7v2/dft_p03_two_charges.hl7"
FILE = "mappings/dft-to-charge.yaml"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_site(tmp_path_factory.mktemp("site"))


def snapshot(site: Path) -> dict[str, bytes]:
    return {path.relative_to(site).as_posix(): path.read_bytes() for path in site.rglob("*") if path.is_file()}


def test_a_text_that_nobody_saved_is_tried_and_the_site_stays_as_it_is(site: Path) -> None:
    before = snapshot(site)
    text = (site / FILE).read_text().replace("=FT1-13.1 | required", "nowhere")
    told = try_out(site, ["dft-to-charge"], (site / SAMPLE).read_bytes(), site_facts(site), {FILE: text})
    assert told["fault"] is None
    rows = {row["path"]: row["value"] for row in told["steps"][0]["results"][0]["rows"]}
    assert rows["charge.department"] == "nowhere"
    assert snapshot(site) == before


def test_what_is_wrong_with_it_is_told_as_check_tells_it(site: Path) -> None:
    text = (site / FILE).read_text().replace("=FT1-13.1 | required", "=FT1-13.1 | requierd")
    told = try_out(site, ["dft-to-charge"], b"MSH|", site_facts(site), {FILE: text})
    (problem,) = [one for one in told["problems"] if one["severity"] == "error"]
    assert problem["file"] == FILE
    assert "requierd" in problem["text"]
    assert "Did you mean" in problem["text"]
    assert told["fault"]["reason"] == "configuration"


def test_the_tests_beside_it_run_on_the_text_that_nobody_saved(site: Path) -> None:
    good = run_tests(site, ["dft-to-charge"], {})
    assert good
    assert all(one["passed"] for one in good)
    text = (site / FILE).read_text().replace("=FT1-13.1 | required", "nowhere")
    changed = run_tests(site, ["dft-to-charge"], {FILE: text})
    assert any(not one["passed"] for one in changed)
    broken = run_tests(site, ["dft-to-charge"], {FILE: "mapping: dft-to-charge\nfrom: nothing\n"})
    assert [(one["passed"], one["error"]) for one in broken] == [(False, "the mapping has errors of its own")]


@pytest.mark.parametrize(
    ("work", "why"),
    [(for_ever, "no end after 0.5 s"), (too_much, "more memory"), (dies, "was ended"), (nothing, "it said nothing")],
)
def test_what_does_not_answer_is_ended_and_says_why(work: Callable[..., None], why: str) -> None:
    with pytest.raises(Ended, match=why):
        ask(work, limit=0.5 if work is for_ever else 10.0)


def test_somebody_else_may_end_it_at_any_moment() -> None:
    begun = time.monotonic()
    with pytest.raises(Ended, match="was ended"):
        ask(for_ever, begun=lambda apart: apart.end(), limit=60)
    assert time.monotonic() - begun < 30


def test_one_that_says_something_again_and_again_is_heard_in_order() -> None:
    apart = Apart(counts, 3, limit=0)
    assert [apart.hear(10) for _ in range(3)] == [b"0", b"1", b"2"]
    with pytest.raises(EOFError):
        apart.hear(10)
    apart.close()


def test_there_is_an_end_to_what_is_tried(site: Path) -> None:
    with pytest.raises(TooLarge):
        try_out(site, ["dft-to-charge"], b"x" * (trial.LARGEST + 1), site_facts(site), {})


def test_pasted_lines_end_as_the_format_has_them() -> None:
    assert as_sent("MSH|a\r\nPID|b\n\nPV1|c", "hl7v2") == b"MSH|a\rPID|b\rPV1|c\r"
    assert as_sent('{"a": 1}\n', "json") == b'{"a": 1}\n'
