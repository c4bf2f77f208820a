"""The site's files: what they say, what is wrong with them, which versions ran, and what differs between two."""

from __future__ import annotations

from collections import Counter
from typing import Final

from pydantic import Field

from engine.config.promise import promise
from engine.console.answers import Away, NotFound, Refusal
from engine.console.doors import Scope, door
from engine.console.models import Asked, Instant, Nothing, Told
from engine.console.rights import Right
from engine.console.sitefiles import NOW, Outline, differences, names_in, outline, text_of, texts_of, version_directory
from engine.console.visit import Visit
from engine.contracts import Channel
from engine.operations.versions import Versions

LINES: Final = 500  # of a file on one page
MOST_FINDINGS: Final = 300
MOST_DIFF: Final = 1500  # lines of a diff that are shown
CODES: Final = "mappings/codes/"


class FoundProblem(Told):
    file: str
    line: int
    column: int
    text: str
    severity: str


class ChannelFile(Told):
    name: str
    file: str
    about: str
    owner: str
    source: str
    routes: list[str]
    findings: int


class SiteFile(Told):
    name: str
    used_by: list[str]
    findings: int


class SiteTold(Told):
    version: str  # of the files; '' where they have errors
    running: str  # '' where no engine can be asked
    whole: bool  # whether the person sees all of it
    channels: list[ChannelFile]
    mappings: list[SiteFile]
    tables: list[SiteFile]
    conf: list[SiteFile]
    findings: list[FoundProblem]
    more_findings: int


class FileLine(Told):
    n: int
    text: str
    findings: list[FoundProblem]


class FileTold(Told):
    name: str
    lines: list[FileLine]
    total: int
    start: int
    general: list[FoundProblem]  # those of the whole file
    channel: str
    promise: str
    about: str
    used_by: list[str]
    mapping: str


class VersionTold(Told):
    version: str
    at: Instant
    who: str
    what: str
    kept: bool
    running: bool


class VersionsTold(Told):
    versions: list[VersionTold]
    running: str
    now: str  # the version of the files as they are; '' where they have errors


class FileDifference(Told):
    file: str
    change: str
    lines: list[str]


class DifferenceTold(Told):
    before: str
    after: str
    files: list[FileDifference]
    cut: bool
    versions: list[str]


class FileAsked(Asked):
    name: str = Field(max_length=200)
    start: int = Field(1, ge=1, le=10_000_000)


class DifferenceAsked(Asked):
    before: str = Field("", max_length=20)
    after: str = Field(NOW, max_length=20)


def running_version(visit: Visit) -> str:
    """The version that the engine runs; '' where none can be asked."""
    try:
        return str(visit.call("status")["version"])
    except (Away, Refusal, KeyError, TypeError):
        return ""


@door("GET", "/site", Right.SEE, Scope.SOME, "view site", page="site.html", api="/site")
def site(visit: Visit, asked: Nothing) -> SiteTold:
    """The site's files and what `wardline check` says of them; of a site that one sees in part, that part."""
    reading = visit.site.reading
    names = [name for name in names_in(visit.home.directory) if may_see(visit, name)]
    found = [FoundProblem(**_problem(one)) for one in reading.problems if one.file in names or visit.who.everywhere(Right.SEE)]
    wrong = Counter(one.file for one in found)
    users = _users(visit)
    files = [SiteFile(name=name, used_by=users.get(name, []), findings=wrong[name]) for name in names]
    return SiteTold(
        version=reading.site.version if reading.site else "",
        running=running_version(visit),
        whole=visit.who.everywhere(Right.SEE),
        channels=[_channel_file(one, wrong[f"channels/{one.name}.yaml"]) for one in outlines(visit, Right.SEE)],
        mappings=[one for one in files if one.name.startswith("mappings/") and not one.name.startswith(CODES)],
        tables=[one for one in files if one.name.startswith(CODES)],
        conf=[one for one in files if one.name.startswith("conf/")],
        findings=found[:MOST_FINDINGS],
        more_findings=max(0, len(found) - MOST_FINDINGS),
    )


@door("GET", "/site/files/{name:path}", Right.SEE, Scope.SOME, "view site file", page="site_file.html", api="/site/file")
def site_file(visit: Visit, asked: FileAsked) -> FileTold:
    """One of the site's files, with what `wardline check` says of it at its lines; read only, and without secrets."""
    directory = visit.home.directory
    if asked.name not in names_in(directory) or not may_see(visit, asked.name):
        raise NotFound("There is no such file that you may see.")
    visit.note(asked.name)
    try:
        texts = text_of(directory, asked.name).split("\n")
    except OSError as error:
        raise NotFound(f"This file cannot be read now: {error.strerror}.") from error
    texts = texts[:-1] if texts and not texts[-1] else texts
    problems = [FoundProblem(**_problem(one)) for one in visit.site.reading.problems if one.file == asked.name]
    start = min(asked.start, max(1, len(texts)))
    lines = [
        FileLine(n=n, text=text, findings=[one for one in problems if one.line == n])
        for n, text in enumerate(texts[start - 1 : start - 1 + LINES], start)
    ]
    channel = visit.site.channels.get(_stem(asked.name)) if asked.name.startswith("channels/") else None
    compiled = visit.site.reading.site
    return FileTold(
        name=asked.name,
        lines=lines,
        total=len(texts),
        start=start,
        general=[one for one in problems if not 0 < one.line <= len(texts)],
        channel=channel.name if channel else "",
        promise=promise(channel, compiled) if channel and compiled else "",
        about=channel.about if channel else "",
        used_by=_users(visit).get(asked.name, []),
        mapping=_stem(asked.name) if asked.name.startswith("mappings/") and asked.name.endswith(".yaml") else "",
    )


@door("GET", "/site/versions", Right.SEE, Scope.SITE, "view versions", page="site_versions.html", api="/site/versions")
def versions(visit: Visit, asked: Nothing) -> VersionsTold:
    """The configurations that ran here, the latest first."""
    directory = visit.home.directory
    running, compiled = running_version(visit), visit.site.reading.site
    entries = Versions(directory).entries()
    kept = {entry.version for entry in entries if version_directory(directory, entry.version) is not None}
    told = [
        VersionTold(
            version=entry.version,
            at=entry.at,
            who=entry.who,
            what=entry.what,
            kept=entry.version in kept,
            running=bool(running) and entry.version == running,
        )
        for entry in entries[:200]
    ]
    return VersionsTold(versions=told, running=running, now=compiled.version if compiled else "")


@door("GET", "/site/diff", Right.SEE, Scope.SITE, "compare versions", page="site_diff.html", api="/site/diff")
def diff(visit: Visit, asked: DifferenceAsked) -> DifferenceTold:
    """What differs between two versions, or between one and the files as they are: `now`."""
    directory = visit.home.directory
    known = list(dict.fromkeys(entry.version for entry in Versions(directory).entries()))
    kept = [version for version in known if version_directory(directory, version) is not None]
    before = asked.before or (running_version(visit) if running_version(visit) in kept else kept[0] if kept else NOW)
    places = [version_directory(directory, version) for version in (before, asked.after)]
    if places[0] is None or places[1] is None:
        raise NotFound("This version is not kept here.")
    visit.note(f"{before} {asked.after}")
    files, left, cut = [], MOST_DIFF, False
    for name, change, lines in differences(texts_of(places[0]), texts_of(places[1])):
        cut = cut or len(lines) > left
        files.append(FileDifference(file=name, change=change, lines=lines[: max(0, left)]))
        left -= len(lines)
    return DifferenceTold(before=before, after=asked.after, files=files, cut=cut, versions=kept)


# ── pieces ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _problem(one: object) -> dict[str, object]:
    return {name: getattr(one, name) for name in ("file", "line", "column", "text", "severity")}


def _stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]


def may_see(visit: Visit, name: str) -> bool:
    """Whoever sees every channel sees every file; others those of their channels, and the mappings that these use."""
    if visit.who.everywhere(Right.SEE):
        return True
    if name.startswith("channels/"):
        return visit.may(Right.SEE, _stem(name))
    used = _users(visit).get(name, []) if name.startswith("mappings/") else []
    return any(visit.may(Right.SEE, channel) for channel in used)


def _users(visit: Visit) -> dict[str, list[str]]:
    """Files of mappings, each with the channels that use it, of those that the person may see."""
    found: dict[str, list[str]] = {}
    for one in outlines(visit, Right.SEE):
        for name in dict.fromkeys(name for _, mappings, _ in one.routes for name in mappings):
            found.setdefault(f"mappings/{name}.yaml", []).append(one.name)
    return found


def outlines(visit: Visit, right: Right) -> list[Outline]:
    """The channels on which the right is the person's: as compiled, or as their files read where the site has errors."""
    site = visit.site
    names = [name for name in site.names if visit.may(right, name)]
    if site.reading.site is None:
        return [outline(visit.home.directory, f"channels/{name}.yaml") for name in names]
    return [_outline(site.channels[name]) for name in names if name in site.channels]


def _outline(channel: Channel) -> Outline:
    listen = getattr(channel.options, "listen", None)
    routes = [
        (route.name, tuple(route.mapping.name.split(", ")) if route.mapping else (), route.destination)
        for route in channel.routes
    ]
    source = f"{channel.connector} {listen}" if listen else channel.connector
    return Outline(channel.name, channel.about, channel.owner, source, tuple(routes))


def _channel_file(one: Outline, findings: int) -> ChannelFile:
    return ChannelFile(
        name=one.name,
        file=f"channels/{one.name}.yaml",
        about=one.about,
        owner=one.owner,
        source=one.source,
        routes=[f"{route} → {to}" for route, _, to in one.routes],
        findings=findings,
    )
