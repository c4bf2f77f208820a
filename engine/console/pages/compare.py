"""Compare before you deploy: stored messages, translated by other files than those that translated them. Nothing is sent."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from engine.console.answers import Done, Invalid, NotFound
from engine.console.comparing import Job, jobs
from engine.console.doors import Scope, door
from engine.console.models import Asked, Instant, Nothing, Told
from engine.console.pages.site import running_version
from engine.console.rights import Right
from engine.console.sitefiles import NOW, version_directory
from engine.console.visit import Visit
from engine.model import SECOND
from engine.operations.versions import Versions

SPANS: Final = {"1h": 3600, "6h": 21_600, "24h": 86_400, "3d": 259_200, "7d": 604_800, "30d": 2_592_000}
TITLES: Final = {
    "changed": "Changed",
    "failing": "Would park, and did not",
    "rejected": "Would be refused, and were not",
    "filtered": "Would be filtered, and were not",
    "accepted": "Were refused or filtered, and would be delivered",
    "mended": "Parked, and would be delivered",
}


class Version(Told):
    version: str
    at: Instant
    what: str
    running: bool


class Group(Told):
    what: str
    channel: str
    route: str
    field: str
    change: str
    messages: int
    examples: list[str]


class JobTold(Told):
    id: str
    title: str
    who: str
    state: str
    why: str
    begun_at: Instant
    ended_at: Instant
    done: float  # of the time span, 0 to 1
    messages: int
    counts: dict[str, int]
    left_out: dict[str, int]
    groups: list[Group]
    going: bool


class CompareTold(Told):
    versions: list[Version]
    channels: list[str]
    spans: list[str]
    jobs: list[JobTold]
    titles: dict[str, str]


class ComparisonTold(Told):
    job: JobTold
    titles: dict[str, str]


class CompareAsked(Asked):
    version: str = Field(NOW, max_length=20, alias="with")  # `now`: the files as they are
    since: str = Field("24h", max_length=10)
    channel: str = Field("", max_length=64)  # '': all of those on which one may


class JobAsked(Asked):
    job: str = Field(max_length=40)


@door("GET", "/compare", Right.TRY, Scope.SOME, "view comparisons", page="compare.html", api="/comparisons")
def compare(visit: Visit, asked: Nothing) -> CompareTold:
    """What can be compared with, and the comparisons of late."""
    directory = visit.home.directory
    running = running_version(visit)
    entries = {entry.version: entry for entry in reversed(Versions(directory).entries())}
    kept = [entry for entry in entries.values() if version_directory(directory, entry.version) is not None]
    kept.sort(key=lambda entry: -entry.at)
    return CompareTold(
        versions=[Version(version=one.version, at=one.at, what=one.what, running=one.version == running) for one in kept[:50]],
        channels=[name for name in visit.site.names if visit.may(Right.TRY, name)],
        spans=list(SPANS),
        jobs=[_told(job) for job in jobs(visit.home).all() if _may_see(visit, job)],
        titles=TITLES,
    )


@door("POST", "/compare", Right.TRY, Scope.SOME, "compare", api="/comparisons", status=202)
def begin_comparison(visit: Visit, asked: CompareAsked) -> Done[JobTold]:
    """Translate the stored messages of a time span by the files as they are now, or by a version that ran, and compare with what
    was made of them. It goes on by itself; nothing is sent."""
    directory = version_directory(visit.home.directory, asked.version)
    if directory is None:
        raise NotFound("This version is not kept here.")
    if asked.since not in SPANS:
        raise Invalid(("since", f"a time span is one of {', '.join(SPANS)}"))
    if asked.channel:
        visit.require(Right.TRY, asked.channel)
    visible = visit.channels(Right.TRY)
    about: dict[str, Any] = {
        "channel": [asked.channel] if asked.channel else [],
        "since": visit.now - SPANS[asked.since] * SECOND,
        "until": visit.now,
        "visible": None if visible is None else sorted(visible),
    }
    what = "the files as they are now" if asked.version == NOW else f"version {asked.version}"
    job = Job(visit.who.name, about, f"{asked.channel or 'all channels'}, the last {asked.since}, by {what}", visit.now)
    jobs(visit.home).begin(job, str(directory))
    visit.note(job.id, version=asked.version, since=asked.since, channel=asked.channel)
    return Done(f"/compare/{job.id}", model=_told(job), status=202)


@door(
    "GET", "/compare/{job}", Right.TRY, Scope.SOME, "view comparison",
    page="comparison.html", fragment="_comparison.html", api="/comparisons/{job}",
)  # fmt: skip
def comparison(visit: Visit, asked: JobAsked) -> ComparisonTold:
    """How far a comparison is, and what it has found."""
    return ComparisonTold(job=_told(_job(visit, asked.job)), titles=TITLES)


@door("POST", "/compare/{job}/cancel", Right.TRY, Scope.SOME, "cancel comparison", api="/comparisons/{job}/cancel")
def cancel_comparison(visit: Visit, asked: JobAsked) -> Done[JobTold]:
    """End it. It has changed nothing."""
    job = _job(visit, asked.job)
    job.cancel(visit.who.name)
    visit.note(job.id)
    return Done(f"/compare/{job.id}", model=_told(job))


def _job(visit: Visit, number: str) -> Job:
    job = jobs(visit.home).get(number)
    if not _may_see(visit, job):
        raise NotFound("There is no such comparison any more.")
    return job


def _may_see(visit: Visit, job: Job) -> bool:
    """Whoever may try on every channel that it looks at."""
    if job.channels is None:
        return visit.who.everywhere(Right.TRY)
    return all(visit.may(Right.TRY, channel) for channel in job.channels)


def _told(job: Job) -> JobTold:
    found = job.found
    return JobTold(
        id=job.id,
        title=job.title,
        who=job.who,
        state=job.state,
        why=job.why,
        begun_at=job.begun_at,
        ended_at=job.ended_at,
        done=found.get("done", 0.0),
        messages=found.get("messages", 0),
        counts=found.get("counts", {}),
        left_out=found.get("left_out", {}),
        groups=[Group(**one) for one in found.get("groups", [])],
        going=job.state in ("waiting", "running"),
    )
