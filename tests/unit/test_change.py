"""From one site to another, in one process: memory ends, a store without threads, and a clock that only the test moves."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred, fail
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from engine import app, events, running
from engine.app import Engine
from engine.contracts import AckPolicy, Channel, DestinationSpec, RetryPolicy, Route, Runtime, Site
from engine.errors import ConfigurationError, StoreFull
from engine.model import Admission, Heading, Misconfigured, Receipt, Unknown
from engine.pipeline.keeper import SiteWork
from engine.pipeline.translators import Inline
from engine.quantities import Address
from engine.registry import Options, formats
from engine.store import open_store
from engine.store.history import History
from engine.testing.memory_destination import MemoryDestination
from engine.testing.memory_source import MemorySource

START = 1_790_000_000_000_000


class Listen(Options):
    listen: Any = None
    extra: str = ""


class Source(MemorySource):
    """Whose port is had by one at a time, and by nobody where it is among those `refused`."""

    taken: set[int]
    refused: set[int]

    def __init__(self, options: Any, runtime: Runtime, name: str) -> None:
        super().__init__(options, runtime, name)
        self.options, self.open = options, False

    async def start(self, intake: Any) -> None:
        port = self.options.listen.port
        if port in self.taken | self.refused:
            raise OSError(98, "Address already in use")
        if self.options.extra == "broken":
            raise ZeroDivisionError
        self.taken.add(port)
        self.open = True
        await super().start(intake)

    async def stop(self) -> None:
        if self.open:
            self.taken.remove(self.options.listen.port)
            self.open = False
        await super().stop()


class Hospital:
    """An engine, its sites by version, and the ends that it has made, by name."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.events: list[events.Event] = []
        self.runtime = Runtime(self.clock, None, self.events.append, self.now, random.Random(1))  # type: ignore[arg-type]
        self.url = f"sqlite:///{directory / 'store.db'}"
        self.directory = directory
        self.sources: dict[str, Source] = {}
        self.peers: dict[str, list[MemoryDestination]] = {}
        self.latest: Site
        monkeypatch.setattr(app, "open_store", partial(open_store, threaded=False))
        monkeypatch.setattr(running, "build_source", self.source)
        monkeypatch.setattr(running, "build_destination", self.peer)
        Source.taken, Source.refused = set(), set()

    def now(self) -> int:
        return START + int(self.clock.seconds() * 1_000_000)

    def source(self, connector: str, options: Any, runtime: Runtime, name: str) -> Source:
        self.sources[name] = made = Source(options, runtime, name)
        return made

    def peer(self, connector: str, options: Any, runtime: Runtime, name: str) -> MemoryDestination:
        made = MemoryDestination(options, runtime, name)
        self.peers.setdefault(name, []).append(made)
        return made

    def site(self, version: str, channels: tuple[Channel, ...], *destinations: DestinationSpec) -> Site:
        specs = destinations or (spec("ehr"),)
        self.latest = Site(str(self.directory), "General", "test", "UTC", self.url, "", channels, specs, version)
        return self.latest

    def start(self, *channels: Channel) -> None:
        site = self.site("v1", channels)
        work = SiteWork(site, lambda: self.latest)
        self.engine = Engine(site, self.runtime, Inline(work), self.events.append)  # type: ignore[arg-type]
        self.engine.open()
        self.done(self.engine.start())

    def done(self, awaitable: Any) -> Any:
        """What it gives; time passes until it does."""
        found: list[Any] = []
        ensureDeferred(awaitable).addBoth(found.append)
        while not found:
            assert self.clock.seconds() < 1000, "it does not end"
            self.clock.advance(0.1)
        if isinstance(found[0], Failure):
            found[0].raiseException()
        return found[0]

    def change(self, site: Site, *only: str) -> str:
        said: str = self.done(self.engine.change(site, only))
        return said

    def told(self, kind: type) -> list[Any]:
        return [event for event in self.events if type(event) is kind]

    def put(self, source: str, control_id: str) -> list[Receipt]:
        heard: list[Receipt] = []
        self.sources[source].put(adt(control_id)).addCallback(heard.append)
        self.clock.advance(1)
        return heard

    def sent(self, name: str, n: int = -1) -> list[bytes]:
        """Control ids, in order, that came to the `n`-th destination of this name."""
        return [one.content.split(b"|")[9] for one in self.peers[name][n].deliveries]

    def translated(self) -> dict[str, tuple[str, str]]:
        """State and version by control id."""
        with History(self.url) as history:
            return {row.control_id: (row.state, (history.message(row.id) or exit()).config) for row in history.find(limit=100)}


def spec(name: str, options: Any = None, **more: Any) -> DestinationSpec:
    return DestinationSpec(name, "memory", options, RetryPolicy(first=1, up_to=60), **more)


def channel(name: str, port: int, extra: str = "", connector: str = "memory", host: str = "127.0.0.1", **more: Any) -> Channel:
    options = Listen(listen=Address(host, port), extra=extra)
    return Channel(name, "", connector, options, formats()["hl7v2"].build(), (Route("out", "ehr"),), **more)


def adt(control_id: str) -> bytes:
    return f"MSH|^~\\&|EHR|GENERAL|WARDLINE|GENERAL|20260901101500||ADT^A01|{control_id}|P|2.5.1\rPID|1||4711\r".encode()


@pytest.fixture
def hospital(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hospital]:
    made = Hospital(tmp_path, monkeypatch)
    yield made
    if not made.engine.turn.locked:
        made.done(made.engine.stop())


# ── destinations ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_destination_that_was_held_is_tried_again_when_its_file_has_changed(hospital: Hospital) -> None:
    hospital.start(channel("adt", 1))
    hospital.peers["ehr"][0].outcomes.append(Misconfigured("401"))
    hospital.put("adt", "A")
    assert [event.state for event in hospital.told(events.DestinationChanged)] == ["held"]
    hospital.change(hospital.site("v2", (channel("adt", 1),), spec("ehr", "mended")))
    hospital.clock.advance(1)
    assert hospital.sent("ehr") == [b"A"]


def test_what_an_exchanged_destination_ends_after_the_limit_goes_on_at_the_new_one(hospital: Hospital) -> None:
    hospital.start(channel("adt", 1))
    old = hospital.peers["ehr"][0]
    old.holds = True
    for name in ("A", "B"):
        hospital.put("adt", name)
    hospital.change(hospital.site("v2", (channel("adt", 1),), spec("ehr", "other")))
    assert hospital.sent("ehr") == [], "one lane, and its head is under way"
    old.let_go(Unknown("?"))
    for _ in range(10):
        hospital.clock.advance(1)
    assert hospital.sent("ehr") == [b"A", b"B"]


def test_an_exchanged_destination_records_what_it_sent_even_where_the_disk_is_full_at_first(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    hospital.start(channel("adt", 1))
    hospital.peers["ehr"][0].holds = True
    hospital.put("adt", "A")
    hospital.put("adt", "B")
    store = hospital.engine.at.store
    attempted, refusals = store.attempted, [StoreFull("full")]
    monkeypatch.setattr(store, "attempted", lambda ended: fail(refusals.pop()) if refusals else attempted(ended))
    changing = ensureDeferred(hospital.engine.change(hospital.site("v2", (channel("adt", 1),), spec("ehr", "other"))))
    hospital.peers["ehr"][0].let_go()
    hospital.done(changing)
    assert refusals == []
    assert hospital.sent("ehr") == [b"B"]


def test_a_destination_that_cannot_be_made_changes_nothing(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    hospital.start(channel("adt", 1))

    def broken(*about: object) -> None:
        raise ImportError("another distribution's connector")

    monkeypatch.setattr(running, "build_destination", broken)
    with pytest.raises(ImportError):
        hospital.change(hospital.site("v2", (channel("adt", 1),), spec("ehr", "other"), spec("new")))
    hospital.put("adt", "A")
    assert hospital.sent("ehr") == [b"A"]
    assert hospital.translated() == {"A": ("translated", "v1")}


def test_a_deployed_channel_brings_the_destination_of_its_acknowledgements(hospital: Hospital) -> None:
    hospital.start(channel("adt", 1))
    both = channel("adt", 1), channel("lab", 2, answers_to="acks")
    said = hospital.change(hospital.site("v2", both, spec("ehr"), spec("acks"), spec("others")), "lab")
    assert said.endswith("channel lab is new and destination acks is new")


# ── channels ───────────────────────────────────────────────────────────────────────────────────────────────────────


def at_work(hospital: Hospital, name: str) -> list[str]:
    """The versions by which this channel is translated."""
    return [one.translating.version for one in hospital.engine.at.translating() if one.channel.name == name]


def test_a_channel_that_comes_back_is_translated_once_and_as_it_is_now(hospital: Hospital) -> None:
    one, two = channel("adt", 1), channel("lab", 2)
    hospital.start(one, two)
    hospital.change(hospital.site("v2", (one,)))
    assert at_work(hospital, "lab") == ["v1"], "what it received is still translated"
    assert hospital.change(hospital.site("v3", (one, two))) == "version v3: channel lab is new"
    assert at_work(hospital, "lab") == ["v3"]
    hospital.put("lab", "A")
    assert hospital.translated() == {"A": ("translated", "v3")}


def test_a_change_that_failed_leaves_no_second_worker_behind(hospital: Hospital) -> None:
    one, two, three = channel("adt", 1), channel("lab", 2), channel("new", 3)
    hospital.start(one)
    Source.refused.add(3)
    for n in range(3):
        with pytest.raises(ConfigurationError, match="an address cannot be had"):
            hospital.change(hospital.site(f"bad{n}", (one, two, three)))
    Source.refused.clear()
    hospital.change(hospital.site("v2", (one, two, three)))
    assert [at_work(hospital, name) for name in ("adt", "lab", "new")] == [["v2"]] * 3


def test_what_is_owed_is_owed_on_by_one_worker_through_any_number_of_changes(hospital: Hospital) -> None:
    def owing(wait: float) -> Channel:
        return channel("adt", 1, ack=AckPolicy(wait=wait))

    hospital.start(owing(60))
    hospital.peers["ehr"][0].holds = True
    before = hospital.put("adt", "A")
    payer = hospital.engine.at.channels["adt"]._owing
    for n in range(2, 6):
        hospital.change(hospital.site(f"v{n}", (owing(n),)))
    assert hospital.engine.at.channels["adt"]._owing is payer
    hospital.clock.pump([1] * 10)
    assert before == []
    hospital.peers["ehr"][0].let_go()
    hospital.clock.advance(1)
    assert [one.message_id > 0 for one in before] == [True]


# ── addresses ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("moved", [channel("adt", 1, host="0.0.0.0"), channel("other", 1, connector="http")])
def test_a_port_goes_from_one_host_or_connector_to_another(hospital: Hospital, moved: Channel) -> None:
    hospital.start(channel("adt", 1), channel("lab", 2))
    before = hospital.sources["lab"]
    hospital.change(hospital.site("v2", (moved, channel("lab", 2))))
    assert hospital.sources[moved.name].open
    assert hospital.sources["lab"] is before


def test_where_that_fails_the_port_goes_back(hospital: Hospital) -> None:
    hospital.start(channel("adt", 1))
    Source.refused.add(3)
    with pytest.raises(ConfigurationError):
        hospital.change(hospital.site("v2", (channel("adt", 1, host="0.0.0.0"), channel("new", 3))))
    assert hospital.put("adt", "A")
    assert hospital.translated() == {"A": ("translated", "v1")}


def test_whatever_goes_wrong_while_addresses_are_opened_all_is_as_it_was(hospital: Hospital) -> None:
    hospital.start(channel("adt", 1))
    with pytest.raises(ZeroDivisionError):
        hospital.change(hospital.site("v2", (channel("adt", 1, extra="x"), channel("new", 3, extra="broken"))))
    assert hospital.put("adt", "A")


def test_an_address_that_could_not_be_had_again_is_tried_with_the_next_change(hospital: Hospital) -> None:
    hospital.start(channel("adt", 1))
    Source.refused |= {1, 3}
    with pytest.raises(ConfigurationError):
        hospital.change(hospital.site("v2", (channel("adt", 1, extra="x"), channel("new", 3))))
    assert [(one.channel, one.state) for one in hospital.told(events.ChannelChanged)][-1:] == [("adt", "failed")]
    Source.refused.clear()
    hospital.change(hospital.site("v3", (channel("adt", 1),)))
    assert hospital.put("adt", "A")


# ── what nobody works on ───────────────────────────────────────────────────────────────────────────────────────────


def test_what_waits_for_what_is_gone_is_told_at_the_start(hospital: Hospital) -> None:
    hospital.start(channel("adt", 1), channel("lab", 2))
    hospital.peers["ehr"][0].outcomes.append(Misconfigured("401"))
    hospital.put("adt", "A")
    store = hospital.engine.at.store
    heading = Heading("ADT^A01", "B", "EHR|GENERAL")
    store.take(Admission("lab", adt("B"), "peer", heading, hospital.now(), sha256(adt("B")).digest()))  # and then the power went
    hospital.done(hospital.engine.stop())
    hospital.events.clear()
    site = hospital.site("v2", (channel("adt", 1),), spec("other"))
    engine = Engine(site, hospital.runtime, hospital.engine.at.translator, hospital.events.append)  # type: ignore[arg-type]
    engine.open()
    hospital.done(engine.start())
    changed = [(one.channel, one.state) for one in hospital.told(events.ChannelChanged)]
    assert changed == [("adt", "running"), ("lab", "stopped")]
    assert [(one.destination, one.state) for one in hospital.told(events.DestinationChanged)] == [("ehr", "paused")]
    hospital.done(engine.stop())


# ── the end ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_stop_waits_for_the_change_that_is_under_way(hospital: Hospital) -> None:
    hospital.start(channel("adt", 1))
    hospital.peers["ehr"][0].holds = True
    hospital.put("adt", "A")
    ends: list[str] = []

    async def change() -> None:
        async with hospital.engine.turn:
            await hospital.engine.change(hospital.site("v2", (channel("adt", 1),), spec("ehr", "other")))
            ends.append("changed")

    ensureDeferred(change())
    stopping = ensureDeferred(hospital.engine.stop()).addCallback(lambda _: ends.append("stopped"))
    hospital.peers["ehr"][0].let_go()
    hospital.done(stopping)
    assert ends == ["changed", "stopped"]
    assert [peer.stopped for peer in hospital.peers["ehr"]] == [True, True]


def test_whoever_waits_for_an_answer_gets_one_even_from_a_channel_that_is_gone(hospital: Hospital) -> None:
    hospital.start(channel("adt", 1, ack=AckPolicy(wait=600)))
    hospital.peers["ehr"][0].holds = True
    heard = hospital.put("adt", "A")
    hospital.change(hospital.site("v2", ()))
    assert heard == []
    hospital.done(hospital.engine.stop())
    assert [one.reason for one in heard] == ["stored, and not processed in time: ask again"]


def test_what_does_not_stop_as_it_should_is_told(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    hospital.start(channel("adt", 1))

    async def stop() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(hospital.peers["ehr"][0], "stop", stop)
    hospital.done(hospital.engine.stop())
    (fault,) = [event for event in hospital.told(events.EngineChanged) if event.state == "fault"]
    assert fault.reason.startswith("ZeroDivisionError at ")
