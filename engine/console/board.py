"""The dashboard as one person sees it: which lines, in which order, and the same again as what has changed on a live page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from markupsafe import escape

from engine.console.home import Home
from engine.console.lines import BAD, WARN, ChannelLine, DestinationLine, channel_lines, destination_lines, urgent_first
from engine.console.models import Instant, Told
from engine.console.pulse import Picture
from engine.console.rendering import Rendering

GROUPS: Final = ("", "owner", "criticality")
AT_REST: Final = 60  # destinations; where there are more, those at rest are folded away

May = Callable[[str], bool]


class Sums(Told):
    """Over what the person may see."""

    at: Instant
    engine: bool
    away: str
    accepting: bool
    started_at: Instant
    release: str
    configuration: str
    disk: str
    figures_at: Instant
    blind: str
    channels: int
    destinations: int
    bad: int  # lines whose promise is broken
    warn: int  # lines where something waits for people
    received_per_minute: float | None
    delivered_per_minute: float | None
    waiting: int
    untranslated: int
    parked: int
    codes: int


class Group(NamedTuple):
    """Lines under one word; '' where there are no groups."""

    word: str
    lines: list[Any]


class Board(Told):
    sums: Sums
    channels: list[ChannelLine]
    destinations: list[DestinationLine]
    folded: int  # destinations at rest that are not shown


def board(picture: Picture, home: Home, may: May, wanted: str = "", everything: bool = True) -> Board:
    """`wanted`: part of the names to show; `everything`: destinations at rest too, however many there are."""
    channels, destinations = _lines(picture, home)
    channels = [line for line in channels if may(line.name)]
    destinations = [line for line in destinations if line.channels and all(may(name) for name in line.channels)]
    sums = _sums(picture, channels, destinations)
    shown = urgent_first(line for line in channels if wanted in line.name.lower() or wanted in line.owner.lower())
    aims = urgent_first(line for line in destinations if wanted in line.name.lower())
    folded = 0
    if not everything and not wanted and len(aims) > AT_REST:
        busy = [line for line in aims if line.urgency or line.waiting]
        folded, aims = len(aims) - len(busy), busy
    return Board(sums=sums, channels=shown, destinations=aims, folded=folded)


def groups(lines: Iterable[ChannelLine], by: str) -> list[Group]:
    """In order of the most urgent line of each."""
    found: dict[str, list[Any]] = {}
    for line in lines:
        word = {"owner": line.owner or "no owner", "criticality": line.criticality}.get(by, "")
        found.setdefault(word, []).append(line)
    return [Group(word, ones) for word, ones in found.items()] or [Group("", [])]


class Watching:
    """One live page: each `news` is what differs from the one before, as markup whose elements replace those of their id."""

    def __init__(self, home: Home, rendering: Rendering, may: May, wanted: str, by: str, everything: bool) -> None:
        self._home, self._rendering, self._may = home, rendering, may
        self._wanted, self._by, self._everything = wanted, by, everything
        self._order: dict[str, tuple[str, ...]] = {}
        self._rows: dict[tuple[str, str], str] = {}

    def news(self, picture: Any) -> str | None:
        if not isinstance(picture, Picture):
            return None
        shown = board(picture, self._home, self._may, self._wanted, self._everything)
        parts = [self._rendering.render(template, sums=shown.sums) for template in ("_pulse.html", "_as_of.html")]
        tables = (
            ("channels", "_channel_row.html", groups(shown.channels, self._by)),
            ("destinations", "_destination_row.html", [Group("", shown.destinations)]),
        )
        for table, template, found in tables:
            parts += self._changed(table, template, found, picture)
        return "\n".join(parts)

    def _changed(self, table: str, template: str, found: list[Group], picture: Picture) -> list[str]:
        """All of a table where its order has changed, else the rows that have."""
        made = {line.name: self._row(template, line, picture) for group in found for line in group.lines}
        order = tuple(word for group in found for word in (f"\0{group.word}", *(line.name for line in group.lines)))
        same = order == self._order.get(table)
        fresh = {name: row for name, row in made.items() if self._rows.get((table, name)) != row}
        self._order[table] = order
        self._rows.update({(table, name): row for name, row in fresh.items()})
        if same:
            return [f'<template data-for="{table}-{escape(name)}">{row}</template>' for name, row in fresh.items()]
        rows = [text for group in found for text in (_heading(group), *(made[line.name] for line in group.lines))]
        return [f'<template data-for="{table}-body"><tbody id="{table}-body">{"".join(rows)}</tbody></template>']

    def _row(self, template: str, line: Any, picture: Picture) -> str:
        key = template, line.name
        if key not in picture.made:
            picture.made[key] = self._rendering.render(template, line=line)
        found: str = picture.made[key]
        return found


def _heading(group: Group) -> str:
    return f'<tr class="group"><th colspan="12" scope="colgroup">{escape(group.word)}</th></tr>' if group.word else ""


def _lines(picture: Picture, home: Home) -> tuple[list[ChannelLine], list[DestinationLine]]:
    """Made once of a picture, whoever asks."""
    if "lines" not in picture.made:
        view = home.site()
        picture.made["lines"] = channel_lines(picture, view), destination_lines(picture, view)
    found: tuple[list[ChannelLine], list[DestinationLine]] = picture.made["lines"]
    return found


def _sums(picture: Picture, channels: list[ChannelLine], destinations: list[DestinationLine]) -> Sums:
    engine = picture.engine or {}
    lines: list[ChannelLine | DestinationLine] = [*channels, *destinations]
    urgencies = Counter(line.urgency for line in lines)
    return Sums(
        at=picture.at,
        engine=picture.engine is not None,
        away=picture.away,
        accepting=bool(engine.get("accepting")),
        started_at=engine.get("started_at", 0),
        release=engine.get("release", ""),
        configuration=engine.get("version", ""),
        disk=engine.get("disk", ""),
        figures_at=picture.figures.at,
        blind=picture.blind,
        channels=len(channels),
        destinations=len(destinations),
        bad=urgencies[BAD],
        warn=urgencies[WARN],
        received_per_minute=_total(line.per_minute for line in channels),
        delivered_per_minute=_total(line.per_minute for line in destinations),
        waiting=sum(line.waiting for line in destinations),
        untranslated=sum(line.untranslated for line in channels),
        parked=sum(line.parked for line in lines),
        codes=picture.figures.held.codes,
    )


def _total(rates: Iterable[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None
