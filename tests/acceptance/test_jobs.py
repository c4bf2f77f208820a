"""Jobs on a running engine: agreed to by a hundred at once, killed in the middle, done once; and codes that let messages go on."""

from __future__ import annotations

import html
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.model import Verb
from engine.operations.jobs import Jobs, JobState
from engine.operations.plans import make_plan, searched
from engine.query import parse
from engine.store.history import History
from tests.acceptance.place import Place
from tests.acceptance.test_actions import send, states
from tests.acceptance.test_reload import until

ROOT = Path(__file__).resolve().parents[2]
RUNNER = """
import sys, time
from pathlib import Path
from engine.operations import jobs as module
from engine.operations.control import Caller
from engine.operations.runner import Runner
module.STEP = 3
site = Path(sys.argv[1])
jobs = module.Jobs(site, lambda: time.time_ns() // 1000)
Runner(jobs, lambda: Caller(site), lambda *_: ()).run(lambda: False)
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    with made.engine:
        made.start()
        yield made


def now() -> int:
    return time.time_ns() // 1000


def history(place: Place) -> History:
    return History(f"sqlite:///{place.directory}/data/wardline.db")


def kept(place: Place, verb: Verb, query: str) -> tuple[Jobs, str]:
    jobs = Jobs(place.directory, now)
    with history(place) as store:
        plan = make_plan(store, searched(store, parse(query, now())), verb)
    return jobs, jobs.keep(plan, "ann", query).name


@contextmanager
def runner(place: Place) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen([sys.executable, "-c", RUNNER, str(place.directory)], cwd=ROOT)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def test_s62_a_hundred_agree_and_two_runners_work_and_each_goes_out_once(place: Place) -> None:
    send(place, *(f"M{number}" for number in range(12)))
    place.delivered(12)
    jobs, name = kept(place, Verb.RESEND, "channel:adt")
    barrier = threading.Barrier(100)

    def agree() -> None:
        barrier.wait()
        jobs.agree(name, "ann", "twice is once")

    threads = [threading.Thread(target=agree) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with runner(place), runner(place):
        until(lambda: jobs.find(name).state is JobState.DONE, "the job did not end")
    job = jobs.find(name)
    assert (job.deliveries, job.passed_over, job.done) == (12, 0, 12)
    with history(place) as store:
        sent = [len(store.deliveries(row.id)) for row in store.find(limit=100)]
        assert sent == [2] * 12
        assert sum(action.deliveries for action in store.actions()) == 12


def test_i4_a_runner_and_an_engine_that_are_killed_cost_nothing_and_double_nothing(place: Place) -> None:
    send(place, *(f"M{number}" for number in range(15)))
    place.delivered(15)
    jobs, name = kept(place, Verb.REPLAY, "channel:adt")
    jobs.agree(name, "ann")
    for steps in (1, 3):
        with runner(place) as child:
            until(lambda steps=steps: jobs.find(name).steps >= steps, "the runner does not work")  # type: ignore[misc]
            os.kill(child.pid, signal.SIGKILL)
    assert 0 < jobs.find(name).steps < 5
    place.engine.kill()
    with runner(place):
        until(lambda: jobs.find(name).state is JobState.WAITING, "the job does not say that it waits")
        assert "no engine runs" in jobs.find(name).waits
        place.start()
        until(lambda: jobs.find(name).state is JobState.DONE, "the job did not go on")
    assert (jobs.find(name).messages, jobs.find(name).passed_over) == (15, 0)
    with history(place) as store:
        rows = store.find(limit=100)
        assert sorted(row.replay_of for row in rows if row.replay_of) == sorted(row.id for row in rows if not row.replay_of)
    place.delivered(30)


# ── through the console ────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def console(place: Place) -> Iterator[Any]:
    """A browser at a console beside the running engine, logged in as an operator."""
    from starlette.testclient import TestClient

    from engine.console.app import make_app
    from engine.console.home import Home
    from engine.console.people import People
    from engine.console.rights import Grant, Role
    from tests.console import Client, Opened

    people = People(place.directory, now)
    url = f"sqlite:///{place.directory}/data/wardline.db"
    home = Home(place.directory, url, people, organization="G", environment="test", timezone="UTC")
    app = make_app(home)
    with TestClient(app, base_url="https://testserver"):
        cookie = Opened.let_in(SimpleNamespace(people=people), "ann", Grant(Role.OPERATOR, "*"))  # type: ignore[arg-type]
        yield Client(app, people, cookie)


def with_wards(directory: Path) -> Place:
    place = Place(directory)
    (directory / "mappings" / "codes").mkdir()
    (directory / "mappings" / "codes" / "ward.csv").write_text("code,text\nW9,West\n")
    (directory / "mappings" / "to-json.yaml").write_text(
        "mapping: to-json\nfrom: hl7v2\nto: json\nset:\n  control: =MSH-10\n  ward: =PV1-3.1 | code('ward')\n"
    )
    file = directory / "channels" / "adt.yaml"
    file.write_text(file.read_text().replace("    to: drop\n", "    mapping: to-json\n    to: drop\n"))
    return place


def test_a_code_that_is_added_on_the_page_lets_all_that_waits_flow_on_in_order(tmp_path: Path) -> None:
    place = with_wards(tmp_path)
    with place.engine:
        place.start()
        names = [f"M{number:02}" for number in range(20)]
        send(place, *names)
        assert set(states(place).values()) == {"parked"}
        with console(place) as ann:
            page = ann.get("/worklists/codes").text
            where = re.search(r'href="(/worklists/codes/ward\?[^"]*)"', page)
            assert where is not None
            shown = ann.get(html.unescape(where[1])).text
            assert "Write the row and let 20 messages go on" in " ".join(shown.split())
            seen = re.search(r'name="print" value="(\w+)"', shown)
            assert seen is not None
            row = {"value": "W1", "print": seen[1], "column": ["code", "text"], "cell": ["W1", "Ward One"]}
            answer = ann.post("/worklists/codes/ward", row)
            assert answer.status_code == 303
            page = ann.get(answer.headers["location"]).text
            assert "and the engine has taken it up" in page
            drops = [json.loads(content) for content in place.delivered(20)]
            assert [drop["control"] for drop in drops] == names, "file names sort by id, and ids follow the order"
            going = "/worklists/codes/ward/progress?value=W1"
            until(lambda: "Everything has gone on" in ann.get(going).text, "the page does not say that all went on")
            assert "translated <small>20</small>" in ann.get(going).text
            assert ann.post("/worklists/codes/ward", row).status_code == 409, "the file is another now"


def test_an_edited_copy_goes_the_whole_way_and_is_linked_both_ways(place: Place) -> None:
    send(place, "A")
    place.delivered(1)
    with history(place) as store:
        (original,) = store.find()
        content = store.message(original.id).content  # type: ignore[union-attr]
    with console(place) as ann:
        from engine.ids import format_id

        text = content.decode().replace("TESTER^TINA", "TESTER^TANJA").replace("\r", "\r\n")
        where = ann.post(f"/messages/{format_id(original.id)}/edit", {"text": text}).headers["location"]
        for _ in range(3):
            assert ann.post(where, {"why": "misspelt"}).status_code == 303
        jobs = Jobs(place.directory, now)
        name = where.rsplit("/", 1)[1]
        until(lambda: jobs.find(name).state is JobState.DONE, "the copy was not sent")
    until(lambda: len(states(place)) == 2, "there is no copy")
    place.delivered(2)
    with history(place) as store:
        (copy,) = store.replays(original.id)
        assert (copy.id, copy.replay_of) == (jobs.find(name).result, original.id)
        assert store.message(copy.id).content == content.replace(b"TINA", b"TANJA")  # type: ignore[union-attr]
        assert store.message(original.id).content == content  # type: ignore[union-attr]
