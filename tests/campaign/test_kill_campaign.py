"""`make campaign-kill`: 30 kills on each store, and the page that is committed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.campaign.kill import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reports" / "kill-campaign.md"


@pytest.mark.campaign
@pytest.mark.needs("postgresql")
def test_kill_9_thirty_times_on_each_store() -> None:
    kills = os.environ.get("KILLS", "30")
    assert main(["--kills", kills, "--seed", "2026", "--report", str(PAGE)]) == 0
