"""A directory keeps what of the destinations' contract a directory can keep."""

from __future__ import annotations

import tempfile
from pathlib import Path

from engine.connectors.directory import DropOptions
from engine.connectors.directory.destination import DirectoryDestination
from engine.model import Delivery
from engine.testing import world as worlds
from engine.testing.connector_suite import DestinationSuite
from engine.testing.world import World


class Folder:
    """`connector_suite.Counterpart`: in the mood to refuse, the next file's name is already taken."""

    connections = 0

    def __init__(self) -> None:
        self._made = tempfile.TemporaryDirectory()
        self.path = Path(self._made.name) / "out"
        self._mood = "accept"

    @property
    def mood(self) -> str:
        return self._mood

    @mood.setter
    def mood(self, mood: str) -> None:
        self._mood = mood
        self.path.mkdir()
        (self.path / "8000000000-1").write_bytes(b"somebody else's")

    @property
    def received(self) -> list[bytes]:
        return [file.read_bytes() for file in sorted(self.path.glob("*"))]

    async def stop(self) -> None:
        self._made.cleanup()


class TestDestination(DestinationSuite):
    # A file system gives its answer in the call: nothing comes late, garbled or for something else.
    test_garbage_is_unknown = None
    test_an_answer_to_something_else_is_unknown = None
    test_a_reset_after_the_first_byte_is_unknown = None
    test_no_answer_in_time_is_unknown = None
    test_late_ack_is_not_credited_to_the_next_message = None
    # A full disk is what is busy here (tests/unit); a directory that cannot be had is a fault of the file that names it.
    test_a_busy_peer_is_busy = None
    test_a_peer_that_is_not_there_was_not_reached = None

    def build(self, world: World, counterpart: Folder) -> DirectoryDestination:
        return DirectoryDestination(DropOptions(path=str(counterpart.path)), world.runtime, "ledger")

    async def counterpart(self, world: World) -> Folder:
        return Folder()

    def delivery(self, number: int) -> Delivery:
        return worlds.delivery(b'{"entry": %d}' % number, number, "application/json")
