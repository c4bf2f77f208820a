"""A small site with one channel, from MLLP to a directory, run by a real engine."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

from engine.connectors.mllp.framing import Deframer, frame
from engine.testing.processes import EngineProcess, free_port

MESSAGE = (
    b"MSH|^~\\&|EHR|GENERAL|WARDLINE|GENERAL|20261101101500||ADT^A01^ADT_A01|%s|P|2.5.1\r"
    b"EVN|A01|20261101101500\rPID|1||4711^^^GENERAL^MR||TESTER^TINA\rPV1|1|I|W1^101^1\r"
)


class Place:
    """A site with one channel, from MLLP to a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port, self.monitor = free_port(), free_port()
        for name in ("conf", "channels", "mappings"):
            (directory / name).mkdir()
        (directory / "conf" / "engine.yaml").write_text(
            "organization: General Hospital\nenvironment: test\ntimezone: America/New_York\n"
            f"store: sqlite:///data/wardline.db\nmonitor: {{listen: 127.0.0.1:{self.monitor}}}\n"
        )
        (directory / "conf" / "destinations.yaml").write_text(
            "destinations:\n  drop:\n    directory: {path: out, name: '{identity}.hl7'}\n"
        )
        (directory / "channels" / "adt.yaml").write_text(
            f"channel: adt\nsource:\n  mllp: {{listen: '127.0.0.1:{self.port}'}}\nformat: hl7v2\n"
            "accept:\n  - =MSH-9.1 == 'ADT'\norder_by: =PID-3.1\nindex:\n  mrn: =PID-3.1\n"
            "routes:\n  drop:\n    to: drop\n"
        )
        self.engine = EngineProcess(directory, {})

    def start(self) -> None:
        self.engine.start()
        self.engine.await_port(("127.0.0.1", self.port))

    def lives_for(self, seconds: float) -> None:
        """Raises ProcessFailed as soon as the engine has ended by itself."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.engine.check()
            time.sleep(0.02)

    def exchange(self, *contents: bytes) -> list[bytes]:
        """What the engine answers, one connection, all sent at once."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as wire:
            wire.sendall(b"".join(frame(content) for content in contents))
            deframer, answers = Deframer(1 << 20), []
            while len(answers) < len(contents):
                data = wire.recv(65536)
                assert data, "the engine closed the connection"
                answers += deframer.receive(data)
            return answers

    def delivered(self, count: int) -> list[bytes]:
        """The files in the drop, once there are `count`."""
        until = time.monotonic() + 20
        while time.monotonic() < until:
            files = sorted((self.directory / "out").glob("*.hl7")) if (self.directory / "out").is_dir() else []
            if len(files) >= count:
                return [file.read_bytes() for file in files]
            time.sleep(0.02)
        raise AssertionError(f"fewer than {count} files were delivered:\n{self.engine.tail()}")

    def asks(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}{path}", timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
