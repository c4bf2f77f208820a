"""A small site for tests that kill, cut and disturb: one feed in over MLLP, receivers that the simulator plays."""

from __future__ import annotations

import socket
from pathlib import Path

from engine.connectors.mllp.framing import Deframer, frame
from engine.testing.files import read_acknowledgement
from engine.testing.ledger import read_ledger
from engine.testing.processes import EngineProcess, SimulatorProcess, free_port
from tests.campaign.checker import StoredDelivery, StoreView
from tests.campaign.stored import store_view
from tests.corpus.runner import wait_for

STORE = "sqlite:///data/wardline.db"
CHANNEL = """\
channel: feed
source:
  mllp: {{listen: '127.0.0.1:{port}'}}
format: hl7v2
{more}
unique_by: [=MSH-3, =MSH-4, =MSH-10]
routes:
  onward:
    to: {to}
"""
DESTINATION = "  {name}:\n    mllp: {{connect: '{address}', {options}}}\n    retry: {{first: 100ms, up_to: 300ms}}\n"


def message(control_id: str, patient: str = "4711", filler: int = 0, kind: str = "ADT^A01^ADT_A01") -> bytes:
    return (
        f"MSH|^~\\&|EHR|GENERAL|LAB|GENERAL|20261101101500||{kind}|{control_id}|P|2.5.1\r"
        f"EVN|A01|20261101101500\rPID|1||{patient}^^^GENERAL^MR||TESTER^TINA\rPV1|1|I|W1^101^1\r"
        + (f"NTE|1||{'x' * filler}\r" if filler else "")
    ).encode()


class Place:
    """The site and its engine. Receivers get a port beforehand, so that they can come later than the engine."""

    def __init__(self, directory: Path, *receivers: str, options: str = "ack_timeout: 500ms", order_by: str = "") -> None:
        self.directory = directory
        self.port = free_port()
        self.receivers = {name: f"127.0.0.1:{free_port()}" for name in receivers}
        for name in ("conf", "channels", "mappings"):
            (directory / name).mkdir()
        (directory / "conf" / "engine.yaml").write_text(
            f"organization: General Hospital\nenvironment: test\ntimezone: America/New_York\nstore: {STORE}\n"
        )
        (directory / "conf" / "destinations.yaml").write_text(
            "destinations:\n"
            + "".join(DESTINATION.format(name=name, address=address, options=options) for name, address in self.receivers.items())
        )
        self.more = f"order_by: {order_by}" if order_by else ""
        self.route_to(receivers[0])
        self.engine = EngineProcess(directory, {})

    def route_to(self, receiver: str) -> None:
        text = CHANNEL.format(port=self.port, to=receiver, more=self.more)
        (self.directory / "channels" / "feed.yaml").write_text(text)

    def start(self) -> None:
        self.engine.start()
        self.engine.await_port(("127.0.0.1", self.port))

    def send(self, *contents: bytes) -> list[str]:
        """MSA-1 of each answer; all on one connection, sent at once."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as wire:
            wire.sendall(b"".join(map(frame, contents)))
            deframer, answers = Deframer(1 << 20), []
            while len(answers) < len(contents):
                data = wire.recv(1 << 16)
                assert data, "the engine closed the connection"
                answers += deframer.receive(data)
        return [read_acknowledgement(answer).code for answer in answers]

    def view(self) -> StoreView:
        return store_view(self.directory, STORE)

    def await_routed(self, number: int) -> None:
        wait_for(lambda: len(self.view().deliveries) >= number or None, f"{number} deliveries are stored")

    def await_end(self, number: int) -> list[StoredDelivery]:
        """All deliveries in order, once so many have come to an end."""

        def look() -> list[StoredDelivery] | None:
            self.engine.check()
            deliveries = list(self.view().deliveries)
            ended = sum(delivery.state not in ("waiting", "sending") for delivery in deliveries)
            return deliveries if ended >= number else None

        return wait_for(look, f"{number} deliveries have ended")

    def receiver(self, name: str, *faults: str) -> Receiver:
        return Receiver(self.receivers[name], self.directory / f"{name}.ledger", faults)


class Receiver(SimulatorProcess):
    """The simulator at one of the site's addresses."""

    def __init__(self, address: str, ledger: Path, faults: tuple[str, ...]) -> None:
        self.ledger = ledger
        written = [argument for fault in faults for argument in ("--fault", fault)]
        super().__init__("--mllp", address, "--ledger", str(ledger), *written)

    def taken(self) -> list[str]:
        """The control ids that it has taken, in order, repeats among them."""
        return [entry["identity"] for entry in read_ledger(str(self.ledger))]

    def instants(self) -> list[float]:
        """When it took them, in seconds."""
        return [entry["at"] / 1e6 for entry in read_ledger(str(self.ledger))]

    def await_taken(self, number: int) -> list[str]:
        return wait_for(lambda: taken if len(taken := self.taken()) >= number else None, f"{number} messages have been taken")
