"""The checker of the kill campaign catches what is seeded into the engine: each fault fails a run of a kill or two."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaign.bugs import BUGS
from tests.campaign.checker import Verdict
from tests.campaign.kill import SQLITE, run
from tests.campaign.lives import Life
from tests.campaign.outcome import Plan


def verdict_of(directory: Path, *lives: Life, bug: str = "", lies: bool = False) -> Verdict:
    report = run(Plan(SQLITE, lives, seed=7, bug=bug, lies=lies), directory)
    assert report.kills == len(lives)
    assert report.verdict.acknowledged > 50
    return report.verdict


def faults(verdict: Verdict) -> set[str]:
    return {name for name in Verdict.FAULTS if getattr(verdict, name)}


SEEDED = {
    "ack before commit": ([Life("taking", 40)], {"lost"}),
    "no dedupe": ([Life("taken", 30)], {"unexplained", "doubled"}),
    "newest first": ([], {"reordered"}),
    "doubt not marked": ([Life("answered", 100)], {"unexplained"}),
    "no fencing": ([Life("begun", 30), Life("stale")], {"lost", "false_success"}),
    "new MSH-10 on retry": ([Life("answered", 100)], {"unexplained", "doubled"}),
}


@pytest.mark.parametrize("bug", SEEDED)
def test_the_checker_catches_a_seeded_bug(bug: str, tmp_path: Path) -> None:
    lives, expected = SEEDED[bug]
    assert faults(verdict_of(tmp_path, *lives, bug=bug)) >= expected


def test_the_checker_catches_msa_2_unchecked(tmp_path: Path) -> None:
    assert faults(verdict_of(tmp_path, bug="MSA-2 unchecked", lies=True)) == {"lost", "false_success"}


def test_i3_a_receiver_that_lies_breaks_off_and_is_busy_loses_nothing_even_under_kills(tmp_path: Path) -> None:
    lives = [Life("answered", 150), Life("begun", 30), Life("settling", 30), Life("sent", 150)]
    verdict = verdict_of(tmp_path, *lives, lies=True)
    assert verdict.good
    assert verdict.repeated > 0


def test_every_seeded_bug_has_its_test() -> None:
    assert {*SEEDED, "MSA-2 unchecked"} == set(BUGS)
