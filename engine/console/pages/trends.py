"""Trends: what came and went over an hour, a day or a month, of one channel or destination or of all together."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import Field

from engine.console.doors import Scope, door
from engine.console.models import Asked, Instant, Told
from engine.console.rendering import url
from engine.console.rights import Right
from engine.console.visit import Visit
from engine.model import SECOND
from engine.store.figures import Tallied
from engine.store.tally import HOUR, MINUTE, bucket


class Span(NamedTuple):
    width: int  # seconds of one bucket
    length: int  # seconds in all
    row: int  # seconds of one row of the table


SPANS: Final = {
    "hour": Span(MINUTE, HOUR, 5 * MINUTE),
    "day": Span(HOUR, 24 * HOUR, HOUR),
    "month": Span(HOUR, 30 * 24 * HOUR, 24 * HOUR),
}
COUNTS: Final = {
    "channel": ("received", "duplicate", "filtered", "rejected", "parked"),
    "destination": ("delivered", "retried", "refused", "parked", "expired"),
}
MEANS: Final = {
    "channel": (("acknowledgement", "acknowledgement time", "acknowledged"),),
    "destination": (("answer", "attempt time", "attempted"), ("delivery", "delivery time", "ended")),
}
"""What took how long on average: (what, microseconds in all, how often)."""


class TrendsAsked(Asked):
    noun: Literal["channel", "destination"] = "channel"
    name: str = Field("", max_length=200, description="A channel or destination; none: all that you may see.")
    span: Literal["hour", "day", "month"] = "day"


class Point(Told):
    at: Instant  # the beginning
    counts: list[int]
    means: list[float | None]  # seconds


class Trends(Told):
    noun: str
    name: str
    span: str
    names: list[str]  # that may be asked for
    counts: list[str]  # what the points count
    means: list[str]
    points: list[Point]  # one a bucket
    rows: list[Point]  # coarser, for the table
    total: Point
    width: int  # seconds of a bucket
    zone: str  # of the site, for the charts
    api: str  # where the same is as JSON


@door("GET", "/trends", Right.SEE, Scope.SOME, "view trends", page="trends.html", api="/trends")
def trends(visit: Visit, asked: TrendsAsked) -> Trends:
    """What came and went, bucket by bucket."""
    names = _names(visit, asked.noun)
    span = SPANS[asked.span]
    until = bucket(visit.now, span.width) - (span.width == MINUTE) * MINUTE * SECOND  # a minute is written when it is over
    since = until - (span.length - span.width) * SECOND
    if asked.name:
        _require(visit, asked)
        visit.note(asked.name)
    found = _tallied(visit, asked, names, span.width, since, until)
    sums = _sums(found, range(since, until + 1, span.width * SECOND))
    points = [_point(asked.noun, at, one) for at, one in sums.items()]
    rows = _coarser(asked.noun, sums, span.row, visit.zone)
    total = _point(asked.noun, since, _added(sums.values()))
    return Trends(
        noun=asked.noun,
        name=asked.name,
        span=asked.span,
        names=names,
        counts=list(COUNTS[asked.noun]),
        means=[what for what, _, _ in MEANS[asked.noun]],
        points=points,
        rows=rows,
        total=total,
        width=span.width,
        zone=visit.home.timezone,
        api=url("/api/v1/trends", noun=asked.noun, name=asked.name, span=asked.span),
    )


def _names(visit: Visit, noun: str) -> list[str]:
    """Those that the person may see; a destination on all channels that deliver to it."""
    channels, destinations = visit.home.seen(visit.history)
    if noun == "channel":
        return [name for name in channels if visit.may(Right.SEE, name)]
    everywhere = visit.who.everywhere(Right.SEE)
    return [
        name
        for name in destinations
        if everywhere or ((users := visit.users_of(name)) and all(visit.may(Right.SEE, one) for one in users))
    ]


def _require(visit: Visit, asked: TrendsAsked) -> None:
    """Raises NotFound for what the person may not know of."""
    if asked.noun == "channel":
        visit.require(Right.SEE, asked.name)
        return
    for channel in visit.users_of(asked.name) or {asked.name}:
        visit.require(Right.SEE, channel)


def _tallied(visit: Visit, asked: TrendsAsked, names: list[str], width: int, since: int, until: int) -> list[Tallied]:
    if asked.name or visit.who.everywhere(Right.SEE):
        return visit.history.tallies(asked.noun, asked.name, width, since, until)
    return [one for name in names for one in visit.history.tallies(asked.noun, name, width, since, until)]


Sums = dict[str, int]


def _sums(found: list[Tallied], buckets: range) -> dict[int, Sums]:
    """By bucket; each has its own, and be it empty."""
    sums: dict[int, Sums] = {at: {} for at in buckets}
    for one in found:
        if one.at in sums:
            sums[one.at][one.what] = sums[one.at].get(one.what, 0) + one.amount
    return sums


def _point(noun: str, at: int, sums: Sums) -> Point:
    means = [sums.get(time, 0) / SECOND / sums[often] if sums.get(often) else None for _, time, often in MEANS[noun]]
    return Point(at=at, counts=[sums.get(what, 0) for what in COUNTS[noun]], means=means)


def _coarser(noun: str, sums: dict[int, Sums], row: int, zone: ZoneInfo) -> list[Point]:
    """The latest first. Days begin at midnight where the site is, whatever its clocks have done since."""
    found: dict[int, list[Sums]] = {}
    for at, one in sums.items():
        found.setdefault(_midnight(at, zone) if row > HOUR else bucket(at, row), []).append(one)
    return [_point(noun, at, _added(ones)) for at, ones in sorted(found.items(), reverse=True)]


def _midnight(at: int, zone: ZoneInfo) -> int:
    moment = datetime.fromtimestamp(at / SECOND, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return int(moment.timestamp()) * SECOND


def _added(several: Iterable[Sums]) -> Sums:
    sums: Sums = {}
    for one in several:
        for what, amount in one.items():
            sums[what] = sums.get(what, 0) + amount
    return sums
