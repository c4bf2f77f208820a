"""How commands speak to a running engine."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any


def who() -> str:
    """The person at the keyboard, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a passwd entry
        import os

        return f"uid {os.getuid()}"


def ask(site: Path, verb: str, **arguments: Any) -> Any:
    """One verb of the engine that runs on `site`. Raises NotRunning, or what the engine says no with."""
    from engine.operations.control import Caller

    with Caller(site) as caller:
        return caller(verb, **arguments)
