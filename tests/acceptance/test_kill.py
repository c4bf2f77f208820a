"""I1, I2, I4, I5, I6 and I11 under kill -9: the campaign of `tests/campaign/kill.py` at a size that every run can afford.

Every named point is passed on one of the two stores, an upgrade on both.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.campaign.kill import SQLITE, run
from tests.campaign.lives import lives_of, rounds
from tests.campaign.outcome import Plan, Report
from tests.campaign.points import POINTS
from tests.support import postgresql_database

ON_SQLITE = (
    *("taking", "opened", "answering", "recovered", "translated", "migrating", "begun", "carrying", "sent", "settled"),
    *("gathering", "loading", "exchanging", "closed", "swapping", "replacing", "noting", "draining", "closing"),
)
ON_POSTGRESQL = (
    *("taken", "recovering", "recording", "migrating", "recorded", "migrated", "answered", "settling", "stale", "drained"),
    "finishing",
)


def assert_nothing_was_lost(report: Report, points: tuple[str, ...]) -> None:
    assert report.good, report.summary()
    assert report.verdict.acknowledged == report.verdict.attempted > 100  # the sender went on until each was answered
    assert all(report.ends[point] for point in points)


@pytest.mark.timeout(180)
def test_kill_9_at_its_points_on_sqlite_loses_and_reorders_nothing(tmp_path: Path) -> None:
    lives = lives_of(ON_SQLITE, random.Random(7))
    assert_nothing_was_lost(run(Plan(SQLITE, tuple(lives), seed=7), tmp_path), ON_SQLITE)


@pytest.mark.needs("postgresql")
@pytest.mark.timeout(180)
def test_kill_9_at_its_points_on_postgresql_loses_and_reorders_nothing(tmp_path: Path) -> None:
    lives = lives_of(ON_POSTGRESQL, random.Random(7))
    with postgresql_database() as url:
        assert_nothing_was_lost(run(Plan(url, tuple(lives), seed=7), tmp_path), ON_POSTGRESQL)


def test_every_point_is_among_them() -> None:
    assert {*ON_SQLITE, *ON_POSTGRESQL} == set(POINTS)


def test_the_whole_campaign_has_every_point_several_times() -> None:
    for kills, least in ((300, 5), (100, 2)):
        lives = [life for one in rounds(kills, random.Random(1)) for life in one]
        assert len(lives) == kills
        assert all(sum(life.end == point for life in lives) >= least for point in POINTS)
