"""Who may come in, and how much is said of those who may not."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Protocol

from engine.contracts import Clock

NOT_ALLOWED = "NOT_ALLOWED"  # from outside the networks in `allow`
TOO_MANY_CONNECTIONS = "TOO_MANY_CONNECTIONS"
STOPPING = "STOPPING"

QUIET = 600.0  # seconds in which the same is not said again of the same host
MOST_SAID = 256  # in that time, of all hosts together

Network = IPv4Network | IPv6Network


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """`10.20.0.0/16`, `10.20.30.40`, `fd00::/8` as networks. Raises ValueError, saying how one is written."""
    return tuple(_network(text.strip()) for text in texts)


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no network: write it like 10.20.0.0/16, 10.20.30.40 or fd00::/8") from None
    host = text.partition("/")[0]
    raise ValueError(f"{text!r} names a host in a network: write {meant} for all of it, or {host} for the host alone")


class Known(Protocol):
    """A connection, as the door knows it."""

    host: str

    def finish(self) -> None:
        """Answer what is in hand, then close."""


class Door:
    """Lets connections in, and counts them. With `takeover`, a host's new connection has its older one closed."""

    def __init__(self, allow: tuple[Network, ...], most: int, takeover: bool) -> None:
        self._allow, self._most, self._takeover = allow, most, takeover
        self._inside: set[Known] = set()  # that are not on their way out
        self._by_host: dict[str, Known] = {}  # for `takeover`

    def enter(self, connection: Known) -> str:
        """'' or the reason for which it may not."""
        if self._allow and not self._allowed(connection.host):
            return NOT_ALLOWED
        if self._takeover:
            older = self._by_host.get(connection.host)
            self._by_host[connection.host] = connection
            if older is not None:
                self._inside.discard(older)
                older.finish()
        if len(self._inside) >= self._most:
            self.leave(connection)
            return TOO_MANY_CONNECTIONS
        self._inside.add(connection)
        return ""

    def leave(self, connection: Known) -> None:
        self._inside.discard(connection)
        if self._takeover and self._by_host.get(connection.host) is connection:
            del self._by_host[connection.host]

    def _allowed(self, host: str) -> bool:
        address = ip_address(host)
        # Where both are listened on, an IPv4 peer comes as ::ffff:10.20.30.40 (RFC 4291 §2.5.5.2).
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._allow)


class Once:
    """Says the same of the same host once in a while, and of many hosts not everything: no peer can flood the log."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said: dict[tuple[str, str], float] = {}  # until when it is not said again

    def may(self, host: str, what: str) -> bool:
        """Whether to say `what` of `host` now."""
        now = self._clock.seconds()
        if self._said.get((host, what), now) > now:
            return False
        if len(self._said) >= MOST_SAID:
            self._said = {key: until for key, until in self._said.items() if until > now}
            if len(self._said) >= MOST_SAID:
                return False
        self._said[host, what] = now + QUIET
        return True
