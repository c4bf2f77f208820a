"""One live engine, and entries of the corpus played against it over real sockets."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import func, select

from engine.connectors.mllp.framing import frame
from engine.store import schema
from engine.store.words import WORDS
from engine.testing.files import Acknowledgement, read_acknowledgement
from engine.testing.processes import EngineProcess, free_port
from tests.acceptance.certificates import Authority
from tests.campaign.stored import opened
from tests.corpus.entries import CANARY, CR, EB, HERE, SB, Entry, good

LIMIT = 30.0  # seconds after which something hangs; what is slow is found by the bench
ENDLESS = 1 << 30  # bytes after which the engine should have had enough
STORE = "sqlite:///data/wardline.db"
NEIGHBOUR = "other"
ANYTHING = "..."  # at the end of the reasons: others may follow
SECURE = "secure"  # the channel that speaks TLS

Address = tuple[str, int]


class Row(NamedTuple):
    id: int
    control_id: str
    state: str
    content: bytes


class Wire:
    """One connection to the engine, as a sender has it."""

    def __init__(self, address: Address, deaf: bool = False, trust: Path | None = None) -> None:
        self._socket = socket.socket()
        if deaf:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(LIMIT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.connect(address)
        self.peer = "{}:{}".format(*self._socket.getsockname())
        if trust is not None:
            self._socket = ssl.create_default_context(cafile=str(trust)).wrap_socket(self._socket, server_hostname=address[0])
        self._rest = b""
        self.answers: list[bytes] = []
        self.gone = False  # it closed, or broke

    def write(self, data: bytes) -> bool:
        """False where the engine has closed."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def read(self) -> bool:
        """Some more; False at the end. Raises TimeoutError."""
        try:
            data = self._socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        self.gone = not data
        *found, self._rest = (self._rest + data).split(EB + CR)
        self.answers += [each.removeprefix(SB) for each in found]
        return bool(data)

    def await_answers(self, number: int) -> None:
        while len(self.answers) < number and self.read():
            pass

    def end(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def close(self, reset: bool = False) -> None:
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        self.gone = True

    def closed_by_peer(self) -> bool:
        """Reads to the end. Raises TimeoutError where it does not come."""
        while not self.gone and self.read():
            pass
        return self.gone


class LiveEngine:
    """The corpus's site at work in a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.site = shutil.copytree(HERE / "site", directory / "site")
        self.channels = {path.stem: ("127.0.0.1", free_port()) for path in sorted((self.site / "channels").glob("*.yaml"))}
        listen = {name.upper().replace("-", "_"): f"{host}:{port}" for name, (host, port) in self.channels.items()}
        authority = Authority(self.site)
        for made, name in zip(authority.issue("127.0.0.1"), ("server.crt", "server.key"), strict=True):
            Path(made).rename(self.site / name)
        self._trust = {SECURE: authority.file}
        self.process = EngineProcess(self.site, listen)
        self._numbers = count(1)

    def start(self) -> None:
        self.process.start()
        for address in self.channels.values():
            self.process.await_port(address)

    def connect(self, channel: str, *, deaf: bool = False, plain: bool = False) -> Wire:
        return Wire(self.channels[channel], deaf, None if plain else self._trust.get(channel))

    def greet(self, channel: str, wire: Wire | None = None) -> None:
        """A good message must be answered AA: on a new connection, or on this one."""
        control_id = f"GOOD{next(self._numbers)}"
        own = wire or self.connect(channel)
        before = len(own.answers)
        assert own.write(frame(good(control_id))), f"a good message on {channel}: the engine has closed the connection"
        own.await_answers(before + 1)
        said = [read_acknowledgement(answer) for answer in own.answers[before:]]
        assert [(one.code, one.control_id) for one in said] == [("AA", control_id.encode())], f"a good message on {channel}"
        if wire is None:
            own.close()

    def newest(self) -> int:
        """The id of the message that was taken last."""
        with opened(self.site, STORE) as connection:
            return connection.execute(select(func.max(schema.message.c.id))).scalar() or 0

    def rows(self, peers: list[str], after: int) -> list[Row]:
        """The message rows that came from `peers` after that one, in order, without the good messages, all translated.
        Ports are used again, and so are peers."""

        def look() -> list[Row] | None:
            message, content, chunk = schema.message, schema.content, schema.chunk
            with opened(self.site, STORE) as connection:
                theirs = select(message).where(message.c.peer.in_(peers), message.c.id > after).order_by(message.c.id)
                found = connection.execute(theirs).all()
                rows = []
                for row in found:
                    if row.control_id.startswith("GOOD"):
                        continue
                    whole = connection.execute(select(content.c.content).where(content.c.owner == row.id)).scalar() or b""
                    more = select(chunk.c.content).where(chunk.c.owner == row.id).order_by(chunk.c.n)
                    rows.append(
                        Row(row.id, row.control_id, WORDS[row.state], b"".join([whole, *connection.execute(more).scalars()]))
                    )
            return rows if all(row.state != "received" for row in rows) else None

        return wait_for(look, "every message is translated")

    def refused(self, peers: list[str], after: int) -> list[str]:
        """The reasons of the frames refused from `peers`, as the log has them behind that byte."""
        told = (json.loads(line) for line in self.log()[after:].splitlines() if b'"frame_refused"' in line)
        return [line["reason"] for line in told if line["peer"] in peers]

    def log(self) -> bytes:
        return self.process.log.read_bytes()

    def check(self) -> None:
        """What holds after every entry, whatever came."""
        self.process.check()
        log = self.log()
        assert b"Traceback" not in log, log[-4000:].decode(errors="replace")
        assert b'"exception"' not in log, log[-4000:].decode(errors="replace")
        assert b'"fault"' not in log, log[-4000:].decode(errors="replace")
        assert CANARY.encode() not in log


def wait_for(look: Callable[[], Any], what: str) -> Any:
    """The first answer of `look` that is not None."""
    end = time.monotonic() + LIMIT
    while (found := look()) is None:
        assert time.monotonic() < end, f"after {LIMIT:g} s not true: {what}"
        time.sleep(0.01)
    return found


@contextmanager
def live(directory: Path) -> Iterator[LiveEngine]:
    engine = LiveEngine(directory)
    with engine.process:
        engine.start()
        yield engine
        assert engine.process.stop() == 0


def play(engine: LiveEngine, entry: Entry) -> None:
    """Everything README.md says about one entry. Raises AssertionError."""
    engine.greet(entry.to)
    engine.greet(NEIGHBOUR)
    played = Play(engine, entry)
    try:
        for step in entry.send:
            played.step(step)
        played.answers()
        played.refused()
        played.states()
    finally:
        for wire in played.wires:
            wire.close()
    engine.greet(entry.to)
    engine.greet(NEIGHBOUR)
    engine.check()


class Play:
    """An entry under way."""

    def __init__(self, engine: LiveEngine, entry: Entry) -> None:
        self.engine, self.entry, self.expect = engine, entry, entry.expect
        self.newest, self.logged = engine.newest(), len(engine.log())
        plain = any("plainly" in step for step in entry.send)
        self.wires = [engine.connect(entry.to, deaf={"deaf": True} in entry.send, plain=plain)]
        self.frames: list[bytes] = []  # what was sent as whole frames
        self.reset = False

    @property
    def wire(self) -> Wire:
        return self.wires[0]

    @property
    def peers(self) -> list[str]:
        return [wire.peer for wire in self.wires]

    def step(self, step: Any) -> None:
        if isinstance(step, str):
            self.wire.write(self.entry.bytes_of(step))
            return
        ((verb, what),) = step.items()
        getattr(self, f"do_{verb}")(what)

    def do_frame(self, text: str) -> None:
        content = self.entry.bytes_of(text)
        self.frames.append(content)
        self.wire.write(frame(content))

    def do_bytewise(self, text: str) -> None:
        for byte in self.entry.bytes_of(text):
            self.wire.write(bytes([byte]))

    def do_plainly(self, text: str) -> None:
        self.wire.write(self.entry.bytes_of(text))

    def do_sized(self, size: int) -> None:
        content = self.entry.bytes_of("MSH|^~\\&|EHR|GENERAL|W|G|20261101||ADT^A01|{id}|P|2.5.1\rPID|1||1||{who}\rNTE|1||")
        self.frames.append(content + b"x" * (size - len(content) - 1) + CR)
        self.wire.write(frame(self.frames[-1]))

    def do_utf16(self, text: str) -> None:
        self.frames.append(self.entry.bytes_of(text).decode("latin-1").encode("utf-16"))
        self.wire.write(frame(self.frames[-1]))

    def do_told(self, reason: str) -> None:
        """Wait until the engine has said this of the connection."""
        wait_for(lambda: reason in self.engine.refused(self.peers, self.logged) or None, f"{reason} is in the log")

    def do_splits(self, text: str) -> None:
        """Between the two parts the engine answers somebody else: so it has read the first, and found nothing after it."""
        content = frame(self.entry.bytes_of(text))
        self.frames.append(self.entry.bytes_of(text))
        other = self.engine.connect(self.entry.to)
        for at in range(1, len(content)):
            wire = self.engine.connect(self.entry.to)
            self.wires.append(wire)
            wire.write(content[:at])
            self.engine.greet(self.entry.to, other)
            wire.write(content[at:])
            wire.await_answers(1)
            assert wire.answers == (self.wire.answers or wire.answers), f"cut at {at}"
            self.wire.answers = wire.answers
            wire.close()
        other.close()

    def do_times(self, what: list[Any]) -> None:
        number, text = what
        written = [text.replace("{id}", "{id}" + str(n)) for n in range(number)]
        self.wire.write(b"".join(map(self.entry.bytes_of, written)))

    def do_endless(self, text: str) -> None:
        piece = self.entry.bytes_of(text)
        sent = 0
        while sent < ENDLESS and self.wire.write(piece):
            sent += len(piece)
        assert sent < ENDLESS, "the engine never had enough"

    def do_answers(self, number: int) -> None:
        self.wire.await_answers(number)

    def do_deaf(self, _: bool) -> None:
        """Seen to when the connection was made."""

    def do_end(self, _: bool) -> None:
        self.wire.end()

    def do_reset(self, _: bool) -> None:
        """After the engine has read what came: a machine that gets a reset drops what nobody has read."""
        self.engine.greet(self.entry.to)
        self.wire.close(reset=True)
        self.reset = True

    # ── what came of it ──

    def answers(self) -> None:
        if self.expect.answers == ["*"]:
            return
        expected = self.entry.answers()
        if self.expect.closed and not self.reset:
            assert self.wire.closed_by_peer()
        elif not self.reset:
            self.wire.await_answers(len(expected))
            came = list(self.wire.answers)
            if {"end": True} not in self.entry.send:
                self.engine.greet(self.entry.to, self.wire)  # and nothing else came before its answer
            self.wire.answers = came
        said = [read_acknowledgement(answer) for answer in self.wire.answers]
        assert _shown(said, expected) == expected
        together = b"\n".join(self.wire.answers)
        for text in self.expect.contains:
            assert self.entry.bytes_of(text) in together, (text, together)
        for text in self.expect.lacks:
            assert self.entry.bytes_of(text) not in together, (text, together)

    def refused(self) -> None:
        """Word for word; told at once, so that what is missing after the good message never comes."""
        if self.expect.refused:
            wait_for(lambda: self.engine.refused(self.peers, self.logged) or None, f"{self.expect.refused} is in the log")
        expected, told = list(self.expect.refused), self.engine.refused(self.peers, self.logged)
        if expected[-1:] == [ANYTHING]:
            expected, told = expected[:-1], told[: len(expected) - 1]
        assert told == expected

    def states(self) -> None:
        rows = self.engine.rows(self.peers, self.newest)
        if self.expect.states is not None:
            assert [row.state for row in rows] == self.expect.states
        sent = [*self.frames, *(self.entry.message(label) for label in "ABCD")]
        for code, named in [] if self.expect.answers == ["*"] else self.entry.answers():
            if code in ("AA", "CA") and named:
                own = [row for row in rows if row.control_id == named and row.state != "duplicate"]
                assert own, f"{named} was answered {code} and is not in the store"
                if self.frames or any(named == self.entry.control_id(label) for label in "ABCD"):
                    assert own[0].content in sent, f"{named} is stored with other bytes than were sent"
        assert rows or self.expect.refused, "nothing of this can be found again"


def _shown(said: list[Acknowledgement], expected: list[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """What the answers say, without the names nobody asks for."""
    wanted = [name for _, name in expected] + [""] * len(said)
    return [(one.code, None if wanted[at] is None else one.control_id.decode("latin-1")) for at, one in enumerate(said)]
