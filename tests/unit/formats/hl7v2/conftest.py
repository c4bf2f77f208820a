"""Messages are written one segment a line, as people read them; `hl7` makes them what a wire carries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine.formats.hl7v2 import Hl7v2Options
from engine.formats.hl7v2.format import Hl7v2


def message(text: str, end: str = "\r") -> bytes:
    return "".join(line.strip() + end for line in text.strip().splitlines()).encode()


@pytest.fixture(scope="session")
def hl7() -> Hl7v2:
    return Hl7v2(Hl7v2Options())


@pytest.fixture(scope="session")
def read(hl7: Hl7v2) -> Callable[[str], Any]:
    return lambda text: hl7.parse(message(text))


@pytest.fixture(scope="session")
def wire() -> Callable[..., bytes]:
    return message
