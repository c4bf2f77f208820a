"""Debian's Chromium through Playwright, and an ear for everything a page may complain of."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Error,
    Locator,
    Page,
    Request,
    Response,
    sync_playwright,
)

from engine.console.guard import COOKIE

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
PATIENCE = 30_000  # milliseconds until something that does not come counts as never coming
LISTENER = """
addEventListener('securitypolicyviolation', event => {
  window.__complain(`policy ${event.violatedDirective}: ${event.blockedURI} ${event.sample} at ${event.sourceFile}:${event.lineNumber}`);
});
"""


class Window:
    """A browser window with cookies of its own, in which a person works with one console."""

    def __init__(self, browser: Browser, url: str, cookie: str = "", **about: Any) -> None:
        self.url = url
        self.complaints: list[str] = []  # errors, violations of the policy, dialogs, requests to anywhere else
        self.expected: list[str] = []  # complaints that hold one of these are none
        self.context: BrowserContext = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **about})
        self.context.set_default_timeout(PATIENCE)
        self.context.expose_binding("__complain", lambda source, text: self.complaints.append(text))
        self.context.add_init_script(LISTENER)
        self.context.on("request", self._requested)
        self.context.on("console", self._said)
        self.context.on("weberror", lambda error: self.complaints.append(f"uncaught {error.error}"))
        self.context.on("dialog", self._asked)
        self.context.on("response", self._answered)
        if cookie:
            host = str(urlsplit(url).hostname)
            self.context.add_cookies(
                [{"name": COOKIE, "value": cookie, "domain": host, "path": "/", "secure": True, "httpOnly": True}]
            )
        self.page: Page = self.context.new_page()

    # ── working ────────────────────────────────────────────────────────────────────────────────────────────────────

    def go(self, path: str) -> Response:
        """Open a page; it has loaded, and what it loads by itself too."""
        answer = self.page.goto(self.url + path)
        assert answer is not None
        self.wait("document.readyState === 'complete' && !document.querySelector('.htmx-request')")
        return answer

    def go_until(self, path: str, selector: str) -> None:
        """Open a page, and again, until it shows something: for pages that are as of when they were asked for."""
        end = time.monotonic() + PATIENCE / 1000
        while not (self.go(path) and self.page.locator(selector).count()):
            assert time.monotonic() < end, f"never on {path}: {selector}\n{self.main()[:400]}"

    def find(self, selector: str, **about: Any) -> Locator:
        return self.page.locator(selector, **about)

    def main(self) -> str:
        """What the page says, without its frame."""
        return self.page.locator("main").inner_text()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def wait(self, what: str, argument: Any = None) -> None:
        """Until an expression of the page, or a function of `argument`, is true.

        Asked again and again from outside: Playwright's own way evaluates text inside the page, which its policy forbids.
        """
        end = time.monotonic() + PATIENCE / 1000
        while not self._true(what, argument):
            assert time.monotonic() < end, f"never true: {what}\n{self.main()[:400]}"
            self.page.wait_for_timeout(20)

    def _true(self, what: str, argument: Any) -> bool:
        try:
            return bool(self.page.evaluate(what, argument))
        except Error as error:
            if "Execution context was destroyed" in str(error):  # another page comes
                return False
            raise

    # ── listening ──────────────────────────────────────────────────────────────────────────────────────────────────

    def check(self) -> None:
        found = [one for one in self.complaints if not any(text in one for text in self.expected)]
        assert found == [], "the page complains:\n" + "\n".join(found)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self.complaints.append(f"console {message.type}: {message.text}")

    def _asked(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog {dialog.type}: {dialog.message}")
        dialog.dismiss()

    def _requested(self, request: Request) -> None:
        if not request.url.startswith((f"{self.url}/", "data:", "blob:")):
            self.complaints.append(f"request to {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 500:
            self.complaints.append(f"{response.status} from {response.url}")

    def close(self) -> None:
        self.context.close()


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()
