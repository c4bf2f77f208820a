"""The files of a site as declarations: from these come validation, JSON Schema for editors and the reference pages.

Where a key holds something that another part declares (a connector's options, a format's, an expression), the declaration
here only says so; `channels` and `destinations` take those apart themselves.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema, field_validator, model_validator

from engine.quantities import Address, Duration, Rate, Secret, Size
from engine.registry import Options

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def named(name: str) -> str:
    """`name`, if it is one. Raises ValueError."""
    if not NAME.fullmatch(name):
        raise ValueError(f"'{name[:64]}' is no name: letters, digits, - and _, beginning with a letter, at most 64")
    return name


Name = Annotated[str, AfterValidator(named), WithJsonSchema({"type": "string", "pattern": f"^{NAME.pattern}$"})]
"""Letters, digits, `-` and `_`, beginning with a letter."""

Expression = Annotated[str, Field(pattern=r"^=", json_schema_extra={"x-expression": True})]
"""`=` and an expression, as in a spreadsheet."""

Connection = Annotated[dict[str, Any], Field(json_schema_extra={"x-connector": True})]
"""One key, the connector's name, with its options below it."""


def _timezone(name: str) -> str:
    from engine.text import did_you_mean

    try:
        from zoneinfo import ZoneInfo, available_timezones

        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        near = did_you_mean(name, available_timezones())
        raise ValueError(
            f"there is no time zone '{name[:40]}'.{near or ' Names are like America/New_York or Europe/Vienna.'}"
        ) from None
    return name


def _store(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("sqlite", "postgresql"):
        raise ValueError("a store is sqlite:///data/wardline.db (relative to the site) or postgresql://user@host/database")
    if parts.scheme == "sqlite" and (parts.netloc or not parts.path.strip("/")):
        raise ValueError("a SQLite store is written with three slashes and a file: sqlite:///data/wardline.db")
    return url


class Listen(Options):
    listen: Address
    """Where to listen, `host:port`."""


ConsoleRole = Literal["viewer", "analyst", "operator", "auditor", "admin"]
"""What a person may do in the console, on the channels that a pattern matches."""


def _issuer(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")):
        raise ValueError("an issuer is an https URL like https://login.example.org/realms/hospital")
    if not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("an issuer is a URL without user, query and fragment, as its own discovery document has it")
    return url


class Oidc(Options):
    """People log in at an OpenID Connect provider; what they may do here follows from a claim it makes of them."""

    issuer: Annotated[str, AfterValidator(_issuer)]
    """The provider's issuer, as in its discovery document: `https://login.example.org/realms/hospital`."""
    client_id: str = Field(min_length=1)
    """Our name there."""
    client_secret: Secret
    """Our secret there, as a reference: `secret://env/WARDLINE_OIDC`."""
    label: str = "Single sign-on"
    """What the button on the login page says."""
    scope: str = Field(default="openid profile email", pattern=r"^openid( [\x21\x23-\x5b\x5d-\x7e]+)*$")
    """What is asked for, beginning with `openid`; some providers make the claim only where it is asked for by name."""
    claim: str = Field(default="groups", min_length=1)
    """The claim that says what somebody is: a text or a list of texts, in the ID token or at the userinfo endpoint."""
    grants: dict[str, dict[ConsoleRole, str | list[str]]] = Field(min_length=1)
    """Values of the claim, each with roles and the channels they are for: `{lab-team: {operator: "lab*", viewer: "*"}}`.
    Who has none of them is not let in."""


class ConsoleTls(Options):
    """With what the console shows who it is."""

    certificate: str = Field(min_length=1)
    """PEM file of the certificate and its chain."""
    key: str = Field(min_length=1)
    """PEM file of its key, which nobody else may read."""


class Console(Options):
    """The web console and its API."""

    listen: Address
    """Where it listens, `host:port`. Beyond this machine only with `tls`."""
    tls: ConsoleTls | None = None
    """Serve HTTPS; without it the console is for this machine alone, or for a proxy that runs on it."""
    oidc: Oidc | None = None
    """Let people log in at an OpenID Connect provider, besides by password."""

    @model_validator(mode="after")
    def _in_the_clear(self) -> Console:
        host = self.listen.host
        if self.tls is None and not (host in ("localhost", "::1") or host.startswith("127.")):
            raise ValueError(
                f"listen: {self.listen} can be reached from elsewhere, and passwords would cross the network in the clear: "
                "give it tls: {certificate: …, key: …}, or listen on 127.0.0.1 behind a proxy that has them"
            )
        return self


class Disk(Options):
    """What room the disk of a SQLite store must have."""

    stop_below: Size = 0
    """Free space below which nothing more is taken, while deliveries go on; 0: 5 % or 2 GiB, whichever is more, or a tenth of
    a small disk."""
    warn_below: Size = 0
    """Free space below which a warning is logged, and above which taking goes on; 0: 20 %."""
    ballast: Size = 256 << 20
    """A reserve, given up when there is no room at all so that pruning can work; small on a small disk; 0: none."""


RESENDS_KNOWN = 7 * 86_400.0  # seconds: so long a re-send is recognised at least


class Retention(Options):
    """How long is kept what has come to its end; what waits for anything is always kept."""

    content: Duration = 0.0
    """Age at which the content of messages and deliveries goes, and the facts stay; 0: with everything else."""
    everything: Annotated[Duration, Field(json_schema_extra={"examples": ["400d"]})] = 0.0
    """Age at which messages go with all that became of them; 0: never."""

    @model_validator(mode="after")
    def _in_order(self) -> Retention:
        if 0 < self.everything < RESENDS_KNOWN:
            raise ValueError("everything is at least 7d: so long a message that is sent again must be recognised")
        if 0 < self.everything < self.content:
            raise ValueError("content is kept longer than everything: it cannot be")
        return self


class EngineFile(Options):
    """`conf/engine.yaml`: this environment."""

    organization: str = Field(min_length=1)
    """Whose engine this is; part of the canonical envelope."""
    environment: str = Field(default="test", min_length=1)
    """`test`, `production` or a name of your own; shown wherever people act."""
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    """IANA name of the time zone of timestamps that carry none."""
    store: Annotated[str, AfterValidator(_store)] = Field(
        default="sqlite:///data/wardline.db", json_schema_extra={"secret": "allowed"}
    )
    """Where messages are kept: `sqlite:///FILE` or `postgresql://user@host/database`; a reference if it holds a password."""
    disk: Disk = Field(default_factory=Disk)
    """When the disk of a SQLite store counts as low and as full."""
    retention: Retention = Field(default_factory=Retention)
    """How long messages are kept, where a channel does not say otherwise; without it for ever."""
    watch: bool = False
    """Take up changes of the site's files by itself, once they have come to rest and are right."""
    console: Console | None = None
    """Where the console is; without it there is none."""
    monitor: Listen | None = None
    """Where `/live`, `/ready` and `/metrics` are served; nowhere without it."""


class Retry(Options):
    """How a destination is tried again: after `first`, then twice as long each time up to `up_to`, with jitter."""

    first: Annotated[Duration, Field(gt=0)] = 1.0
    """Wait before the second attempt."""
    up_to: Annotated[Duration, Field(gt=0)] = 300.0
    """Longest wait between attempts."""
    give_up_after: Duration = 0.0
    """Age at which a delivery ends as expired; 0: never, the queue is durable."""
    refusals: int = Field(default=1, ge=1)
    """Refusals that park the delivery; before that it is tried again."""

    @model_validator(mode="after")
    def _grows(self) -> Retry:
        if self.up_to < self.first:
            raise ValueError("up_to is shorter than first")
        return self


class DestinationFile(Options):
    """`conf/destinations.yaml`: under `destinations`, each by its name: its connector's key, and how its queue behaves."""

    retry: Retry = Field(default_factory=Retry)
    """How it is tried again."""
    rate: Rate = 0.0
    """Most deliveries a second; 0: no limit."""
    window: int = Field(default=16, ge=1, le=500)
    """Deliveries of one lane begun in one commit; 1 where it must never see an unneeded repeat after a crash."""


class Sla(Options):
    deliver_within: Duration
    """Time from receipt to delivery that people count on."""


class RouteFile(Options):
    """A route: what becomes of a message, and where it goes."""

    mapping: Name | list[Name] = Field(default_factory=list)
    """The mapping, or several in a row; without it the content goes on unchanged."""
    to: Name | dict[str, Any] = Field(json_schema_extra={"x-destination": True})
    """A destination's name, or a connector's key with its options."""
    when: Expression | None = None
    """Takes the route only where this is true; without it, always."""
    after: Name | list[Name] = Field(default_factory=list)
    """Routes above this one: what this one delivers waits until theirs, of the same message, have ended."""


class ApplicationAck(Options):
    """Where application acknowledgements go."""

    to: Name
    """The destination through which the sender hears what became of its message, where MSH-16 asks for that."""


class Ack(Options):
    """What the sender is told, and when."""

    processed: Name | list[Name] = Field(default_factory=list)
    """The answer waits until the deliveries of these routes have ended: accepted when all of them were delivered."""
    wait: Annotated[Duration, Field(gt=0, le=600)] = 30.0
    """How long it waits at most; the message is stored and goes on whatever is answered."""
    on_timeout: Literal["AA", "AE"] = "AE"
    """What is answered then; a re-send hears what has become of it by that time."""
    application: ApplicationAck | None = None
    """Application acknowledgements of HL7's enhanced mode, as messages of their own."""


class ReplyFile(Options):
    """A destination's own reply answers the sender: for queries that are passed on."""

    source: Name = Field(alias="from")
    """The route whose destination's reply is the answer."""
    within: Annotated[Duration, Field(gt=0, le=600)] = 20.0
    """How long it is waited for; after it the sender hears that it was not processed in time."""
    set: dict[str, Expression] = Field(default_factory=dict)
    """Fields of the reply that are set before the sender gets it, by expressions over what came in; MSA-2 is, always."""


DAY = 86_400.0  # seconds


class ChannelFile(Options):
    """`channels/NAME.yaml`: what is received and where it goes."""

    channel: Name
    """Its name, the same as the file's."""
    about: str = ""
    """One sentence for people."""
    owner: str = ""
    """Who is called."""
    criticality: Literal["low", "normal", "high"] = "normal"
    """Orders alerts and worklists."""
    sensitivity: Literal["phi", "internal", "public"] = "phi"
    """What the content is: health data of persons, or less."""
    sla: Sla | None = None
    """What people count on."""
    source: Connection
    """Where messages come from: one key, the connector, with its options below it."""
    format: Name | dict[str, Any] = Field(json_schema_extra={"x-format": True})
    """How content is read: a format's name, or one key with its options below it."""
    ack: Literal["stored", "processed"] | Ack = "stored"
    """When the sender gets its answer: once the message is on disk, or once it has been delivered wherever it goes; and what
    it is told later."""
    reply: ReplyFile | None = None
    """The sender is answered with a destination's reply."""
    accept: Expression | list[Expression] = Field(default_factory=list)
    """Conditions; a message for which one is false is answered AR and kept as rejected."""
    skip: dict[str, Expression] = Field(default_factory=dict)
    """Reason and condition; where one is true the message is answered AA and kept as filtered."""
    order_by: Expression | list[Expression] = Field(default_factory=list)
    """Messages with the same value are delivered strictly in order, others beside them; without it the channel is one line."""
    picks: Expression | None = None
    """Where several channels share one address: what of it is this channel's. One of them has none, and gets the rest."""
    on_park: Literal["continue"] = "continue"
    """What later messages of the same order key do when one is parked: they go on without it."""
    unique_by: Expression | list[Expression] = Field(default_factory=list)
    """What makes a message the same one again, together with its content; for hl7v2 MSH-3, MSH-4 and MSH-10."""
    unique_within: Annotated[Duration, Field(ge=0)] = 0.0
    """Age up to which a message counts as sent again, at least 24h; 0: for as long as the store has the first one."""
    index: dict[Name, Expression] = Field(default_factory=dict)
    """The business keys that people search by."""
    retention: Retention | None = None
    """How long its messages are kept; without it as `conf/engine.yaml` says."""
    routes: dict[Name, RouteFile] = Field(min_length=1)
    """Where messages go."""
    tests: list[dict[str, Any]] = Field(default_factory=list)
    """Examples: messages and what must become of them; run by `wardline test`."""

    @field_validator("unique_within")
    @classmethod
    def _long_enough(cls, value: float) -> float:
        if 0 < value < DAY:
            raise ValueError("a sender may repeat a message after a night: write at least 24h, or 0 for ever")
        return value
