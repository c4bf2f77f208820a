"""Work in a process of its own that can be ended at any moment: what comes from a person's editor may never end by itself.

The processes are forked from one that has loaded what they need and holds nothing of the caller's, so that beginning takes
milliseconds. They answer in lines of bytes over a pipe; nothing that comes back is ever evaluated.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from functools import cache
from multiprocessing.connection import Connection
from typing import Any

from engine.errors import WardlineError
from engine.pipeline.keeper import LIMIT, bound_memory

Say = Callable[[bytes], None]
Work = Callable[..., None]
"""`work(say, *arguments)`: a function of a module, which says what it finds, once or again and again."""

_LOADED = ["engine.testing.warm"]


class Ended(WardlineError):
    """The process ended before it had answered: by its own fault, at a bound, or because somebody ended it."""


class Apart:
    """One process at work. `limit`: seconds after which it ends by itself; 0: none."""

    def __init__(self, work: Work, *arguments: Any, limit: float = LIMIT) -> None:
        context = _context()
        self._limit = limit
        self._ours, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_run, args=(theirs, limit, work, arguments), daemon=True)
        self._process.start()
        theirs.close()
        self._begun = time.monotonic()

    def hear(self, timeout: float | None = None) -> bytes | None:
        """What it says next; None where it says nothing within `timeout` seconds. Raises Ended, EOFError once it is done."""
        if timeout is None and self._limit:
            timeout = max(0.0, self._begun + self._limit + 1 - time.monotonic())
            if not self._ours.poll(timeout):
                self.end()
                raise Ended(f"no end after {self._limit:g} s")
        elif not self._ours.poll(timeout):
            return None
        try:
            said: bytes = self._ours.recv_bytes()
            return said
        except (EOFError, OSError):
            self._process.join(5)
            code = self._process.exitcode
            if code == 0:
                raise EOFError from None
            raise Ended(self._how(code)) from None

    def _how(self, code: int | None) -> str:
        if code == -signal.SIGALRM:
            return f"no end after {self._limit:g} s"
        return "its process was ended" if code is None or code < 0 else "it failed, or wanted more memory than there is for it"

    def end(self) -> None:
        """At once, from any thread."""
        self._process.kill()

    def close(self) -> None:
        self.end()
        self._process.join(5)
        self._ours.close()


def ask(work: Work, *arguments: Any, begun: Callable[[Apart], None] = lambda apart: None, limit: float = LIMIT) -> bytes:
    """The one thing that `work` says. `begun` is told of the process, so that somebody else may end it. Raises Ended."""
    apart = Apart(work, *arguments, limit=limit)
    try:
        begun(apart)
        said = apart.hear()
        assert said is not None
        return said
    except EOFError:
        raise Ended("it said nothing") from None
    finally:
        apart.close()


@cache
def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LOADED)
    return context


def _run(wire: Connection, limit: float, work: Work, arguments: tuple[Any, ...]) -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    if limit:
        signal.setitimer(signal.ITIMER_REAL, limit)
    bound_memory()
    try:
        work(wire.send_bytes, *arguments)
    except BaseException:  # whose text may quote a message, and would be printed
        os._exit(1)
    wire.close()
