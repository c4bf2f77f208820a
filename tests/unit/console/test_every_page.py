"""What holds of every page: found by walking from the dashboard over every link, as an administrator would."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

import pytest
from lxml import html

from engine.console.doors import doors
from engine.console.rendering import STATIC
from engine.model import Delivered, MessageState, Refused, Unknown
from tests.console import SAMPLES, Client, Opened, opened

HEAVIEST = 150_000  # bytes of a page with everything it loads
MOST = 400  # pages looked at
NAME = "Zzyzxworthy"  # of the patient: stands in every message, and nowhere else
SENT = {
    "adt": ("adt_a01_inpatient.hl7", "adt_a40_merge.hl7", "adt_a08_nulls.hl7"),
    "charges": (
        "dft_p03_pharmacy.hl7",
        "dft_p03_unknown_department.hl7",
        "dft_p03_missing_department.hl7",
        "dft_p03_pharmacy.hl7",
    ),
    "results": ("oru_r01_chemistry.hl7",),
}
AFTER_WORK = {  # pages of what this walk does not do: their own tests look at them
    *("/account/totp", "/compare/{job}", "/jobs/{job}", "/jobs/{job}/progress", "/jobs/progress", "/site/diff"),
    *("/worklists/codes/{table}/progress", "/worklists/refused/{number}"),
}
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with opened(tmp_path_factory.mktemp("walk")) as made:
        for channel, names in SENT.items():
            for name in names:
                made.send(channel, (SAMPLES / name).read_bytes().replace(b"Featherstonehaugh", NAME.encode()))
        stray = (b"MSH|^~\\&|EHR|G|W|G|20261101||SIU^S12|%s|P|2.5\r" % HOSTILE.encode()) + b"PID|1||1^^^G^MR\r"
        made.send("adt", stray, state=MessageState.REJECTED, reason=f"=MSH-9.1 in ('ADT',) is not true: {HOSTILE}")
        made.deliver("mpi", Delivered(b'{"ok": true}'), 1)
        made.deliver("mpi", Refused(f"422: {HOSTILE}", HOSTILE.encode()), 1)
        made.deliver("billing-api", Unknown("no answer within 30 s"))
        yield made


@pytest.fixture(scope="module")
def pages(console: Opened) -> dict[str, str]:
    """Every page that can be walked to, by its address."""
    client = console.as_("admin")
    found: dict[str, str] = {}
    ahead, shapes = deque(["/", "/help", "/account"]), Counter[str]()
    while ahead and len(found) < MOST:
        address = ahead.popleft()
        shape = re.sub(r"\b[0-9A-Z]{10,11}\b|[0-9a-f]{12,}|\d+|=[^&]*|(?<=/files/).*", "*", address)
        if address in found or shapes[shape] >= 4:  # four of a kind tell as much as four hundred
            continue
        shapes[shape] += 1
        answer = client.get(address)
        if answer.status_code == 303:
            ahead.append(answer.headers["location"])
            continue
        if not answer.headers.get("content-type", "").startswith("text/html"):
            assert answer.status_code == 200, f"{address}: {answer.status_code}"
            continue
        assert answer.status_code == 200, f"{address}: {answer.status_code} {_said(answer.text)}"
        found[address] = answer.text
        ahead.extend(_links(address, answer.text))
    return found


def _said(text: str) -> str:
    return " ".join(html.fromstring(text).text_content().split())[:300]


def _links(address: str, text: str) -> list[str]:
    links = []
    for name in ("href", "hx-get"):
        for target in html.fromstring(text).xpath(f"//*/@{name}"):
            parts = urlsplit(urljoin(f"https://testserver{address}", target))
            if parts.hostname == "testserver" and not parts.path.startswith(("/static/", "/api/")):
                links.append(parts.path + (f"?{parts.query}" if parts.query else ""))
    return links


def whole(pages: dict[str, str]) -> Iterator[tuple[str, str, html.HtmlElement]]:
    for address, text in pages.items():
        if text.lstrip().lower().startswith("<!doctype"):
            yield address, text, html.fromstring(text)


def test_no_link_leads_nowhere_and_every_page_is_linked(pages: dict[str, str]) -> None:
    patterns = [one.path for one in doors() if one.page and one.method == "GET" and one.scope != "public"]
    reached = {
        pattern
        for pattern in patterns
        for address in pages
        if re.fullmatch(re.sub(r"{\w+:path}", ".+", re.sub(r"{\w+}", "[^/]+", pattern)), urlsplit(address).path)
    }
    assert sorted(set(patterns) - reached - AFTER_WORK) == []


def test_nothing_is_inline(pages: dict[str, str]) -> None:
    """The policy would stop it; a page that needs stopping is wrong all the same."""
    wrong = []
    for address, text in pages.items():
        page = html.fromstring(text)
        wrong += [
            f"{address}: inline script" for one in page.xpath("//script[not(@src)]") if one.get("type") != "application/json"
        ]
        wrong += [f"{address}: {name} on <{one.tag}>" for one in page.iter() if isinstance(one.tag, str) for name in one.attrib
                  if name.startswith("on") or name == "style"]  # fmt: skip
        wrong += [f"{address}: <style>" for _ in page.xpath("//style")]
        wrong += [
            f"{address}: {target}"
            for target in page.xpath("//@href | //@src")
            if target.startswith(("javascript:", "http", "//"))
        ]
    assert "\n".join(wrong) == ""


def test_what_came_from_outside_is_never_markup(pages: dict[str, str]) -> None:
    shown = [address for address, text in pages.items() if HOSTILE in text]
    assert "\n".join(shown) == ""
    assert any("&lt;script&gt;alert(1)" in text for text in pages.values())


def test_pages_are_light(pages: dict[str, str]) -> None:
    heavy = {}
    for address, text, page in whole(pages):
        assets = page.xpath("//script/@src | //link[@rel='stylesheet']/@href | //img/@src | //link[@rel='icon']/@href")
        loaded = {target.partition("?")[0].removeprefix("/static/") for target in assets if target.startswith("/static/")}
        weight = len(text.encode()) + sum((STATIC / name).stat().st_size for name in loaded)
        if weight > HEAVIEST:
            heavy[address] = weight
    assert heavy == {}


def test_readers_find_their_way(pages: dict[str, str]) -> None:
    wrong = []
    for address, _, page in whole(pages):
        said = [
            ("no language", page.get("lang")),
            ("no title", page.xpath("string(//title)").strip()),
            ("not one h1", len(page.xpath("//main//h1")) == 1),
            ("no main", page.xpath("//main")),
            ("no caption of who acts where", page.xpath("//*[@class='env']")),
        ]
        wrong += [f"{address}: {what}" for what, holds in said if not holds]
        ids = Counter(page.xpath("//@id"))
        wrong += [f"{address}: id {name} stands {count} times" for name, count in ids.items() if count > 1]
        for field in page.xpath("//input[not(@type='hidden')] | //select | //textarea"):
            labelled = field.get("aria-label") or field.get("aria-labelledby") or field.xpath("ancestor::label")
            if not labelled and not (field.get("id") and page.xpath(f"//label[@for='{field.get('id')}']")):
                wrong.append(f"{address}: <{field.tag} name={field.get('name')}> has no label")
        for image in page.xpath("//img[not(@alt)]"):
            wrong.append(f"{address}: {image.get('src')} has no alt")
        for button in page.xpath("//button | //a"):
            if not (button.text_content().strip() or button.get("aria-label") or button.xpath(".//img[@alt!='']")):
                wrong.append(f"{address}: <{button.tag}> without a name")
    assert "\n".join(wrong) == ""


def test_every_form_that_changes_something_shows_its_token(pages: dict[str, str]) -> None:
    wrong = []
    for address, text in pages.items():
        for form in html.fromstring(text).xpath("//form[translate(@method, 'POST', 'post')='post']"):
            if not form.xpath(".//input[@name='csrf']"):
                wrong.append(f"{address}: {form.get('action')}")
    assert "\n".join(wrong) == ""


def test_a_viewer_sees_no_body_anywhere(console: Opened, pages: dict[str, str]) -> None:
    """Of the same addresses, what somebody is shown who may not read bodies: nothing of a patient's name."""
    viewer: Client = console.as_("viewer")
    assert any(NAME in text for text in pages.values())  # whoever may, does
    leaks = []
    for address in pages:
        answer = viewer.get(address)
        if NAME in answer.text or "MSH|" in answer.text:
            leaks.append(address)
    assert leaks == []
