"""What flows where, as a picture: channels on the left, what their routes do in the middle, destinations on the right.

Only where things stand is worked out here, in pixels of the picture; a template draws it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from engine.contracts import Channel, DestinationSpec, Route

WIDTH: Final = 1180
LEFT: Final = (8, 262)  # from, how wide
MIDDLE: Final = (408, 330)
RIGHT: Final = (884, 288)
ROW: Final = 30  # from one route to the next
BETWEEN: Final = 10  # more between channels
TALL: Final = {"channel": 40, "route": 26, "destination": 40}
TOP: Final = 30
UNCHANGED: Final = "unchanged"


@dataclass(frozen=True, slots=True)
class Node:
    """A box. `x`, `y` are its upper left corner; `state` is '' where nobody knows."""

    id: str  # `c1`, `r4`, `d2`: within the picture
    kind: str  # `channel`, `route`, `destination`
    name: str
    about: str  # a second line
    href: str
    state: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Way:
    """One route's line, from its channel through its box to its destination."""

    boxes: tuple[str, str, str]
    path: str  # of SVG
    state: str  # of the destination, or of the channel where that does not run


@dataclass(frozen=True, slots=True)
class Flow:
    """One route, for the table."""

    channel: str
    channel_state: str
    source: str
    route: str
    when: str
    mappings: tuple[str, ...]
    destination: str
    destination_state: str
    to: str


class Picture(NamedTuple):
    width: int
    height: int
    nodes: list[Node]
    ways: list[Way]
    flows: list[Flow]


def draw(
    channels: Sequence[Channel],
    specs: Iterable[DestinationSpec],
    states: Mapping[tuple[str, str], str],
    show: str = "",
) -> Picture:
    """`states`: by (`channel` or `destination`, name), as far as anybody knows them. `show`: only the routes in whose names,
    mappings or ends this text stands; all routes of a channel with it in its name."""
    known = {spec.name: spec for spec in specs}
    nodes: list[Node] = []
    ends: list[tuple[str, str, str]] = []  # channel's id, route's id, destination
    flows: list[Flow] = []
    y = TOP
    for number, channel in enumerate(channels, 1):
        routes = _shown(channel, show.strip().casefold())
        if show and not routes:
            continue
        tall = max(len(routes) * ROW, TALL["channel"] + BETWEEN)
        nodes.append(_channel(number, channel, states, y + (tall - TALL["channel"]) // 2))
        for at, route in enumerate(routes):
            here = y + (tall - len(routes) * ROW) // 2 + at * ROW + (ROW - TALL["route"]) // 2
            name = f"r{len(ends) + 1}"
            does = route.mapping.name if route.mapping else UNCHANGED
            about = f"{route.name}{', when ' + route.when.text[1:].strip() if route.when else ''}"
            href = _bench(does) if route.mapping else ""
            nodes.append(Node(name, "route", does, about, href, "", MIDDLE[0], here, MIDDLE[1], TALL["route"]))
            ends.append((f"c{number}", name, route.destination))
            flows.append(
                Flow(
                    channel.name,
                    states.get(("channel", channel.name), ""),
                    _source(channel),
                    route.name,
                    route.when.text[1:].strip() if route.when else "",
                    tuple(does.split(", ")) if route.mapping else (),
                    route.destination,
                    states.get(("destination", route.destination), ""),
                    _to(known.get(route.destination)),
                )
            )
        y += tall + BETWEEN
    placed = _destinations(nodes, ends, known, states)
    height = max([y, *(node.y + node.height + BETWEEN for node in placed.values())], default=TOP)
    nodes += placed.values()
    return Picture(WIDTH, height, nodes, _ways(nodes, ends, placed), flows)


def _shown(channel: Channel, text: str) -> list[Route]:
    if text in channel.name.casefold():
        return list(channel.routes)
    names = [
        (route, f"{route.name} {route.mapping.name if route.mapping else ''} {route.destination}") for route in channel.routes
    ]
    return [route for route, name in names if text in name.casefold()]


def _channel(number: int, channel: Channel, states: Mapping[tuple[str, str], str], y: int) -> Node:
    state = states.get(("channel", channel.name), "")
    href = f"/site/files/channels/{channel.name}.yaml"
    return Node(f"c{number}", "channel", channel.name, _source(channel), href, state, LEFT[0], y, LEFT[1], TALL["channel"])


def _destinations(
    nodes: Sequence[Node],
    ends: Sequence[tuple[str, str, str]],
    known: Mapping[str, DestinationSpec],
    states: Mapping[tuple[str, str], str],
) -> dict[str, Node]:
    """Each as near as may be to the middle of the routes that go to it, in that order, so that few lines cross."""
    middles: dict[str, list[int]] = {}
    at = {node.id: node.y + node.height // 2 for node in nodes}
    for _, route, destination in ends:
        middles.setdefault(destination, []).append(at[route])
    order = sorted(middles, key=lambda name: (sum(middles[name]) / len(middles[name]), name))
    tall, free = TALL["destination"], TOP
    found: dict[str, Node] = {}
    for number, name in enumerate(order, 1):
        y = max(free, sum(middles[name]) // len(middles[name]) - tall // 2)
        free = y + tall + BETWEEN
        href, state = f"/messages?q=destination:{name}", states.get(("destination", name), "")
        found[name] = Node(f"d{number}", "destination", name, _to(known.get(name)), href, state, RIGHT[0], y, RIGHT[1], tall)
    return found


def _ways(nodes: Sequence[Node], ends: Sequence[tuple[str, str, str]], placed: Mapping[str, Node]) -> list[Way]:
    by_id = {node.id: node for node in nodes}
    ways = []
    for channel, route, destination in ends:
        one, two, three = by_id[channel], by_id[route], placed[destination]
        state = one.state if one.state not in ("", "running") else three.state
        ways.append(Way((channel, route, three.id), _line(one, two) + _line(two, three), state))
    return ways


def _line(one: Node, other: Node) -> str:
    x1, y1 = one.x + one.width, one.y + one.height // 2
    x2, y2 = other.x, other.y + other.height // 2
    bend = (x2 - x1) // 2
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"


def _bench(chain: str) -> str:
    from urllib.parse import urlencode

    return f"/workbench?{urlencode({'chain': chain})}"


def _source(channel: Channel) -> str:
    listen = getattr(channel.options, "listen", None)
    return f"{channel.connector} {listen}" if listen else channel.connector


def _to(spec: DestinationSpec | None) -> str:
    """Where a destination is, without anything that could be a secret: an address or a directory."""
    if spec is None:
        return ""
    options = spec.options
    if url := getattr(options, "url", None):
        parts = urlsplit(str(url))
        port = f":{parts.port}" if parts.port else ""
        return f"{spec.connector} {parts.hostname or ''}{port}"
    place = getattr(options, "connect", None) or getattr(options, "path", None)
    return f"{spec.connector} {place}" if place else spec.connector
