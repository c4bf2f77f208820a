"""Destinations that are down, held, paused or half dead: over a real store (its writer inline) and a clock that only the
test moves."""

from __future__ import annotations

import random
import resource
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from engine import events
from engine.contracts import DestinationSpec, RetryPolicy, Runtime
from engine.model import (
    SECOND,
    Admission,
    Busy,
    Delivered,
    Delivery,
    DestinationState,
    Heading,
    MessageState,
    Misconfigured,
    Outcome,
    Outgoing,
    Refused,
    Translation,
    Unknown,
    Unreached,
)
from engine.pipeline.deliver import MOST_IN_HAND, Deliver
from engine.pipeline.worker import Wake, Worker
from engine.store import open_store
from engine.store.history import History
from engine.testing.memory_destination import MemoryDestination

START = 1_790_000_000_000_000
PATIENT = RetryPolicy(first=1, up_to=60)
RUNNING, PAUSED, HELD, OPEN = DestinationState.RUNNING, DestinationState.PAUSED, DestinationState.HELD, DestinationState.OPEN


class Site:
    """A store and destinations; deliveries are put into it as if they had been translated."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clock()
        self.events: list[events.Event] = []
        chance = random.Random(7)
        chance.random = lambda: 1.0  # type: ignore[method-assign]  # full jitter at its longest: times are exact
        self.runtime = Runtime(self.clock, None, self.hear, self.now, chance)  # type: ignore[arg-type]
        self.url = f"sqlite:///{directory / 'store.db'}"
        self.outgoing: dict[str, Outgoings] = {}
        self.open()

    def hear(self, event: events.Event) -> None:
        """Keep what is rare, so that what grows in an hour is not ours."""
        if isinstance(event, events.DestinationChanged) or (isinstance(event, events.DeliveryEnded) and event.state == "parked"):
            self.events.append(event)

    def now(self) -> int:
        return START + int(self.clock.seconds() * SECOND)

    def open(self) -> None:
        self.store, _ = open_store(self.url, self.runtime, self.events.append, threaded=False)  # type: ignore[arg-type]

    def destination(self, name: str = "ehr", retry: RetryPolicy = PATIENT, concurrency: int = 1, **spec: Any) -> Outgoings:
        self.outgoing[name] = Outgoings(self, DestinationSpec(name, "memory", None, retry, **spec), concurrency)
        return self.outgoing[name]

    def put(self, *deliveries: tuple[str, str, bytes]) -> None:
        """(destination, lane, content), recorded together in this order."""
        heading = Heading("ADT^A01", "1", "EHR|GENERAL")
        taken = self.store.take(Admission("adt", b"adt", "peer:1", heading, self.now(), b"d" * 32))
        products = tuple(
            Outgoing("out", to, content, "text/plain", content[:12].decode(), (lane,)) for to, lane, content in deliveries
        )
        done = self.store.translated([Translation(taken.result.message_id, "adt", MessageState.TRANSLATED, outgoings=products)])
        assert done.called
        for to in {to for to, _, _ in deliveries}:
            self.outgoing[to].wake.ring()

    def stop(self) -> None:
        for one in self.outgoing.values():
            one.stop()
        self.store.close()


class Outgoings:
    """One destination at work."""

    def __init__(self, site: Site, spec: DestinationSpec, concurrency: int) -> None:
        self.site, self.spec = site, spec
        self.peer = MemoryDestination(None, site.runtime, spec.name)
        self.peer.concurrency = concurrency
        self.wake = Wake()
        self.deliver = Deliver(spec, self.peer, site.store, site.runtime, self.wake)
        self.worker = Worker(self.deliver.step, self.wake, site.clock, site.events.append)  # type: ignore[arg-type]
        self.worker.start()

    def answers(self, outcome: Outcome) -> None:
        self.peer.answer = lambda delivery: outcome

    @property
    def sent(self) -> list[bytes]:
        return [delivery.content for delivery in self.peer.deliveries]

    @property
    def state(self) -> DestinationState:
        return self.deliver.state[0]

    def told(self) -> list[tuple[str, str]]:
        """The states that it was told to be in."""
        changes = [event for event in self.site.events if type(event) is events.DestinationChanged]
        return [(event.state, event.reason) for event in changes if event.destination == self.spec.name]

    def stored(self) -> tuple[str, str]:
        return History(self.site.url).counts().destinations.get(self.spec.name, ("running", ""))

    def waiting(self) -> dict[str, int]:
        return {state: n for (name, state), n in History(self.site.url).counts().deliveries.items() if name == self.spec.name}

    def pause(self) -> None:
        assert self.site.store.steer(self.spec.name, PAUSED, "maintenance").called
        self.deliver.pause("maintenance")

    def resume(self) -> None:
        assert self.site.store.steer(self.spec.name, RUNNING).called
        self.deliver.resume()

    def stop(self) -> None:
        ensureDeferred(self.worker.stop())
        ensureDeferred(self.deliver.stop())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.stop()


def lanes(count: int, to: str = "ehr", each: int = 1) -> list[tuple[str, str, bytes]]:
    return [(to, f"L{lane}", f"{lane}.{n}".encode()) for n in range(each) for lane in range(count)]


# ── the breaker ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_peer_that_is_down_opens_the_breaker_and_costs_one_attempt_per_back_off(site: Site) -> None:
    ehr = site.destination(concurrency=4)
    ehr.answers(Unreached("connection refused"))
    site.put(*lanes(200))
    assert len(ehr.sent) == 1
    assert ehr.told() == [("open", "connection refused")]
    times: list[float] = []
    for _ in range(4000):
        before = len(ehr.sent)
        site.clock.advance(0.1)
        times += [site.clock.seconds()] * (len(ehr.sent) - before)
    waits = [round(later - earlier) for earlier, later in pairwise(times)]
    assert waits[:6] == [2, 4, 8, 16, 32, 60]
    assert set(waits[5:]) == {60}
    assert ehr.peer.most_at_once == 1
    assert ehr.state is OPEN


def test_what_was_on_the_wire_when_it_opened_ends_before_a_probe_goes_and_closes_nothing(site: Site) -> None:
    ehr = site.destination(concurrency=4)
    ehr.peer.holds = True
    site.put(*lanes(20))
    assert len(ehr.sent) == 4
    ehr.peer.let_go(Busy("503", after=30))
    assert ehr.state is OPEN
    ehr.peer.let_go(Delivered())
    ehr.peer.let_go(Delivered())
    assert ehr.state is OPEN, "they had left before it asked us to wait"
    site.clock.advance(40)
    assert len(ehr.sent) == 4, "one is still on the wire"
    ehr.peer.let_go(Unreached("connection refused"))
    site.clock.advance(40)
    assert len(ehr.sent) == 5
    assert len(ehr.peer.held) == 1, "one probe"
    ehr.peer.let_go(Delivered())
    assert ehr.told() == [("open", "503"), ("running", "")]


def test_a_refusal_shows_that_the_peer_is_there(site: Site) -> None:
    ehr = site.destination()
    ehr.peer.outcomes.extend([Unreached("connection refused"), Refused("AE")])
    site.put(*lanes(3))
    site.clock.pump([1.0] * 5)
    assert ehr.state is RUNNING
    assert ehr.waiting() == {"delivered": 2, "parked": 1}


def test_after_a_recovery_it_begins_with_ten_a_second_and_doubles(site: Site) -> None:
    ehr = site.destination(concurrency=4)
    ehr.peer.outcomes.append(Unreached("connection refused"))
    site.put(*lanes(700))
    site.clock.advance(1.0)  # the probe
    assert ehr.state is RUNNING
    counts = []
    for _ in range(6):
        before = len(ehr.sent)
        site.clock.pump([0.01] * 100)
        counts.append(len(ehr.sent) - before)
    assert all(allowed * 0.7 <= n <= allowed for n, allowed in zip(counts, [10, 20, 40, 80, 160, 320], strict=True)), counts


def test_the_ramp_ends_at_the_rate(site: Site) -> None:
    ehr = site.destination(rate=20.0)
    ehr.peer.outcomes.append(Unreached("connection refused"))
    site.put(*lanes(200))
    site.clock.advance(1.0)
    counts = []
    for _ in range(4):
        before = len(ehr.sent)
        site.clock.pump([0.05] * 20)
        counts.append(len(ehr.sent) - before)
    assert counts == pytest.approx([10, 20, 20, 20], abs=2)


def test_little_is_begun_that_cannot_be_sent_soon(site: Site) -> None:
    site.destination(rate=5.0)
    site.put(*lanes(300))
    site.clock.pump([0.1] * 100)
    under_way = [
        row for row in History(site.url).find() for row in History(site.url).deliveries(row.id) if row.state == "sending"
    ]
    assert len(under_way) <= 5


def test_deliveries_that_expire_do_not_hammer_a_dead_peer(site: Site) -> None:
    ehr = site.destination(retry=RetryPolicy(first=1, up_to=60, give_up_after=600))
    ehr.answers(Unreached("connection refused"))
    site.put(*lanes(100))
    for _ in range(1000):
        site.clock.advance(1)
    assert len(ehr.sent) < 20
    ehr.answers(Delivered())
    site.clock.pump([1.0] * 70)
    assert ehr.waiting() == {"expired": 100}
    assert len(ehr.sent) < 20, "what has had its time is not sent any more"


# ── one lane's trouble is its own ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "trouble", [Refused("AE"), Refused("AE", tries=0), Refused("AR", tries=5), Unknown("no answer"), Busy("AR 206")]
)
def test_i8_a_failing_key_delays_its_lane_only(site: Site, trouble: Outcome) -> None:
    ehr = site.destination(concurrency=2)
    ehr.peer.answer = lambda delivery: trouble if delivery.content.startswith(b"0.") else Delivered()
    for second in range(120):
        site.put(*[(to, lane, b"%b-%d" % (content, second)) for to, lane, content in lanes(5)])
        sent_at_once = [content for content in ehr.sent if content.endswith(b"-%d" % second)]
        assert len([content for content in sent_at_once if content[0] != ord("0")]) == 4, f"second {second}"
        site.clock.advance(1)
    assert ehr.told() == [], "the breaker is not for this"
    own = [content for content in ehr.sent if content.startswith(b"0.")]
    assert [content for content, _ in groupby(own)] == sorted(set(own), key=own.index), "its order is kept"


def test_one_lane_alone_that_gets_no_answer_never_stops_the_others(site: Site) -> None:
    ehr = site.destination()
    ehr.peer.answer = lambda delivery: Unknown("no answer") if delivery.content.startswith(b"0.") else Delivered()
    site.put(("ehr", "L0", b"0.0"))
    for _ in range(300):  # it has failed many times in a row, with no success between
        site.clock.advance(1)
    assert ehr.state is RUNNING
    site.put(("ehr", "L1", b"1.0"))
    assert ehr.sent[-1] == b"1.0"


def test_answers_lost_in_three_lanes_in_a_row_open_the_breaker(site: Site) -> None:
    ehr = site.destination()
    ehr.answers(Unknown("no answer within 30s"))
    site.put(*lanes(50))
    assert len(ehr.sent) == 3
    assert ehr.told() == [("open", "no answer within 30s")]


def test_a_poisonous_lane_cannot_keep_the_breaker_open(site: Site) -> None:
    ehr = site.destination()
    ehr.answers(Unknown("no answer"))
    site.put(*lanes(4, each=3))
    site.clock.pump([1.0] * 100)
    assert ehr.state is OPEN
    ehr.peer.answer = lambda delivery: Unknown("no answer") if delivery.content.startswith(b"0.") else Delivered()
    site.clock.pump([1.0] * 300)
    assert ehr.state is RUNNING
    assert ehr.waiting()["delivered"] == 9


def test_a_delivery_that_breaks_the_connector_three_times_is_poison(site: Site) -> None:
    ehr = site.destination()

    def answer(delivery: Delivery) -> Outcome:
        if delivery.content == b"0.0":
            raise KeyError("PID-5 DOE^JANE")
        return Delivered()

    ehr.peer.answer = answer
    site.put(("ehr", "L0", b"0.0"), ("ehr", "L0", b"0.1"))
    site.clock.pump([1.0] * 10)
    assert ehr.sent == [b"0.0"] * 3 + [b"0.1"]
    (ended,) = (event for event in site.events if type(event) is events.DeliveryEnded and event.state == "parked")
    assert ended.reason == "poison: KeyError in the connector"


def test_a_peer_that_takes_fewer_connections_than_we_make_is_not_away(site: Site) -> None:
    ehr = site.destination(concurrency=2)
    ehr.peer.holds = True
    site.put(*lanes(6, each=3))
    for _ in range(5):
        assert len(ehr.peer.held) == 2
        (_, taken), (_, not_taken) = ehr.peer.held
        ehr.peer.held.clear()
        not_taken.callback(Unreached("closed by the other side as soon as it was made"))
        taken.callback(Delivered())
        site.clock.advance(1)
    assert ehr.told() == []


# ── what the store knows before the peer does ──────────────────────────────────────────────────────────────────────


def test_i4_an_attempt_is_on_disk_before_its_first_byte_leaves_and_its_doubt_after(site: Site) -> None:
    ehr = site.destination()
    before: list[list[tuple[str, str]]] = []

    def answer(delivery: Delivery) -> Outcome:
        rows = History(site.url).attempts(delivery.id)
        before.append([(row.outcome, row.reason) for row in rows])
        return Unknown("no answer within 30s") if len(before) == 1 else Delivered()

    ehr.peer.answer = answer
    site.put(*lanes(1))
    site.clock.advance(1)
    assert before == [[("", "")], [("unknown", "no answer within 30s"), ("", "")]]
    (message,) = History(site.url).find()
    (delivery,) = History(site.url).deliveries(message.id)
    assert (delivery.state, delivery.attempts, delivery.in_doubt) == ("delivered", 2, True)
    assert [row.in_doubt for row in History(site.url).attempts(delivery.id)] == [True, False]


@pytest.mark.parametrize(("then", "state"), [("park", "parked"), ("hold", "waiting")])
def test_an_unknown_answer_that_parks_or_holds_stays_in_doubt(site: Site, then: str, state: str) -> None:
    ehr = site.destination()
    ehr.peer.outcomes.append(Unknown("HTTP 500", then=then))
    site.put(*lanes(1))
    (message,) = History(site.url).find()
    (delivery,) = History(site.url).deliveries(message.id)
    assert (delivery.state, delivery.in_doubt) == (state, True)
    assert ehr.state is (HELD if then == "hold" else RUNNING)


# ── held and paused ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_held_destination_loses_nothing_and_goes_on_when_it_is_resumed(site: Site) -> None:
    ehr = site.destination(concurrency=4)
    ehr.peer.outcomes.append(Misconfigured("HTTP 401"))
    site.put(*lanes(50))
    for _ in range(100):
        site.clock.advance(60)
        site.put(("ehr", "later", b"later %d" % site.clock.seconds()))
    assert len(ehr.sent) == 1, "no storm"
    assert ehr.state is HELD
    assert ehr.stored() == ("held", "HTTP 401")
    ehr.resume()
    assert ehr.stored() == ("running", "")
    site.clock.pump([0.1] * 100)
    assert ehr.waiting() == {"delivered": 150}
    assert ehr.told() == [("held", "HTTP 401"), ("running", "")]


def test_a_pause_ends_what_is_on_the_wire_and_begins_nothing(site: Site) -> None:
    ehr = site.destination(concurrency=2, rate=1 / 3600)
    ehr.peer.holds = True
    site.put(*lanes(1, each=5))
    ehr.pause()
    assert ehr.told() == [("paused", "maintenance")]
    assert ehr.stored() == ("paused", "maintenance")
    ehr.peer.let_go()
    site.clock.pump([60.0] * 200)
    site.put(("ehr", "other", b"x"))
    assert ehr.sent == [b"0.0"]
    assert ehr.waiting() == {"delivered": 1, "waiting": 5}


def test_a_pause_is_prompt_where_senders_wait_for_their_slot(site: Site) -> None:
    ehr = site.destination(concurrency=4, rate=1.0)
    site.put(*lanes(8))
    site.clock.advance(0.5)
    ehr.pause()
    assert site.clock.getDelayedCalls() == []
    assert ehr.waiting() == {"delivered": 1, "waiting": 7}
    ehr.resume()
    site.clock.pump([0.1] * 100)
    assert ehr.waiting() == {"delivered": 8}


def test_a_person_s_pause_outlives_a_configuration_fault_and_a_restart(site: Site) -> None:
    ehr = site.destination()
    ehr.peer.holds = True
    site.put(*lanes(2))
    ehr.pause()
    ehr.peer.let_go(Misconfigured("HTTP 401"))
    assert ehr.stored() == ("paused", "maintenance")
    assert ehr.told() == [("paused", "maintenance")]
    site.stop()
    site.open()
    again = site.destination()
    again.deliver.pause("maintenance")
    site.put(("ehr", "L9", b"9"))
    site.clock.pump([60.0] * 10)
    assert again.sent == []
    again.peer.outcomes.append(Misconfigured("HTTP 401"))
    again.resume()
    assert again.stored() == ("held", "HTTP 401")


def test_a_fault_decided_before_the_pause_and_recorded_after_it_does_not_undo_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ehr = site.destination()
    ehr.peer.holds = True
    site.put(*lanes(2))
    real, waiting = site.store.attempted, []

    def later(ended: Any) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        waiting.append(lambda: real(ended).chainDeferred(done))
        return done

    monkeypatch.setattr(site.store, "attempted", later)
    ehr.peer.let_go(Misconfigured("HTTP 401"))
    ehr.pause()
    monkeypatch.undo()
    waiting.pop()()
    assert (ehr.state, ehr.stored()) == (PAUSED, ("paused", "maintenance"))


def test_resuming_tries_a_peer_whose_breaker_is_open_at_once(site: Site) -> None:
    ehr = site.destination()
    ehr.answers(Unreached("connection refused"))
    site.put(*lanes(3))
    site.clock.pump([1.0] * 60)
    ehr.answers(Delivered())
    sent = len(ehr.sent)
    ehr.resume()
    assert len(ehr.sent) > sent
    assert ehr.state is RUNNING


# ── an hour ────────────────────────────────────────────────────────────────────────────────────────────────────────


def an_hour_down(site: Site, a_second: int, every: int) -> None:
    """Messages for a peer that is down, and for one beside it that is not, for an hour; then the first comes back.

    They come in bursts, a burst `every` so many seconds, so that the disk has less to confirm.
    """
    down, beside = site.destination("down", concurrency=4), site.destination("beside", concurrency=4)
    down.answers(Unreached("connection refused"))
    beside.peer.deliveries = Counted()
    number = most = memory = 0
    for second in range(0, 3600, every):
        batch = [("down", f"L{n % 100}", b"%012d %b" % (n, b"." * 100)) for n in range(number, number + a_second * every)]
        site.put(*batch, *[("beside", lane, content) for _, lane, content in batch])
        number += a_second * every
        assert beside.peer.deliveries.count == number, f"second {second}: the destination beside it waits"
        for _ in range(every):
            site.clock.advance(1)
            most = max(most, down.deliver.in_hand)
        if second < 600:
            memory = memory_used()
    assert memory_used() - memory < 64 << 20, "what waits is on disk"
    assert most <= 1, "in hand is the probe and nothing else"
    assert len(down.sent) <= 70, "one probe per back-off of at most a minute"
    assert down.told() == [("open", "connection refused")]

    last: dict[str, int] = {}
    down.peer.deliveries = Counted()

    def answer(delivery: Delivery) -> Outcome:
        n = int(delivery.content[:12])
        lane = f"L{n % 100}"
        assert last.get(lane, -1) < n, "drained in order"
        last[lane] = n
        return Delivered()

    down.peer.answer = answer
    for _ in range(120):
        site.clock.advance(1)
        assert down.deliver.in_hand <= MOST_IN_HAND
    assert down.waiting() == {"delivered": number}
    assert down.told()[-1] == ("running", "")


def memory_used() -> int:
    """Bytes that this process has in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


class Counted(list[Delivery]):
    """Keeps none, so that what grows is ours."""

    count = 0

    def append(self, delivery: Delivery) -> None:
        self.count += 1


def test_a_destination_down_for_an_hour(site: Site) -> None:
    an_hour_down(site, 5, every=60)


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_a_destination_down_for_an_hour_at_500_messages_a_second(site: Site) -> None:
    an_hour_down(site, 500, every=10)
