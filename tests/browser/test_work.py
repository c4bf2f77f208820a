"""A day's work in the console, in a real browser against a real engine: reading why, repairing, replaying, steering, looking."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Window
from tests.browser.conftest import OpenWindow
from tests.browser.place import ROOT, SAMPLES, Place, charge, running, wait_for

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(300)]

Someone = Callable[..., str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with running(tmp_path_factory.mktemp("work")) as place:
        yield place


@pytest.fixture
def admin(place: Place, window_of: OpenWindow, someone: Someone) -> Window:
    return window_of(place, someone(place, "admin"))


def wardline(place: Place, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from engine.cli import main; main()", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=60)


def open_only(window: Window, query: str) -> None:
    """Search, and open the one message that is found: by keys."""
    window.go("/messages")
    window.press("/")
    window.page.keyboard.type(query)
    window.press("Enter")
    window.wait("query => new URLSearchParams(location.search).get('q') === query", query)
    window.wait("() => document.querySelectorAll('table.found tr[data-row]').length === 1")
    window.press("j", "Enter")
    window.find(".timeline").wait_for()


# ── reading why ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_why_a_message_was_rejected_stands_on_its_page(place: Place, admin: Window) -> None:
    sample = (SAMPLES / "siu_s12_surgery.hl7").read_bytes()
    assert place.send("adt", sample) == ["CR"]  # it asks for acknowledgements of enhanced mode
    open_only(admin, "state:rejected channel:adt")
    why = admin.find(".say .why").inner_text()
    assert "MSH-9.1 == 'ADT'" in why  # the rule
    assert "SIU" in why  # and the value
    admin.find("#stage", has_text="SIU^S12").wait_for()


# ── repairing ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_missing_code_is_added_and_what_waited_flows_on_in_order(place: Place, admin: Window) -> None:
    names = [f"SLP{n}" for n in range(1, 6)]
    place.send("charges", *(charge(name, account="ACC-SLP", department="SLP-9") for name in names))
    before = len(place.receiver.taken("/charges"))
    admin.go_until(
        "/worklists", "main tr:has-text('Unknown codes') td :text-is('5'), main tr:has-text('Unknown codes') td:text-is('5')"
    )
    admin.find("main table a", has_text="Unknown codes").click()
    admin.find("td[data-label=Code] a", has_text="SLP-9").click()
    assert admin.find("dd strong").first.inner_text() == "5"
    admin.page.get_by_label("account", exact=True).fill("400800")
    admin.page.get_by_label("cost_centre").fill("CC-SLP")
    admin.page.get_by_role("button", name="Write the row and let 5 messages go on").click()
    admin.find("#going", has_text="Everything has gone on, in the order in which it came").wait_for()
    taken = place.receiver.await_taken("/charges", before + 5)[before:]
    assert [one.transaction for one in taken] == [f"T{name}" for name in names]
    table = (place.directory / "mappings/codes/gl.csv").read_text("utf-8")
    assert table.endswith("\nSLP-9,,400800,CC-SLP\n")
    admin.go("/worklists/codes")
    assert admin.find("tr", has_text="SLP-9").locator("td[data-label='Waiting now' i]").inner_text() == "0"


# ── replaying ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("way", ["double click", "double Enter"])
def test_a_search_result_is_replayed_once_through_its_plan(place: Place, admin: Window, way: str) -> None:
    prefix = "CLICK" if way == "double click" else "ENTER"
    names = [f"{prefix}{n}" for n in range(3)]
    before = len(place.receiver.taken("/charges"))
    place.send("charges", *(charge(name, account=f"ACC-{prefix}") for name in names))
    sent = place.receiver.await_taken("/charges", before + 3)[before:]
    admin.go(f"/messages?q=account:ACC-{prefix}")
    admin.wait("() => document.querySelectorAll('table.found tr[data-row]').length === 3")
    admin.press("r")
    admin.find("h1", has_text="nothing has been done yet").wait_for()
    plan = admin.main()
    assert "3 messages" in plan
    assert "billing-api" in plan
    assert "delivered before" in plan
    admin.page.get_by_label("Why, for the record").fill(f"{prefix}: billing lost them")
    admin.page.get_by_label("I know what this plan warns of").check()
    button = admin.page.get_by_role("button", name="Replay 3 messages")
    if way == "double click":
        button.dblclick()
    else:
        button.focus()
        admin.press("Enter", "Enter")
    admin.wait("() => document.querySelector('#job .state')?.innerText.includes('done')")
    assert "3 messages" in admin.find("#job").inner_text()
    place.send("charges", charge(f"{prefix}LAST", account=f"ACC-{prefix}"))  # what comes after it is delivered after it
    again = place.receiver.await_taken("/charges", before + 7)[before + 3 :]
    last = [one for one in again if one.transaction == f"T{prefix}LAST"]
    replayed = [one for one in again if one not in last]
    assert [one.key for one in replayed] == [one.key for one in sent]  # each once more, under the same idempotency key
    assert not {one.identity for one in replayed} & {one.identity for one in sent}
    assert [one.body["payload"] for one in replayed] == [one.body["payload"] for one in sent]
    admin.go("/jobs")
    assert admin.find("tr[data-row]", has_text=f"{prefix}: billing lost them").count() == 1


# ── steering ───────────────────────────────────────────────────────────────────────────────────────────────────────


def steer(window: Window, row: str, button: str, why: str) -> None:
    window.find(f"#{row} [data-steer]").click()
    window.find("#steer[open] input[name=why]").fill(why)
    window.find("#steer").get_by_role("button", name=button, exact=True).click()
    window.find("p.note").wait_for()


def test_a_destination_is_paused_and_resumed_and_others_see_it_live(
    place: Place, admin: Window, window_of: OpenWindow, someone: Someone
) -> None:
    watcher = window_of(place, someone(place, "operator"))
    watcher.go("/")
    watcher.page.evaluate("document.documentElement.dataset.same = 'page'")
    row = "#destinations-billing-api"
    admin.go("/")
    steer(admin, "destinations-billing-api", "Pause", "new certificate")
    watcher.find(f"{row} .state", has_text="paused").wait_for()
    assert "new certificate" in watcher.find(f"{row} .why").inner_text()

    before = len(place.receiver.taken("/charges"))
    names = [f"PAUSE{n}" for n in range(4)]
    assert set(place.send("charges", *(charge(name, account="ACC-PAUSE") for name in names))) == {"AA"}
    watcher.find(f"{row} td:nth-child(5) a", has_text="4").wait_for()  # they wait
    place.send("adt", (SAMPLES / "adt_a01_inpatient.hl7").read_bytes())
    place.receiver.await_taken("/patients", 1)  # other destinations do not notice
    assert len(place.receiver.taken("/charges")) == before

    steer(admin, "destinations-billing-api", "Resume", "done")
    taken = place.receiver.await_taken("/charges", before + 4)[before:]
    assert [one.transaction for one in taken] == [f"T{name}" for name in names]
    watcher.find(f"{row} .state", has_text="running").wait_for()
    watcher.wait(f"() => document.querySelector('{row} td:nth-child(5)').innerText === ''")
    assert watcher.page.evaluate("document.documentElement.dataset.same") == "page"  # it was never loaded anew


def test_a_channel_is_stopped_and_started(place: Place, admin: Window) -> None:
    address = ("127.0.0.1", place.ports["results"])
    admin.go("/")
    steer(admin, "channels-results", "Stop", "sender misbehaves")
    admin.find("#channels-results .state", has_text="stopped").wait_for()

    def closed() -> bool | None:
        try:
            socket.create_connection(address, timeout=5).close()
        except OSError:
            return True
        return None

    wait_for(closed, "the channel is closed")
    assert place.send("charges", charge("STOP")) == ["AA"]  # the others go on
    steer(admin, "channels-results", "Start", "it has been repaired")
    admin.find("#channels-results .state", has_text="running").wait_for()
    place.engine.await_port(address)
    assert place.send("results", (SAMPLES / "oru_r01_chemistry.hl7").read_bytes()) == ["CA"]


# ── who may see what ───────────────────────────────────────────────────────────────────────────────────────────────


def test_breaking_the_glass_shows_bodies_and_is_noted(
    place: Place, admin: Window, window_of: OpenWindow, someone: Someone
) -> None:
    place.send("charges", charge("GLASS", account="ACC-GLASS"))
    viewer = window_of(place, someone(place, "viewer"))
    open_only(viewer, "control:CGLASS")
    assert "Contents are not shown to you" in viewer.main()
    assert "TESTER" not in viewer.page.content()
    viewer.find(".contents a", has_text="break the glass").click()
    viewer.page.get_by_label("Why").fill("patient in the emergency room, charge history unclear")
    viewer.page.get_by_role("button", name="Break the glass for an hour").click()
    viewer.find("p.glass", has_text="you read bodies of charges until").wait_for()
    viewer.find("#stage", has_text="TESTER").wait_for()  # on the message's page again, which can be read now

    name = viewer.find(".me summary").inner_text().lower()
    admin.go("/audit?what=break+glass")
    entry = admin.find("tr[data-row]").first
    assert name in entry.locator("td[data-label=Who]").inner_text()
    assert entry.locator("td[data-label='On what' i]").inner_text() == "charges"
    assert "emergency room" in entry.locator("td[data-label=Details]").inner_text()
    admin.go("/audit/verify")
    assert "whole" in admin.main()
    verified = wardline(place, "audit", "verify", "--site", str(place.directory))
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_viewer_of_one_channel_never_sees_the_others(
    place: Place, admin: Window, window_of: OpenWindow, someone: Someone
) -> None:
    place.send("charges", charge("SECRET", account="ACC-SECRET"))
    open_only(admin, "control:CSECRET")
    page = admin.page.url.removeprefix(place.url).partition("?")[0]
    viewer = window_of(place, someone(place, "viewer", "results"))
    viewer.go("/")
    assert viewer.find("tbody tr[data-row] th").all_inner_texts()[:1] == ["results"]
    assert "charges" not in viewer.page.content()
    for query in ("control:CSECRET", "channel:charges", "ACC-SECRET"):
        viewer.go(f"/messages?q={query}")
        assert viewer.find("table.found").count() == 0
        exported = viewer.page.request.get(f"{place.url}/messages/export?q={query}&format=jsonl")
        assert "CSECRET" not in exported.text()
    viewer.expected.append("404")
    for address in (page, f"{page}/siblings", f"{page}/raw?stage=in", f"{page}/diff", "/channels/charges"):
        answer = viewer.page.request.get(place.url + address)
        assert answer.status in (403, 404), address
        assert "CSECRET" not in answer.text()
    assert viewer.go(page).status == 404


# ── the workbench ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_workbench_shows_values_as_one_types_and_the_errors_of_the_command_line(
    place: Place, admin: Window, tmp_path: Path
) -> None:
    admin.go("/workbench")
    admin.find("select[name=chain]").select_option("dft-to-charge")
    admin.wait("() => location.search.includes('chain=dft-to-charge')")
    admin.find("select[name=sample]").select_option("hl7v2/dft_p03_pharmacy.hl7")
    value = "document.querySelector('#tried') && [...document.querySelectorAll('#tried tr')].find(row => row.cells[0].innerText === 'charge.description')?.cells[1].innerText"
    admin.wait(f"text => ({value}) === text", "Examplol 5 mg/mL")

    text = admin.find("#text").input_value()
    line = "description: =first(FT1-8, FT1-7.2, FT1-25.2)"
    assert line in text
    admin.find("#text").fill(text.replace(line, "description: =FT1-7.1 | lower"))
    admin.wait(f"text => ({value}) === text", "rx100")
    assert admin.find("#edited").is_visible()
    assert "=FT1-7.1" not in (place.directory / "mappings/dft-to-charge.yaml").read_text("utf-8")  # nothing is saved

    broken = text.replace(line, "description: =FT1-7.1 | lowercase")
    admin.find("#text").fill(broken)
    admin.find("#tried .verdict .bad").wait_for()
    shown = admin.find("#tried .verdict .wrap").inner_text()

    said = said_by_map(place, broken, tmp_path)
    assert " ".join(shown.split()) in " ".join(said.split())


def said_by_map(place: Place, text: str, site: Path) -> str:
    """What `wardline map` says of the same mapping, in a copy of the site."""
    for name in ("conf", "channels", "mappings", "samples"):
        shutil.copytree(place.directory / name, site / name)
    (site / "mappings" / "dft-to-charge.yaml").write_text(text, "utf-8")
    sample = site / "samples" / "hl7v2" / "dft_p03_pharmacy.hl7"
    done = wardline(place, "map", "--site", str(site), "dft-to-charge", str(sample))
    assert done.returncode != 0
    return done.stdout + done.stderr


# ── looks and keys ─────────────────────────────────────────────────────────────────────────────────────────────────

PAGES = (
    *("/", "/messages", "/messages?q=state:parked", "/worklists", "/worklists/parked", "/worklists/codes", "/trends", "/map"),
    *("/site", "/site/files/channels/charges.yaml", "/workbench", "/compare", "/jobs", "/people", "/audit", "/account", "/help"),
    *("/channels/charges", "/destinations/billing-api", "/plans/new?verb=replay&q=channel:charges", "/tokens", "/glass"),
)
OVERFLOW = """() => {
  const wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= wide) return '';
  const over = [...document.querySelectorAll('body *')].filter(one => one.getBoundingClientRect().right > wide + 1
    && !one.closest('.scroll, pre, .editor, svg, nav'));
  return `${document.documentElement.scrollWidth} of ${wide}: ` + over.slice(0, 5).map(one => one.outerHTML.slice(0, 120)).join(' | ');
}"""


def test_no_page_is_wider_than_a_phone(place: Place, window_of: OpenWindow, someone: Someone) -> None:
    place.send("charges", charge("PHONE", account="ACC-PHONE"), charge("PHONE2", account="ACC-PHONE", department="NONE-1"))
    phone = window_of(place, someone(place, "admin"), viewport={"width": 390, "height": 800}, is_mobile=True, has_touch=True)
    phone.go("/messages?q=control:CPHONE")
    message = phone.find("table.found a.id").first.get_attribute("href")
    wide = {page: found for page in (*PAGES, str(message)) if phone.go(page) and (found := phone.page.evaluate(OVERFLOW))}
    assert wide == {}


def test_keys_are_explained_and_lead_everywhere(place: Place, admin: Window) -> None:
    admin.go("/")
    admin.press("?")
    admin.find("#keys[open] table.keys").first.wait_for()
    assert {"/", "j", "Enter"} <= set(admin.find("#keys kbd").all_inner_texts())
    admin.press("Escape")
    assert admin.find("#keys[open]").count() == 0
    for key, address in (("m", "/messages"), ("w", "/worklists"), ("b", "/workbench"), ("d", "/")):
        admin.press("g", key)
        admin.wait("([path]) => location.pathname === path && document.readyState === 'complete'", [address])
    admin.press("j")
    assert admin.find(".board tr.here").count() == 1
    assert admin.page.evaluate("document.activeElement.closest('tr').classList.contains('here')")


def test_dark_and_light_are_chosen_and_kept(place: Place, window_of: OpenWindow, someone: Someone) -> None:
    def darkness(window: Window) -> int:
        colour = window.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        return 255 - max(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")[:3])

    session = place.let_in("themed", place.admin)
    window = window_of(place, session, color_scheme="light")
    window.go("/account")
    assert darkness(window) < 40
    window.page.emulate_media(color_scheme="dark")
    assert darkness(window) > 200
    window.page.get_by_label("Colours").select_option("light")
    window.wait("() => document.documentElement.dataset.theme === 'light'")
    assert darkness(window) < 40
    window.go("/")
    assert darkness(window) < 40, "it is kept, whatever the system says"


def test_the_ear_hears(place: Place, admin: Window) -> None:
    """Markup that got into a page, a request to elsewhere, an error: each would fail every test here."""
    admin.go("/")
    admin.page.evaluate("document.querySelector('main').innerHTML += '<img src=x onerror=alert(1)><b style=\"color:red\">x</b>'")
    admin.page.evaluate("fetch('https://elsewhere.example/').catch(() => 0)")
    admin.page.evaluate("setTimeout(() => { throw new Error('lost') })")
    for sign in ("script-src-attr", "style-src-attr", "connect-src", "uncaught"):

        def heard(sign: str = sign) -> bool | None:
            admin.page.evaluate("1")  # so that what the page says arrives
            return any(sign in one for one in admin.complaints) or None

        wait_for(heard, f"{sign} is heard")
    admin.complaints.clear()
