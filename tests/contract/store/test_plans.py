"""The figures of a plan against a model that looks at everything, one message and one delivery at a time."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.model import DeliveryState, MessageState, Verb
from engine.operations import plans
from engine.operations.plans import Limits, Plan, TooMany, make_plan, of_deliveries
from engine.operations.plans import given as named
from engine.query import Search, parse
from engine.store.history import History
from tests.contract.store.helpers import START, Site, outgoing, parked

CHANNELS = ("adt", "oru")
DESTINATIONS = ("erp", "crm")
ENDED = ("delivered", "expired", "cancelled")


class Model:
    """What is in the store, read through `History.deliveries` alone."""

    def __init__(self, site: Site, numbers: list[int]) -> None:
        with History(site.url) as history:
            self.rows = {row.id: row for row in history.find(limit=1000) if row.id in numbers}
            self.everything = {row.id: history.deliveries(row.id) for row in history.find(limit=1000)}
        self.all = [(number, one) for number, found in self.everything.items() for one in found]

    def expected(self, verb: Verb, channels: set[str], only: set[str]) -> dict[str, Any]:
        messages: list[int] = []
        deliveries: list[Any] = []
        concerned: list[tuple[int, Any]] = []
        passed = 0
        for number, row in sorted(self.rows.items()):
            taken = self.taken(verb, number, only) if row.channel in channels else []
            whole = row.channel in channels and self.whole(verb, row, only)
            if verb is Verb.REPLAY and whole:
                concerned += [(number, one) for one in self.everything[number]]
            concerned += [(number, one) for one in taken]
            messages += [number] if whole else []
            deliveries += taken
            passed += not whole and not taken
        return {
            "messages": tuple(messages),
            "deliveries": tuple(sorted(one.id for one in deliveries)),
            "destinations": dict(Counter(one.destination for _, one in concerned)),
            "delivered": dict(Counter(one.destination for number, one in concerned if self.has_it(verb, number, one))),
            "overtaken": self.overtaken(verb, concerned),
            "passed_over": passed,
        }

    def taken(self, verb: Verb, number: int, only: set[str]) -> list[Any]:
        states = {
            Verb.RELEASE: ("parked",),
            Verb.CANCEL: ("parked", "waiting"),
            Verb.RESEND: ENDED,
            Verb.REPLAY: (),
        }[verb]
        found = [one for one in self.everything[number] if one.state in states and (not only or one.destination in only)]
        if verb is Verb.RESEND:
            repeated = {one.resend_of for one in self.everything[number]}
            found = [one for one in found if one.id not in repeated]
        return found

    def whole(self, verb: Verb, row: Any, only: set[str]) -> bool:
        if verb in (Verb.RELEASE, Verb.CANCEL):
            return row.state == "parked" and not only
        if verb is Verb.RESEND:
            return False
        batch = row.state == "translated" and not self.everything[row.id]
        return row.state not in ("duplicate", "received", "parked") and not batch and row.replay_of not in self.rows

    def has_it(self, verb: Verb, number: int, one: Any) -> bool:
        chain = {each.id: each for each in self.everything[number]}
        while one is not None:
            if one.state == "delivered":
                return True
            one = chain.get(one.resend_of) if verb is Verb.RESEND else None
        return False

    def overtaken(self, verb: Verb, concerned: list[tuple[int, Any]]) -> int:
        states = {Verb.RELEASE: ("delivered",), Verb.CANCEL: ()}.get(verb, ("delivered", "waiting"))
        newest: dict[tuple[str, str, str], int] = defaultdict(int)
        for _, one in concerned:
            lane = one.destination, one.channel, one.order_key
            newest[lane] = max(newest[lane], one.id)
        ahead = {
            (one.destination, one.channel, one.order_key)
            for _, one in self.all
            if one.state in states and one.id > newest.get((one.destination, one.channel, one.order_key), 1 << 62)
        }
        return len(ahead)


step = st.one_of(
    st.tuples(st.just("message"), st.sampled_from(CHANNELS), st.lists(st.tuples(st.sampled_from(DESTINATIONS), st.sampled_from("abc")), max_size=3)),
    st.tuples(st.just("duplicate"), st.sampled_from(CHANNELS)),
    st.tuples(st.just("park"), st.sampled_from(CHANNELS)),
    st.tuples(st.just("take"), st.sampled_from(CHANNELS)),
    st.tuples(st.just("deliver"), st.sampled_from(DESTINATIONS), st.integers(1, 4)),
    st.tuples(st.just("refuse"), st.sampled_from(DESTINATIONS)),
    st.tuples(st.sampled_from(["cancel", "resend", "release", "replay"]), st.integers(0, 30)),
)  # fmt: skip


async def play(site: Site, steps: list[Any]) -> list[int]:
    numbers: list[int] = []
    for n, (what, *about) in enumerate(steps):
        site.now = START + n
        if what == "message":
            made = [outgoing(str(n), key, destination=to) for to, key in about[1]]
            state = MessageState.TRANSLATED if made else MessageState.FILTERED
            numbers.append((await site.record(*made, channel=about[0], content=b"%d" % n, state=state)).message_id)
        elif what == "duplicate":
            for _ in range(2):
                await site.take(b"same", b"same", channel=about[0])
        elif what == "park":
            parks = {"state": MessageState.PARKED, "park_reason": "mapping", "reason": "no ward"}
            numbers.append((await site.record(channel=about[0], content=b"%d" % n, **parks)).message_id)
        elif what == "take":
            numbers.append((await site.take(b"%d" % n, channel=about[0])).message_id)
        elif what == "deliver":
            for one in await site.due(about[0], about[1], 1):
                await site.deliver(one)
        elif what == "refuse":
            for one in await site.due(about[0], 1, 1):
                await site.settle(parked(one))
        elif numbers:
            number = numbers[about[0] % len(numbers)]
            deliveries = [one.id for one in site.deliveries(number)]
            verb = Verb(what)
            await site.act(
                verb,
                messages=[number] if verb is not Verb.RESEND else [],
                deliveries=deliveries if verb is not Verb.REPLAY else [],
            )
    with History(site.url) as history:
        return [row.id for row in history.find(limit=1000)]


@pytest.mark.parametrize("kind", ["sqlite-inline"], indirect=True)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(step, min_size=3, max_size=14),
    chosen=st.sets(st.integers(0, 20), min_size=1),
    channels=st.sets(st.sampled_from(CHANNELS), min_size=1),
    only=st.sets(st.sampled_from(DESTINATIONS), max_size=1),
)
def test_the_figures_are_those_of_a_model(
    steps: list[Any], chosen: set[int], channels: set[str], only: set[str], tmp_path_factory: Any, spin: Any, kind: str
) -> None:
    site = Site(f"sqlite:///{tmp_path_factory.mktemp('plan')}/store.db", threaded=False)
    site.open()
    try:
        everything = spin(play(site, steps))
        numbers = [number for n, number in enumerate(sorted(everything)) if n in chosen]
        model = Model(site, numbers)
        with History(site.url) as history:
            for verb in Verb:
                to = only if verb is not Verb.REPLAY else set()
                made = make_plan(history, named(history, numbers), verb, Limits(channels.__contains__, to))
                assert figures(made) == model.expected(verb, channels, to), verb
                assert sum(made.channels.values()) + sum(made.passed_over.values()) == len(model.rows)
    finally:
        spin(site.close())


def figures(plan: Plan) -> dict[str, Any]:
    facts = {name: getattr(plan, name) for name in ("messages", "deliveries", "destinations", "delivered", "overtaken")}
    return facts | {"passed_over": sum(plan.passed_over.values())}


# ── on both databases ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_stale_update_is_told_with_both_messages(site: Site) -> None:
    first = await site.record(outgoing("old", "acc-1"), outgoing("other", "acc-2"))
    second = await site.record(outgoing("new", "acc-1"))
    await site.drain()
    with History(site.url) as history:
        made = make_plan(history, named(history, [first.message_id]), Verb.RESEND)
        assert (made.overtaken, made.delivered, made.repeated) == (1, {"erp": 2}, 0)
        assert made.examples == (("erp", "acc-1", first.message_id, second.message_id),)
        both = make_plan(history, named(history, [first.message_id, second.message_id]), Verb.RESEND)
        assert (both.overtaken, len(both.deliveries)) == (0, 3), "what ends with its newest message is not stale"
        replay = make_plan(history, named(history, [first.message_id]), Verb.REPLAY)
        assert (replay.overtaken, replay.messages, replay.seconds) == (1, (first.message_id,), 0.01)


async def test_what_was_sent_again_is_sent_once_more_and_not_doubled(site: Site) -> None:
    taken = await site.record(outgoing("1", "a"))
    await site.drain()
    (one,) = site.deliveries(taken.message_id)
    await site.act(Verb.RESEND, deliveries=[one.id])
    with History(site.url) as history:
        waits = make_plan(history, named(history, [taken.message_id]), Verb.RESEND)
        assert (waits.empty, waits.passed_over) == (True, {plans.AGAIN: 1})
    await site.drain()
    with History(site.url) as history:
        again = make_plan(history, named(history, [taken.message_id]), Verb.RESEND)
        assert (len(again.deliveries), again.repeated, again.delivered) == (1, 1, {"erp": 1})
        assert again.deliveries != (one.id,)
        assert make_plan(history, of_deliveries(history, [one.id]), Verb.RESEND, Limits(deliveries={one.id})).empty


async def test_what_retention_has_taken_cannot_be_sent(site: Site) -> None:
    taken = await site.record(outgoing("1", "a"))
    await site.drain()
    from engine.model import Walk

    site.now += 100
    await site.store.prune(Walk.CONTENT, {"": site.now + 10_000_000}, 0, 1000)
    with History(site.url) as history:
        assert history.message(taken.message_id).content == b"", "the test needs content that is gone"  # type: ignore[union-attr]
        for verb in (Verb.RESEND, Verb.REPLAY):
            made = make_plan(history, named(history, [taken.message_id]), verb)
            assert (made.empty, made.passed_over) == (True, {plans.FORGOTTEN: 1}), verb


async def test_bounds(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [(await site.record(outgoing(str(n)))).message_id for n in range(4)]
    ticking = iter(range(0, 1000, 10))
    with History(site.url) as history:
        with pytest.raises(TooMany, match="more than 20 seconds"):
            make_plan(history, named(history, numbers), Verb.CANCEL, seconds=lambda: float(next(ticking)))
        with pytest.raises(TooMany, match="all its routes"):
            make_plan(history, named(history, numbers), Verb.REPLAY, Limits(destinations=["erp"]))
        monkeypatch.setattr(plans, "MOST", 3)
        with pytest.raises(TooMany, match="more than 3 messages"):
            make_plan(history, named(history, numbers), Verb.CANCEL)


async def test_a_search_is_planned_for_what_may_be_seen(site: Site) -> None:
    mine = await site.record(outgoing("1"), channel="adt")
    await site.record(outgoing("2"), channel="oru")
    with History(site.url) as history:
        search: Search = parse("state:waiting", START)
        found = make_plan(history, plans.searched(history, search, ["adt"]), Verb.CANCEL)
        assert (found.channels, len(found.deliveries)) == ({"adt": 1}, 1)
        (one,) = history.deliveries(mine.message_id)
        assert found.deliveries == (one.id,)
        assert one.state == DeliveryState.WAITING
