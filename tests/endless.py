"""Work for `engine.testing.apart` that does not answer as it should: in a module of its own, so that a process can find it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

Say = Callable[[bytes], None]


def for_ever(say: Say) -> None:
    while True:
        pass


def too_much(say: Say) -> None:
    say(b"x" * len(bytearray(3 << 30)))


def dies(say: Say) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def nothing(say: Say) -> None: ...


def counts(say: Say, most: int) -> None:
    for n in range(most):
        say(str(n).encode())
