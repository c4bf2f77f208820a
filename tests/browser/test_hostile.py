"""Forty hostile texts in every field that the console shows: nothing runs, nothing becomes markup, nobody hears of it.

All five hundred: `make campaign-xss`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.place import Refuser, running
from tests.campaign.xss import LOOK, attacked

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(600)]


def test_nothing_that_came_from_outside_runs(tmp_path: Path, browser: Browser) -> None:
    refuser = Refuser()
    with (
        running(tmp_path, lis=refuser.address) as place,
        attacked(place, refuser, browser, 40, lambda text: None) as attack,
    ):
        assert attack.found == []
        assert attack.counts["pages"] > 100
        assert attack.counts["shown"] > 3000  # they were there


@pytest.mark.parametrize("markup", [
    "<b owned>x</b>", "<img onerror=alert(1)>", "<a href=' javascript:alert(1)'>x</a>", "<a href='//elsewhere'>x</a>",
    "<div hx-get='https://elsewhere'>x</div>", "<div data-live='//elsewhere'>x</div>", "<p style='color:red'>x</p>",
    "<template><b owned>x</b></template>", "<iframe srcdoc=x></iframe>", "<div hx-on:load=alert(1)>x</div>",
])  # fmt: skip
def test_the_eye_sees(browser: Browser, markup: str) -> None:
    """What is looked for on every page is found where it is."""
    page = browser.new_page()
    page.set_content(f"<a href=/messages>good</a><div hx-get=/messages>{markup}</div>")
    found, _ = page.evaluate(LOOK)
    page.close()
    assert len(found) == 1
