"""A site, compiled: what its files say, as the parts take it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine.contracts.formats import Format
from engine.contracts.mappings import Expression, Mapping


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a destination is tried again: exponential from `first` seconds to at most `up_to`, with full jitter."""

    first: float = 1.0
    up_to: float = 300.0
    give_up_after: float = 0.0  # seconds since the delivery was recorded; 0: never
    refusals: int = 1  # refusals that park


@dataclass(frozen=True, slots=True)
class DestinationSpec:
    """A destination as its file describes it."""

    name: str
    connector: str
    options: Any  # the connector's Options, validated
    retry: RetryPolicy = RetryPolicy()
    rate: float = 0.0  # per second; 0: no limit
    window: int = 16  # deliveries of one lane begun in one commit


@dataclass(frozen=True, slots=True)
class Retention:
    """How long, in seconds, what has come to its end is kept; 0: for ever. What waits for anything is always kept."""

    content: float = 0.0  # of messages and deliveries
    everything: float = 0.0  # that they were, and what became of them


@dataclass(frozen=True, slots=True)
class DiskPolicy:
    """What room a store's disk must have, in bytes."""

    stop_below: int = 0  # free: nothing more is taken; 0: what fits the disk
    warn_below: int = 0  # free: said aloud; and taking goes on from here; 0: a fifth of the disk
    ballast: int = 256 << 20  # a reserve, given up when there is no room at all


@dataclass(frozen=True, slots=True)
class Route:
    name: str
    destination: str
    mapping: Mapping | None = None  # None: the content as it came
    when: Expression | None = None
    after: tuple[str, ...] = ()  # routes above this one for whose deliveries of the same message its own wait


@dataclass(frozen=True, slots=True)
class AckPolicy:
    """`ack: processed` and `reply`: an answer that waits for what becomes of the message."""

    routes: tuple[str, ...] = ()  # whose ends are waited for; none: all
    wait: float = 30.0  # seconds
    accept_late: bool = False  # what the sender hears when the time is up: that it is accepted, or that it is not
    reply_from: str = ""  # the route whose destination's reply is the answer
    reply_set: tuple[tuple[str, Expression], ...] = ()  # what is set in that reply: (path, expression over what came in)


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel file, compiled: everything intake and translate need, and nothing they must look up."""

    name: str
    about: str
    connector: str  # of the source
    options: Any  # the connector's Options, validated
    format: Format
    routes: tuple[Route, ...]
    ack: AckPolicy | None = None  # None: the answer is given once the message is on disk
    answers_to: str = ""  # the destination of application acknowledgements; '': the connection says what it can
    accept: tuple[Expression, ...] = ()
    skip: tuple[tuple[str, Expression], ...] = ()  # (reason, condition)
    order_by: tuple[Expression, ...] = ()  # none: one lane for the channel
    unique_by: tuple[Expression, ...] = ()
    unique_within: float = 0.0  # seconds after which the same key and content is another message; 0: never
    index: tuple[tuple[str, Expression], ...] = ()
    picks: Expression | None = None  # of what arrives at an address that several channels share; None: what no other picks
    owner: str = ""
    criticality: str = "normal"
    sensitivity: str = "phi"
    deliver_within: float = 0.0  # seconds; 0: no promise
    retention: Retention | None = None  # None: the site's


@dataclass(frozen=True, slots=True)
class Site:
    """A site, read and compiled. `version` is a hash of every file that went into it."""

    directory: str
    organization: str
    environment: str
    timezone: str
    store: str  # URL
    monitor: str  # `host:port`, or '' for none
    channels: tuple[Channel, ...]
    destinations: tuple[DestinationSpec, ...]
    version: str
    retention: Retention = Retention()
    disk: DiskPolicy = DiskPolicy()
    problems: tuple[Any, ...] = field(default=())  # warnings
    files: tuple[str, ...] = ()  # names of all that went into `version`, from the directory
    console: str = ""  # `host:port`, or '' for none
    watch: bool = False  # whether a change of its files is taken up by itself
