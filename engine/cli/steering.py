"""What the commands that steer share: the engine does it, or where none runs, its store is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.model import ChannelState, DestinationState


def steer(site: Path, destination: str, state: DestinationState, reason: str, verb: str, **arguments: Any) -> str:
    """What was done, in words."""

    def note(store: Any) -> None:
        store.steer(destination, state, reason)

    return _steer(site, f"{destination} will be {state}", note, verb, destination=destination, **arguments)


def steer_channel(site: Path, channel: str, state: ChannelState, done: str, verb: str, why: str) -> str:
    """What was done, in words. `done`: `stopped`; with who did it and why this is the reason that is noted."""
    from engine.cli.asking import who

    def note(store: Any) -> None:
        store.steer_channel(channel, state, f"{done} by {who()}{': ' + why if why else ''}")

    return _steer(site, f"{channel} will be {state}", note, verb, channel=channel, who=who(), why=why)


def _steer(site: Path, will: str, note: Callable[[Any], None], verb: str, **arguments: Any) -> str:
    from engine.cli.asking import ask
    from engine.operations.alone import alone
    from engine.operations.control import NotRunning

    try:
        said: str = ask(site, verb, **arguments)
    except NotRunning:
        with alone(site) as store:
            note(store)
        said = f"no engine runs here: {will} at its next start"
    return said
