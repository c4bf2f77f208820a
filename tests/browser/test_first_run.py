"""The first person of a new console: a token from its machine, a password, and the token is worth nothing any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.conftest import OpenWindow
from tests.browser.place import PASSWORD, running

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(300)]


def test_the_first_administrator_comes_in_by_the_token_and_never_again(tmp_path: Path, window_of: OpenWindow) -> None:
    with running(tmp_path, first=True) as place:
        token = place.await_file(".wardline/first-token").strip().rpartition("token=")[2]
        window = window_of(place)
        window.go("/messages")  # wherever somebody wants to go, nobody is let in yet
        assert "Nobody can log in yet" in window.main()
        window.page.get_by_label("Token").fill("not-the-token")
        window.expected.append("403")
        window.press("Enter")
        window.find(".problems").wait_for()
        window.page.get_by_label("Token").fill(token)
        window.page.get_by_role("button", name="Go on").click()
        window.page.get_by_label("Name", exact=True).fill("ann")
        window.page.get_by_label("What people call you").fill("Ann Bell")
        window.page.get_by_label("Password", exact=True).fill(PASSWORD)
        window.page.get_by_label("The same again").fill(PASSWORD)
        window.press("Enter")
        window.find("h1", has_text="Dashboard").wait_for(state="attached")
        assert window.find(".me summary").inner_text() == "Ann Bell"
        assert window.find("nav.main a").all_inner_texts()[-2:] == ["People", "Audit"]
        assert not (tmp_path / ".wardline" / "first-token").exists()

        window.find(".me summary").click()
        window.page.get_by_role("button", name="Log out").click()
        window.find("h1", has_text="Log in").wait_for()
        assert window.go("/messages").url.endswith("/login?next=%2Fmessages")

        window.page.get_by_label("Name").fill("ann")
        window.page.get_by_label("Password").fill(PASSWORD)
        window.press("Enter")
        window.find("#search").wait_for()  # where they wanted to go
        assert window.page.url == f"{place.url}/messages"

        window.context.clear_cookies()
        gone = window.go(f"/first?token={token}")
        assert gone.status == 403
        assert window.find("input[name=password]").count() == 0
        assert place.engine.stop() == 0, "an engine with a console ends when it is told to"
