"""Plans, jobs and edited copies as people meet them: the plan first, agreed to once, carried out beside live traffic."""

from __future__ import annotations

import html
import re
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.console.working import Work, work
from engine.ids import format_id
from engine.model import Action, Delivered, Refused, Verb
from engine.operations import jobs as jobs_module
from engine.operations.alone import done
from engine.operations.control import NotRunning
from tests.console import SAMPLES, Client, Opened, opened


class Place:
    """A console whose engine is the store alone, and whose jobs run when the test says so."""

    def __init__(self, console: Opened) -> None:
        self.console = console
        self.away = False
        self.work: Work = work(console.home)
        self.work.go_on = lambda: None  # type: ignore[method-assign]
        console.home.caller = self.caller  # type: ignore[method-assign]

    @contextmanager
    def caller(self) -> Iterator[Any]:
        if self.away:
            raise NotRunning("no engine runs on the site")
        yield self.call

    def call(self, verb: str, /, **about: Any) -> Any:
        if verb == "act":
            ids = {name: tuple(about.pop(name, ())) for name in ("messages", "deliveries")}
            return done(self.console.store.act(Action(**{"why": "", **about, **ids, "verb": Verb(about["verb"])})))._asdict()
        assert verb == "submit"
        number = self.console.send(about["channel"], b64decode(about["content"]), replay_of=about["replay_of"])  # type: ignore[call-arg]
        return {"message": number, "verdict": "accepted", "reason": ""}

    def run(self) -> None:
        self.work.runner._failed.clear()  # what failed before is tried again at once
        while self.work.jobs.next() is not None:
            assert self.work.runner.turn() == 0

    def charge(self, number: int, sample: str = "dft_p03_two_charges.hl7") -> int:
        content = re.sub(rb"^((?:[^|]*\|){9})([^|]*)", rb"\g<1>C%d" % number, (SAMPLES / sample).read_bytes())
        return self.console.send("charges", content)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with opened(tmp_path) as console:
        yield Place(console)


def said(page: Any) -> str:
    text = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", page.text, flags=re.DOTALL)
    return " ".join(html.unescape(text).split())


def form(page: Any) -> str:
    """Where the page's agreement goes."""
    found = re.search(r'method="post" action="(/plans/\w+)"', page.text)
    assert found is not None, said(page)
    return found[1]


def planned(client: Client, **about: Any) -> Any:
    page = client.get("/plans/new", params=about)
    assert page.status_code == 200, said(page)
    return page


def test_a_plan_is_shown_agreed_to_once_and_carried_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "STEP", 3)
    for number in range(4):
        place.charge(number)
    place.console.deliver("billing-api", Delivered(b"{}"))
    ann = place.console.as_("operator", name="ann")
    page = planned(ann, verb="resend", q="channel:charges destination:billing-api")
    text = said(page)
    assert "8 deliveries in less than a second" in text, text
    assert "billing-api 8 ! 8" in text
    assert "Resend 8 deliveries to billing-api" in text
    where = form(page)
    refused = ann.post(where, {"why": "asked for"})
    assert (refused.status_code, "tick the box" in said(refused)) == (422, True)
    answers = [ann.post(where, {"why": "asked for", "sure": "true"}) for _ in range(5)]
    job = where.replace("plans", "jobs")
    assert {(one.status_code, one.headers["location"]) for one in answers} == {(303, job)}
    assert "running" in said(ann.get(job))
    assert place.work.runner.turn() == 0
    assert "3 of 8, in 1 step" in said(ann.get(f"{job}/progress"))
    assert ann.post(f"{job}/pause").status_code == 303
    assert "paused by ann" in said(ann.get(job))
    assert place.work.jobs.next() is None
    assert ann.post(f"{job}/resume").status_code == 303
    place.run()
    text = said(ann.get(job))
    assert "done" in text, text
    assert "0 messages, 8 deliveries" in text, text
    assert place.console.deliver("billing-api", Delivered(b"{}")) == 8
    assert ann.post(f"{job}/stop").status_code == 422
    assert "Resend to billing-api" in said(ann.get("/jobs"))


def test_what_changed_since_the_plan_is_passed_over_and_told(place: Place) -> None:
    numbers = [place.charge(number) for number in range(3)]
    ann = place.console.as_("operator")
    where = form(planned(ann, verb="cancel", q="state:waiting destination:billing-api"))
    assert place.console.deliver("billing-api", Delivered(b"{}"), 1) == 1
    ann.post(where)
    place.run()
    job = place.work.jobs.find(where.rsplit("/", 1)[1])
    assert (job.done, job.deliveries, job.passed_over) == (6, 5, 1)
    assert "Passed over 1: they had changed since the plan was made" in said(ann.get(f"/jobs/{job.name}"))
    states = [one.state for one in place.console.home.history().deliveries(numbers[0]) if one.destination == "billing-api"]
    assert "delivered" in states


def test_while_the_engine_is_away_the_job_waits(place: Place) -> None:
    place.charge(1)
    ann = place.console.as_("operator")
    where = form(planned(ann, verb="cancel", q="channel:charges"))
    ann.post(where)
    place.away = True
    assert place.work.runner.turn() > 0
    assert "no engine runs on the site. It goes on by itself." in said(ann.get(where.replace("plans", "jobs")))
    place.away = False
    place.run()


def test_nobody_acts_where_they_may_not(place: Place) -> None:
    place.charge(1)
    place.console.sample("results", "oru_r01_chemistry.hl7")
    lab, viewer = place.console.as_("operator", channels="results"), place.console.as_("viewer")
    page = planned(lab, verb="cancel", q="state:waiting")
    assert "From channel results 1 message" in said(page)
    assert "charges" not in said(page)
    assert viewer.get("/plans/new", params={"verb": "cancel", "q": "state:waiting"}).status_code == 403
    where = form(planned(place.console.as_("operator"), verb="cancel", q="channel:charges"))
    for client, status in ((viewer, 403), (lab, 404)):
        assert client.post(where).status_code == status
    assert lab.get(where).status_code == 404
    assert viewer.get(where).status_code == 200
    assert place.work.jobs.all() == []
    analyst = place.console.as_("analyst")
    assert analyst.post(where).status_code == 403


def test_a_program_plans_and_agrees_the_same_way(place: Place) -> None:
    place.charge(1)
    program = place.console.token("operator")
    plan = program.get("/api/v1/plans/new", params={"verb": "cancel", "q": "channel:charges"}).json()
    assert (plan["deliveries"], plan["state"], plan["sure"]) == (3, "planned", False), plan
    agreed = program.post(f"/api/v1/plans/{plan['name']}", json={"why": "test"})
    assert (agreed.status_code, agreed.json()["location"]) == (202, f"/jobs/{plan['name']}")
    place.run()
    job = program.get(f"/api/v1/jobs/{plan['name']}").json()
    assert (job["state"], job["deliveries"]) == ("done", 3)
    assert [one["name"] for one in program.get("/api/v1/jobs").json()["jobs"]] == [plan["name"]]
    assert program.get("/api/v1/plans/new", params={"verb": "cancel", "q": "nosuch:1"}).status_code == 422
    assert program.get("/api/v1/plans/new", params={"verb": "cancel"}).status_code == 422


@pytest.mark.parametrize("path", ["/plans/nosuch", "/jobs/nosuch", "/jobs/nosuch/progress", "/jobs/..%2f..%2fetc"])
def test_what_is_not_there_is_not_found(place: Place, path: str) -> None:
    assert place.console.as_("admin").get(path).status_code == 404


# ── copies ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_edited_copy_is_shown_sent_once_and_linked(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    number = place.charge(1, "dft_p03_unknown_department.hl7")
    original = place.console.home.history().message(number)
    assert original is not None
    submitted: list[dict[str, Any]] = []

    def call(verb: str, /, **about: Any) -> Any:
        submitted.append(about)
        return {"message": number + 16, "verdict": "accepted", "reason": ""}

    monkeypatch.setattr(place, "call", call)
    ann = place.console.as_("analyst", name="ann")
    page = ann.get(f"/messages/{format_id(number)}/edit")
    found = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page.text, re.DOTALL)
    assert found is not None
    text = html.unescape(found[1])
    same = ann.post(f"/messages/{format_id(number)}/edit", {"text": text.replace("\n", "\r\n")})
    assert (same.status_code, "nothing was changed" in said(same)) == (422, True)
    kept = ann.post(f"/messages/{format_id(number)}/edit", {"text": text.replace("SLP-1", "RAD-1").replace("\n", "\r\n")})
    where = kept.headers["location"]
    page = ann.get(where)
    assert "added: + FT1" in said(page), said(page)
    assert "taken out: − FT1" in said(page), said(page)
    assert place.console.as_("viewer").get(where).status_code == 403, "a viewer reads no bodies"
    for _ in range(3):
        assert ann.post(where, {"why": "wrong department"}).status_code == 303
    place.run()
    (sent,) = submitted
    assert b64decode(sent.pop("content")) == original.content.replace(b"SLP-1", b"RAD-1")
    assert sent == {"channel": "charges", "replay_of": number, "who": "ann", "why": "wrong department"}
    assert format_id(number + 16) in ann.get(where.replace("plans", "jobs")).text


def test_who_may_not_edit_or_not_read_does_not(place: Place) -> None:
    number = format_id(place.charge(1))
    for role in ("viewer", "auditor"):
        client = place.console.as_(role)
        assert client.get(f"/messages/{number}/edit").status_code == 403
        assert client.post(f"/messages/{number}/edit", {"text": "x"}).status_code == 403


# ── worklists ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_forty_of_one_cause_are_one_line_that_somebody_takes_and_releases(place: Place) -> None:
    for number in range(40):
        place.charge(number, "dft_p03_missing_department.hl7")
    place.charge(99)
    place.console.deliver("billing-api", Refused("HTTP 422 account 4411 is closed"), 1)
    ann = place.console.as_("operator", name="ann")
    text = said(ann.get("/worklists/parked"))
    assert "dft-to-charge charge.department" in text
    assert "Revenue Cycle Integration 40" in text, text
    assert "HTTP 422 account … is closed" in text
    assert "Parked messages 40 1" in said(ann.get("/worklists"))
    page = ann.get("/worklists/parked").text
    keys = re.findall(r'name="key" value="(\w+)"', page)
    assert len(keys) == 2
    assert ann.post("/worklists/assign", {"key": keys[0], "who": "ann", "note": "asked <the> ward"}).status_code == 303
    text = ann.get("/worklists/parked?mine=true").text
    assert "asked &lt;the&gt; ward" in text
    assert keys[1] not in text
    assert place.console.as_("viewer").post("/worklists/assign", {"key": keys[0], "who": "eve"}).status_code == 403
    assert ann.post("/worklists/assign", {"key": "nosuch", "who": "ann"}).status_code == 404
    release = planned(ann, verb="release", group=keys[0])
    assert "40 messages" in said(release)
    ann.post(form(release))
    place.run()
    assert place.console.retranslate() == 40
    release = planned(ann, verb="release", group=keys[1])
    assert "1 delivery" in said(release)


def test_other_channels_stay_out_of_sight(place: Place) -> None:
    place.charge(1, "dft_p03_missing_department.hl7")
    place.charge(2, "dft_p03_unknown_department.hl7")
    lab = place.console.as_("operator", channels="results")
    for path in ("/worklists", "/worklists/parked", "/worklists/codes", "/worklists/doubt", "/worklists/refused"):
        page = lab.get(path)
        assert (page.status_code, "charge" in said(page), "SLP-1" in page.text) == (200, False, False), path
    assert lab.get("/worklists/codes/gl").status_code == 403


def test_a_refused_frame_is_shown_in_hex_to_those_who_may_read(place: Place) -> None:
    from engine.model import RefusedFrame

    frame = b"GET / HTTP/1.1\r\n<script>\x00\xff" + bytes(range(256)) * 20
    done(place.console.store.refuse(RefusedFrame("adt", "10.9.8.7:1", "no frame", place.console.runtime.now(), 9000, frame)))
    ann, viewer = place.console.as_("operator"), place.console.as_("viewer")
    found = re.search(r"/worklists/refused/\d+", ann.get("/worklists/refused").text)
    assert found is not None
    page = ann.get(found[0])
    assert "47 45 54 20 2f 20 48 54" in page.text
    assert "<script>\x00" not in page.text
    assert "&lt;script&gt;" in page.text
    assert "start=4096" in page.text
    assert "001000" not in page.text
    assert "001000" in ann.get(f"{found[0]}?start=4096").text
    assert "see the bytes" not in viewer.get("/worklists/refused").text
    assert viewer.get(found[0]).status_code == 403
    assert ann.get("/worklists/refused/99").status_code == 404


def test_a_code_that_does_not_fit_or_whose_file_changed_is_not_written(place: Place) -> None:
    place.charge(1, "dft_p03_unknown_department.hl7")
    place.away = True
    ann = place.console.as_("analyst", name="ann")
    page = ann.get("/worklists/codes").text
    found = re.search(r'href="(/worklists/codes/gl\?[^"]*)"', page)
    assert found is not None
    where = html.unescape(found[1])
    page = ann.get(where).text
    assert 'value="SLP-1"' in page, "the key's cells are filled in"
    assert 'value="0920"' in page
    seen = re.search(r'name="print" value="(\w+)"', page)
    assert seen is not None
    value = "department=SLP-1, revenue_code=0920"
    columns = ["department", "revenue_code", "account", "cost_centre"]
    about = {"value": value, "print": seen[1], "column": columns}
    file = place.console.directory / "mappings" / "codes" / "gl.csv"
    before = file.read_bytes()
    hidden = ann.post("/worklists/codes/gl", about | {"cell": ["RAD-1", "0324", "1", "<b>"]})
    assert (hidden.status_code, "answers for" in said(hidden), "&lt;b&gt;" in hidden.text) == (422, True, True)
    file.write_bytes(before + b"ZZZ,*,1,2\n")
    cells = ["SLP-1", "0920", "400800", "CC-SLP"]
    assert ann.post("/worklists/codes/gl", about | {"cell": cells}).status_code == 409
    file.write_bytes(before)
    written = ann.post("/worklists/codes/gl", about | {"cell": cells})
    assert written.status_code == 303
    assert file.read_bytes() == before + b"SLP-1,0920,400800,CC-SLP\n"
    assert "is written, but the engine has not taken it up: No engine runs" in said(ann.get(written.headers["location"]))
    assert place.console.as_("viewer").post("/worklists/codes/gl", about | {"cell": cells}).status_code == 403
    assert ann.post("/worklists/codes/nosuch", about | {"cell": cells}).status_code == 404
    assert ann.post("/worklists/codes/..%2f..%2fconf", about | {"cell": cells}).status_code == 404
