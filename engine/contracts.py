"""What the parts promise one another. The contract carries the documentation; implementations stay nearly comment-free.

Layers: connectors, formats, mappings, the store and the pipeline know these contracts and not one another.
All coroutines here are Twisted's: `async def` awaiting Deferreds, driven by the reactor.
"""

from __future__ import annotations

import random
import re
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol as WireProtocol

from engine.events import Emit
from engine.model import (
    Admission,
    Arrival,
    Delivery,
    Heading,
    Message,
    Outcome,
    Receipt,
    Settlement,
    Taken,
    Translation,
)
from engine.values import Value

# ── what everything runs on ────────────────────────────────────────────────────────────────────────────────────────


class Clock(Protocol):
    """Monotonic time and timers; the reactor has it, and so has `twisted.internet.task.Clock` in tests."""

    def seconds(self) -> float: ...

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall: ...


class Port(Protocol):
    """A listening socket."""

    address: str  # `host:port` as bound: port 0 has become a real one

    def stop(self) -> Awaitable[None]:
        """Accept no more connections; those that are open stay open."""


class Network(Protocol):
    """The way to sockets; `engine.net` has the real one, `engine.testing` one in memory.

    Protocols are Twisted protocols, and their transport offers `write`, `writeSequence`, `loseConnection`,
    `abortConnection`, `pauseProducing`, `resumeProducing`, `registerProducer`, `unregisterProducer`, `getPeer`, `getHost`.
    """

    def listen(self, build: Callable[[], WireProtocol], host: str, port: int) -> Awaitable[Port]:
        """One protocol from `build` for each connection. Raises OSError where the address cannot be bound."""

    def connect(
        self, build: Callable[[], WireProtocol], host: str, port: int, timeout: float, tls: ssl.SSLContext | None = None
    ) -> Awaitable[WireProtocol]:
        """A connected protocol, its TLS handshake done where `tls` is given (the certificate must name `host`).
        Raises OSError (which TimeoutError and ssl.SSLError are) when it was certainly not reached."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a part may use of the world. Nothing in the core reads clock, network or chance in any other way."""

    clock: Clock
    network: Network
    emit: Emit
    now: Callable[[], int]  # wall clock, microseconds since 1970; for records, never for order or durations
    chance: random.Random


# ── connectors ─────────────────────────────────────────────────────────────────────────────────────────────────────

Reply = Callable[[Receipt], Awaitable[bool]]
"""Called exactly once per arrival, after the commit. True: handed to the peer's transport. False: the peer had gone."""

Intake = Callable[[Arrival, Reply], Awaitable[None]]
"""Never raises: whatever goes wrong becomes a Receipt. The awaitable ends when the reply has been given."""


class Source(Protocol):
    """Where messages come from. Built once per channel as `Class(options, runtime, name)`; `name` is the channel's.

    A source turns bytes into `Arrival`s and hands each, with a way to answer, to `intake`. It owns framing, limits and
    back-pressure: it stops reading a connection whose arrivals are unanswered beyond its own bound.
    It never decides about order of commit and answer: it does not own it.
    """

    async def start(self, intake: Intake) -> None:
        """Open for business. Raises OSError where the address cannot be had."""

    async def stop(self) -> None:
        """Accept nothing new, finish what is in hand (its replies are given), then return with everything closed."""


class Destination(Protocol):
    """A system we deliver to. Built once per destination as `Class(options, runtime, name)`.

    `send` is called for one delivery of a lane at a time, and for up to `concurrency` lanes at once.
    """

    concurrency: int

    async def send(self, delivery: Delivery) -> Outcome:
        """One attempt, ending within the connector's own time-outs. Never raises for what a peer or a network does:
        that is an Outcome. Only an answer that is well-formed, positive and names what was sent is `Delivered`;
        whatever cannot be known is `Unknown`. After a time-out the connection is closed, so that a late answer cannot
        be credited to the next delivery."""

    async def check(self) -> str:
        """Try the endpoint without delivering anything; '' or what is wrong. For `wardline check --connect`."""

    async def stop(self) -> None:
        """Close connections. Called when nothing is in flight."""


# ── formats ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Node(NamedTuple):
    """One line of a message's tree, for people: `inspect` and the console."""

    path: str  # in the format's notation, e.g. `PID-5.1`
    name: str  # the standard's name, e.g. `Family Name`
    value: str  # '' where it has children
    children: tuple[Node, ...] = ()


class Document(Protocol):
    """A message as its format reads it, lazily; or one turn of it: the part that a `for_each` stands at.

    Paths are text in the format's grammar (LANGUAGE: `PID-3[.5='MR'].1`, `OBR[2]/OBX[*]-5`, `charge.quantity`). In a turn
    a name means the turn's own segments; kinds it cannot own are found outwards, never in siblings.
    Bad syntax raises PathError; implementations cache compiled paths by their text.
    """

    def __getitem__(self, path: str) -> Value:
        """What an expression sees: the first match (its first leaf as text, `Composite` where it has parts), a list for
        a path with `[*]`, NULL for an explicit null, EMPTY where there is nothing."""

    def all(self, path: str) -> list[Value]:
        """Every match, in order, as `__getitem__` would give each."""

    def place(self, path: str) -> str:
        """Where `path` points from here, absolutely, for error texts: `FT1[2]-13.1`."""

    def turns(self, path: str, owns: Sequence[str] = ()) -> list[Document]:
        """`for_each: path`: one narrowed document for each match: of a segment (with what the standard's structure gives
        to it, or what `owns` says), of a repetition (then `.1` is relative), of a list item."""

    def grouped(self, turns: Sequence[Document]) -> Document:
        """Several turns as one, for `by:`: a bare name is the first turn's, `[*]` runs over all of them."""

    def nodes(self) -> Iterator[Node]:
        """The tree for people."""


class Editable(Document, Protocol):
    """A document that a mapping may change: a copy, so that the message itself never changes."""

    def targets(self, path: str) -> list[tuple[Document, str]]:
        """The places a left-hand path names: for each match of `[*]` the turn its right side sees and the exact path."""

    def assign(self, path: str, value: Value) -> None:
        """Set one place, creating field, component and missing segment as needed. EMPTY empties it."""

    def drop(self, path: str) -> int:
        """Remove every match (`Z*`, `PD1`, `OBX[-11='X']`, `PID-3[.5='SS']`); how many there were."""

    def add(self, name: str, fields: MappingABC[str, Value], after: str = "") -> None:
        """Add a segment at the end, or after the last segment named `after` (or after its group where it is a path)."""


class Format(Protocol):
    """Bytes ↔ Document, pure. Built as `Class(options)`."""

    name: str
    content_type: str
    paths: re.Pattern[str]
    """Matches one path at the place where an expression may have one; used to find the paths in expressions."""

    def heading(self, content: bytes) -> Heading:
        """Cheap facts without parsing. Raises ContentError (with place) where even these cannot be read."""

    def parse(self, content: bytes) -> Document:
        """Lazily. Raises ContentError where there is no way to read it."""

    def render(self, document: Document) -> bytes:
        """Lossless: `render(parse(x)) == x`. Raises ContentError for text its character set cannot hold."""

    def edit(self, document: Document) -> Editable:
        """A copy to change, for mappings whose `to` is the same format. Raises NotImplementedError where there is none."""

    def identify(self, document: Editable, identity: str) -> None:
        """Put our transport identity where the format carries it (MSH-10)."""

    def acknowledge(self, content: bytes, receipt: Receipt) -> bytes | None:
        """The acknowledgement: a pure function of both, so that a duplicate gets the same bytes. Works on content that
        `heading` refuses, as far as it can be read; None where none may be sent (an acknowledgement is never answered)."""

    def judge(self, content: bytes, reply: bytes) -> Outcome:
        """What a peer's `reply` to `content` means: correlation is checked, unknown is never success."""

    def check_path(self, path: str) -> None:
        """Raises PathError where `path` is not in the grammar."""

    # Optional, found by name: `reader(path)` and `gather(paths)`, functions of a document, sooner than `document[path]`.


# ── mappings ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Facts(NamedTuple):
    """What a mapping may know besides the document: it is pure, so time and ids are inputs."""

    message_id: str = "0000000000"  # as people read it
    received_at: int = 0
    channel: str = ""
    route: str = ""
    heading: Heading = Heading("", "", "")
    organization: str = ""
    environment: str = ""
    timezone: str = "UTC"
    first_ordinal: int = 1  # ordinal of the route's first product
    format: str = ""  # what the message was read as: `hl7v2`

    def identity(self, n: int) -> str:
        """Transport identity of the route's n-th product (from 0): the message's id and the ordinal."""
        return f"{self.message_id}-{self.first_ordinal + n}"


class Expression(Protocol):
    """A compiled `=…` of a channel file (mappings compile theirs together). Text without `=` is a constant."""

    text: str

    def __call__(self, document: Document, facts: Facts) -> Value:
        """Raises ContentError with the path and place at fault."""


class Product(NamedTuple):
    """One result of a mapping chain, rendered."""

    content: bytes
    content_type: str
    kind: str  # `charge/v1`, `hl7v2`, `xml`
    action: str = ""
    idempotency_key: str = ""
    value: Any = None  # the canonical payload as plain data, for tests and `wardline map`


class Mapping(Protocol):
    """A chain of one or more mapping files, compiled. Pure: the same input gives the same output."""

    name: str  # `dft-to-charge`, or `dft-to-charge, charge-to-journal`

    def apply(self, document: Document, facts: Facts) -> list[Product]:
        """Raises MappingError or UnknownCode, naming the mapping, the field and the place in the message.
        An empty list means that every result was skipped by `when`."""


class Entity(Protocol):
    """A canonical entity's schema, found by name (`charge/v1`) in the registry."""

    name: str  # `charge`
    version: str  # `v1`

    def validate(self, value: MappingABC[str, Any]) -> dict[str, Any]:
        """The payload with every type as the schema has it (JSON-ready but for Decimals and dates).
        Raises ContentError naming the first field at fault, `charge.quantity`."""

    def envelope(self, payload: MappingABC[str, Any], action: str, facts: Facts) -> dict[str, Any]:
        """The canonical envelope: schema, action, idempotency_key, ordering_key, provenance and the payload, JSON-ready."""

    def delivered(self, payload: MappingABC[str, Any], action: str, facts: Facts) -> tuple[bytes, str, str]:
        """The envelope as JSON, its action and its idempotency key."""

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema 2020-12 of the payload."""


# ── a site, compiled ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a destination is tried again: exponential from `first` seconds to at most `up_to`, with full jitter."""

    first: float = 1.0
    up_to: float = 300.0
    give_up_after: float = 0.0  # seconds since the delivery was recorded; 0: never
    refusals: int = 1  # attempts before a refusal parks


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
class Route:
    name: str
    destination: str
    mapping: Mapping | None = None  # None: the content as it came
    when: Expression | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel file, compiled: everything intake and translate need, and nothing they must look up."""

    name: str
    about: str
    connector: str  # of the source
    options: Any  # the connector's Options, validated
    format: Format
    routes: tuple[Route, ...]
    accept: tuple[Expression, ...] = ()
    skip: tuple[tuple[str, Expression], ...] = ()  # (reason, condition)
    order_by: tuple[Expression, ...] = ()  # none: one lane for the channel
    unique_by: tuple[Expression, ...] = ()
    index: tuple[tuple[str, Expression], ...] = ()
    owner: str = ""
    criticality: str = "normal"
    sensitivity: str = "phi"
    deliver_within: float = 0.0  # seconds; 0: no promise


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
    problems: tuple[Any, ...] = field(default=())  # warnings


# ── the store ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Store(Protocol):
    """The only place where stages meet. Every verb is durable (fsync) before its Deferred fires, in the reactor thread.

    Verbs are group-committed: the writer collects what arrived while the last commit was under way (no timer; at most
    500 items and 8 MiB), runs each verb once over its batch, commits, then answers every caller. Within one commit the
    order is: `attempted`, `translated`, `take`, `take_due`. A batch that fails on its data is retried one item at a time,
    so that a poison row hurts only its own caller. A storage failure fails every waiting Deferred with StoreError, calls
    `on_failure` once, and no verb succeeds after it.
    """

    def take(self, admission: Admission) -> Deferred[Taken]:
        """Store an arrival. A re-send (same dedupe key and digest in the channel) is recorded as `duplicate` without a
        body and answered with the original's facts; the same key with another digest is taken and flagged."""

    def translated(self, translations: Sequence[Translation]) -> Deferred[None]:
        """Record what became of messages of one channel, in sequence, with all their deliveries, lanes and index rows."""

    def take_due(self, destination: str, room: int, window: int) -> Deferred[list[Delivery]]:
        """Begin up to `room` deliveries: heads of lanes that are due, and up to `window` successive ones of one lane
        (adjacent in the answer, in order). Their attempt rows are durable when this fires. A delivery that stands in
        several lanes begins only when it heads all of them."""

    def attempted(self, settlements: Sequence[Settlement]) -> Deferred[None]:
        """Record the ends of attempts and advance their lanes. Fenced: an attempt of another epoch changes nothing.
        Retry keeps the delivery at the head of its lane, due at the given instant; Withdrawn is as if never begun."""

    def untranslated(self, channel: str, after: int, limit: int) -> Deferred[list[Message]]:
        """Messages of `channel` in state received with an id above `after`, in order, with their content."""

    def next_due(self, destination: str) -> Deferred[int]:
        """The instant at which the earliest idle lane of `destination` falls due; 0 when none waits."""

    def close(self) -> Deferred[None]:
        """Finish the commit under way, checkpoint, release the lock. Verbs submitted after it fail."""
