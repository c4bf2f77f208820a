"""Channels that are stopped, drained and started one by one: memory ends, a store without threads, and a clock of the test's."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import fail, succeed

from engine import events
from engine.app import Engine
from engine.contracts import AckPolicy, Channel, Site
from engine.errors import ConfigurationError, StoreFull
from engine.model import Misconfigured, Verdict
from engine.observe import Bus, Metrics
from engine.observe.activity import Activity
from engine.observe.tally import Tally
from engine.operations.status import Status
from engine.operations.verbs import NoSuchChannel, NotAMessage, NotYet, Operations
from engine.steering import NotOpened
from engine.store.history import History
from engine.store.store import SqlStore
from tests.unit.test_change import Hospital, Source, adt, channel


class Rule:
    """An expression of a test's."""

    def __init__(self, text: str, rule: Any) -> None:
        self.text, self._rule = text, rule

    def __call__(self, document: Any, facts: Any) -> Any:
        return self._rule(document)


class Ward(Hospital):
    """A hospital whose channels are steered."""

    def start(self, *channels: Channel) -> None:
        super().start(*channels)
        self.operations = Operations(self.engine, lambda: self.latest, None, None)

    def ask(self, verb: str, *about: Any, **more: Any) -> Any:
        return self.done(self.operations.verbs()[verb](*about, **more))

    def restart(self, site: Site) -> None:
        self.done(self.engine.stop())
        self.events.clear()
        self.engine = Engine(site, self.runtime, self.engine.at.translator, self.events.append)  # type: ignore[arg-type]
        self.engine.open()
        self.done(self.engine.start())
        self.operations = Operations(self.engine, lambda: self.latest, None, None)

    def standing(self, name: str) -> tuple[str, str]:
        state, reason, _ = self.engine.at.channels[name].standing
        return state.value, reason

    def states(self) -> list[tuple[str, str]]:
        return [(one.channel, one.state) for one in self.told(events.ChannelChanged)]


@pytest.fixture
def ward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ward]:
    made = Ward(tmp_path, monkeypatch)
    yield made
    if not made.engine.turn.locked:
        made.done(made.engine.stop())


# ── stop ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stopped_channel_closes_its_source_and_the_others_go_on(ward: Ward) -> None:
    ward.start(channel("adt", 1), channel("lab", 2))
    before = ward.sources["lab"]
    assert ward.ask("stop", "adt", "ann", "moving house").startswith("adt is stopped")
    assert not ward.sources["adt"].open
    assert ward.sources["lab"] is before
    assert before.open
    ward.put("lab", "L")
    assert ward.sent("ehr") == [b"L"]
    assert ward.standing("adt") == ("stopped", "stopped by ann: moving house")
    assert ward.states()[-1] == ("adt", "stopped")


def test_what_a_stopped_channel_has_waits_until_it_is_started(ward: Ward) -> None:
    ward.start(channel("adt", 1))
    ward.engine.at.channels["adt"].translating._translator.translate = lambda *about: fail(StoreFull("held up"))  # type: ignore[method-assign,assignment,misc]
    ward.put("adt", "A")
    del ward.engine.at.channels["adt"].translating._translator.translate  # type: ignore[attr-defined]
    ward.ask("stop", "adt", "ann")
    ward.clock.pump([1.0] * 20)
    assert ward.translated()["A"][0] == "received"
    assert ward.ask("start", "adt", "bob") == "adt runs"
    ward.clock.advance(1)
    assert ward.translated()["A"][0] == "translated"
    ward.put("adt", "B")
    assert ward.sent("ehr") == [b"A", b"B"]
    assert ward.standing("adt") == ("running", "started by bob")


def test_what_has_been_translated_is_delivered_all_the_same(ward: Ward) -> None:
    ward.start(channel("adt", 1))
    ward.peers["ehr"][0].holds = True
    for name in ("A", "B"):
        ward.put("adt", name)
    ward.ask("stop", "adt", "ann")
    ward.peers["ehr"][0].holds = False
    ward.peers["ehr"][0].let_go()
    ward.clock.pump([1.0] * 5)
    assert ward.sent("ehr") == [b"A", b"B"]


def test_at_an_address_that_several_share_only_the_stopped_one_is_unavailable(ward: Ward) -> None:
    picks: Any = Rule("=all of it", lambda document: True)
    ward.start(channel("rest", 1), channel("some", 1, picks=picks))
    ward.ask("stop", "some", "ann")
    assert ward.sources["rest"].open
    (receipt,) = ward.put("rest", "A")
    assert (receipt.verdict, receipt.message_id, receipt.code) == (Verdict.UNAVAILABLE, 0, "207")
    assert b"MSA|AR|A" in (receipt.reply or b"")
    assert ward.told(events.Unavailable)[-1].reason == "channel some is stopped"
    ward.ask("stop", "rest", "ann")
    assert not ward.sources["rest"].open
    ward.ask("start", "some", "ann")
    assert ward.sources["rest"].open
    (receipt,) = ward.put("rest", "B")
    assert receipt.verdict is Verdict.ACCEPTED
    assert ward.standing("rest")[0] == "stopped"


def test_whoever_waits_for_what_becomes_of_a_message_hears_at_once_that_nobody_says_so_now(ward: Ward) -> None:
    ward.start(channel("adt", 1, ack=AckPolicy(wait=600)))
    ward.peers["ehr"][0].holds = True
    heard = ward.put("adt", "A")
    assert heard == []
    ward.ask("stop", "adt", "ann")
    assert [one.verdict for one in heard] == [Verdict.REFUSED]
    ward.ask("start", "adt", "ann")
    ward.peers["ehr"][0].holds = False
    ward.peers["ehr"][0].let_go()
    heard = ward.put("adt", "B")
    ward.clock.advance(1)
    assert [one.verdict for one in heard] == [Verdict.ACCEPTED]


def test_what_cannot_be_noted_changes_nothing(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.start(channel("adt", 1))
    monkeypatch.setattr(ward.engine.at.store, "steer_channel", lambda *about: fail(StoreFull("full")))
    for verb in ("stop", "drain"):
        with pytest.raises(StoreFull):
            ward.ask(verb, "adt", "ann")
    assert ward.put("adt", "A")[0].verdict is Verdict.ACCEPTED
    assert ward.sent("ehr") == [b"A"]


def test_twice_is_once_and_a_name_is_looked_up(ward: Ward) -> None:
    ward.start(channel("adt", 1))
    ward.ask("stop", "adt", "ann", "first")
    assert ward.ask("stop", "adt", "bob") == "adt is stopped already: stopped by ann: first"
    assert ward.ask("start", "adt", "bob") == "adt runs"
    assert ward.ask("start", "adt", "bob") == "adt runs already"
    with pytest.raises(NoSuchChannel, match="Did you mean 'adt'"):
        ward.ask("stop", "adtt", "ann")


def test_nothing_is_steered_before_the_start_or_after_the_stop(ward: Ward) -> None:
    ward.start(channel("adt", 1))
    ward.engine.accepting = False
    with pytest.raises(NotYet):
        ward.ask("stop", "adt", "ann")
    ward.engine.accepting = True


# ── it stays so ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stop_outlives_a_reload_and_a_restart(ward: Ward) -> None:
    one, two = channel("adt", 1), channel("lab", 2)
    ward.start(one, two)
    ward.ask("stop", "adt", "ann", "why")
    ward.change(ward.site("v2", (channel("adt", 3), two)))
    assert not ward.sources["adt"].open
    assert ward.standing("adt") == ("stopped", "stopped by ann: why")
    since = ward.engine.at.channels["adt"].standing.since
    ward.restart(ward.site("v3", (one, two)))
    assert ward.standing("adt") == ("stopped", "stopped by ann: why")
    assert ward.engine.at.channels["adt"].standing.since == since
    assert not ward.sources["adt"].open
    assert ward.sources["lab"].open
    assert ("adt", "stopped") in ward.states()
    ward.ask("start", "adt", "bob")
    assert ward.put("adt", "A")[0].verdict is Verdict.ACCEPTED
    ward.restart(ward.latest)
    assert ward.standing("adt") == ("running", "")


def test_one_that_leaves_the_site_stopped_comes_back_stopped(ward: Ward) -> None:
    one, two = channel("adt", 1), channel("lab", 2)
    ward.start(one, two)
    ward.ask("stop", "lab", "ann")
    ward.change(ward.site("v2", (one,)))
    ward.change(ward.site("v3", (one, two)))
    assert ward.standing("lab")[0] == "stopped"
    assert not ward.sources["lab"].open
    assert ward.states()[-1] == ("lab", "stopped")


def test_one_that_comes_to_a_stopped_one_s_address_opens_it(ward: Ward) -> None:
    ward.start(channel("adt", 1))
    ward.ask("stop", "adt", "ann")
    ward.change(ward.site("v2", (channel("adt", 1), channel("some", 1, picks=Rule("=x", lambda document: False)))))
    (receipt,) = ward.put("adt", "A")
    assert receipt.verdict is Verdict.UNAVAILABLE, "it is the stopped one's"


# ── drain ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_draining_ends_when_all_it_has_is_delivered(ward: Ward) -> None:
    ward.start(channel("adt", 1), channel("lab", 2))
    ward.peers["ehr"][0].holds = True
    for name in ("A", "B"):
        ward.put("adt", name)
    ward.ask("drain", "adt", "ann", "moving")
    assert not ward.sources["adt"].open
    ward.clock.pump([1.0] * 10)
    assert ward.standing("adt") == ("draining", "drained by ann: moving")
    ward.peers["ehr"][0].holds = False
    ward.peers["ehr"][0].let_go()
    ward.clock.pump([1.0] * 5)
    assert ward.sent("ehr") == [b"A", b"B"]
    assert ward.standing("adt") == ("stopped", "drained; drained by ann: moving")
    assert ward.states()[-2:] == [("adt", "draining"), ("adt", "stopped")]
    ward.restart(ward.latest)
    assert ward.standing("adt") == ("stopped", "drained; drained by ann: moving")


def test_what_a_slow_disk_has_not_written_yet_is_waited_for(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was being taken when the draining began, and was committed after two looks had found nothing."""
    ward.start(channel("adt", 1))
    ward.peers["ehr"][0].holds = True
    ward.put("adt", "A")
    looks, settled = [True, True], ward.engine.at.store.settled
    monkeypatch.setattr(ward.engine.at.store, "settled", lambda name: succeed(looks.pop()) if looks else settled(name))
    ward.ask("drain", "adt", "ann")
    ward.clock.pump([1.0] * 5)
    assert looks == []
    assert ward.standing("adt") == ("draining", "drained by ann")
    with History(ward.url) as history:
        assert history.counts().channels["adt"] == ("draining", "drained by ann")
    ward.peers["ehr"][0].holds = False
    ward.peers["ehr"][0].let_go()
    ward.clock.pump([1.0] * 5)
    assert ward.standing("adt") == ("stopped", "drained; drained by ann")


def test_what_is_parked_holds_no_draining_up(ward: Ward) -> None:
    ward.start(channel("adt", 1))
    ward.peers["ehr"][0].outcomes.append(Misconfigured("401"))
    ward.put("adt", "A")
    ward.ask("drain", "adt", "ann")
    ward.clock.pump([1.0] * 5)
    assert ward.standing("adt")[0] == "draining", "its destination is held"
    ward.ask("resume", "ehr", "ann")
    ward.clock.pump([1.0] * 5)
    assert ward.standing("adt")[0] == "stopped"


def test_draining_goes_on_after_a_restart_and_a_start_ends_it(ward: Ward) -> None:
    ward.start(channel("adt", 1))
    ward.peers["ehr"][0].holds = True
    ward.put("adt", "A")
    ward.ask("pause", "ehr", "ann")
    ward.ask("drain", "adt", "ann")
    ward.peers["ehr"][0].let_go(Misconfigured("401"))
    ward.restart(ward.latest)
    assert ward.standing("adt")[0] == "draining"
    assert not ward.sources["adt"].open
    assert ward.ask("drain", "adt", "bob") == "adt is draining already: drained by ann"
    ward.ask("start", "adt", "bob")
    ward.ask("resume", "ehr", "bob")
    ward.clock.pump([1.0] * 5)
    assert ward.standing("adt") == ("running", "started by bob")
    assert ward.put("adt", "B")[0].verdict is Verdict.ACCEPTED


def test_a_stopped_one_that_is_drained_translates_what_it_has_and_stops_again(ward: Ward) -> None:
    ward.start(channel("adt", 1))
    translator = ward.engine.at.translator
    translator.translate = lambda *about: fail(StoreFull("held up"))  # type: ignore[method-assign,assignment,misc]
    ward.put("adt", "A")
    del translator.translate
    ward.ask("stop", "adt", "ann")
    ward.ask("drain", "adt", "bob")
    ward.clock.pump([1.0] * 5)
    assert ward.sent("ehr") == [b"A"]
    assert ward.standing("adt")[0] == "stopped"


# ── failed ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_source_that_cannot_be_opened_says_why_and_may_be_tried_again(ward: Ward) -> None:
    ward.start(channel("adt", 1), channel("lab", 2))
    ward.ask("stop", "adt", "ann")
    Source.refused.add(1)
    with pytest.raises(NotOpened, match="Address already in use"):
        ward.ask("start", "adt", "bob")
    assert ward.standing("adt") == ("failed", "[Errno 98] Address already in use; started by bob")
    assert ward.states()[-1] == ("adt", "failed")
    ward.restart(ward.latest)
    assert ward.standing("adt")[0] == "failed", "it keeps the others from nothing"
    assert ward.sources["lab"].open
    ward.change(ward.site("v2", (channel("adt", 1), channel("lab", 2))))
    assert ward.standing("adt")[0] == "failed"
    Source.refused.clear()
    ward.change(ward.site("v3", (channel("adt", 1), channel("lab", 2))))
    assert ward.standing("adt") == ("running", "")
    assert ward.put("adt", "A")[0].verdict is Verdict.ACCEPTED
    Source.refused.add(1)


def test_one_that_had_failed_runs_after_a_start_at_which_its_address_is_free(ward: Ward) -> None:
    ward.start(channel("adt", 1))
    ward.ask("stop", "adt", "ann")
    Source.refused.add(1)
    with pytest.raises(NotOpened):
        ward.ask("start", "adt", "ann")
    Source.refused.clear()
    ward.restart(ward.latest)
    assert ward.standing("adt")[0] == "running"
    ward.done(ward.engine.at.store.steer("ehr", "running"))
    with History(ward.url) as history:
        assert history.counts().channels["adt"][0] == "running"


def test_the_engine_starts_on_a_full_disk_though_it_cannot_note_that_one_has_recovered(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delivery goes on when the disk is full (I10): so the start may not hang on a note."""
    ward.start(channel("adt", 1), channel("lab", 2))
    ward.ask("stop", "adt", "ann")
    Source.refused.add(1)
    with pytest.raises(NotOpened):
        ward.ask("start", "adt", "ann")
    Source.refused.clear()
    monkeypatch.setattr(SqlStore, "steer_channel", lambda *about: fail(StoreFull("full")))
    ward.restart(ward.latest)
    assert ward.engine.accepting
    assert (ward.standing("adt")[0], ward.sources["adt"].open, ward.sources["lab"].open) == ("running", True, True)
    assert "StoreFull" in ward.told(events.EngineChanged)[0].reason


def test_a_new_channel_whose_address_cannot_be_had_still_fails_the_reload(ward: Ward) -> None:
    ward.start(channel("adt", 1))
    Source.refused.add(2)
    with pytest.raises(ConfigurationError):
        ward.change(ward.site("v2", (channel("adt", 1), channel("new", 2))))


# ── submit ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def content(control_id: str) -> str:
    return b64encode(adt(control_id)).decode()


def test_what_a_person_submits_goes_the_channel_s_own_way(ward: Ward) -> None:
    accept: Any = Rule("=no", lambda document: document["MSH-10"] != "X")
    ward.start(channel("adt", 1, accept=(accept,)))
    original = ward.put("adt", "A")[0].message_id
    said = ward.ask("submit", "adt", content("B"), "ann", "corrected", original)
    assert (said["verdict"], said["reason"]) == ("accepted", "")
    with History(ward.url) as history:
        facts = history.message(said["message"])
        assert facts is not None
        assert (facts.row.peer, facts.row.replay_of, facts.row.control_id) == ("console:ann", original, "B")
        assert [row.id for row in history.replays(original)] == [said["message"]]
    ward.clock.advance(1)
    assert ward.sent("ehr") == [b"A", b"B"]
    refused = ward.ask("submit", "adt", content("X"), "ann")
    assert (refused["verdict"], refused["place"]) == ("refused", "")
    assert "no is not true" in refused["reason"]
    assert [(one.verdict, one.who, one.why) for one in ward.told(events.Submitted)] == [
        ("accepted", "ann", "corrected"),
        ("refused", "ann", ""),
    ]


def test_what_is_no_base64_or_the_copy_of_nothing_is_refused(ward: Ward) -> None:
    ward.start(channel("adt", 1))
    with pytest.raises(NotAMessage, match="base64"):
        ward.ask("submit", "adt", "MSH|^~", "ann")
    with pytest.raises(NotAMessage, match="no message"):
        ward.ask("submit", "adt", content("A"), "ann", "", 12345)
    with pytest.raises(NoSuchChannel):
        ward.ask("submit", "lab", content("A"), "ann")
    ward.ask("stop", "adt", "ann")
    said = ward.ask("submit", "adt", content("A"), "ann")
    assert (said["verdict"], said["message"]) == ("unavailable", 0)


# ── status ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_status_says_how_everything_stands_and_what_it_has_done(ward: Ward) -> None:
    bus, metrics, activity = Bus(), Metrics(), Activity(ward.now)
    bus.subscribe(metrics)
    bus.subscribe(activity)
    bus.subscribe(ward.events.append)
    ward.runtime = type(ward.runtime)(ward.clock, None, bus.emit, ward.now, ward.runtime.chance)  # type: ignore[arg-type]
    ward.start(channel("adt", 1), channel("lab", 2))
    status = Status(ward.engine, metrics, activity, Tally(metrics))
    for name in ("A", "B"):
        ward.put("adt", name)
    ward.peers["ehr"][0].outcomes.append(Misconfigured("401 from ehr"))
    ward.put("adt", "C")
    ward.ask("stop", "lab", "ann", "why")
    said = ward.done(status())
    adt_, lab = said["channels"]["adt"], said["channels"]["lab"]
    assert (adt_["state"], adt_["counts"]) == ("running", {"received": 3, "translated": 3})
    assert adt_["last_received_at"] > 0
    assert (lab["state"], lab["why"], lab["counts"], lab["last_received_at"]) == ("stopped", "stopped by ann: why", {}, 0)
    assert lab["since"] > adt_["since"]
    ehr = said["destinations"]["ehr"]
    assert (ehr["state"], ehr["why"], ehr["ended"], ehr["in_hand"]) == ("held", "401 from ehr", {"delivered": 2}, 0)
    assert ehr["attempts"] == {"delivered": 2, "misconfigured": 1}
    assert ehr["last_error"] == "misconfigured: 401 from ehr"
    assert ehr["last_error_at"] >= ehr["last_delivered_at"] > 0
    assert len(adt_["acknowledgement"]) == 2
    assert (said["environment"], said["version"], said["accepting"]) == ("test", "v1", True)
