"""What no single file can show: addresses taken twice, names never used, channels that cannot be searched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from engine.config.channels import ChannelReading
from engine.config.report import Report
from engine.contracts import DestinationSpec
from engine.quantities import Address
from engine.strictyaml import Map, Mark, Text, mark
from engine.text import listed

_EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound


def addresses(readings: Iterable[ChannelReading], engine: Map, report: Report) -> None:
    """Two that listen on one address: the second could not start, unless they share it."""
    readings = _sharing(readings, report)
    taken: list[tuple[Address, Mark, str]] = []
    for what in ("console", "monitor"):
        listen = engine.get(what)
        if isinstance(listen, Map) and isinstance(listen.get("listen"), Text):
            _claim(_address(listen["listen"]), mark(listen["listen"]), f"the {what}", taken, report)
    for reading in readings:
        if reading.source is None:
            continue
        given = reading.source.given
        place = given["listen"] if isinstance(given, Map) and "listen" in given else reading.source.connector
        _claim(getattr(reading.source.options, "listen", None), mark(place), f"channel {reading.name}", taken, report)


def ports(readings: Iterable[ChannelReading], report: Report) -> None:
    """Ports that nobody finds, or that an ordinary user cannot have."""
    for reading in readings:
        listen = getattr(reading.source.options, "listen", None) if reading.source else None
        if reading.source is None or not isinstance(listen, Address) or listen.port >= 1024:
            continue
        given = reading.source.given
        place = given["listen"] if isinstance(given, Map) and "listen" in given else reading.source.connector
        if listen.port:
            text = f"port {listen.port} needs a right of its own (CAP_NET_BIND_SERVICE): ports from 1024 on do not."
        else:
            text = "port 0 is another one at each start, so no sender finds it. Choose a port."
        report.warning(place, text)


def _sharing(readings: Iterable[ChannelReading], report: Report) -> list[ChannelReading]:
    """One for each address that channels share by `picks`; what does not fit together is noted."""
    found: list[ChannelReading] = []
    shared: dict[tuple[str, str], list[ChannelReading]] = {}
    for reading in readings:
        listen = getattr(reading.source.options, "listen", None) if reading.source else None
        if reading.source is None or listen is None or not listen.port:
            found.append(reading)
        else:
            shared.setdefault((str(reading.source.connector), str(listen)), []).append(reading)
    for together in shared.values():
        rest = [reading for reading in together if "picks" not in reading.file]
        found += rest or together[:1]
        if not rest:
            names = listed(reading.name for reading in together)
            at = together[0].file.key("picks")
            report.error(at, f"{names} pick from an address, and nobody takes the rest: one of them must have no 'picks'.")
        for reading in together:
            first = (rest or together)[0]
            if reading.source and first.source and "picks" in reading.file and reading.source.options != first.source.options:
                at = reading.source.connector
                report.error(
                    at, f"the options differ from those of {first.name}, which has the same address. Write the same ones."
                )
    return found


def _address(text: Text) -> Address | None:
    from engine.quantities import parse_address

    try:
        return parse_address(text)
    except ValueError:
        return None


def _claim(address: Any, at: Mark, who: str, taken: list[tuple[Address, Mark, str]], report: Report) -> None:
    if not isinstance(address, Address) or not address.port:
        return
    for other, place, whose in taken:
        same = other.host == address.host or other.host in _EVERYWHERE or address.host in _EVERYWHERE
        if other.port == address.port and same:
            report.error(at, f"{address} is taken: {whose} listens on {other} ({place.file}:{place.line}). Choose another port.")
    taken.append((address, at, who))


def unused(
    named: Mapping[Text, DestinationSpec | None], readings: list[ChannelReading], mappings: Mapping[str, Mark], report: Report
) -> None:
    """Destinations and mappings that no route names."""
    used = {name for reading in readings for name in reading.destinations}
    for name in named:
        if name not in used:
            report.warning(name, f"no route goes to '{name}'.")
    applied = {name for reading in readings for name in reading.mappings}
    for mapping, place in mappings.items():
        if mapping not in applied:
            report.warning(place, f"no route uses the mapping '{mapping}'.")


def searchable(reading: ChannelReading, report: Report) -> None:
    """What people will miss: business keys, and a way to know a message that was sent again."""
    channel = reading.channel
    if channel is None:
        return
    at = next(iter(reading.file))
    if not channel.index:
        report.warning(at, "without 'index' nobody finds a message by patient or account. Name the keys people search by.")
    if not channel.unique_by and "unique_by" not in reading.file:
        text = "without 'unique_by' a message that is sent again is delivered again. Name what tells it ([] if nothing does)."
        report.warning(at, text)


def channels_named_twice(readings: list[ChannelReading], report: Report) -> None:
    """File systems may tell Charges.yaml and charges.yaml apart; people do not."""
    seen: dict[str, ChannelReading] = {}
    for reading in readings:
        first = seen.setdefault(reading.name.casefold(), reading)
        if first is not reading:
            places = listed([mark(next(iter(first.file))).file])
            report.error(next(iter(reading.file)), f"the channel '{reading.name}' stands in {places} as well.")
