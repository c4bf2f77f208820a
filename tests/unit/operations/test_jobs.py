"""Plans that are kept and jobs that are carried out: agreed to once, done once, whatever dies in between."""

from __future__ import annotations

import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.model import SECOND, Verb
from engine.operations import jobs as jobs_module
from engine.operations.control import NotRunning
from engine.operations.jobs import EXPIRES, FORGOTTEN, Jobs, JobState, NoJob
from engine.operations.plans import Plan
from engine.operations.runner import AGAIN, Lock, Runner, attended


def plan(*deliveries: int, verb: Verb = Verb.RESEND, messages: tuple[int, ...] = ()) -> Plan:
    return Plan(verb, messages, deliveries, {"adt": 1}, {"erp": len(deliveries)}, {}, 0, 0, (), {}, 1.0)


class Place:
    """A site's jobs, and an engine that remembers tokens as the store does."""

    def __init__(self, directory: Path) -> None:
        self.now = 1_000_000
        self.jobs = Jobs(directory, lambda: self.now)
        self.tokens: dict[str, dict[str, int]] = {}
        self.done: list[int] = []
        self.gone: set[int] = set()  # whose state has changed since
        self.copies: dict[int, tuple[int, bytes]] = {}
        self.away = False
        self.runner = self.new_runner()

    def new_runner(self) -> Runner:
        """Whatever failed, its time has come at the next look at the clock."""
        return Runner(self.jobs, self.reach, self.sent, count(0, AGAIN).__next__)  # type: ignore[arg-type]

    @contextmanager
    def reach(self) -> Iterator[Any]:
        if self.away:
            raise NotRunning("no engine runs on site")
        yield self.call

    def call(self, verb: str, /, **about: Any) -> dict[str, Any]:
        if verb == "submit":
            number = 900 + len(self.copies)
            self.copies[number] = (about["replay_of"], b64decode(about["content"]))
            return {"message": number, "verdict": "accepted", "reason": ""}
        assert verb == "act"
        if about["token"] not in self.tokens:
            changed = [one for one in about.get("deliveries", ()) if one not in self.gone]
            self.done += [*about.get("messages", ()), *changed]
            self.tokens[about["token"]] = {"messages": len(about.get("messages", ())), "deliveries": len(changed)}
        return self.tokens[about["token"]]

    def sent(self, original: int, content: bytes) -> list[int]:
        return [number for number, copy in self.copies.items() if copy == (original, content)]

    def agreed(self, *deliveries: int, **other: Any) -> str:
        return self.jobs.agree(self.jobs.keep(plan(*deliveries, **other), "ann").name, "ann", "why").name

    def turns(self, most: int = 100) -> None:
        while most and self.jobs.next() is not None and not self.runner.turn():
            most -= 1


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# ── agreeing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_s62_a_hundred_who_agree_at_once_agree_once(place: Place) -> None:
    name = place.jobs.keep(plan(1, 2), "ann").name
    agreed: list[Any] = []
    barrier = threading.Barrier(100)

    def agree(number: int) -> None:
        barrier.wait()
        agreed.append(place.jobs.agree(name, f"person {number}"))

    threads = [threading.Thread(target=agree, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(agreed) == 100
    assert len({(job.name, job.who, job.agreed_at) for job in agreed}) == 1
    place.turns()
    assert place.done == [1, 2]


def test_two_tabs_with_the_same_plan_hold_one_plan(place: Place) -> None:
    names: list[str] = []
    threads = [threading.Thread(target=lambda: names.append(place.jobs.keep(plan(1, 2), "ann").name)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 1
    assert [path.name for path in place.jobs.place.iterdir()] == names[:1], "half made plans were left behind"


def test_the_same_again_is_another_plan_that_knows_of_the_first(place: Place) -> None:
    first = place.agreed(1, 2)
    again = place.jobs.keep(plan(1, 2), "bob")
    assert (again.name != first, again.state, again.earlier) == (True, JobState.PLANNED, first)
    assert place.jobs.keep(plan(1, 2, verb=Verb.CANCEL), "bob").earlier == ""


def test_a_plan_that_nobody_agrees_to_is_void(place: Place) -> None:
    name = place.jobs.keep(plan(1), "ann").name
    place.now += EXPIRES
    assert place.jobs.find(name).state is JobState.PLANNED
    place.now += 1
    assert place.jobs.find(name).state is JobState.EXPIRED
    with pytest.raises(NoJob, match="older than 15 minutes"):
        place.jobs.agree(name, "ann")
    other = place.jobs.keep(plan(1), "ann")
    assert (other.name != name, other.state) == (True, JobState.PLANNED)
    place.turns()
    assert place.done == []


def test_what_a_shell_gives_may_be_no_text(place: Place) -> None:
    name = place.jobs.keep(plan(1), "ann\udcff", "mrn:\udcff").name
    assert place.jobs.agree(name, "ann\udcff", "why\udcff").why == "why?"


def test_an_empty_plan_is_none(place: Place) -> None:
    with pytest.raises(NoJob, match="nothing to do"):
        place.jobs.keep(plan(), "ann")


@pytest.mark.parametrize("name", ["", ".", "..", "nosuch", "../../etc", ".lock"])
def test_only_what_is_kept_here_is_found(place: Place, name: str) -> None:
    place.agreed(1)
    with pytest.raises(NoJob):
        place.jobs.find(name)


def test_old_plans_and_jobs_go(place: Place) -> None:
    job = place.agreed(1)
    place.turns()
    unagreed = place.jobs.keep(plan(5), "ann").name
    place.now += 3 * EXPIRES
    place.jobs.keep(plan(6), "ann")
    assert {path.name for path in place.jobs.place.glob("[!.]*")} >= {job}
    assert not (place.jobs.place / unagreed).exists()
    place.now += FORGOTTEN + SECOND
    place.jobs.keep(plan(7), "ann")
    assert not (place.jobs.place / job).exists()


# ── carrying out ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_steps_pause_resume_and_stop(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "STEP", 2)
    place.gone = {4}
    name = place.agreed(1, 2, 3, 4, 5, 6, 7)
    assert place.runner.turn() == 0
    assert place.jobs.pause(name, "bob")[:3] == (name, Verb.RESEND, JobState.PAUSED)
    assert (place.jobs.next(), place.jobs.find(name).by, place.jobs.find(name).done) == (None, "bob", 2)
    assert place.jobs.resume(name).state is JobState.RUNNING
    assert place.runner.turn() == 0
    job = place.jobs.find(name)
    assert (job.done, job.deliveries, job.passed_over) == (4, 3, 1)
    assert place.jobs.stop(name, "eve").state is JobState.STOPPED
    for steer in (place.jobs.resume, lambda one: place.jobs.pause(one, "bob"), lambda one: place.jobs.stop(one, "bob")):
        with pytest.raises(NoJob, match="stopped"):
            steer(name)
    place.turns()
    assert place.done == [1, 2, 3]


def test_messages_go_first_and_every_step_has_a_token_of_its_own(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "STEP", 2)
    name = place.agreed(7, 8, 9, messages=(1, 2, 3))
    place.turns()
    assert place.done == [1, 2, 3, 7, 8, 9]
    assert len(place.tokens) == 4
    job = place.jobs.find(name)
    assert (job.state, job.messages, job.deliveries, job.steps, job.ended_at) == (JobState.DONE, 3, 3, 4, place.now)


def test_what_is_done_at_once_goes_before_what_is_let_in_slowly(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "STEP", 1)
    place.agreed(1, 2)
    place.now += 1
    place.agreed(3, verb=Verb.CANCEL)
    place.turns()
    assert place.done == [3, 1, 2]


def test_while_the_engine_is_away_the_job_waits_and_says_so(place: Place) -> None:
    name, place.away = place.agreed(1), True
    waits = [place.runner.turn() for _ in range(20)]
    assert waits[0] < waits[3] <= max(waits) == AGAIN
    job = place.jobs.find(name)
    assert (job.state, job.waits) == (JobState.WAITING, "no engine runs on site")
    place.away = False
    assert place.runner.turn() == 0
    assert (place.jobs.find(name).state, place.jobs.find(name).waits) == (JobState.DONE, "")


def test_a_fault_of_ours_is_named_without_its_text_and_tried_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    name, call = place.agreed(1), place.call

    def failing(*_: Any, **__: Any) -> Any:
        raise KeyError("patient 4711")

    place.call = failing  # type: ignore[method-assign]
    assert place.runner.turn() > 0
    assert place.jobs.find(name).waits == "KeyError while it was asked for; it is tried again"
    place.call = call  # type: ignore[method-assign]
    place.turns()
    assert place.done == [1]


@pytest.mark.parametrize("torn", [b"", b'{"n":1,"thi', b"\0\0\0\0\n", b'{"n":7}\n', b"[]\n"])
def test_a_step_that_was_done_and_not_noted_is_done_once(place: Place, monkeypatch: pytest.MonkeyPatch, torn: bytes) -> None:
    monkeypatch.setattr(jobs_module, "STEP", 1)
    name = place.agreed(1, 2, 3)
    assert place.runner.turn() == 0
    place.call("act", **(place.jobs.step(place.jobs.find(name)) or {}))  # and then it was killed
    with open(place.jobs.place / name / "steps.jsonl", "ab") as file:
        file.write(torn)
    place.runner = place.new_runner()
    place.turns()
    job = place.jobs.find(name)
    assert (place.done, job.state, job.deliveries, job.done) == ([1, 2, 3], JobState.DONE, 3, 3)
    steps = (place.jobs.place / name / "steps.jsonl").read_bytes().splitlines()
    assert [orjson.loads(step)["n"] for step in steps] == [0, 1, 2]


def test_one_runner_on_each_site(place: Place) -> None:
    assert not attended(place.jobs)
    with Lock(place.jobs) as lock:
        assert lock.taken
        assert attended(place.jobs)
        assert not Lock(place.jobs).taken
    assert Lock(place.jobs).taken


def test_a_thread_works_off_and_ends(place: Place) -> None:
    ended = threading.Event()
    thread = threading.Thread(target=place.runner.run, args=(ended.is_set,))
    name = place.agreed(1, 2)
    thread.start()
    while place.jobs.find(name).state is not JobState.DONE:
        place.runner.woken.set()
    ended.set()
    place.runner.woken.set()
    thread.join(10)
    assert not thread.is_alive()
    assert place.done == [1, 2]
    assert not attended(place.jobs)


def test_a_full_disk_does_not_end_the_runner(place: Place, monkeypatch: pytest.MonkeyPatch, unhandled_errors: list[Any]) -> None:
    ended, name = threading.Event(), place.agreed(1, 2)
    held = threading.Event()

    def full(*_: Any) -> None:
        held.set()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        for writing in ("did", "waits"):
            patched.setattr(place.jobs, writing, full)
        thread = threading.Thread(target=place.runner.run, args=(ended.is_set,))
        thread.start()
        assert held.wait(10)
    while thread.is_alive() and place.jobs.find(name).state is not JobState.DONE:
        place.runner.woken.set()
    assert thread.is_alive()
    ended.set()
    place.runner.woken.set()
    thread.join(10)
    assert place.done == [1, 2]
    unhandled_errors.clear()


@pytest.mark.parametrize("said", [b"", b"{", b"[]"])
def test_what_cannot_be_read_is_not_taken_for_what_is_not_there(place: Place, said: bytes) -> None:
    """A job that somebody has stopped would go on."""
    name = place.agreed(1)
    place.jobs.stop(name, "bob")
    (place.jobs.place / name / "stopped.json").write_bytes(said)
    place.turns()
    assert place.done == []
    with pytest.raises(NoJob, match="damaged"):
        place.jobs.find(name)
    (place.jobs.place / name / "stopped.json").unlink()
    (place.jobs.place / name / "stopped.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        place.jobs.find(name)


def test_half_of_what_is_forgotten_is_never_a_job(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the file that says that it has ended it would be done once more."""
    name = place.agreed(1)
    place.turns()
    place.now += FORGOTTEN + SECOND

    def killed(path: Path, **_: Any) -> None:
        (Path(path) / "ended.json").unlink()

    with monkeypatch.context() as patched:
        patched.setattr(jobs_module.shutil, "rmtree", killed)
        place.jobs.keep(plan(7), "ann")
    assert name not in [job.name for job in place.jobs.all()]
    assert place.jobs.next() is None
    left = [path for path in place.jobs.place.glob(".*") if path.is_dir()]
    assert len(left) == 1
    place.now = time.time_ns() // 1000 + EXPIRES + SECOND
    place.jobs.keep(plan(8), "ann")
    assert not left[0].exists(), "what was left behind may hold a message"


# ── copies ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_edited_copy_is_sent_once_though_its_answer_is_lost(place: Place) -> None:
    job = place.jobs.keep_copy(7, "adt", b"MSH|edited", "ann")
    assert place.jobs.keep_copy(7, "adt", b"MSH|edited", "bob").name == job.name
    place.jobs.agree(job.name, "ann", "wrong ward")
    call = place.call

    def lost(*about: Any, **more: Any) -> Any:
        call(*about, **more)
        raise NotRunning("the engine ended before it answered")

    place.call = lost  # type: ignore[method-assign]
    assert place.runner.turn() > 0
    place.call = call  # type: ignore[method-assign]
    assert place.runner.turn() == 0
    done = place.jobs.find(job.name)
    assert (done.state, done.messages, done.result, len(place.copies)) == (JobState.DONE, 1, 900, 1)


def test_the_same_copy_once_more_is_sent_once_more(place: Place) -> None:
    """What an earlier job sent is not taken for it, whatever the clocks of the console and of the engine say."""
    for number in (900, 901):
        job = place.jobs.keep_copy(7, "adt", b"MSH|edited", "ann")
        place.jobs.agree(job.name, "ann")
        place.turns()
        assert (place.jobs.find(job.name).state, place.jobs.find(job.name).result) == (JobState.DONE, number)


def test_a_copy_that_its_channel_does_not_take_holds_nobody_else_up(place: Place) -> None:
    copy = place.jobs.keep_copy(7, "adt", b"MSH|edited", "ann")
    place.jobs.agree(copy.name, "ann")
    place.now += 1
    other, call = place.agreed(1), place.call

    def closed(verb: str, /, **about: Any) -> dict[str, Any]:
        closed_now = {"message": 0, "verdict": "unavailable", "reason": "channel adt is stopped"}
        return closed_now if verb == "submit" else call(verb, **about)

    place.call = closed  # type: ignore[method-assign]
    place.runner = Runner(place.jobs, place.reach, place.sent, lambda: 0.0)
    assert [place.runner.turn() for _ in range(2)] == [0, 0]
    assert (place.jobs.find(other).state, place.jobs.find(copy.name).state) == (JobState.DONE, JobState.WAITING)
    place.call = call  # type: ignore[method-assign]
    place.runner.woken.set()
    place.runner.rest(1.0)
    assert place.runner.turn() == 0
    assert place.jobs.find(copy.name).state is JobState.DONE


def test_a_copy_that_its_channel_does_not_accept_says_why(place: Place) -> None:
    job = place.jobs.keep_copy(7, "adt", b"MSH|edited", "ann")
    place.jobs.agree(job.name, "ann")
    place.call = lambda *_, **__: {"message": 0, "verdict": "unavailable", "reason": "the disk is full"}  # type: ignore[method-assign]
    assert place.runner.turn() > 0
    assert "the disk is full" in place.jobs.find(job.name).waits
    place.call = lambda *_, **__: {"message": 5, "verdict": "refused", "reason": "MSH-9.1 is not ADT"}  # type: ignore[method-assign]
    assert place.runner.turn() == 0
    done = place.jobs.find(job.name)
    assert (done.state, done.result, done.refused, done.messages) == (JobState.DONE, 5, "MSH-9.1 is not ADT", 0)
