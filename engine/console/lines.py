"""A line for each channel and each destination: what stands on the dashboard, and what is to be seen first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from engine.console.home import SiteView
from engine.console.models import Instant, Told
from engine.console.pulse import Picture
from engine.contracts import Channel
from engine.model import SECOND
from engine.store.figures import Backlog, Queue, Stands

FINE, NOTED, WARN, BAD = range(4)
"""How urgent a line is: nothing, a person has it so, something waits for people, or the promise is broken."""
CRITICALITIES: Final = ("high", "normal", "low")
AWAY: Final = "away"  # the state of what nobody works on, since no engine runs
RISK: Final = 0.5  # of what was promised: from here on it is at risk

_BY_STATE: Final = {"failed": BAD, "held": BAD, "open": WARN, "stopped": NOTED, "draining": NOTED, "paused": NOTED, AWAY: BAD}


class ChannelLine(Told):
    name: str
    about: str
    owner: str
    criticality: str
    state: str
    why: str
    since: Instant
    address: str
    connections: int | None  # None: the connector does not count them
    per_minute: float | None  # messages; None: not known yet
    received: int  # these since the engine started
    duplicate: int
    filtered: int
    rejected: int
    refused: int
    parked: int  # that wait for people now
    untranslated: int
    oldest: Instant  # of what waits to be translated or delivered
    last_received_at: Instant
    acknowledged_p50: float | None  # seconds, of the last minute or two
    acknowledged_p99: float | None
    deliver_within: float  # seconds that were promised; 0: nothing was
    promise: str  # `kept`, `at risk`, `broken`; '': nothing was promised, or nobody knows
    urgency: int
    destinations: list[str]


class DestinationLine(Told):
    name: str
    state: str
    why: str
    since: Instant
    per_minute: float | None  # deliveries
    waiting: int
    lanes: int
    blocked: int
    in_hand: int
    oldest: Instant
    delivered: int  # these since the engine started
    retried: int
    refused: int
    parked: int  # that wait for people now
    last_delivered_at: Instant
    last_error: str
    last_error_at: Instant
    answered_p50: float | None  # seconds, of the last minute or two
    answered_p99: float | None
    urgency: int
    channels: list[str]


def channel_lines(picture: Picture, view: SiteView) -> list[ChannelLine]:
    """All of them, in order of name."""
    rows = picture.engine["channels"] if picture.engine else {}
    names = {*rows, *view.names, *picture.figures.backlog}
    return [_channel(name, rows.get(name), view.channels.get(name), picture) for name in sorted(names)]


def destination_lines(picture: Picture, view: SiteView) -> list[DestinationLine]:
    """All of them, in order of name."""
    rows = picture.engine["destinations"] if picture.engine else {}
    site = view.reading.site
    names = {*rows, *(spec.name for spec in site.destinations if site)} if site else {*rows}
    names |= picture.figures.queues.keys()
    return [_destination(name, rows.get(name), sorted(view.users.get(name, ())), picture) for name in sorted(names)]


def urgent_first(lines: Iterable[Any]) -> list[Any]:
    def rank(line: Any) -> tuple[int, int, str]:
        word = getattr(line, "criticality", "normal")
        return -line.urgency, CRITICALITIES.index(word) if word in CRITICALITIES else len(CRITICALITIES), line.name

    return sorted(lines, key=rank)


def _channel(name: str, row: dict[str, Any] | None, channel: Channel | None, picture: Picture) -> ChannelLine:
    figures = picture.figures
    state, why, since = _stands(row, picture, figures.channels.get(name))
    counts: Mapping[str, int] = row["counts"] if row else {}
    untranslated = figures.backlog.get(name, Backlog(0, 0))
    waiting = [queue.oldest[name] for queue in figures.queues.values() if queue.oldest.get(name)]
    oldest = min([*waiting, *([untranslated.oldest] if untranslated.oldest else [])], default=0)
    destinations = _destinations_of(channel)
    within = channel.deliver_within if channel else 0.0
    promise = _promise(within, oldest, _slowest(picture, destinations), picture.at)
    if picture.engine is None and promise != "broken":
        promise = ""  # nobody knows
    parked = figures.held.messages.get(name, 0)
    p50, p99 = _pair(row["acknowledgement"]) if row else (None, None)
    return ChannelLine(
        name=name,
        about=channel.about if channel else "",
        owner=channel.owner if channel else "",
        criticality=channel.criticality if channel else "normal",
        state=state,
        why=why,
        since=since,
        address=row["address"] if row else "",
        connections=row["connections"] if row else None,
        per_minute=picture.rates.get(("channel", name)),
        received=counts.get("received", 0),
        duplicate=counts.get("duplicate", 0),
        filtered=counts.get("filtered", 0),
        rejected=counts.get("rejected", 0),
        refused=counts.get("refused", 0),
        parked=parked,
        untranslated=untranslated.messages,
        oldest=oldest,
        last_received_at=row["last_received_at"] if row else 0,
        acknowledged_p50=p50,
        acknowledged_p99=p99,
        deliver_within=within,
        promise=promise,
        urgency=max(_BY_STATE.get(state, FINE), {"broken": BAD, "at risk": WARN}.get(promise, FINE), WARN if parked else FINE),
        destinations=destinations,
    )


def _destination(name: str, row: dict[str, Any] | None, channels: list[str], picture: Picture) -> DestinationLine:
    figures = picture.figures
    state, why, since = _stands(row, picture, figures.destinations.get(name))
    queue = figures.queues.get(name, Queue(0, 0, 0, {}))
    attempts: Mapping[str, int] = row["attempts"] if row else {}
    parked = figures.held.deliveries.get(name, 0)
    p50, p99 = _pair(row["attempt"]) if row else (None, None)
    refused = attempts.get("refused", 0)
    return DestinationLine(
        name=name,
        state=state,
        why=why,
        since=since,
        per_minute=picture.rates.get(("destination", name)),
        waiting=queue.waiting,
        lanes=queue.lanes,
        blocked=queue.blocked,
        in_hand=row["in_hand"] if row else 0,
        oldest=min((at for at in queue.oldest.values() if at), default=0),
        delivered=row["ended"].get("delivered", 0) if row else 0,
        retried=sum(attempts.values()) - attempts.get("delivered", 0) - refused,
        refused=refused,
        parked=parked,
        last_delivered_at=row["last_delivered_at"] if row else 0,
        last_error=row["last_error"] if row else "",
        last_error_at=row["last_error_at"] if row else 0,
        answered_p50=p50,
        answered_p99=p99,
        urgency=max(_BY_STATE.get(state, FINE), WARN if parked else FINE),
        channels=channels,
    )


def _stands(row: dict[str, Any] | None, picture: Picture, stored: Stands | None) -> Stands:
    """By the engine; where none runs, what somebody has steered stands so at its next start."""
    if row is not None:
        return Stands(row["state"], row["why"], row["since"])
    if stored is not None and stored.state != "running":
        return stored
    why = "the engine that runs does not have it" if picture.engine else "no engine runs"
    return Stands(AWAY, why, 0)


def _destinations_of(channel: Channel | None) -> list[str]:
    if channel is None:
        return []
    return sorted({route.destination for route in channel.routes} | ({channel.answers_to} - {""}))


def _slowest(picture: Picture, destinations: list[str]) -> float | None:
    """The 99th percentile of how long deliveries took of late, of the slowest destination."""
    rows = picture.engine["destinations"] if picture.engine else {}
    return max((rows[name]["delivery"][1] for name in destinations if name in rows and rows[name]["delivery"]), default=None)


def _promise(within: float, oldest: int, late: float | None, now: int) -> str:
    """How `deliver_within` is kept, by the age of what waits and by what has come to its end of late."""
    if not within:
        return ""
    longest = max((now - oldest) / SECOND if oldest else 0.0, late or 0.0)
    if longest > within:
        return "broken"
    return "at risk" if longest > within * RISK else "kept"


def _pair(quantiles: list[float]) -> tuple[float | None, float | None]:
    return (quantiles[0], quantiles[1]) if quantiles else (None, None)
