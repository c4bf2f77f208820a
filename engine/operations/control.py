"""The socket over which commands reach a running engine: `.wardline/control.sock` in the site, for its owner only.

One line of JSON a request, `{"verb": …, "arguments": {…}}`, and one line for its answer, `{"result": …}` or
`{"error": text, "exit": code}`. Whoever may open the socket may do everything: the directory is 0700 and the socket 0600.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import orjson
from twisted.internet.defer import ensureDeferred, maybeDeferred
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from engine.errors import EXIT_BUSY, EXIT_FAILED, EXIT_USAGE, WardlineError

DIRECTORY = ".wardline"
SOCKET = "control.sock"
LONGEST = 8 << 20  # bytes of a request: an action on a few hundred thousand ids
CONNECTIONS = 20

Verbs = Mapping[str, Callable[..., Awaitable[Any]]]
"""Coroutines by name, called with the request's arguments. What they return is JSON-ready; a WardlineError is an answer."""


class NotRunning(WardlineError):
    """No engine runs on this site."""

    exit_code = EXIT_FAILED


class NotYours(WardlineError):
    """The engine runs as another user, who alone may command it."""

    exit_code = EXIT_FAILED


class Control:
    """The engine's end. `start` takes the socket over from an engine that died: whoever holds the store may."""

    def __init__(self, reactor: Any, site: str, verbs: Verbs) -> None:
        self._reactor, self._verbs = reactor, verbs
        self._path = f"{DIRECTORY}/{SOCKET}"  # relative to the site, which is the engine's directory: paths of sockets are short
        self._site = Path(site)
        self._port: Any = None

    def start(self) -> None:
        """Raises OSError where the socket cannot be made."""
        directory = self._site / DIRECTORY
        directory.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileNotFoundError):
            os.unlink(directory / SOCKET)
        self._port = self._reactor.listenUNIX(self._path, _Answering(self._verbs), mode=0o600, wantPID=0)

    async def stop(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            with suppress(FileNotFoundError):  # somebody has removed the socket: no reason to end badly
                await maybeDeferred(port.stopListening)


class _Request(LineReceiver):
    delimiter = b"\n"
    MAX_LENGTH = LONGEST

    def connectionMade(self) -> None:
        factory: Any = self.factory
        self._late = len(factory.open) >= CONNECTIONS
        factory.open.add(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        factory: Any = self.factory
        factory.open.discard(self)

    @property
    def _transport(self) -> Any:
        return self.transport

    def lineReceived(self, line: bytes) -> None:
        self.pauseProducing()  # one at a time
        ensureDeferred(self._answer(line)).addErrback(self._failed)

    async def _answer(self, line: bytes) -> None:
        self._say(await answer_of(lambda: self._asked(line)))
        self.resumeProducing()

    def _asked(self, line: bytes) -> Callable[[], Awaitable[Any]]:
        """What is to be done. Raises Unanswerable or Busy; what goes wrong while it is done is no fault of the request."""
        factory: Any = self.factory
        verbs: Verbs = factory.verbs
        if self._late:
            raise Busy(f"{CONNECTIONS} commands are at this engine already: try later")
        try:
            asked = orjson.loads(line)
            return verb_of(verbs, asked["verb"], asked.get("arguments", {}))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise _unanswerable(error) from error

    def _failed(self, failure: Failure) -> None:
        Logger("engine.operations").failure("A request could not be answered", failure=failure)
        self._say({"error": f"{type(failure.value).__name__} in the engine: its log says more", "exit": EXIT_FAILED})
        self._transport.loseConnection()

    def _say(self, answer: dict[str, Any]) -> None:
        self.sendLine(orjson.dumps(answer, default=str))


def verb_of(verbs: Verbs, name: str, arguments: dict[str, Any]) -> Callable[[], Awaitable[Any]]:
    """What is to be done, with its arguments. Raises Unanswerable."""
    verb = verbs.get(name)
    if verb is None:
        raise Unanswerable(f"this engine knows no verb {name!r}: is it of another release?")
    try:
        signature(verb).bind(**arguments)
    except TypeError as error:
        raise _unanswerable(error) from error
    return partial(verb, **arguments)


async def answer_of(asked: Callable[[], Callable[[], Awaitable[Any]]]) -> dict[str, Any]:
    """The answer to what `asked` gives to do: what it gives, or what it says no with. What is no WardlineError is raised."""
    try:
        return {"result": await asked()()}
    except WardlineError as error:
        return {"error": str(error), "exit": error.exit_code}


def _unanswerable(error: Exception) -> Unanswerable:
    return Unanswerable(f"no request that this engine knows: {error}. Is it of another release?")


class Busy(WardlineError):
    """Too many ask for something at once."""

    exit_code = EXIT_BUSY


class Unanswerable(WardlineError):
    """A request of another release."""

    exit_code = EXIT_USAGE


class _Answering(Factory):
    noisy = False
    protocol = _Request

    def __init__(self, verbs: Verbs) -> None:
        self.verbs = verbs
        self.open: set[_Request] = set()


class Caller:
    """A command's end: blocking. Use it as a context."""

    def __init__(self, site: Path) -> None:
        """Raises NotRunning."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = -1
        try:  # a socket's path has room for some hundred bytes, a site's may have more
            folder = os.open(site / DIRECTORY, os.O_PATH | os.O_DIRECTORY)
            self._socket.connect(f"/proc/self/fd/{folder}/{SOCKET}")
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            self._socket.close()
            raise NotRunning(f"no engine runs on {site}") from None
        except PermissionError:
            self._socket.close()
            raise NotYours(f"the engine of {site} is another user's: run the command as that user") from None
        finally:
            if folder >= 0:
                os.close(folder)
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *error: object) -> None:
        self._lines.close()
        self._socket.close()

    def __call__(self, verb: str, /, **arguments: Any) -> Any:
        """The verb's result. Raises Answered with the engine's own words and exit code."""
        try:
            self._socket.sendall(orjson.dumps({"verb": verb, "arguments": arguments}) + b"\n")
            line = self._lines.readline()
        except ConnectionError:
            line = b""
        if not line:
            raise NotRunning("the engine ended before it answered: whether it was done, `wardline show` tells")
        answer = orjson.loads(line)
        if "error" in answer:
            raise Answered(answer["error"], answer["exit"])
        return answer["result"]


class Answered(WardlineError):
    """What a running engine said no with."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.exit_code = code
