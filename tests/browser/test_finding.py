"""One message among a hundred thousand, by the number of its patient, without a mouse."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.browser.conftest import OpenWindow
from tests.browser.crowd import PATIENTS, mrn
from tests.browser.place import ROOT, Place, charge, running

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(400)]

MESSAGES = 100_000
WANTED = 12_345


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The engine's own store, in which a hundred thousand messages have been, and one more that has just come in."""
    directory = tmp_path_factory.mktemp("finding")
    (directory / "data").mkdir()
    url = f"sqlite:///{directory}/data/wardline.db"
    subprocess.run([sys.executable, "-m", "tests.browser.crowd", url, str(MESSAGES)], check=True, cwd=ROOT)
    with running(directory) as place:
        assert place.send("charges", charge("FOUND", mrn=mrn(WANTED))) == ["AA"]
        place.receiver.await_taken("/charges", 1)
        yield place


def test_a_message_is_found_by_its_mrn_and_opened_by_keys(place: Place, window_of: OpenWindow) -> None:
    window = window_of(place, place.let_in("ann", place.admin))
    window.go("/")
    window.press("/")
    window.page.keyboard.type(f"mrn:{mrn(WANTED)}")
    window.press("Enter")
    window.find("table.found tbody tr").first.wait_for()
    ids = window.find("table.found td[data-label='Control id' i]").all_inner_texts()
    crowd = [f"CROWD{number:06}" for number in range(WANTED % PATIENTS, MESSAGES, PATIENTS)]
    assert ids == ["CFOUND", *reversed(crowd)]  # all that the patient has, of all channels, the newest first

    window.press("j")
    assert window.find("tr.here").count() == 1
    window.press("Enter")
    window.find("#stage .segments, #stage [data-pieces]").first.wait_for()
    assert "CFOUND" in window.main()
    assert mrn(WANTED) in window.find("#stage").inner_text()
    others = window.find("[aria-labelledby=same] tr[data-row]")  # the same patient's, of other channels too
    others.first.wait_for()
    assert others.count() == len(crowd) + 1


def test_typing_offers_what_there_is(place: Place, window_of: OpenWindow) -> None:
    window = window_of(place, place.let_in("bob", place.admin))
    window.go("/messages")
    window.press("/")
    window.page.keyboard.type("chan")
    window.find("#offers li", has_text="channel:").wait_for()
    window.press("Tab")
    window.find("#offers li", has_text="channel:results").wait_for()
    window.page.keyboard.type("res")
    window.wait("document.querySelectorAll('#offers li').length === 1")
    window.press("Tab", "Enter")
    window.wait("location.search.includes('channel%3Aresults')")
    assert set(window.find("table.found td[data-label=Channel]").all_inner_texts()) == {"results"}
    first = window.find("table.found td[data-label='Control id' i]").first.inner_text()
    window.press("Escape", "n")
    window.wait("location.search.includes('before=')")
    assert window.find("table.found td[data-label='Control id' i]").first.inner_text() != first
