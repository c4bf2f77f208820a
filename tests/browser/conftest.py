"""A browser for each module, and windows that fail their test where the page complains of anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser

from engine.console.rights import Grant, Role
from tests.browser.chromium import Window, chromium
from tests.browser.place import Place


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of the module and no longer: while it is open, its loop is the thread's, and no other could run in it."""
    with chromium() as opened:
        yield opened


OpenWindow = Callable[..., Window]


@pytest.fixture
def window_of(browser: Browser) -> Iterator[OpenWindow]:
    """`window_of(place, cookie, ...)`: a window in which somebody is logged in; what Playwright's contexts take besides."""
    opened: list[Window] = []

    def open_window(place: Place, cookie: str = "", **about: object) -> Window:
        opened.append(Window(browser, place.url, cookie, **about))
        return opened[-1]

    yield open_window
    for window in opened:
        window.close()
    for window in opened:
        window.check()


@pytest.fixture(scope="module")
def someone() -> Callable[..., str]:
    """`someone(place, "viewer", "lab*")`: the session of somebody with this role, made once for each."""
    known: dict[tuple[int, str, str], str] = {}

    def let_in(place: Place, role: str, channels: str = "*") -> str:
        key = (id(place), role, channels)
        if key not in known:
            known[key] = place.let_in(f"{role}-{len(known)}", Grant(Role(role), channels))
        return known[key]

    return let_in
