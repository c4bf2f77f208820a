"""What `pause` and `resume` share: the engine does it, or where none runs, its store is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.model import DestinationState


def steer(site: Path, destination: str, state: DestinationState, reason: str, verb: str, **arguments: Any) -> str:
    """What was done, in words."""
    from engine.cli.asking import ask
    from engine.operations.alone import alone
    from engine.operations.control import NotRunning

    try:
        said: str = ask(site, verb, destination=destination, **arguments)
    except NotRunning:
        with alone(site) as store:
            store.steer(destination, state, reason)
        said = f"no engine runs here: {destination} will be {state} at its next start"
    return said
