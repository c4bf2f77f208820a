"""Delivers into a directory. The file system is blocking, so each file is put there by a thread."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from engine.connectors.directory import DropOptions
from engine.connectors.directory.deposit import deposit, usable
from engine.contracts import Runtime
from engine.ids import format_id
from engine.model import Delivery, Outcome, Refused

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


class DirectoryDestination:
    """`contracts.Destination`. A file that is already there with the same content is a delivery that had succeeded."""

    concurrency = 4

    def __init__(self, options: DropOptions, runtime: Runtime, name: str) -> None:
        self._path, self._name = options.path, options.name

    async def send(self, delivery: Delivery) -> Outcome:
        from twisted.internet.threads import deferToThread  # loads the reactor, which must be installed first

        name = file_name(self._name, delivery)
        if name.startswith(".") or not name:
            return Refused(f"{name!r} cannot be a file's name")
        return await deferToThread(deposit, self._path, name, delivery.content)

    async def check(self) -> str:
        from twisted.internet.threads import deferToThread

        return await deferToThread(usable, self._path)

    async def stop(self) -> None:
        """Nothing is kept open."""


def file_name(template: str, delivery: Delivery) -> str:
    """Values come from messages: everything but letters, digits, `.`, `_` and `-` becomes `_`."""
    recorded = datetime.fromtimestamp(delivery.created_at / 1_000_000, UTC)
    values = {
        "identity": delivery.identity,
        "message_id": format_id(delivery.message_id),
        "delivery_id": str(delivery.id),
        "channel": delivery.channel,
        "route": delivery.route,
        "date": recorded.strftime("%Y-%m-%d"),
    }
    return template.format_map({name: _UNSAFE.sub("_", value) for name, value in values.items()})
