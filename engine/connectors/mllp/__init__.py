"""MLLP: HL7 v2 over TCP, as nearly every hospital system speaks it. Receives and sends."""

from __future__ import annotations

from pydantic import Field

from engine.quantities import Address, Duration, PeerAddress, Size
from engine.registry import Connector, End, Options


class ListenOptions(Options):
    """Receive HL7 v2 over MLLP. Replies leave each connection in the order in which its messages came."""

    listen: Address
    """Where to listen: `127.0.0.1:6661` for this machine alone, `0.0.0.0:6661` for every interface."""
    max_frame: Size = Field(16 * 2**20, gt=0)
    """The largest message taken; a connection that sends a larger one is closed."""
    max_connections: int = Field(200, ge=1)
    """Connections open at once; one more is closed as soon as it is made."""
    frame_timeout: Duration = Field(60.0, gt=0)
    """How long a message may take to arrive once begun, and a peer to take its acknowledgements."""
    idle_timeout: Duration = 0.0
    """Close a connection on which nothing has happened for this long; 0 never does."""
    max_in_flight: int = Field(64, ge=1)
    """Messages of one connection that may be unanswered at once; above it the connection is not read."""


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


CONNECTOR = Connector(
    name="mllp",
    about="HL7 v2 over TCP in MLLP frames, with acknowledgements.",
    source=End(ListenOptions, "engine.connectors.mllp.source:MllpSource"),
    destination=End(ConnectOptions, "engine.connectors.mllp.destination:MllpDestination"),
)
