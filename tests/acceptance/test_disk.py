"""Bad days of the disk, with real ones: full (F13), lying (F09, I17), damaged (F17)."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import DeferredList

from engine import reactor as engine_reactor
from engine.app import make_runtime
from engine.connectors.mllp.framing import Deframer, frame
from engine.contracts import DiskPolicy
from engine.errors import EXIT_STORAGE, StoreFull
from engine.events import SpaceChanged
from engine.model import Walk
from engine.store import open_store
from engine.store.history import History
from engine.store.space import Room, ballast_of
from engine.testing.processes import EngineProcess
from tests.acceptance.place import MESSAGE, Place
from tests.campaign.power.campaign import build
from tests.contract.store.helpers import admission, delivered, outgoing, translation
from tests.support import NEEDS

MIB = 1 << 20


# ── full ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 192 MiB of our own."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192m", "tmpfs", str(place)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"{NEEDS}the right to mount a small file system. To get it: run the tests as root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


class Load:
    """A store on a small disk, and what it has acknowledged."""

    def __init__(self, disk: Path) -> None:
        self.path = disk / "store.db"
        self.events: list[Any] = []
        self.failures: list[Exception] = []
        self.acknowledged: dict[int, bytes] = {}
        self.refused = 0
        runtime = make_runtime(engine_reactor.install(), None, self.events.append)  # type: ignore[arg-type]
        policy = DiskPolicy(stop_below=32 * MIB, warn_below=64 * MIB)
        self.store, _ = open_store(f"sqlite:///{self.path}", runtime, self.failures.append, disk=policy, largest=MIB)
        assert self.store.space is not None
        self.space = self.store.space
        self._sent = 0

    async def take(self, messages: int = 16) -> bool:
        """Several at once, translated; whether none was refused."""
        sent = [b"%d " % (self._sent + n) + os.urandom(60_000) for n in range(messages)]
        self._sent += messages
        before = self.refused
        answers = await DeferredList([self.store.take(admission(one, one[:12])) for one in sent], consumeErrors=True)
        for content, (good, answer) in zip(sent, answers, strict=True):
            if good:
                self.acknowledged[answer.message_id] = content
            else:
                assert answer.check(StoreFull), answer
                self.refused += 1
        return self.refused == before

    async def again(self, verb: Callable[[], Any]) -> Any:
        """What brings nothing new is tried again when there is no room, as the workers do."""
        for _ in range(3):
            try:
                return await verb()
            except StoreFull:
                continue
        return await verb()

    async def translate(self) -> None:
        waiting = await self.store.untranslated("adt", 0, 2000)
        made = [translation(one.id, outgoing(b"small", f"lane {one.id % 5}")) for one in waiting]
        await self.again(lambda: self.store.translated(made))

    async def deliver(self, most: int = 10_000) -> int:
        count = 0
        while True:
            room = min(50, most - count)
            begun = await self.again(lambda room=room: self.store.take_due("erp", room, 8))
            if not begun:
                return count
            ends = [delivered(one) for one in begun]
            await self.again(lambda ends=ends: self.store.attempted(ends))
            count += len(begun)

    async def prune(self) -> None:
        reached = 1
        while reached:
            one = await self.again(lambda reached=reached: self.store.prune(Walk.EVERYTHING, {"": 1 << 62}, reached, 200))
            reached = one.reached
        while await self.again(lambda: self.store.shrink(True)):
            pass

    def check_nothing_acknowledged_is_lost(self, pruned: int = 0) -> None:
        with History(f"sqlite:///{self.path}") as history:
            found = {number: facts.content for number in self.acknowledged if (facts := history.message(number))}
        assert len(found) == len(self.acknowledged) - pruned
        assert all(found[number] == self.acknowledged[number] for number in found)
        assert self.failures == []


async def test_f13_i10_at_high_water_nothing_is_taken_and_deliveries_go_on(small_disk: Path) -> None:
    load = Load(small_disk)
    while await load.take():
        await load.translate()
        load.space.check()
        assert len(load.acknowledged) < 4000
    assert load.space.room is Room.FULL
    assert ballast_of(load.path).exists()  # it was not needed
    assert load.refused == 16  # all of them: there is nothing in between
    load.check_nothing_acknowledged_is_lost()
    first = len(load.acknowledged)
    assert await load.deliver(most=first // 2) == first // 2
    await load.prune()
    load.check_nothing_acknowledged_is_lost(pruned=first // 2)  # those that wait are kept
    assert load.space.check() is Room.AMPLE
    assert await load.take()
    assert [one.state for one in load.events if isinstance(one, SpaceChanged)] == ["low", "full", "ample"]
    await load.translate()
    assert await load.deliver() == first - first // 2 + 16
    await load.store.close()


async def test_f13_when_there_is_no_room_at_all_the_reserve_is_given_up_and_work_goes_on(small_disk: Path) -> None:
    load = Load(small_disk)
    load.space.check()
    assert await load.take()
    await load.translate()
    filler = small_disk / "somebody else's"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - 3 * MIB))
    while await load.take():  # nobody looks at the disk meanwhile
        await load.translate()
    assert not ballast_of(load.path).exists()
    assert load.space.refusal
    assert not await load.take()  # at once
    load.check_nothing_acknowledged_is_lost()
    await load.translate()
    sent = await load.deliver()
    assert sent == len(load.acknowledged)
    await load.prune()
    filler.unlink()
    load.space.check()  # there was no room since the last look
    assert load.space.check() is Room.AMPLE
    assert ballast_of(load.path).exists()
    assert await load.take()
    load.check_nothing_acknowledged_is_lost(pruned=sent)
    await load.store.close()


# ── lying and damaged ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    directory = tmp_path / "site"
    directory.mkdir()
    made = Place(directory)
    with made.engine:
        yield made


def ended(engine: EngineProcess) -> int:
    """The exit code of an engine that ends by itself."""
    assert engine._process is not None
    process, engine._process = engine._process, None
    return process.wait(30)


def until_closed(place: Place, *contents: bytes) -> list[bytes]:
    """Whatever the engine answers before the connection ends."""
    deframer, answers = Deframer(1 << 20), []
    with socket.create_connection(("127.0.0.1", place.port), timeout=20) as wire:
        wire.sendall(b"".join(frame(content) for content in contents))
        while data := wire.recv(65536):
            answers += deframer.receive(data)
    return answers


@pytest.mark.needs("cc")
def test_i17_f09_after_a_failed_flush_no_positive_answer_leaves_and_the_engine_ends_with_74(place: Place, tmp_path: Path) -> None:
    failing = tmp_path / "failing"
    shim = {
        "LD_PRELOAD": str(build(tmp_path)),
        "POWER_ROOT": str((place.directory / "data").resolve()),
        "POWER_FAIL": str(failing),
    }
    place.engine = EngineProcess(place.directory, shim)
    with place.engine as engine:
        place.start()
        assert all(b"MSA|AA" in answer for answer in place.exchange(*(MESSAGE % b"B%d" % n for n in range(5))))
        place.delivered(5)
        failing.touch()
        answers = until_closed(place, *(MESSAGE % b"A%d" % n for n in range(20)))
        assert [answer for answer in answers if b"MSA|AA" in answer or b"MSA|CA" in answer] == []
        assert ended(engine) == EXIT_STORAGE
        engine.start()
        assert ended(engine) == EXIT_STORAGE  # as long as the disk does not flush
        failing.unlink()
        place.start()
        again = place.exchange(*(MESSAGE % b"A%d" % n for n in range(20)))
        assert all(b"MSA|AA" in answer for answer in again)
        assert len(place.delivered(25)) == 25
        assert engine.stop() == 0
    assert "disk I/O error" in (place.directory / "engine.log").read_text()


def test_f17_a_database_that_was_damaged_while_the_engine_lay_dead_is_not_opened(place: Place) -> None:
    place.start()
    place.exchange(*(MESSAGE % b"M%d" % n for n in range(200)))
    place.engine.kill()
    path = place.directory / "data" / "wardline.db"
    log = bytearray(Path(f"{path}-wal").read_bytes())
    data = bytearray(path.read_bytes())
    assert len(log) > 100_000
    for page in range(8, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)
    Path(f"{path}-wal").write_bytes(log[: 32 + 24])  # and what was in the log with it
    place.engine.start()
    assert ended(place.engine) == EXIT_STORAGE
    said = place.engine.tail()
    assert "is damaged and is not opened" in said
    assert "wardline restore" in said


def test_f13_i7_at_high_water_the_sender_is_told_to_send_again(place: Place) -> None:
    place.start()
    assert b"MSA|AA" in place.exchange(MESSAGE % b"M1")[0]
    place.delivered(1)
    assert place.engine.stop() == 0
    settings = place.directory / "conf" / "engine.yaml"
    settings.write_text(settings.read_text() + "disk: {stop_below: 9000000GiB, ballast: 0}\n")
    place.start()
    (answer,) = place.exchange(MESSAGE % b"M2")
    assert b"MSA|AR|M2" in answer
    assert b"|207" in answer
    with urllib.request.urlopen(f"http://127.0.0.1:{place.monitor}/metrics", timeout=10) as page:
        assert 'wardline_disk_state{disk="store",state="full"} 1.0' in page.read().decode()
    assert place.engine.stop() == 0
    assert "space_changed" in (place.directory / "engine.log").read_text()
