"""Every page of the console, as people of every role find it."""

from __future__ import annotations

from pathlib import Path

from tests.console import opened


def test_help_is_there_for_whoever_is_logged_in(tmp_path: Path) -> None:
    with opened(tmp_path) as console:
        page = console.as_("viewer").get("/help")
        assert page.status_code == 200
        assert "America/New_York" in page.text
        assert console.token("viewer").get("/api/v1/about").json()["environment"] == "test"
        assert console.nobody().get("/help").headers["location"].startswith("/login")
