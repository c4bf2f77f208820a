"""I1, I2, I4, I5 and I6 under kill -9: the campaign of `tests/campaign/kill.py` at a size that every run can afford."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaign.kill import Plan, Report, run
from tests.support import postgresql_database


def assert_nothing_was_lost(report: Report) -> None:
    verdict = report.verdict
    assert verdict.good, report.summary()
    assert report.exit_code == 0
    assert verdict.refused == 0
    assert verdict.unanswered == 0  # the sender went on until each was answered
    assert verdict.acknowledged == verdict.attempted > 100


@pytest.mark.timeout(120)
def test_kill_9_under_load_on_sqlite_loses_and_reorders_nothing(tmp_path: Path) -> None:
    report = run(Plan("sqlite:///data/wardline.db", kills=5, seed=7, at_least=0.2, at_most=0.8), tmp_path)
    assert report.kills == 5
    assert_nothing_was_lost(report)


@pytest.mark.needs("postgresql")
@pytest.mark.timeout(120)
def test_kill_9_under_load_on_postgresql_loses_and_reorders_nothing(tmp_path: Path) -> None:
    with postgresql_database() as url:
        report = run(Plan(url, kills=3, seed=7, at_least=0.2, at_most=0.8), tmp_path)
    assert report.kills == 3
    assert_nothing_was_lost(report)
