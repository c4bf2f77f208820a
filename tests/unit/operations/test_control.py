"""The control socket: what is asked is answered, and whatever is no request harms nobody."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from engine.errors import EXIT_BUSY, StoreFull
from engine.operations import control
from engine.operations.control import Caller, Control, NotRunning, NotYours
from engine.testing.world import until
from tests.conftest import reactor


class Verbs:
    """A few, with their faults."""

    def __init__(self) -> None:
        self.never: Deferred[str] = Deferred()

    def all(self) -> dict[str, Any]:
        return {"say": self.say, "refuse": self.refuse, "break": self.broken, "wait": self.wait}

    async def say(self, word: str, twice: bool = False) -> str:
        return word * (1 + twice)

    async def refuse(self) -> str:
        raise StoreFull("no room")

    async def broken(self) -> str:
        raise KeyError("our own fault")

    async def wait(self) -> str:
        return await self.never


@pytest.fixture
def engine(tmp_path: Path, spin: Any) -> Iterator[tuple[Path, Control, Verbs]]:
    here = os.getcwd()
    os.chdir(tmp_path)  # as the engine does
    verbs = Verbs()
    made = Control(reactor, str(tmp_path), verbs.all())
    made.start()
    yield tmp_path, made, verbs
    spin(made.stop())
    os.chdir(here)


def asking(site: Path, verb: str, **arguments: Any) -> Deferred[Any]:
    def ask() -> Any:
        here = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        here.connect(str(site / ".wardline" / "control.sock"))
        with here, here.makefile("rb") as lines:
            here.sendall(orjson.dumps({"verb": verb, "arguments": arguments}) + b"\n")
            return orjson.loads(lines.readline())

    return deferToThread(ask)


async def test_a_verb_is_answered(engine: tuple[Path, Control, Verbs]) -> None:
    assert await asking(engine[0], "say", word="so", twice=True) == {"result": "soso"}
    assert await asking(engine[0], "refuse") == {"error": "no room", "exit": 74}


@pytest.mark.parametrize(
    ("verb", "arguments"), [("sing", {}), ("say", {}), ("say", {"word": "a", "loud": True}), ("refuse", {"word": "a"})]
)
async def test_what_another_release_would_ask_is_told_from_a_fault(
    engine: tuple[Path, Control, Verbs], verb: str, arguments: dict[str, Any]
) -> None:
    answer = await asking(engine[0], verb, **arguments)
    assert (answer["exit"], "is it of another release?" in answer["error"].lower()) == (2, True)


async def test_our_own_fault_is_not_the_requests(engine: tuple[Path, Control, Verbs], unhandled_errors: list[Any]) -> None:
    assert await asking(engine[0], "break") == {"error": "KeyError in the engine: its log says more", "exit": 1}
    assert [failure.type for failure in unhandled_errors] == [KeyError]
    unhandled_errors.clear()


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"1", b'{"verb": []}', b'{"verb": "say", "arguments": 1}', b"\xff\xfe"])
async def test_what_is_no_request_is_answered_and_the_next_one_too(engine: tuple[Path, Control, Verbs], line: bytes) -> None:
    def ask() -> list[Any]:
        wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        wire.connect(str(engine[0] / ".wardline" / "control.sock"))
        with wire, wire.makefile("rb") as lines:
            wire.sendall(line + b'\n{"verb": "say", "arguments": {"word": "a"}}\n')
            return [orjson.loads(lines.readline()) for _ in range(2)]

    first, second = await deferToThread(ask)
    assert (first["exit"], second) == (2, {"result": "a"})


async def test_too_many_at_once_are_told_so(engine: tuple[Path, Control, Verbs], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "CONNECTIONS", 1)
    first = asking(engine[0], "wait")
    await until("the first is there", lambda: engine[1]._port.factory.open)
    refused = await asking(engine[0], "say", word="a")
    assert (refused["exit"], "try later" in refused["error"]) == (EXIT_BUSY, True)
    engine[2].never.callback("done")
    assert await first == {"result": "done"}


async def test_an_engine_whose_socket_somebody_removed_stops_as_it_should(engine: tuple[Path, Control, Verbs]) -> None:
    (engine[0] / ".wardline" / "control.sock").unlink()
    listening = engine[1]._port
    await engine[1].stop()
    listening.socket.close()  # what Twisted does only after it has removed the file


def test_without_an_engine_or_as_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotRunning, match="no engine runs on"):
        Caller(tmp_path)

    class Closed:
        def __init__(self, *about: object) -> None: ...

        def connect(self, path: str) -> None:
            raise PermissionError(13, "Permission denied")

        def close(self) -> None: ...

    (tmp_path / ".wardline").mkdir()
    monkeypatch.setattr(control.socket, "socket", Closed)
    with pytest.raises(NotYours, match="another user's"):
        Caller(tmp_path)


def test_a_caller_leaves_the_working_directory_alone(tmp_path: Path) -> None:
    """A console has many threads and one working directory, which a deployment may have removed."""
    site, gone = tmp_path / ("deep" * 30), tmp_path / "gone"
    (site / ".wardline").mkdir(parents=True)
    gone.mkdir()
    here = os.getcwd()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        os.chdir(site)
        server.bind(".wardline/control.sock")
        server.listen()
        os.chdir(gone)
        gone.rmdir()
        try:
            with Caller(site):
                server.accept()[0].close()
            with pytest.raises(FileNotFoundError):
                os.getcwd()
        finally:
            os.chdir(here)


def test_an_engine_that_ends_between_two_requests_is_told_like_one_that_ends_in_one(tmp_path: Path) -> None:
    (tmp_path / ".wardline").mkdir()
    here = os.getcwd()
    os.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(".wardline/control.sock")
        server.listen()
        os.chdir(here)
        with Caller(tmp_path) as caller:
            server.accept()[0].close()
            for _ in range(2):
                with pytest.raises(NotRunning, match="the engine ended before it answered"):
                    caller("say", word="a" * 100_000)
