"""Jobs: what people agreed to, how far it has come, and steering it."""

from __future__ import annotations

from pydantic import Field

from engine.console.answers import Done, Invalid, NotFound
from engine.console.doors import Scope, door
from engine.console.models import Asked, Instant, MessageId, Nothing, Told
from engine.console.rights import Right
from engine.console.visit import Visit
from engine.console.working import channels_of, may_steer, query_of, right_of, visible_job, work
from engine.model import Verb
from engine.operations.jobs import SEND, UNFINISHED, Job, JobState, NoJob
from engine.operations.runner import attended

SHOWN = 200  # jobs in the list
WORDS = {
    Verb.RELEASE: ("Release", "released"),
    Verb.CANCEL: ("Cancel", "cancelled"),
    Verb.RESEND: ("Resend", "sent again"),
    Verb.REPLAY: ("Replay", "taken again"),
    SEND: ("Send an edited copy", "sent"),
}


class JobTold(Told):
    name: str
    verb: str
    title: str
    done_word: str
    state: str
    asked: str
    who: str
    why: str
    agreed_at: Instant
    ended_at: Instant
    things: int
    done: int
    messages: int
    deliveries: int
    passed_over: int
    steps: int
    waits: str
    by: str
    channels: list[str]
    destinations: list[str]
    result: MessageId
    refused: str
    under_way: bool
    steerable: bool
    attended: bool
    earlier: str


class JobList(Told):
    jobs: list[JobTold]
    attended: bool
    under_way: bool


def told_job(visit: Visit, job: Job, at_work: bool | None = None) -> JobTold:
    title, word = WORDS[Verb(job.verb) if job.verb != SEND else SEND]
    return JobTold(
        name=job.name, verb=job.verb, title=title, done_word=word, state=job.state, asked=query_of(visit, job),
        who=job.who, why=job.why, agreed_at=job.agreed_at, ended_at=job.ended_at, things=job.things, done=job.done,
        messages=job.messages, deliveries=job.deliveries, passed_over=job.passed_over, steps=job.steps, waits=job.waits,
        by=job.by,
        channels=channels_of(job), destinations=list(job.figures.get("destinations", {})), result=job.result, refused=job.refused,
        under_way=job.state in (*UNFINISHED, JobState.PAUSED),
        steerable=all(visit.may(right_of(job), channel) for channel in channels_of(job)),
        attended=attended(work(visit.home).jobs) if at_work is None else at_work, earlier=job.earlier,
    )  # fmt: skip


@door("GET", "/jobs", Right.SEE, Scope.SOME, "view jobs", page="jobs.html", api="/jobs")
def jobs(visit: Visit, asked: Nothing) -> JobList:
    """What was agreed to, the latest first."""
    return _jobs(visit)


@door("GET", "/jobs/progress", Right.SEE, Scope.SOME, "", page="_jobs.html")
def jobs_progress(visit: Visit, asked: Nothing) -> JobList:
    """As `jobs`: for a page that is open."""
    return _jobs(visit)


def _jobs(visit: Visit) -> JobList:
    mine = work(visit.home)
    found = [job for job in mine.jobs.all() if all(visit.may(Right.SEE, channel) for channel in channels_of(job))][:SHOWN]
    at_work = attended(mine.jobs)
    told = [told_job(visit, job, at_work) for job in found]
    return JobList(jobs=told, attended=at_work, under_way=any(job.under_way for job in told))


class JobAsked(Asked):
    job: str = Field(max_length=32)


@door("GET", "/jobs/{job}", Right.SEE, Scope.SOME, "view job", page="job.html", api="/jobs/{job}")
def job_page(visit: Visit, asked: JobAsked) -> JobTold:
    """One job: who, why, how far."""
    return _agreed(visit, asked.job)


@door("GET", "/jobs/{job}/progress", Right.SEE, Scope.SOME, "", page="_job.html")
def job_progress(visit: Visit, asked: JobAsked) -> JobTold:
    """As `job`: for a page that is open."""
    return _agreed(visit, asked.job)


def _agreed(visit: Visit, name: str) -> JobTold:
    job = visible_job(visit, name)
    if not job.agreed_at:
        raise NotFound("Nobody has agreed to this plan.")
    return told_job(visit, job)


@door("POST", "/jobs/{job}/pause", Right.SEE, Scope.SOME, "pause job", api="/jobs/{job}/pause")
def pause(visit: Visit, asked: JobAsked) -> Done[JobTold]:
    """Begin no further step; the one under way is finished."""
    return _steered(visit, asked.job, "pause")


@door("POST", "/jobs/{job}/resume", Right.SEE, Scope.SOME, "resume job", api="/jobs/{job}/resume")
def resume(visit: Visit, asked: JobAsked) -> Done[JobTold]:
    """Go on."""
    return _steered(visit, asked.job, "resume")


@door("POST", "/jobs/{job}/stop", Right.SEE, Scope.SOME, "stop job", api="/jobs/{job}/stop")
def stop(visit: Visit, asked: JobAsked) -> Done[JobTold]:
    """Begin no further step, ever. What is done stays done."""
    return _steered(visit, asked.job, "stop")


def _steered(visit: Visit, name: str, what: str) -> Done[JobTold]:
    job = visible_job(visit, name)
    may_steer(visit, job)
    mine = work(visit.home)
    visit.note(job.name, action=job.verb)
    try:
        if what == "pause":
            job = mine.jobs.pause(job.name, visit.who.name)
        elif what == "stop":
            job = mine.jobs.stop(job.name, visit.who.name)
        else:
            job = mine.jobs.resume(job.name)
    except NoJob as error:
        raise Invalid(("", str(error))) from error
    mine.go_on()
    return Done(f"/jobs/{job.name}", model=told_job(visit, job))
