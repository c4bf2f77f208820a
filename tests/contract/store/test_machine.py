"""Anything that can happen, in any order: order per lane, nothing lost, nothing begun twice."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.defer import Deferred

from engine.model import Action, Delivery, MessageState, Unknown, Verb
from engine.store.history import History
from engine.store.queueing import lanes_of
from engine.store.sqlite import path_of
from engine.store.words import LANE_BLOCKED, SENDING, WAITING
from tests.contract.store.helpers import Site, admission, delivered, outgoing, parked, retried, translation, withdrawn

PEOPLE = ("a", "b", "c")
CHANCE = st.randoms(note_method_calls=True, use_true_random=False)


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
        self.count = self.actions = 0
        self.taken: dict[int, bytes] = {}  # accepted, not yet translated
        self.parked: dict[int, bytes] = {}  # messages
        self.bodies: dict[int, bytes] = {}  # of deliveries
        self.stands: dict[int, tuple[str, ...]] = {}
        self.waiting: set[int] = set()  # those under way too
        self.flying: dict[int, Delivery] = {}
        self.ended: dict[int, str] = {}  # how
        self.doubted: set[int] = set()

    @initialize()
    def begin(self) -> None:
        self.site.open()

    def teardown(self) -> None:
        self.drain()
        now(self.site.store.close())
        self.directory.cleanup()

    def lane(self, person: str) -> list[int]:
        """What has not ended, in order."""
        return sorted(number for number in self.waiting if person in self.stands[number])

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

    @rule(chance=CHANCE)
    def translate(self, chance: random.Random) -> None:
        self.take(False)
        park = chance.random() < 0.2
        shapes = [chance.choices(PEOPLE, k=chance.randint(1, 2)) for _ in range(chance.randint(0, 4))]
        messages = now(self.site.store.untranslated("adt", 0, 2))
        assert [one.id for one in messages] == sorted(self.taken)[:2]
        for message in messages:
            assert message.content == self.taken.pop(message.id)
            if park:
                self.parked[message.id] = message.content
                fate = translation(message.id, state=MessageState.PARKED, park_reason="mapping")
                now(self.site.store.translated([fate]))
                continue
            before = {row.id for row in self.site.deliveries(message.id)}
            products = [outgoing(message.content + b"/%d" % n, *people) for n, people in enumerate(shapes)]
            now(self.site.store.translated([translation(message.id, *products)]))
            rows = [row for row in self.site.deliveries(message.id) if row.id not in before]
            for row, product in zip(rows, products, strict=True):
                self.bodies[row.id] = product.content
                self.stands[row.id] = tuple(dict.fromkeys(product.order_keys))
                self.waiting.add(row.id)

    @precondition(lambda self: self.waiting - self.flying.keys())
    @rule(chance=CHANCE)
    def begin_some(self, chance: random.Random) -> None:
        self.site.now += chance.randint(0, 2_000_000)
        room = chance.randint(1, 6)
        begun = now(self.site.store.take_due("erp", room, chance.randint(1, 4)))
        assert len(begun) <= room
        for one in begun:
            self.has_begun(one)

    def has_begun(self, one: Delivery) -> None:
        assert one.id in self.waiting, "begun after its end"
        assert one.id not in self.flying, "begun twice"
        assert one.content == self.bodies[one.id]
        assert one.in_doubt == (one.id in self.doubted)
        for person in self.stands[one.id]:
            lane = self.lane(person)
            assert all(each in self.flying for each in lane[: lane.index(one.id)]), "an older one waits"
            for other in self.flying.values():
                if person in self.stands[other.id]:
                    assert other.lane == one.lane, "another is under way in another lane"
                    assert other.id < one.id, "stepped between what is under way"
        self.flying[one.id] = one

    @precondition(lambda self: self.flying)
    @rule(chance=CHANCE)
    def settle(self, chance: random.Random) -> None:
        """The head of a lane's flight ends; where it fails, those behind it are withdrawn with it, as the pipeline does."""
        lane = chance.choice(sorted({one.lane for one in self.flying.values()}))
        how = chance.choice(["delivered", "delivered", "parked", "parked", "retry", "withdraw"])
        head, *behind = sorted((one for one in self.flying.values() if one.lane == lane), key=lambda one: one.id)
        settlements = []
        if how == "delivered":
            settlements = [delivered(head)]
        elif how == "parked":
            settlements = [parked(head)]
        elif how == "retry":
            settlements = [retried(head, self.site.now + 1_000_000, Unknown("?")), *map(withdrawn, behind)]
            self.doubted.add(head.id)
        else:
            settlements = [withdrawn(one) for one in (head, *behind)]
        now(self.site.store.attempted(settlements))
        for one in settlements:
            del self.flying[one.delivery.id]
        if how in ("delivered", "parked"):
            self.end(head.id, how)

    def end(self, number: int, how: str) -> None:
        self.waiting.remove(number)
        self.ended[number] = how

    # ── what people do ─────────────────────────────────────────────────────────────────────────────────────────────

    def act(self, verb: Verb, messages: list[int], deliveries: list[int]) -> tuple[int, int]:
        """Twice, with one token."""
        self.actions += 1
        action = Action(f"t{self.actions}", verb, "ann", "", tuple(messages), tuple(deliveries))
        acted = now(self.site.store.act(action))
        again = now(self.site.store.act(action))
        assert again[:3] == (*acted[:2], True)
        return acted.messages, acted.deliveries

    def some(self, chance: random.Random, *states: str) -> list[int]:
        """A few deliveries: mostly those in these states, and others, which are to be passed over."""
        likely = [number for number, how in self.ended.items() if how in states]
        if "waiting" in states:
            likely += self.waiting - self.flying.keys()
        others = chance.sample(sorted(self.stands), chance.randint(0, 1))
        chosen = chance.choices(sorted(likely), k=chance.randint(1, 3)) if likely else []
        return [*chosen, *others]

    @precondition(lambda self: "parked" in self.ended.values())
    @rule(chance=CHANCE)
    def release(self, chance: random.Random) -> None:
        numbers = self.some(chance, "parked")
        back = {number for number in numbers if self.ended.get(number) == "parked"}
        assert self.act(Verb.RELEASE, [], numbers) == (0, len(back))
        self.waiting |= back
        for number in back:
            del self.ended[number]

    @precondition(lambda self: self.waiting)
    @rule(chance=CHANCE)
    def cancel(self, chance: random.Random) -> None:
        numbers = self.some(chance, "parked", "waiting")
        gone = {
            number
            for number in numbers
            if self.ended.get(number) == "parked" or (number in self.waiting and number not in self.flying)
        }
        assert self.act(Verb.CANCEL, [], numbers) == (0, len(gone))
        for number in gone:
            self.waiting.discard(number)
            self.ended[number] = "cancelled"

    @precondition(lambda self: self.ended)
    @rule(chance=CHANCE)
    def resend(self, chance: random.Random) -> None:
        numbers = self.some(chance, "delivered", "cancelled")
        again = sorted(number for number in {*numbers} if self.ended.get(number) in ("delivered", "cancelled"))
        assert self.act(Verb.RESEND, [], numbers) == (0, len(again))
        with sqlite3.connect(path_of(self.site.url)) as connection:
            rows = connection.execute("SELECT id, resend_of FROM delivery ORDER BY id DESC LIMIT ?", [len(again)]).fetchall()
        assert [original for _, original in reversed(rows)] == again
        for number, original in rows:
            self.bodies[number], self.stands[number] = self.bodies[original], self.stands[original]
            self.waiting.add(number)
            if self.ended[original] == "delivered" or original in self.doubted:
                self.doubted.add(number)

    @precondition(lambda self: self.parked)
    @rule(chance=CHANCE)
    def on_messages(self, chance: random.Random) -> None:
        verb = chance.choice([Verb.RELEASE, Verb.CANCEL, Verb.REPLAY])
        numbers = chance.sample(sorted(self.parked), chance.randint(1, len(self.parked)))
        assert self.act(verb, numbers, []) == (len(numbers), 0)
        if verb is Verb.REPLAY:
            for number in sorted(numbers):
                with History(self.site.url) as history:
                    self.taken[history.replays(number)[-1].id] = self.parked[number]
            return
        for number in numbers:
            body = self.parked.pop(number)
            if verb is Verb.RELEASE:
                self.taken[number] = body

    # ── always ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @precondition(lambda self: self.flying or self.parked)
    @rule()
    def crash(self) -> None:
        now(self.site.store.close())
        self.site.open()
        assert self.site.found[:2] == (len(self.flying), len(self.taken))
        stale = list(self.flying.values())
        self.doubted |= {one.id for one in stale}
        self.flying.clear()
        now(self.site.store.attempted([delivered(one) for one in stale]))  # too late: changes nothing

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self.site, "store"):
            return
        with History(self.site.url) as history:
            states: dict[str, int] = {}
            for (_, state), number in history.counts().deliveries.items():
                states[state] = states.get(state, 0) + number
        assert states.get("waiting", 0) == len(self.waiting)
        for how in ("delivered", "parked", "cancelled"):
            assert states.get(how, 0) == list(self.ended.values()).count(how)

    @invariant()
    def lanes_are_whole(self) -> None:
        """Everything that waits stands once in each of its lanes, and the smallest is the head, but behind a flight."""
        if not hasattr(self.site, "store"):
            return
        connection = sqlite3.connect(path_of(self.site.url))
        stands: set[tuple[int, int]] = set()
        for one, state, head, more, begun in connection.execute("SELECT id, state, head, more, begun FROM lane").fetchall():
            places = [row[0] for row in connection.execute("SELECT delivery FROM place WHERE lane = ?", [one])]
            later = [row[0] for row in connection.execute("SELECT delivery FROM rejoin WHERE lane = ?", [one])]
            assert not places or head < min(places)
            assert more or not places
            assert (state == SENDING) == (begun > 0)
            if later:
                assert state == SENDING or (state == LANE_BLOCKED and head in self.flying)
            here = [head, *places, *later]
            assert len(here) == len(set(here))
            stands |= {(number, one) for number in here}
        rows = connection.execute(
            "SELECT id, lane, lanes, order_keys, destination, channel FROM delivery WHERE state = ?", [WAITING]
        )
        expected = {(number, one) for number, *facts in rows for one in lanes_of(*facts)}
        crossings = set(connection.execute("SELECT delivery, lane FROM crossing"))
        connection.close()
        assert stands == expected
        assert crossings == {(number, one) for number, one in expected if len(self.stands[number]) > 1}

    def drain(self) -> None:
        """From wherever we are, everything can be brought to an end."""
        for one in sorted(self.flying.values(), key=lambda one: one.id):
            now(self.site.store.attempted([delivered(one)]))
            self.end(one.id, "delivered")
        self.flying.clear()
        self.site.now += 10_000_000
        while begun := now(self.site.store.take_due("erp", 50, 8)):
            for one in begun:
                assert all(self.lane(person)[0] == one.id for person in self.stands[one.id])
                now(self.site.store.attempted([delivered(one)]))
                self.end(one.id, "delivered")
        assert not self.waiting


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("seed", range(4))
def test_a_long_walk(seed: int) -> None:
    """Where hypothesis seeks the short way to a fault, this goes far."""
    chance, machine = random.Random(seed), StoreMachine()
    machine.begin()
    for _ in range(200):
        free = bool(machine.waiting - machine.flying.keys())
        likely = {
            machine.translate: 2 if len(machine.waiting) < 12 else 0,
            machine.begin_some: 3 if free else 0,
            machine.settle: 3 if machine.flying else 0,
            machine.release: 2 if "parked" in machine.ended.values() else 0,
            machine.cancel: 0.5 if machine.waiting else 0,
            machine.resend: 0.5 if machine.ended else 0,
            machine.on_messages: 0.5 if machine.parked else 0,
        }
        if any(likely.values()):
            (step,) = chance.choices([*likely], [*likely.values()])
            step(chance)
        if chance.random() < 0.02:
            machine.crash()
        machine.nothing_is_lost()
        machine.lanes_are_whole()
    machine.teardown()
