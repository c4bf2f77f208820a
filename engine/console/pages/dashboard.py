"""The dashboard: how every channel and destination stands, what waits, and steering one without touching the others."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from engine.console.answers import Done, Live, NotFound
from engine.console.board import GROUPS, Board, Watching, board, groups
from engine.console.doors import Scope, door
from engine.console.lines import ChannelLine, DestinationLine
from engine.console.models import Asked, Told
from engine.console.pulse import pulse
from engine.console.rendering import Rendering, url
from engine.console.rights import Right
from engine.console.visit import Visit

WHY = 300  # characters of a reason


class BoardAsked(Asked):
    q: str = Field("", max_length=100, description="Part of a name or an owner.")
    group: Literal["", "owner", "criticality"] = ""
    everything: bool = Field(False, description="Destinations at rest too, however many there are.")


class BoardTold(Told):
    board: Board
    q: str
    group: str
    everything: bool
    live: str  # the address of what changes

    @property
    def grouped(self) -> list[tuple[str, list[ChannelLine]]]:
        return [(group.word, group.lines) for group in groups(self.board.channels, self.group)]

    @property
    def ways(self) -> tuple[str, ...]:
        return GROUPS


@door("GET", "/", Right.SEE, Scope.SOME, "view dashboard", page="dashboard.html", api="/dashboard")
def dashboard(visit: Visit, asked: BoardAsked) -> BoardTold:
    """How every channel and destination stands, the most urgent first."""
    shown = _board(visit, asked)
    live = url("/dashboard/live", q=asked.q, group=asked.group, everything="true" if asked.everything else "")
    return BoardTold(board=shown, q=asked.q, group=asked.group, everything=asked.everything, live=live)


@door("GET", "/dashboard/live", Right.SEE, Scope.SOME, "")
def dashboard_live(visit: Visit, asked: BoardAsked) -> Live:
    """The same as it changes, as server-sent events."""
    home = visit.home
    rendering = home.parts.setdefault("dashboard rendering", Rendering(home.timezone, {}))
    watching = Watching(home, rendering, _may(visit), asked.q.lower(), asked.group, asked.everything)
    return Live(pulse(home).feed, lambda picture, _: watching.news(picture))


@door("GET", "", Right.SEE, Scope.SOME, "list channels", api="/channels")
def channels(visit: Visit, asked: BoardAsked) -> list[ChannelLine]:
    """Channels, the most urgent first."""
    return _board(visit, asked).channels


@door("GET", "", Right.SEE, Scope.SOME, "list destinations", api="/destinations")
def destinations(visit: Visit, asked: BoardAsked) -> list[DestinationLine]:
    """Destinations, the most urgent first."""
    return _board(visit, asked).destinations


def _board(visit: Visit, asked: BoardAsked) -> Board:
    return board(pulse(visit.home).picture(), visit.home, _may(visit), asked.q.lower(), asked.everything)


def _may(visit: Visit) -> Any:
    who, now = visit.who, visit.now
    return lambda channel: who.may(Right.SEE, channel, now)


# ── one of them ────────────────────────────────────────────────────────────────────────────────────────────────────


class ChannelAsked(Asked):
    channel: str


class DestinationAsked(Asked):
    destination: str


class ChannelTold(Told):
    line: ChannelLine
    may_steer: bool


class DestinationTold(Told):
    line: DestinationLine
    may_steer: bool


@door(
    *("GET", "/channels/{channel}", Right.SEE, Scope.CHANNEL, "view channel"),
    page="channel.html",
    fragment="_steer_channel.html",
    api="/channels/{channel}",
)
def channel(visit: Visit, asked: ChannelAsked) -> ChannelTold:
    """How one channel stands, and what can be done to it."""
    visit.note(asked.channel)
    found = board(pulse(visit.home).picture(), visit.home, lambda name: name == asked.channel).channels
    if not found:
        raise NotFound(f"There is no channel {asked.channel}.")
    return ChannelTold(line=found[0], may_steer=visit.may(Right.STEER, asked.channel))


@door(
    *("GET", "/destinations/{destination}", Right.SEE, Scope.DESTINATION, "view destination"),
    page="destination.html",
    fragment="_steer_destination.html",
    api="/destinations/{destination}",
)
def destination(visit: Visit, asked: DestinationAsked) -> DestinationTold:
    """How one destination stands, and what can be done to it."""
    visit.note(asked.destination)
    all_of_them = board(pulse(visit.home).picture(), visit.home, lambda name: True).destinations
    line = next((one for one in all_of_them if one.name == asked.destination), None)
    if line is None:
        raise NotFound(f"There is no destination {asked.destination}.")
    return DestinationTold(line=line, may_steer=all(visit.may(Right.STEER, name) for name in line.channels))


# ── steering ───────────────────────────────────────────────────────────────────────────────────────────────────────


class SteerChannel(ChannelAsked):
    why: str = Field(min_length=1, max_length=WHY, description="For the record, and for whoever finds it so.")


class SteerDestination(DestinationAsked):
    why: str = Field(min_length=1, max_length=WHY, description="For the record, and for whoever finds it so.")


@door("POST", "/channels/{channel}/stop", Right.STEER, Scope.CHANNEL, "stop channel", api="/channels/{channel}/stop")
def stop(visit: Visit, asked: SteerChannel) -> Done:
    """Close it: nothing is taken and nothing translated; what has been translated is delivered."""
    return _steer(visit, "stop", channel=asked.channel, why=asked.why)


@door("POST", "/channels/{channel}/drain", Right.STEER, Scope.CHANNEL, "drain channel", api="/channels/{channel}/drain")
def drain(visit: Visit, asked: SteerChannel) -> Done:
    """Close it, and stop it once all that it has is delivered."""
    return _steer(visit, "drain", channel=asked.channel, why=asked.why)


@door("POST", "/channels/{channel}/start", Right.STEER, Scope.CHANNEL, "start channel", api="/channels/{channel}/start")
def start(visit: Visit, asked: SteerChannel) -> Done:
    """Have it accept again."""
    return _steer(visit, "start", channel=asked.channel, why=asked.why)


@door(
    *("POST", "/destinations/{destination}/pause", Right.STEER, Scope.DESTINATION, "pause destination"),
    api="/destinations/{destination}/pause",
)
def pause(visit: Visit, asked: SteerDestination) -> Done:
    """Deliver nothing more to it; what comes for it waits."""
    return _steer(visit, "pause", destination=asked.destination, why=asked.why)


@door(
    *("POST", "/destinations/{destination}/resume", Right.STEER, Scope.DESTINATION, "resume destination"),
    api="/destinations/{destination}/resume",
)
def resume(visit: Visit, asked: SteerDestination) -> Done:
    """Deliver to it again, after a pause, a hold, or while its breaker is open."""
    return _steer(visit, "resume", destination=asked.destination, why=asked.why)


def _steer(visit: Visit, verb: str, **about: str) -> Done:
    visit.note(about.get("channel") or about["destination"], why=about["why"])
    said: str = visit.call(verb, who=visit.who.name, **about)
    pulse(visit.home).hurry()
    return Done("/", f"{said}.")
