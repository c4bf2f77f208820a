"""The workbench: what is tried, what is shown, and that nothing of it is kept or let through."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import html

from engine.console.answers import Conflict, Invalid
from engine.console.benching import Trials
from engine.ids import format_id
from engine.testing.apart import ask
from tests.console import SAMPLES, Opened, opened
from tests.endless import for_ever

FILE = "mappings/dft-to-charge.yaml"
SAMPLE = "hl7v2/dft_p03_two_charges.hl7"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with opened(tmp_path_factory.mktemp("bench")) as made:
        yield made


def content() -> str:
    return (SAMPLES / "dft_p03_two_charges.hl7").read_text()


def text(console: Opened) -> str:
    return (console.directory / FILE).read_text()


def rows(page: str) -> dict[str, str]:
    """The fields of the first result: path and value as they are shown."""
    found = html.fromstring(page).xpath("(//table[contains(@class, 'fields')])[1]/tbody/tr")
    return {row[0].text_content().strip(): row[1].text_content().strip() for row in found}


def test_it_shows_a_sample_and_the_text_of_its_mapping(console: Opened) -> None:
    page = html.fromstring(console.as_("analyst").get(f"/workbench?chain=dft-to-charge&sample={SAMPLE}").text)
    assert page.xpath("string(//textarea[@name='text'])").strip() == text(console).strip()
    assert page.xpath("string(//textarea[@name='content'])").strip() == content().replace("\r", "\n").strip()
    assert "charges → billing" in page.xpath("string(//select[@name='chain'])")


def test_each_field_says_where_it_comes_from(console: Opened) -> None:
    page = console.as_("analyst").post("/workbench/try", {"chain": "dft-to-charge", "content": content()}).text
    assert rows(page)["charge.department"] == "RAD-1"
    (place,) = html.fromstring(page).xpath("//tr[td[1]='charge.department']//a[@data-place]/@data-place")[:1]
    assert place == "FT1[1]-13.1"
    line = html.fromstring(page).xpath("//tr[td[1]='charge.department']//a[@data-line]/@data-line")[0]
    assert "department: =FT1-13.1" in text(console).splitlines()[int(line) - 1]


def test_an_edited_text_counts_and_is_not_saved(console: Opened) -> None:
    before = text(console)
    edited = before.replace("=FT1-13.1 | required", "nowhere")
    fields = {"chain": "dft-to-charge", "content": content(), "file": FILE, "text": edited.replace("\n", "\r\n")}
    page = console.as_("analyst").post("/workbench/try", fields).text
    assert rows(page)["charge.department"] == "nowhere"
    assert text(console) == before


def test_its_findings_are_those_of_check(console: Opened) -> None:
    edited = text(console).replace("=FT1-13.1 | required", "=FT1-13.1 | requierd")
    fields = {"chain": "dft-to-charge", "content": content(), "file": FILE, "text": edited}
    page = console.as_("analyst").post("/workbench/try", fields).text
    (finding,) = html.fromstring(page).xpath("//ul[@class='findings']/li")
    line = next(n for n, one in enumerate(edited.splitlines(), 1) if "requierd" in one)
    assert finding.xpath(".//@data-line") == [str(line)]
    assert "Did you mean" in finding.text_content()


def test_a_message_that_would_park_says_so_as_map_does(console: Opened) -> None:
    told = console.token("analyst").post(
        "/api/v1/workbench/try",
        json={"chain": "dft-to-charge", "content": (SAMPLES / "dft_p03_missing_department.hl7").read_text()},
    )
    fault = told.json()["fault"]
    assert fault["text"].startswith("dft-to-charge charge.department: FT1[2]-13.1 is required")
    assert (fault["file"], fault["place"]) == (FILE, "FT1[2]-13.1")
    assert told.json()["delivered"] == []


def test_a_chain_shows_each_of_its_steps(console: Opened) -> None:
    told = console.token("analyst").post(
        "/api/v1/workbench/try", json={"chain": "dft-to-charge, charge-to-journal", "content": content()}
    )
    assert [(step["mapping"], len(step["results"])) for step in told.json()["steps"]] == [
        ("dft-to-charge", 2),
        ("charge-to-journal", 1),
    ]
    assert [one["kind"] for one in told.json()["delivered"]] == ["journal/v1"]


def test_the_tests_run_on_the_edited_text(console: Opened) -> None:
    client = console.as_("analyst")
    assert "all pass" in client.post("/workbench/test", {"chain": "dft-to-charge"}).text
    edited = text(console).replace("=FT1-13.1 | required", "nowhere")
    page = client.post("/workbench/test", {"chain": "dft-to-charge", "file": FILE, "text": edited}).text
    assert "all pass" not in page
    assert "nowhere" in page or "expected to park" in page


def test_what_stands_in_a_message_or_a_mapping_is_never_markup(console: Opened) -> None:
    hostile = content().replace("Featherstonehaugh", HOSTILE)
    edited = text(console).replace("batch_id: =FT1-3", f"batch_id: =FT1-3 ~ '{HOSTILE}'")
    page = (
        console.as_("analyst")
        .post("/workbench/try", {"chain": "dft-to-charge", "content": hostile, "file": FILE, "text": edited})
        .text
    )
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page


def test_a_stored_message_is_shown_to_whoever_may_read_it(console: Opened) -> None:
    number = format_id(console.sample("charges", "dft_p03_pharmacy.hl7"))
    shown = console.as_("analyst").get(f"/workbench?chain=dft-to-charge&message={number}")
    assert "DFT^P03" in shown.text
    assert console.as_("viewer").get(f"/workbench?message={number}").status_code == 403
    elsewhere = console.as_("analyst", channels="adt").get(f"/workbench?message={number}")
    assert elsewhere.status_code == 404
    assert "DFT^P03" not in elsewhere.text
    tried = console.as_("analyst", channels="adt").post(
        "/workbench/try", {"chain": "adt-to-patient", "content": content(), "message": number}
    )
    assert tried.status_code == 404


def test_a_stored_message_is_tried_with_its_own_facts(console: Opened) -> None:
    number = console.sample("charges", "dft_p03_credit.hl7")
    sent = (SAMPLES / "dft_p03_credit.hl7").read_text()
    told = (
        console.token("analyst")
        .post("/api/v1/workbench/try", json={"chain": "dft-to-charge", "content": sent, "message": format_id(number)})
        .json()
    )
    assert f'"message_id":"{format_id(number)}"' in told["delivered"][0]["content"]


@pytest.mark.parametrize(
    "fields",
    [
        {"chain": "no-such-mapping"},
        {"chain": ""},
        {"chain": "../../etc/passwd"},
        {"chain": ",".join(["dft-to-charge"] * 11)},
        {"chain": "dft-to-charge", "file": "conf/engine.yaml", "text": "x"},
        {"chain": "dft-to-charge", "file": "../x.yaml", "text": "x"},
        {"chain": "dft-to-charge", "encoding": "utf-16"},
    ],
)
def test_what_cannot_be_tried_is_said(console: Opened, fields: dict[str, str]) -> None:
    answer = console.as_("analyst").post("/workbench/try", {"content": "MSH|", **fields})
    assert answer.status_code == 422


@pytest.mark.parametrize("path", ["sample=../conf/engine.yaml", "sample=/etc/passwd", "message=8000000000"])
def test_only_samples_and_messages_are_shown(console: Opened, path: str) -> None:
    assert console.as_("analyst").get(f"/workbench?{path}").status_code == 404


def test_only_whoever_may_try_comes_here(console: Opened) -> None:
    for role in ("viewer", "operator", "auditor"):
        assert console.as_(role).get("/workbench").status_code == 403
        assert console.as_(role).post("/workbench/try", {"chain": "dft-to-charge", "content": "MSH|"}).status_code == 403


def test_the_edited_text_can_be_taken_away(console: Opened) -> None:
    answer = console.as_("analyst").post(
        "/workbench/text", {"chain": "dft-to-charge", "file": FILE, "text": "a: b\r\n", "content": "x"}
    )
    assert answer.content == b"a: b\n"
    assert 'filename="dft-to-charge.yaml"' in answer.headers["content-disposition"]


# ── one at a time ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_newer_trial_ends_the_older_one_of_the_same_person() -> None:
    trials, begun, ended = Trials(), threading.Event(), []

    def older() -> None:
        try:
            with trials.of("ann") as told:
                ask(for_ever, begun=lambda apart: (told(apart), begun.set()), limit=60)
        except Conflict as error:
            ended.append(error)

    thread = threading.Thread(target=older)
    thread.start()
    assert begun.wait(30)
    with trials.of("ann"):
        thread.join(30)
    assert len(ended) == 1


def test_a_trial_that_does_not_end_is_ended_and_says_so() -> None:
    trials = Trials()
    with pytest.raises(Invalid, match=r"ended by force: no end after 0\.3 s"), trials.of("ann") as told:
        ask(for_ever, begun=told, limit=0.3)
    with trials.of("ann"):  # and the next one has its turn
        pass


def test_a_site_with_errors_can_be_worked_on(tmp_path: Path) -> None:
    with opened(tmp_path) as made:
        path = made.directory / "channels/adt.yaml"
        path.write_text(path.read_text().replace("to: mpi", "to: mpii", 1))
        page = made.as_("analyst").get("/workbench").text
        assert "charges → billing" in page
