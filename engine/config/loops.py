"""Messages that would come back: a destination whose address is one that a channel of the same site listens on.

What one channel delivers to another of the same engine is a message of its own there, so a circle of them never ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from engine.config.channels import ChannelReading
from engine.config.report import Report
from engine.contracts import DestinationSpec
from engine.quantities import Address

_EVERYWHERE: Final = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound
_PORTS: Final = {"http": 80, "https": 443}


def circles(readings: Sequence[ChannelReading], specs: Iterable[DestinationSpec], report: Report) -> None:
    """An error for each circle of channels, at the route that closes it."""
    addresses = {spec.name: _address(spec.options) for spec in specs}
    ways = {reading.name: _ways(reading, readings, addresses) for reading in readings if reading.channel}
    done: set[str] = set()
    for name in ways:
        _walk([name], ways, report, done)


def _walk(path: list[str], ways: Mapping[str, list[tuple[str, Any]]], report: Report, done: set[str]) -> None:
    """On from the end of `path`, to each channel once."""
    for channel, at in ways.get(path[-1], ()):
        if channel in path:
            way = " → ".join([*path[path.index(channel) :], channel])
            report.error(at, f"messages would go round and never end: {way}. Send them somewhere else.")
        elif channel not in done:
            _walk([*path, channel], ways, report, done)
    done.add(path[-1])


def _ways(
    reading: ChannelReading, readings: Sequence[ChannelReading], addresses: Mapping[str, Address | None]
) -> list[tuple[str, Any]]:
    """The channels that a channel's routes lead to, each with the place where the route says so."""
    assert reading.channel is not None
    found: list[tuple[str, Any]] = []
    for route in reading.channel.routes:
        address = addresses.get(route.destination)
        at = reading.file["routes"][route.name]["to"]
        found += [(other.name, at) for other in readings if address and _leads_to(address, other)]
    return found


def _leads_to(address: Address, reading: ChannelReading) -> bool:
    listen = getattr(reading.source.options, "listen", None) if reading.source else None
    if not isinstance(listen, Address) or listen.port != address.port or not listen.port:
        return False
    here = _here(address.host)
    return address.host == listen.host or (here and (listen.host in _EVERYWHERE or _here(listen.host)))


def _here(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _address(options: Any) -> Address | None:
    """Where a destination's connector connects to, as far as its options say."""
    connect = getattr(options, "connect", None)
    if isinstance(connect, Address):
        return connect
    parts = urlsplit(str(getattr(options, "url", "") or ""))
    port = parts.port or _PORTS.get(parts.scheme, 0)
    return Address(parts.hostname, port) if parts.hostname and port else None
