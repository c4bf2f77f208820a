"""The map: what flows where."""

from __future__ import annotations

from pydantic import Field

from engine.console.answers import Away, Refusal
from engine.console.doors import Scope, door
from engine.console.flowmap import Flow, Node, Way, draw
from engine.console.models import Asked, Told
from engine.console.rights import Right
from engine.console.visit import Visit


class MapAsked(Asked):
    show: str = Field("", max_length=100)  # part of a name
    table: bool = False  # the same as a table


class MapTold(Told):
    width: int
    height: int
    nodes: list[Node]
    ways: list[Way]
    flows: list[Flow]
    show: str
    table: bool
    running: bool  # an engine answers, so that states are known
    errors: bool  # the files have errors, so that there is nothing to draw


@door("GET", "/map", Right.SEE, Scope.SOME, "view map", page="map.html", api="/map")
def flow_map(visit: Visit, asked: MapAsked) -> MapTold:
    """What flows where, by the site's files: source, channel, mapping, destination; with their states where an engine runs."""
    compiled = visit.site.reading.site
    channels = [one for name, one in sorted(visit.site.channels.items()) if visit.may(Right.SEE, name)]
    states = _states(visit)
    picture = draw(channels, compiled.destinations if compiled else (), states or {}, asked.show)
    return MapTold(**picture._asdict(), show=asked.show, table=asked.table, running=states is not None, errors=compiled is None)


def _states(visit: Visit) -> dict[tuple[str, str], str] | None:
    try:
        status = visit.call("status")
        return {
            (kind, name): str(one["state"]) for kind in ("channel", "destination") for name, one in status[f"{kind}s"].items()
        }
    except (Away, Refusal, KeyError, TypeError):
        return None
