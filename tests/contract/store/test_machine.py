"""Anything that can happen, in any order: order per lane, nothing lost, nothing begun twice."""

from __future__ import annotations

import tempfile
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.defer import Deferred

from engine.model import Close, Delivery, DeliveryState, Refused, Settlement, Unknown
from engine.store.history import History
from tests.contract.store.helpers import Site, admission, delivered, outgoing, retried, translation, withdrawn

PEOPLE = ("a", "b", "c")


def now(answer: Deferred[Any]) -> Any:
    """The result of a verb of the inline store."""
    results: list[Any] = []
    answer.addBoth(results.append)
    (result,) = results
    if hasattr(result, "raiseException"):
        result.raiseException()
    return result


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(prefix="store-machine-")
        self.site = Site(f"sqlite:///{self.directory.name}/store.db", threaded=False)
        self.count = 0
        self.taken: dict[int, bytes] = {}  # accepted, not yet translated
        self.lanes: dict[str, list[bytes]] = {one: [] for one in PEOPLE}  # what has not ended, in order
        self.stands: dict[bytes, tuple[str, ...]] = {}
        self.flying: dict[int, Delivery] = {}
        self.ended: set[bytes] = set()
        self.doubted: set[bytes] = set()

    @initialize()
    def begin(self) -> None:
        self.site.open()

    def teardown(self) -> None:
        now(self.site.store.close())
        self.directory.cleanup()

    @rule(again=st.booleans())
    def take(self, again: bool) -> None:
        if again and self.count:
            body = b"m%d" % self.count
            assert now(self.site.store.take(admission(body, body))).duplicate
            return
        self.count += 1
        body = b"m%d" % self.count
        taken = now(self.site.store.take(admission(body, body)))
        assert not taken.duplicate
        self.taken[taken.message_id] = body

    @rule(shapes=st.lists(st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=3), max_size=3))
    def translate(self, shapes: list[list[str]]) -> None:
        messages = now(self.site.store.untranslated("adt", 0, 2))
        assert [one.id for one in messages] == sorted(self.taken)[:2]
        for message in messages:
            assert message.content == self.taken.pop(message.id)
            products = []
            for n, people in enumerate(shapes):
                body = message.content + b"/%d" % n
                products.append(outgoing(body, *people))
                self.stands[body] = tuple(dict.fromkeys(people))
                for one in self.stands[body]:
                    self.lanes[one].append(body)
            now(self.site.store.translated([translation(message.id, *products)]))

    @rule(room=st.integers(1, 6), window=st.integers(1, 4), later=st.integers(0, 2_000_000))
    def begin_some(self, room: int, window: int, later: int) -> None:
        self.site.now += later
        begun = now(self.site.store.take_due("erp", room, window))
        assert len(begun) <= room
        for one in begun:
            assert one.id not in self.flying, "begun twice"
            assert one.content not in self.ended, "begun after its end"
            assert one.in_doubt == (one.content in self.doubted)
            for person in self.stands[one.content]:
                before = self.lanes[person][: self.lanes[person].index(one.content)]
                flying = {each.content for each in self.flying.values()}
                assert all(each in flying for each in before), "an older one waits"
                mine = [each for each in self.flying.values() if each.content in before]
                assert all(each.lane == one.lane for each in mine), "an older one is under way in another lane"
            self.flying[one.id] = one

    @precondition(lambda self: self.flying)
    @rule(how=st.sampled_from(["delivered", "parked", "retry", "withdraw"]), data=st.data())
    def settle(self, how: str, data: st.DataObject) -> None:
        """The head of a lane's flight ends; where it fails, those behind it are withdrawn with it, as the pipeline does."""
        lane = data.draw(st.sampled_from(sorted({one.lane for one in self.flying.values()})))
        head, *behind = sorted((one for one in self.flying.values() if one.lane == lane), key=lambda one: one.id)
        settlements = []
        if how == "delivered":
            settlements = [delivered(head)]
        elif how == "parked":
            settlements = [Settlement(head, Refused("AE"), Close(DeliveryState.PARKED, "AE"), 0, 1)]
        elif how == "retry":
            settlements = [retried(head, self.site.now + 1_000_000, Unknown("?")), *map(withdrawn, behind)]
            self.doubted.add(head.content)
        else:
            settlements = [withdrawn(one) for one in (head, *behind)]
        now(self.site.store.attempted(settlements))
        for one in settlements:
            del self.flying[one.delivery.id]
        if how in ("delivered", "parked"):
            self.end(head)

    def end(self, delivery: Delivery) -> None:
        self.ended.add(delivery.content)
        for person in self.stands[delivery.content]:
            self.lanes[person].remove(delivery.content)

    @rule()
    def crash(self) -> None:
        now(self.site.store.close())
        self.site.open()
        assert self.site.found == (len(self.flying), len(self.taken))
        stale = list(self.flying.values())
        self.doubted |= {one.content for one in stale}
        self.flying.clear()
        now(self.site.store.attempted([delivered(one) for one in stale]))  # too late: changes nothing

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self.site, "store"):
            return
        with History(self.site.url) as history:
            waiting = {body for lane in self.lanes.values() for body in lane}
            states: dict[str, int] = {}
            for (_, state), number in history.counts().deliveries.items():
                states[state] = states.get(state, 0) + number
            assert states.get("waiting", 0) == len(waiting)
            assert sum(states.values()) == len(self.stands)

    @rule()
    def drain(self) -> None:
        """From wherever we are, everything can be brought to an end."""
        for one in sorted(self.flying.values(), key=lambda one: one.id):
            now(self.site.store.attempted([delivered(one)]))
            self.end(one)
        self.flying.clear()
        self.site.now += 10_000_000
        while begun := now(self.site.store.take_due("erp", 50, 8)):
            for one in begun:
                assert all(self.lanes[person][0] == one.content for person in self.stands[one.content])
                now(self.site.store.attempted([delivered(one)]))
                self.end(one)
        assert not any(self.lanes.values())


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
