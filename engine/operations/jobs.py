"""Plans that are kept, and what became of them: `.wardline/jobs/NAME/` in the site, a few small files for each.

    plan.json   what would be done and who asked for it; ids.json: the ids; content: of a copy that somebody edited
    agreed.json who agreed to it and why: made once, whoever comes first; from then on the plan is a *job*
    steps.jsonl a line for each step that is done, added by the one runner
    begun.json  of a copy, before it is sent: which ones of the same message and content were there already
    waits.json  why the runner cannot go on just now
    paused.json stopped.json ended.json

Files and no table: they belong to the site's directory, are written by commands and by the console alike, and the order in
which they come to be says everything. What makes an agreement happen once is that a file can be linked to a new name once.
A line of `steps.jsonl` that was not written to its end costs nothing: the step has a token, and the store does it once.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from enum import StrEnum
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from engine.errors import EXIT_USAGE, WardlineError
from engine.model import SECOND, Verb
from engine.operations import whole
from engine.operations.plans import Plan

DIRECTORY = ".wardline/jobs"
EXPIRES = 15 * 60 * SECOND  # a plan that nobody has agreed to by then is void: the world has moved on
FORGOTTEN = 90 * 24 * 3600 * SECOND  # a job that has ended
MOST = 100  # plans of one person that nobody has agreed to
STEP = 200  # messages and deliveries of one step
SEND = "send"  # the verb of a job that sends an edited copy


class JobState(StrEnum):
    PLANNED = "planned"
    EXPIRED = "expired"  # nobody agreed in time
    RUNNING = "running"  # agreed to; a runner takes it step by step
    WAITING = "waiting"  # something outside is missing, the engine for example
    PAUSED = "paused"
    STOPPED = "stopped"  # by a person, before its end; for good
    DONE = "done"


UNFINISHED = (JobState.RUNNING, JobState.WAITING)


class NoJob(WardlineError):
    """There is no such plan or job, or it is not in a state for this."""

    exit_code = EXIT_USAGE


class Job(NamedTuple):
    """A plan and how far it has come. Instants are microseconds, absent ones 0, absent texts ''."""

    name: str
    verb: str  # one of `Verb`, or SEND
    state: JobState
    asked: str  # the search it came from
    planned_by: str
    planned_at: int
    things: int  # messages and deliveries that it names
    figures: dict[str, Any]  # `Plan.as_data`
    earlier: str  # the job that did the same before
    who: str = ""  # who agreed
    why: str = ""
    agreed_at: int = 0
    done: int = 0  # things gone through
    messages: int = 0  # changed
    deliveries: int = 0
    steps: int = 0
    waits: str = ""  # for what, in words
    by: str = ""  # who paused or stopped it
    ended_at: int = 0
    result: int = 0  # of SEND: the new message
    refused: str = ""  # of SEND: why its channel did not accept it

    @property
    def passed_over(self) -> int:
        """Things gone through that were not in a state for it any more."""
        return self.done - self.messages - self.deliveries


class Jobs:
    """The plans and jobs of one site. `now` is the wall clock."""

    def __init__(self, site: Path, now: Callable[[], int]) -> None:
        self.place, self._now = site / DIRECTORY, now

    # ── planning and agreeing ──────────────────────────────────────────────────────────────────────────────────────

    def keep(self, plan: Plan, who: str, asked: str = "") -> Job:
        """Freeze a plan. The same one, not agreed to yet, keeps its name: two who look at it look at one."""
        ids = orjson.dumps({"messages": plan.messages, "deliveries": plan.deliveries})
        facts = {"verb": plan.verb, "things": len(plan.messages) + len(plan.deliveries), "figures": plan.as_data()}
        return self._keep(facts, who, asked, {"ids.json": ids}, plan.verb.encode() + ids)

    def keep_copy(self, original: int, channel: str, content: bytes, who: str) -> Job:
        """Freeze an edited copy of the message `original`, to be taken by `channel`."""
        facts = {"verb": SEND, "things": 1, "figures": {"original": original, "channel": channel, "size": len(content)}}
        return self._keep(facts, who, "", {"content": content}, b"%d %s " % (original, channel.encode()) + content)

    def _keep(self, facts: dict[str, Any], who: str, asked: str, files: dict[str, bytes], same: bytes) -> Job:
        if not facts["things"]:
            raise NoJob("there is nothing to do: the plan is empty")
        if self._sweep(_text(who)) >= MOST:
            raise NoJob(f"{MOST} plans of yours wait for somebody to agree: they go after {2 * EXPIRES // 60 // SECOND} minutes")
        earlier = ""
        for n in count():
            name = blake2b(b"%d " % n + same, digest_size=8).hexdigest()
            there = self._there(name)
            if there is None:
                plan = facts | {"planned_by": _text(who), "planned_at": self._now(), "asked": _text(asked), "earlier": earlier}
                self._publish(name, files | {"plan.json": orjson.dumps(plan)})
                there = self._there(name)  # ours, or that of somebody who was quicker
            if there is not None and there.state is JobState.PLANNED:
                return there
            earlier = name if there is not None and there.agreed_at else earlier
        raise AssertionError  # count() does not end

    def _there(self, name: str) -> Job | None:
        try:
            return self.find(name)
        except NoJob:
            return None

    def _publish(self, name: str, files: dict[str, bytes]) -> None:
        """A directory with these files, unless there is one of this name."""
        for place in (self.place.parent, self.place):
            place.mkdir(mode=0o700, exist_ok=True)
        making = whole.beside(self.place / name)
        making.mkdir(mode=0o700)
        try:
            for title, content in files.items():
                whole.make(making / title, content)
            os.rename(making, self.place / name)
        except OSError:
            shutil.rmtree(making, ignore_errors=True)
            if not (self.place / name).exists():
                raise
        whole.flush(self.place)

    def agree(self, name: str, who: str, why: str = "") -> Job:
        """From now on it is carried out. Once: whoever agrees again, in whatever way, is told of the same job.

        Raises NoJob, also for a plan that has expired.
        """
        job = self.find(name)
        if job.state is JobState.EXPIRED:
            raise NoJob(f"the plan {name} is older than {EXPIRES // 60 // SECOND} minutes: look at a new one")
        if not job.agreed_at:
            self._once(job.name, "agreed.json", {"who": _text(who), "why": _text(why), "at": self._now()})
        return self.find(name)

    # ── steering ───────────────────────────────────────────────────────────────────────────────────────────────────

    def pause(self, name: str, who: str) -> Job:
        """Begin no further step. The one under way is finished."""
        self._under_way(name)
        self._once(name, "paused.json", {"who": who, "at": self._now()})
        return self.find(name)

    def resume(self, name: str) -> Job:
        self._under_way(name)
        (self.place / name / "paused.json").unlink(missing_ok=True)
        return self.find(name)

    def stop(self, name: str, who: str) -> Job:
        """Begin no further step, ever. What is done stays done."""
        self._under_way(name)
        self._once(name, "stopped.json", {"who": who, "at": self._now()})
        return self.find(name)

    def _under_way(self, name: str) -> None:
        job = self.find(name)
        if job.state not in (*UNFINISHED, JobState.PAUSED):
            raise NoJob(f"the job {name} is {job.state}: there is nothing to steer")

    # ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────

    def find(self, name: str) -> Job:
        """Raises NoJob."""
        place = self.place / Path(name).name
        plan = _read(place / "plan.json")
        if not plan or not name:
            raise NoJob(f"there is no plan and no job {name!r} here (any more)")
        figures = {key: plan[key] for key in ("verb", "asked", "planned_by", "planned_at", "things", "figures", "earlier")}
        agreed = _read(place / "agreed.json")
        if not agreed:
            late = self._now() - plan["planned_at"] > EXPIRES
            return Job(place.name, state=JobState.EXPIRED if late else JobState.PLANNED, **figures)
        steps = read_steps(place)
        ended, stopped, paused, waits = (_read(place / f"{one}.json") for one in ("ended", "stopped", "paused", "waits"))
        state = next(
            state
            for state, holds in (
                (JobState.DONE, ended),
                (JobState.STOPPED, stopped),
                (JobState.PAUSED, paused),
                (JobState.WAITING, waits),
                (JobState.RUNNING, True),
            )
            if holds
        )
        return Job(
            place.name,
            state=state,
            **figures,
            who=agreed["who"],
            why=agreed["why"],
            agreed_at=agreed["at"],
            done=sum(step["things"] for step in steps),
            messages=sum(step["messages"] for step in steps),
            deliveries=sum(step["deliveries"] for step in steps),
            steps=len(steps),
            waits=waits.get("text", "") if state is JobState.WAITING else "",
            by=(stopped or paused).get("who", "") if state in (JobState.STOPPED, JobState.PAUSED) else "",
            ended_at=(ended or stopped).get("at", 0),
            result=ended.get("result", 0),
            refused=ended.get("refused", ""),
        )

    def all(self) -> list[Job]:
        """What was agreed to, the latest first."""
        jobs = [job for job in self._each() if job.agreed_at]
        return sorted(jobs, key=lambda job: (-job.agreed_at, job.name))

    def next(self, besides: Collection[str] = ()) -> Job | None:
        """The job whose turn it is, `besides` these: what the engine does at once goes before what it lets in slowly; else as
        agreed."""
        jobs = [job for job in self._each(over=False) if job.state in UNFINISHED and job.name not in besides]
        slow = (Verb.RESEND, Verb.REPLAY)
        return min(jobs, key=lambda job: (job.verb in slow, job.agreed_at, job.name), default=None)

    def _each(self, over: bool = True) -> Iterator[Job]:
        """Not `over`: without those that have ended, which are not even read."""
        for plan in sorted(self.place.glob("[!.]*/plan.json")):
            place = plan.parent
            if over or not any((place / title).exists() for title in ("ended.json", "stopped.json")):
                with suppress(NoJob):  # swept away just now, or damaged
                    yield self.find(place.name)

    def step(self, job: Job) -> dict[str, Any] | None:
        """The arguments of the next `act`; None where all are done. The same job gives the same steps, with the same tokens."""
        ids = orjson.loads((self.place / job.name / "ids.json").read_bytes())
        parts = [
            (what, ids[what][at : at + STEP]) for what in ("messages", "deliveries") for at in range(0, len(ids[what]), STEP)
        ]
        if job.steps >= len(parts):
            return None
        what, some = parts[job.steps]
        return {"token": f"{job.name}-{job.agreed_at}-{job.steps}", "verb": job.verb, "who": job.who, "why": job.why, what: some}

    def content(self, job: Job) -> bytes:
        """Of an edited copy."""
        return (self.place / job.name / "content").read_bytes()

    # ── for the runner, which is one ───────────────────────────────────────────────────────────────────────────────

    def did(self, job: Job, things: int, messages: int, deliveries: int) -> None:
        place = self.place / job.name
        line = {"n": job.steps, "at": self._now(), "things": things, "messages": messages, "deliveries": deliveries}
        kept = b"".join(orjson.dumps(step) + b"\n" for step in read_steps(place))
        with open(os.open(place / "steps.jsonl", os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
            file.truncate(len(kept))  # a line that was not written to its end goes
            file.seek(len(kept))
            file.write(orjson.dumps(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.waits(job, "")

    def begun(self, job: Job, there: Collection[int]) -> list[int]:
        """A copy is about to be sent: which ones were `there` before the first time."""
        self._once(job.name, "begun.json", {"there": list(there)})
        found: list[int] = _read(self.place / job.name / "begun.json")["there"]
        return found

    def waits(self, job: Job, text: str) -> None:
        """What the job waits for; '': for nothing any more."""
        file = self.place / job.name / "waits.json"
        if not text:
            file.unlink(missing_ok=True)
        elif _read(file).get("text") != text:
            whole.replace(file, orjson.dumps({"text": text, "at": self._now()}))

    def ended(self, job: Job, result: int = 0, refused: str = "") -> None:
        self._once(job.name, "ended.json", {"at": self._now(), "result": result, "refused": refused})

    # ── files ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _once(self, name: str, title: str, facts: dict[str, Any]) -> bool:
        """False where it was there already."""
        return whole.once(self.place / name / title, orjson.dumps(facts))

    def _sweep(self, who: str) -> int:
        """How many plans of this person are left that nobody has agreed to."""
        now, count = self._now(), 0
        for left in self.place.glob(".*/"):  # by whoever was killed while he made or forgot a plan
            with suppress(FileNotFoundError):
                if now - left.stat().st_mtime_ns // 1000 > EXPIRES:
                    shutil.rmtree(left, ignore_errors=True)
        for job in self._each():
            old = job.ended_at and now - job.ended_at > FORGOTTEN
            if old or (job.state is JobState.EXPIRED and now - job.planned_at > 2 * EXPIRES):
                self._forget(job.name)
            elif not job.agreed_at and job.planned_by == who:
                count += 1
        return count

    def _forget(self, name: str) -> None:
        """As a whole: without the file that says that it has ended, a job would be done once more."""
        gone = whole.beside(self.place / name)
        with suppress(FileNotFoundError):  # somebody was quicker
            os.rename(self.place / name, gone)
            shutil.rmtree(gone, ignore_errors=True)


def read_steps(place: Path) -> list[dict[str, Any]]:
    """The steps that are done; what was not written to its end is none."""
    try:
        lines = (place / "steps.jsonl").read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    steps: list[dict[str, Any]] = []
    for line in lines:
        try:
            step = orjson.loads(line)
        except ValueError:
            break
        if not isinstance(step, dict) or step.get("n") != len(steps):
            break
        steps.append(step)
    return steps


def _text(text: str) -> str:
    """A shell's argument may hold bytes that are no text."""
    return text.encode("utf-8", "replace").decode()


def _read(path: Path) -> dict[str, Any]:
    """A file's facts; none where it is not there. What is there and cannot be read may say that the job was stopped: raises
    OSError, and NoJob for what is damaged."""
    try:
        found = orjson.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise NoJob(f"the job {path.parent.name} can neither be shown nor go on: its {path.name} is damaged")
    return found
