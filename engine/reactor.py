"""Installs the reactor: Twisted on an asyncio loop, so that asyncio-only clients share the process.

Import this before anything that imports `twisted.internet.reactor`. uvloop is used where it is installed: it halves the
cost of a socket event (its transports are used directly by `engine.net`).
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from twisted.internet import asyncioreactor


def new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def install() -> Any:
    """The reactor, installed once a process. Raises RuntimeError where another kind was installed before."""
    if "twisted.internet.reactor" not in sys.modules:
        loop = new_loop()
        asyncio.set_event_loop(loop)
        asyncioreactor.install(loop)
    from twisted.internet import reactor

    if not isinstance(reactor, asyncioreactor.AsyncioSelectorReactor):
        raise RuntimeError("another Twisted reactor was installed before Wardline's: import engine.reactor first")
    return reactor


def loop_of(reactor: Any) -> asyncio.AbstractEventLoop:
    """The asyncio loop under the reactor."""
    loop: asyncio.AbstractEventLoop = reactor._asyncioEventloop
    return loop
