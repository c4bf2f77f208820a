"""MLLP: HL7 v2 over TCP, as nearly every hospital system speaks it. Receives and sends."""

from __future__ import annotations

import re

from pydantic import Field, SecretStr, field_validator, model_validator

from engine.answers import Action
from engine.connectors.mllp.door import networks
from engine.quantities import Address, Duration, PeerAddress, Secret, Size
from engine.registry import Connector, End, Options
from engine.tlsclient import ClientTls

_ANSWER = re.compile(r"[AC][ER](/[0-9]{3})?")


class ServerTls(Options):
    """TLS where we listen, version 1.2 or later. Its files are read again, without a restart, when they change."""

    certificate: str = Field(min_length=1)
    """A PEM file with our certificate, and those between it and its authority."""
    key: str = ""
    """A PEM file with its private key, where that is not in the certificate's file."""
    password: Secret = SecretStr("")
    """What the key is encrypted with, as a reference: `secret://env/MLLP_KEY_PASSWORD`."""
    clients: str = ""
    """A PEM file with the authorities that issue the senders' certificates. With it a sender must show one (mutual TLS)."""
    subjects: list[str] = []
    """The senders that belong to this channel, by a name in their certificate: common name, DNS name or IP address."""

    @model_validator(mode="after")
    def _whose(self) -> ServerTls:
        if self.subjects and not self.clients:
            raise ValueError("subjects needs clients: name the file with the authorities that issue the senders' certificates")
        return self


class ListenOptions(Options):
    """Receive HL7 v2 over MLLP. Replies leave each connection in the order in which its messages came."""

    listen: Address | None = None
    """Where to listen: `127.0.0.1:6661` for this machine alone, `0.0.0.0:6661` for every interface."""
    connect: PeerAddress | None = None
    """Instead of `listen`: the sender's address, as `host:port`, where it waits to be called and sends when it is."""
    tls: ServerTls | None = None
    """`{certificate: FILE, key: FILE}`, and `clients: FILE` for mutual TLS."""
    allow: list[str] = []
    """Networks that may connect, `10.20.0.0/16` or `10.20.30.40`; none stands for all."""
    takeover: bool = False
    """A host's new connection replaces its older one, for senders that have one and may lose it without a word."""
    strict: bool = False
    """Refuse what MLLP does not allow but some send: a frame whose last byte, the CR, is missing."""
    max_frame: Size = Field(16 * 2**20, gt=0)
    """The largest message taken; a connection that sends a larger one is closed."""
    max_inbound: Size = Field(256 * 2**20, gt=0)
    """Memory for messages that arrive or are not yet answered, over all connections; beyond it reading waits."""
    max_connections: int = Field(200, ge=1)
    """Connections open at once; one more is closed as soon as it is made."""
    frame_timeout: Duration = Field(60.0, gt=0)
    """How long a message may take to arrive once begun, and a peer to take its acknowledgements."""
    idle_timeout: Duration = 0.0
    """Close a connection on which nothing has happened for this long; 0 never does."""
    max_in_flight: int = Field(64, ge=1)
    """Messages of one connection that may be unanswered at once; above it the connection is not read."""

    @field_validator("allow")
    @classmethod
    def _allow(cls, allow: list[str]) -> list[str]:
        networks(allow)
        return allow

    @model_validator(mode="after")
    def _together(self) -> ListenOptions:
        if (self.listen is None) == (self.connect is None):
            raise ValueError("write one of listen: and connect:")
        if self.connect is not None and (self.tls or self.allow or self.takeover):
            raise ValueError("tls, allow and takeover are for those who call us: they go with listen, not with connect")
        if self.max_inbound < self.max_frame:
            raise ValueError("max_inbound is smaller than max_frame: there would be no room for the largest message")
        return self


class ConnectOptions(Options):
    """Send HL7 v2 over MLLP. A delivery succeeds when the acknowledgement accepts it and names it in MSA-2."""

    connect: PeerAddress
    """The receiver, as `host:port`."""
    connections: int = Field(1, ge=1)
    """Connections kept at once, each with one message in flight: so many order keys are sent in parallel."""
    connect_timeout: Duration = Field(10.0, gt=0)
    """How long to try to connect."""
    ack_timeout: Duration = Field(30.0, gt=0)
    """How long to wait for an acknowledgement. After it the connection is closed and the message is sent again later."""
    max_frame: Size = Field(2**20, gt=0)
    """The largest acknowledgement taken."""
    keep_open: bool = True
    """Keep a connection for the next message; `false` makes a new one for each."""
    tls: ClientTls | None = None
    """`{}` for TLS, with `ca: FILE` for an authority of your own, and `certificate: FILE, key: FILE` for mutual TLS."""
    answers: dict[str, Action] = {}
    """What negative acknowledgements are to mean: `park`, `retry`, `hold` or `delivered`, by MSA-1 or MSA-1 and the code of
    table 0357 in ERR-3: `{AE: retry, AR: park, AE/205: delivered}`. `delivered` takes a code: it is said of one error only."""

    @field_validator("answers")
    @classmethod
    def _answers(cls, answers: dict[str, Action]) -> dict[str, Action]:
        for answer, action in answers.items():
            if not _ANSWER.fullmatch(answer):
                raise ValueError(f"'{answer}' is no negative acknowledgement: write AE, AR, CE or CR, or with its code AE/205")
            if action == "delivered" and ("/" not in answer or answer[3:] in ("206", "207")):
                raise ValueError(f"{answer} cannot count as delivered: name one error that says the receiver has it, like AE/205")
        return answers


CONNECTOR = Connector(
    name="mllp",
    about="HL7 v2 over TCP in MLLP frames, with acknowledgements.",
    source=End(ListenOptions, "engine.connectors.mllp.source:MllpSource"),
    destination=End(ConnectOptions, "engine.connectors.mllp.destination:MllpDestination"),
)
