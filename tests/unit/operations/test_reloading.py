"""Who takes up a site, and when: one at a time, the last word is the last one's, and nobody after the stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, DeferredLock, ensureDeferred
from twisted.internet.task import Clock

from engine import events
from engine.contracts import Site
from engine.errors import ConfigurationError, Problem, StoreFull
from engine.model import Acted
from engine.operations import verbs
from engine.operations.verbs import LOOK, NotYet, Operations


class Engine:
    """What `Operations` asks of one. A change ends when the test says so."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clock()
        self.told: list[events.EngineChanged] = []
        self.runtime = SimpleNamespace(clock=self.clock, emit=self.told.append, now=lambda: int(self.clock.seconds()))
        (directory / "conf").mkdir()
        self.file = directory / "conf" / "engine.yaml"
        self.file.write_text("v1")
        site = Site(str(directory), "", "", "", "sqlite:///none.db", "", (), (), "v1")
        self.at = SimpleNamespace(site=site, store=self, wake_some=lambda *about: None)
        self.turn = DeferredLock()
        self.accepting = True
        self.changes: list[str] = []
        self.slow: Deferred[None] | None = None
        self.acted: list[Any] = []
        self.full = False

    def read(self) -> Site:
        text = self.file.read_text()
        if text == "wrong":
            raise ConfigurationError([Problem("conf/engine.yaml", 1, 1, "is wrong"), Problem("x", 1, 1, "too")])
        if text == "odd":
            raise ZeroDivisionError("what nobody may read")
        return replace(self.at.site, version=text)

    async def start(self) -> None:
        if self.slow is not None:
            await self.slow
        self.accepting = True

    async def change(self, site: Site, only: Any) -> str:
        self.changes.append(f"{site.version} begins")
        if self.slow is not None:
            await self.slow
        self.changes.append(f"{site.version} ends")
        self.at.site = site
        return "changed"

    async def act(self, action: Any) -> Acted:
        if self.full:
            raise StoreFull("no room")
        self.acted.append(action)
        return Acted(len(action.messages), 0)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


@pytest.fixture
def operations(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Operations:
    def at_once(reactor: Any, threads: Any, function: Any, *about: Any) -> Deferred[Any]:
        from twisted.internet.defer import execute

        return execute(function, *about)

    monkeypatch.setattr(verbs, "deferToThreadPool", at_once)
    return Operations(engine, engine.read, None, None)  # type: ignore[arg-type]


def test_one_at_a_time_and_each_reads_when_its_turn_has_come(engine: Engine, operations: Operations) -> None:
    engine.slow = Deferred()
    engine.file.write_text("v2")
    first, second = (ensureDeferred(operations.reload("ann")) for _ in range(2))
    engine.file.write_text("v3")
    assert engine.changes == ["v2 begins"]
    engine.slow.callback(None)
    assert (first.called, second.called) == (True, True)
    assert engine.changes == ["v2 begins", "v2 ends", "v3 begins", "v3 ends"]
    assert [entry.version for entry in operations.versions.entries()] == ["v3", "v2"]


def test_a_storm_of_signals_is_one_reload_and_one_more(engine: Engine, operations: Operations) -> None:
    engine.slow = Deferred()
    for _ in range(100):
        ensureDeferred(operations.hangup())
    engine.file.write_text("v9")
    for _ in range(100):
        ensureDeferred(operations.hangup())
    engine.slow.callback(None)
    assert engine.changes == ["v1 begins", "v1 ends", "v9 begins", "v9 ends"]
    ensureDeferred(operations.hangup())
    assert len(engine.changes) == 6


def test_whoever_asks_while_it_starts_has_his_turn_after_it(engine: Engine, operations: Operations) -> None:
    engine.slow, engine.accepting = Deferred(), False
    ensureDeferred(operations.start())
    ensureDeferred(operations.hangup())
    engine.slow.callback(None)
    assert engine.changes == ["v1 begins", "v1 ends"]
    assert [entry.what for entry in operations.versions.entries()] == ["reloaded", "started"]


def test_an_engine_that_stops_meanwhile_takes_nothing_up(engine: Engine, operations: Operations) -> None:
    engine.slow = Deferred()
    ensureDeferred(operations.reload())
    waiting = ensureDeferred(operations.reload())
    engine.accepting = False
    engine.slow.callback(None)
    failed: list[Any] = []
    waiting.addErrback(failed.append)
    assert [failure.type for failure in failed] == [NotYet]
    assert engine.changes == ["v1 begins", "v1 ends"]


@pytest.mark.parametrize(
    ("text", "told"),
    [("wrong", "conf/engine.yaml:1:1  is wrong (and 1 more problem)"), ("odd", "ZeroDivisionError")],
)
def test_what_is_wrong_is_told_and_the_next_one_has_its_turn(
    engine: Engine, operations: Operations, text: str, told: str
) -> None:
    engine.file.write_text(text)
    failed: list[Any] = []
    ensureDeferred(operations.reload()).addErrback(failed.append)
    assert [event.reason for event in engine.told] == [told]
    engine.file.write_text("v2")
    assert ensureDeferred(operations.reload()).result == "changed"
    assert engine.changes == ["v2 begins", "v2 ends"]


def test_the_watch_takes_up_what_has_come_to_rest_also_while_another_change_is_under_way(
    engine: Engine, operations: Operations
) -> None:
    operations.watch()
    engine.clock.pump([LOOK] * 3)
    assert engine.changes == [], "what runs is not taken up again"
    engine.slow = Deferred()
    engine.file.write_text("v22")
    engine.clock.pump([LOOK] * 3)
    assert engine.changes == ["v22 begins"]
    engine.file.write_text("v333")
    engine.clock.pump([LOOK] * 3)
    engine.slow.callback(None)
    assert engine.changes[-1] == "v333 ends"


def test_the_watch_goes_on_when_files_go_while_it_looks(
    engine: Engine, operations: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    rglob = Path.rglob

    def gone(self: Path, pattern: str) -> Any:
        raise FileNotFoundError(2, "No such file or directory")

    (engine.file.parent / ".#engine.yaml").symlink_to("ann@host.4711")  # as an editor marks what it has open
    (engine.file.parent / "nowhere").symlink_to("nowhere at all")
    operations.watch()
    monkeypatch.setattr(Path, "rglob", gone)
    engine.clock.pump([LOOK] * 3)
    monkeypatch.setattr(Path, "rglob", rglob)
    engine.file.write_text("v22")
    engine.clock.pump([LOOK] * 3)
    assert engine.changes == ["v22 begins", "v22 ends"]


def test_what_waited_for_codes_is_released_before_the_version_is_remembered(
    engine: Engine, operations: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So an engine that dies, or has no room, between the two does it again at its next start."""
    monkeypatch.setattr(verbs, "_waiting", lambda store, tables: [7, 8])
    monkeypatch.setattr(operations.versions, "changed", lambda site, folder: ["mappings/codes/sex.csv"])
    engine.full = True
    ensureDeferred(operations.start())
    assert operations.versions.entries() == []
    assert "was not released, until the next start: StoreFull" in engine.told[-1].reason
    engine.full = False
    ensureDeferred(operations.start())
    assert [entry.what for entry in operations.versions.entries()] == ["started"]
    assert [action.messages for action in engine.acted] == [(7, 8)]
