"""Hostile content in the console: `python -m tests.campaign.xss --report docs/reports/hostile-content.md`.

Five hundred texts that want to be more than text go into every place whose content the console shows: through the engine as
HL7, as answers of receivers, as what people write into forms and addresses. Then Chromium opens the pages on which they
are shown. Nothing of them may become an element, run, or ask anybody for anything.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from playwright.sync_api import Browser

from engine.console.rights import Grant, Role
from engine.testing.machine import machine
from tests.browser.chromium import Window, chromium
from tests.browser.payloads import payloads
from tests.browser.place import Place, Refuser, Taken, charge, running, wait_for

KINDS = 4  # messages of a payload
SAME_SHAPE = 3  # pages of a kind that the walk opens
SETTLED = "() => !document.querySelector('.htmx-request, .htmx-swapping, .htmx-settling')"
LOOK = """
() => {
  const found = [], roots = [document], shown = document.documentElement.innerHTML.match(/owned|alert\\(/g);
  for (const template of document.querySelectorAll('template')) roots.push(template.content);
  for (const root of roots) for (const one of root.querySelectorAll('*')) for (const { name, value } of one.attributes) {
    const address = /^(href|src|srcset|action|formaction|data|poster|xlink:href|srcdoc|background|ping)$/.test(name);
    if (name === 'owned' || name.startsWith('on') || name === 'style' && !one.closest('.u-wrap, .uplot')
      || /^(data-)?hx-on/.test(name) || name === 'srcdoc'
      || address && /^[\\s\\x00-\\x20]*(javascript|vbscript|data:text|https?:|\\/\\/|\\\\\\\\)/i.test(value)
      || /^(data-)?hx-(get|post|put|delete|patch)$|^data-live$/.test(name) && !/^\\/(?![/\\\\])/.test(value))
      found.push(`<${one.localName} ${name}="${value.slice(0, 80)}">`);
  }
  return [found, shown ? shown.length : 0];
}
"""


class Canary:
    """Somebody who listens and must never hear anything."""

    def __init__(self) -> None:
        heard: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                heard.append(self.path)
                self.send_response(204)
                self.end_headers()

            do_POST = do_HEAD = do_OPTIONS = do_GET

            def log_message(self, *arguments: object) -> None:
                pass

        self.heard = heard
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def escaped(text: str) -> str:
    """As HL7 writes it, so that the very same text comes out at the other end."""
    signs = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "&": "\\T\\"}
    return "".join(signs.get(one) or (f"\\X{ord(one):02X}\\" if one < " " else one) for one in text)


def as_it_is(text: str) -> str:
    """What a sender writes who knows nothing of escapes."""
    return "".join(one for one in text if one >= " ")


def everywhere(n: int, text: str) -> bytes:
    """A charge that has the text in every field that is shown, and is delivered, or parks with the text in its reason."""
    t, raw = escaped(text), as_it_is(text)
    department = t if n % 4 == 1 else "PHA-1"
    quantity = t if n % 4 == 2 else "2"
    kind = t if n % 4 == 3 else "CG"
    return (
        f"MSH|^~\\&|{t}|{t}|{t}|{t}|20261101101500||DFT^P03^DFT_P03|{t} A{n}|P|2.5.1\r"
        f"EVN|P03|20261101101500||{t}|{t}\rPID|1|{t}|{t}^^^{t}^MR||{t}^{t}||19700101|F|||{t}||||||{t}|{t}\r"
        f"PV1|1|{t}|{t}^{t}||||||||||||||||{t}\r"
        f"FT1|1|T{n} {t}|{t}|20261101||{kind}|{t}^{t}^L|{t}||{quantity}|18.40&USD||{department}^{t}\r"
        f"NTE|1|{t}|{t}\rNTE|2||{raw}\rZXY|{t}|{raw}\r"
    ).encode()


def of_type(n: int, text: str) -> bytes:
    """A message of a type that no channel accepts: the text."""
    t = escaped(text)
    return f"MSH|^~\\&|{t}|{t}|W|GENERAL|20261101101500||{t}^{t}^{t}|{t} C{n}|{t}|{t}\rPID|1||{t}\r".encode()


def result(n: int, text: str) -> bytes:
    """A result that says the text, for a receiver that refuses it with the text."""
    t = escaped(text)
    return (
        f"MSH|^~\\&|LAB|NORTHLAB|W|GENERAL|20261101101500||ORU^R01^ORU_R01|D{n}|P|2.5.1\r"
        f"PID|1||D{n}^^^GENERAL^MR||{t}^{t}\rOBR|1|P{n}|F{n}^LIS|{t}^{t}^L||||||||||||||||||{t}||CH|F\r"
        f"OBX|1|TX|NA^{t}^L||{t}|{t}|{t}|{t}|||F\rNTE|1||{t}\r"
    ).encode()


def chunks(texts: list[str], most: int) -> Iterator[str]:
    """As many of them together as fit into a text of `most` characters."""
    together = ""
    for text in (one[:most] for one in texts):
        if together and len(together) + len(text) >= most:
            yield together
            together = ""
        together += f" {text}" if together else text
    yield together


class Attack:
    """One console, its texts, and what became of them."""

    def __init__(self, place: Place, refuser: Refuser, browser: Browser, texts: list[str], say: Callable[[str], None]) -> None:
        self.place, self.texts, self.say = place, texts, say
        self.thorough = len(texts) >= 100  # every page for every text; otherwise a part of them, in a minute
        self.counts: Counter[str] = Counter()
        self.found: list[str] = []  # what must not be
        self._answers = 0
        place.receiver.answer = self._refuse
        refuser.says = self._next
        self._windows = deque(
            Window(browser, place.url, place.let_in(name, Grant(Role.ADMIN))) for name in ("ann", "bob")
        )  # nobody is so fast that the console asks them to slow down
        self.window = self._windows[0]
        for window in self._windows:
            window.expected += ["the server responded with a status of 4"]

    def _refuse(self, taken: Taken) -> tuple[int, bytes]:
        found = re.search(r"\d+", taken.transaction if "transaction_id" in taken.body["payload"] else "")
        text = self.texts[int(found[0]) % len(self.texts)] if found else ""
        return (200 if found and int(found[0]) % 3 == 0 else 422), text.encode("utf-8", "replace")

    def _next(self) -> bytes:
        self._answers += 1
        return escaped(self.texts[self._answers % len(self.texts)]).encode("utf-8", "replace")

    # ── putting them there ─────────────────────────────────────────────────────────────────────────────────────────

    def send(self) -> None:
        """Everything that comes through the engine."""
        folder = self.place.directory / "samples"
        for n, text in enumerate(self.texts):
            name = "".join(one for one in text if one not in "/\x00")[:60] + f" {n}.hl7"
            (folder / name).write_bytes(charge(n))
        numbered = list(enumerate(self.texts))
        self.place.send(
            "charges", *(message for n, text in numbered for message in (everywhere(n, text), charge(f"B{n}", f"AB{n}")))
        )
        self.place.send("adt", *(of_type(n, text) for n, text in numbered))
        self.place.send("results", *(result(n, text) for n, text in numbered))
        self.counts["messages"] = KINDS * len(numbered)

        def translated() -> bool | None:
            with_windows = self.window.page.request.get(f"{self.place.url}/api/v1/messages?q=state:received&limit=1")
            return None if with_windows.json()["messages"] else True

        wait_for(translated, "all are translated")
        self.place.receiver.await_taken("/charges", len(numbered))

    def speak(self) -> None:
        """Everything that people write."""
        self.window.go("/account")
        csrf = self.window.find("input[name=csrf]").first.get_attribute("value")
        viewer = Window(self.window.context.browser, self.place.url, self.place.let_in("vera", Grant(Role.VIEWER)))  # type: ignore[arg-type]
        for n, text in enumerate(self.texts):
            self._post("/people", csrf, name=f"p{n}", display=text, role="viewer", channels="*")
            if n % 5 == 0:
                self._post("/tokens", csrf, label=text, rights="see", channels="*", days="1")
                self._post("/messages/saved", csrf, name=text[:70] + f" {n}", q=text, shared="true")
            if n % 10 == 0:
                viewer.go("/glass")
                viewer.page.get_by_label("Channel").select_option("charges")
                viewer.page.get_by_label("Why").fill(f"because of {text}")
                viewer.page.get_by_role("button", name="Break the glass").click()
                viewer.page.get_by_role("button", name="End it").first.click()
                viewer.find("p.note").wait_for()
                self._look(viewer)
        viewer.close()
        self.window.go("/worklists/parked")
        keys = self.window.find("input[name=key]").evaluate_all("all => all.map(one => one.value)")
        for n, key in enumerate(keys):
            self._post(
                "/worklists/assign", csrf, key=key, who=self.texts[n % len(self.texts)], note=self.texts[-n % len(self.texts)]
            )

    def _post(self, path: str, csrf: str | None, **fields: str) -> None:
        while True:
            answer = self.window.page.request.post(
                self.place.url + path, form={"csrf": csrf or "", **fields}, headers={"origin": self.place.url}, max_redirects=0
            )
            if answer.status != 429:
                break
            time.sleep(1)
        self.counts["said" if answer.status < 400 else "refused by rules"] += 1
        if answer.status >= 500 or answer.status == 403:
            self.found.append(f"{answer.status} from {path}: {fields}")

    # ── looking ────────────────────────────────────────────────────────────────────────────────────────────────────

    def watch(self) -> None:
        """The dashboard, open all the time while reasons come and go, live."""
        board = self._windows[1]
        board.go("/")
        self.window.go("/account")
        csrf = self.window.find("input[name=csrf]").first.get_attribute("value")
        reasons = list(chunks(self.texts, 250))
        for n, text in enumerate(reasons if self.thorough else reasons[::3]):
            self._post("/destinations/warehouse/pause", csrf, why=f"{text} #{n}")
            board.wait("mark => document.querySelector('#destinations-warehouse .why')?.textContent.includes(mark)", f"#{n}")
            self._look(board)
            self._post("/destinations/warehouse/resume", csrf, why="on")
            self.counts["live updates"] += 1

    def read(self) -> None:
        """Every message, each of its stages, and what can be done with it."""
        ids: dict[str, str] = {}
        address = "/api/v1/messages?limit=500"
        while address:
            page = self.window.page.request.get(self.place.url + address).json()
            ids.update({one["control_id"]: one["id"] for one in page["messages"]})
            address = f"/api/v1/messages?limit=500&before={page['older']}" if page.get("older") and page["older"] != "0" else ""
        for n, text in enumerate(self.texts):
            if n % 50 == 0:
                self.say(f"{n} of {len(self.texts)} texts looked at, {self.counts['pages']} pages")
            own = [one for control, one in reversed(ids.items()) if re.search(rf"(?:^| )(?:A|C|CB|D){n}$", control)]
            much = n % (5 if self.thorough else 10) == 0
            for one in (own[0], own[1 + n % 3]) if self.thorough else own[n % KINDS :][:1]:
                self.open(f"/messages/{one}")
                for link in self.window.find(".tabs.stages a, a.content, .modes a").all()[: 6 if much else self.thorough]:
                    self._load(link)
            if much:
                self.open(f"/messages/{own[0]}/edit")
                self.open(f"/workbench?message={own[0]}&chain=dft-to-charge")
                self.open(f"/messages?q={quote(text)}")
            if self.thorough or n % 4 == 0:
                self._search(text)
            if n % (10 if self.thorough else 40) == 0:
                for path in (
                    "/audit?who=",
                    "/?q=",
                    "/trends?noun=destination&name=",
                    "/map?show=",
                    "/compare/",
                    "/site/files/",
                    "/login?next=",
                ):
                    self.open(path + quote(text, safe=""))
                self.window.go("/people")
                self.window.page.get_by_label("Name", exact=True).fill(text)
                self.window.page.get_by_label("What people call them").fill(text)
                self.window.page.get_by_role("button", name="Add, and make a link").click()
                self.window.find(".problems").wait_for()
                self._look(self.window)

    def _search(self, text: str) -> None:
        """What is typed is searched for without a page of its own."""
        if not self.window.find("#q").count():
            self.open("/messages")
        self.window.press("/")
        self.window.find("#q").fill(as_it_is(text) + " ")
        with self.window.page.expect_response(lambda response: response.request.headers.get("hx-target") == "found"):
            self.window.press("Enter")
        self.window.wait(SETTLED)
        self.counts["searches"] += 1
        self._look(self.window)

    def walk(self) -> None:
        """Every kind of page that a link leads to, and every page of the long lists."""
        ahead, seen, shapes = (
            deque(["/", "/help", "/account", "/tokens", "/messages?limit=500", "/audit"]),
            set[str](),
            Counter[str](),
        )
        while ahead:
            path = ahead.popleft()
            shape = re.sub(r"\b[0-9A-Z]{10,11}\b|[0-9a-f]{12,}|\d+|=[^&]*|(?<=/files/).*", "*", path)
            most = 1000 if "before=" in path and path.startswith(("/messages", "/audit")) else SAME_SHAPE if self.thorough else 1
            if (
                path in seen
                or shapes[shape] >= most
                or path.startswith(("/static/", "/api/", "/messages/export"))
                or "/raw" in path
            ):
                continue
            seen.add(path)
            shapes[shape] += 1
            self.open(path)
            for target in self.window.find("[href], [hx-get]").evaluate_all(
                "all => all.map(one => one.getAttribute('hx-get') || one.getAttribute('href'))"
            ):
                parts = urlsplit(urljoin(self.window.page.url, target))
                if f"{parts.scheme}://{parts.netloc}" == self.place.url:
                    ahead.append(parts.path + (f"?{parts.query}" if parts.query else ""))

    def export(self) -> None:
        """Files that spreadsheets open, and bytes that browsers must not."""
        answer = self.window.page.request.get(f"{self.place.url}/messages/export?format=csv&q=")
        for row in csv.reader(io.StringIO(answer.text())):
            self.found += [f"formula {cell[:60]!r}" for cell in row if cell[:1] in "=+-@\t\r" and cell[:1]]
        self.counts["rows exported"] = len(answer.text().splitlines())

    def open(self, path: str) -> None:
        self._windows.rotate()
        self.window = self._windows[0]
        while (answer := self.window.go(path)).status == 429:
            time.sleep(1)
        self.counts["pages"] += 1
        if answer.status >= 500:
            self.found.append(f"{answer.status} from {path}")
        self._look(self.window)

    def _load(self, link: Any) -> None:
        """What a link of the page loads into it."""
        if not link.count() or not link.get_attribute("hx-get"):
            return
        with self.window.page.expect_response(lambda response: response.request.headers.get("hx-request") == "true"):
            link.evaluate("one => one.click()")
        self.window.wait(SETTLED)
        self.counts["parts"] += 1
        self._look(self.window)

    def _look(self, window: Window) -> None:
        found, shown = window.page.evaluate(LOOK)
        self.counts["shown"] += shown
        self.found += [f"{window.page.url[:150]}: {one}" for one in found]

    def end(self) -> None:
        for window in self._windows:
            self.found += [one for one in window.complaints if not any(text in one for text in window.expected)]
            window.close()


@contextmanager
def attacked(place: Place, refuser: Refuser, browser: Browser, most: int, say: Callable[[str], None]) -> Iterator[Attack]:
    """All of it. What must not be is in `found`, what the canary heard among it."""
    canary = Canary()
    attack = Attack(place, refuser, browser, payloads(canary.address, most), say)
    try:
        for step in (attack.send, attack.speak, attack.watch, attack.read, attack.walk, attack.export):
            began = time.monotonic()
            step()
            say(f"{step.__name__}: {time.monotonic() - began:.0f} s, {dict(attack.counts)}, {len(attack.found)} found")
        attack.end()
        attack.found += [f"the canary heard {path}" for path in canary.heard]
        attack.counts["canary"] = len(canary.heard)
        yield attack
    finally:
        canary.close()


def page(attack: Attack, seconds: float) -> str:
    """docs/reports/hostile-content.md"""
    facts, counts = machine(Path()), attack.counts
    dialogs = sum(one.startswith("dialog") for one in attack.found)
    policy = sum(one.startswith("policy") for one in attack.found)
    rows = [
        ("hostile texts", len(attack.texts)),
        ("messages sent through the engine with them", counts["messages"]),
        ("things that people said with them: names, reasons, notes, saved searches, token labels", counts["said"]),
        ("of those refused by the rules for names and labels, and told in a form again", counts["refused by rules"]),
        ("pages opened in Chromium", counts["pages"]),
        ("parts loaded into pages: stages, modes, answers", counts["parts"]),
        ("searches typed", counts["searches"]),
        ("live updates of an open dashboard", counts["live updates"]),
        ("times that a text stood on a page, as text", f"{counts['shown']:,}"),
        ("**dialogs**", dialogs),
        ("**violations of the content security policy**", policy),
        ("**requests that the canary heard**", counts["canary"]),
        ("**elements, attributes or addresses made of a text; errors of scripts; anything else**", len(attack.found) - dialogs - policy - counts["canary"]),
    ]  # fmt: skip
    return (
        "# Hostile content\n\n"
        f"{'Nothing ran, and nothing became markup.' if not attack.found else 'FAILED.'} Version {facts['wardline']}; repeat it with `make campaign-xss`, {seconds / 60:.0f} minutes.\n\n"
        "What stands in messages is written by others. The texts are tags and endings of tags, event handlers, SVG and MathML, addresses of\n"
        "scripts, expressions of template languages, attributes that htmx and our own scripts obey, style sheets, control and direction\n"
        "characters, line ends for headers and live streams, formulas for spreadsheets, queries (`tests/browser/payloads.py`).\n\n"
        "Each goes as real HL7 into every field that is shown: sender, type, control id, version, names, numbers and every indexed key, free\n"
        "text, Z segments, escaped and not; it is an unknown code, a value that cannot be converted, a type that is refused; receivers over HTTP\n"
        "and MLLP answer with it; files in `samples/` are called so; and people write it into names, notes, reasons, labels, searches and\n"
        "addresses. Then Chromium opens the pages, with ears for dialogs, errors, requests to anywhere else and violations of the policy, and\n"
        "every element of every page is looked at: none may carry the texts' mark, a handler, a style, or an address that leads away.\n\n"
        "| | |\n|---|---|\n" + "\n".join(f"| {title} | {value} |" for title, value in rows) + "\n\n"
        f"Machine: {facts['cores']} cores, {facts['processor']}, {facts['system']}; Python {facts['python']}. The first forty run with every "
        "`make test`.\n"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.xss", description=__doc__)
    parser.add_argument("--payloads", type=int, default=500)
    parser.add_argument("--report", type=Path, help="write the page to this file")
    options = parser.parse_args(arguments)
    began, refuser = time.monotonic(), Refuser()
    with (
        tempfile.TemporaryDirectory(prefix="wardline-xss-", ignore_cleanup_errors=True) as directory,
        running(Path(directory), lis=refuser.address) as place,
        chromium() as browser,
        attacked(place, refuser, browser, options.payloads, lambda text: print(text, file=sys.stderr, flush=True)) as attack,
    ):
        print(json.dumps({"found": attack.found[:200], **attack.counts}, indent=2, ensure_ascii=True))
        if options.report:
            options.report.write_text(page(attack, time.monotonic() - began), encoding="utf-8")
        return 1 if attack.found else 0


if __name__ == "__main__":
    sys.exit(main())
