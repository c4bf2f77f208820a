"""I1, F07: what power cuts leave of a store; the campaign of `tests/campaign/power` at a size that every run can afford."""

from __future__ import annotations

import pytest

from tests.campaign.power.campaign import BUGS, run

pytestmark = pytest.mark.needs("cc")


def test_i1_f07_no_power_cut_loses_what_was_acknowledged() -> None:
    result = run(images=300, seed=7)
    assert result.good, (result.examples, result.first)
    assert result.images == 300
    assert result.messages > 10_000  # each image was asked for every message acknowledged before its cut


@pytest.mark.parametrize("bug", BUGS)
def test_the_checker_catches_a_seeded_bug(bug: str) -> None:
    result = run(images=60, seed=7, bug=bug)
    assert result.bad_images > 10
    assert "message N is lost" in result.examples
